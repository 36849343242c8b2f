use contracts::{Attributes, BoundingBox};

use super::*;

/// Landmarks of a face from the front, with 60 pixels between the eyes, around the middle of an image of 200 pixels a side.
const FRONTAL: [(f64, f64); 5] = [(70.0, 80.0), (130.0, 80.0), (100.0, 117.0), (75.0, 143.0), (125.0, 143.0)];
/// The same, turned by 60° to the right edge of the image.
const TURNED: [(f64, f64); 5] = [(85.0, 80.0), (115.0, 80.0), (123.4, 117.0), (87.5, 143.0), (112.5, 143.0)];

/// A checkerboard of these two levels.
fn image(dark: u8, light: u8) -> Pixels {
    let rgb = (0..200 * 200).flat_map(|index| {
        let cell = (index % 200) / 20 + index / 200 / 20;
        [if cell % 2 == 0 { dark } else { light }; 3]
    });
    Pixels::from_rgb(200, 200, rgb.collect()).unwrap()
}

fn face(landmarks: &[(f64, f64)], side: f64) -> Detection {
    Detection {
        label: "face".to_owned(),
        confidence: 0.9,
        bounds: Some(BoundingBox { x: 40.0, y: 40.0, width: side, height: side + 30.0 }),
        landmarks: landmarks.iter().map(|(x, y)| Point { x: *x, y: *y }).collect(),
        attributes: Attributes::default(),
    }
}

fn measured(landmarks: &[(f64, f64)], side: f64, levels: (u8, u8)) -> FaceQuality {
    FaceQuality::measure(&image(levels.0, levels.1), &face(landmarks, side)).unwrap()
}

fn fault(quality: &FaceQuality) -> Option<FaceFault> {
    quality.fault(&QualityLimits::default())
}

#[test]
fn a_face_from_the_front_is_good_at_any_roll() {
    for roll in [0.0_f64, 30.0, -75.0] {
        let (sine, cosine) = roll.to_radians().sin_cos();
        let landmarks = FRONTAL.map(|(x, y)| {
            let (right, down) = (x - 100.0, y - 110.0);
            (100.0 + cosine * right - sine * down, 110.0 + sine * right + cosine * down)
        });
        let quality = measured(&landmarks, 120.0, (60, 200));
        assert!((f64::from(quality.roll) - roll).abs() < 0.1, "{quality:?}");
        assert!(quality.yaw.abs() < 0.1 && quality.pitch.abs() < 2.0, "{quality:?}");
        assert!((quality.brightness - 0.51).abs() < 0.01 && (quality.contrast - 0.25).abs() < 0.01, "{quality:?}");
        assert_eq!((quality.size, fault(&quality)), (120.0, None));
    }
}

#[test]
fn a_turned_face_is_told_by_how_much() {
    let quality = measured(&TURNED, 120.0, (60, 200));
    assert!((quality.yaw - 60.1).abs() < 0.5, "{quality:?}");
    let fault = fault(&quality).unwrap();
    assert_eq!(fault.code(), "face_turned");
    assert_eq!(fault.to_string(), "the face is turned sideways by 61°, at most 45°: look straight into the camera");
}

#[test]
fn a_dark_a_bright_and_a_small_face_are_named() {
    for (side, levels, code) in
        [(120.0, (0, 20), "face_too_dark"), (120.0, (240, 255), "face_too_bright"), (30.0, (60, 200), "face_too_small")]
    {
        let quality = measured(&FRONTAL, side, levels);
        assert_eq!(fault(&quality).map(|fault| fault.code()), Some(code), "{quality:?}");
    }
}

#[test]
fn figures_at_their_limit_pass_and_beyond_it_fail() {
    let good = FaceQuality {
        size: 48.0,
        sharpness: 0.75,
        yaw: -45.0,
        pitch: -40.0,
        roll: 170.0,
        brightness: 0.9,
        contrast: 0.0,
    };
    assert_eq!(fault(&good), None);
    assert_eq!(fault(&FaceQuality { yaw: 45.0, pitch: 40.0, brightness: 0.1, ..good }), None);
    for (bad, code) in [
        (FaceQuality { size: 47.99, ..good }, "face_too_small"),
        (FaceQuality { brightness: 0.099, ..good }, "face_too_dark"),
        (FaceQuality { brightness: 0.901, ..good }, "face_too_bright"),
        (FaceQuality { yaw: 45.1, ..good }, "face_turned"),
        (FaceQuality { yaw: -45.1, ..good }, "face_turned"),
        (FaceQuality { pitch: 40.1, ..good }, "face_turned"),
        (FaceQuality { pitch: -40.1, ..good }, "face_turned"),
        (FaceQuality { sharpness: 0.749, ..good }, "face_blurred"),
        // The first of several faults.
        (FaceQuality { size: 1.0, brightness: 0.0, yaw: 90.0, sharpness: 0.0, ..good }, "face_too_small"),
        (FaceQuality { brightness: 0.0, yaw: 90.0, sharpness: 0.0, ..good }, "face_too_dark"),
        (FaceQuality { yaw: 90.0, sharpness: 0.0, ..good }, "face_turned"),
        (FaceQuality { size: f32::NAN, ..good }, "face_unmeasurable"),
        (FaceQuality { pitch: f32::INFINITY, ..good }, "face_unmeasurable"),
    ] {
        assert_eq!(fault(&bad).map(|fault| fault.code()), Some(code), "{bad:?}");
    }
}

#[test]
fn a_figure_in_a_message_never_reads_as_its_limit() {
    let least = 0.75;
    assert_eq!(
        FaceFault::Blurred { sharpness: 0.7499, least }.to_string(),
        "the face is blurred: sharpness 0.74, at least 0.75 is needed: focus on the face, and hold the camera still"
    );
    assert!(
        FaceFault::TooBright { brightness: 0.9001, most: 0.9 }.to_string().contains("brightness 0.91, at most 0.9:")
    );
    assert!(
        FaceFault::TooDark { brightness: 0.0999, least: 0.1 }.to_string().contains("brightness 0.09, at least 0.1 ")
    );
    assert!(FaceFault::TooSmall { size: 47.99, least: 48.0 }.to_string().contains("47 pixels"));
    let turned = FaceFault::Turned { way: "down", degrees: 40.01, most: 40.0 };
    assert!(turned.to_string().starts_with("the face is turned down by 41°, at most 40°"));
}

#[test]
fn what_is_no_face_is_unmeasurable() {
    let same = [(100.0, 100.0); 5];
    let line = [(60.0, 100.0), (140.0, 100.0), (100.0, 100.0), (70.0, 100.0), (130.0, 100.0)];
    let mut not_a_number = FRONTAL;
    not_a_number[2].1 = f64::NAN;
    let mut outside = FRONTAL;
    outside[0].0 = -0.5;
    let mut far = FRONTAL;
    far[4].0 = 1e300;
    for landmarks in [&same[..], &line, &not_a_number, &outside, &far, &FRONTAL[..4], &[]] {
        // A small box does not hide it.
        for side in [5.0, 120.0] {
            let fault = FaceQuality::measure(&image(60, 200), &face(landmarks, side)).unwrap_err();
            assert_eq!(fault.code(), "face_unmeasurable", "{landmarks:?}");
        }
    }
    for bounds in [None, Some(0.0), Some(f64::NAN), Some(-1.0)] {
        let bounds = bounds.map(|width| BoundingBox { x: 0.0, y: 0.0, width, height: 9.0 });
        let found = FaceQuality::measure(&image(60, 200), &Detection { bounds, ..face(&FRONTAL, 120.0) });
        assert_eq!(found.unwrap_err().code(), "face_unmeasurable", "{bounds:?}");
    }
}
