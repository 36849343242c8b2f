//! Quality of the faces of real photographs: good ones have no fault by the default limits, and bad copies have the fault that was made.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::sync::Arc;

use bytes::Bytes;
use vision::face_quality::{FaceFault, FaceQuality, QualityLimits, turned_crops, upright_fault};
use vision::model::{Detector, Image};
use vision::pixels::Pixels;

use crate::vision::{PORTRAITS, detections, detector, folders, image};

/// The pixels with other levels.
fn relit(pixels: &Pixels, level: impl Fn(u8) -> u8) -> Pixels {
    let rgb = pixels.rgb().iter().map(|value| level(*value)).collect();
    Pixels::from_rgb(pixels.width(), pixels.height(), rgb).unwrap()
}

/// Each pixel is the mean of a square around it, which reaches so far to each side.
fn blurred(pixels: &Pixels, reach: usize) -> Pixels {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    // The sums of everything above and to the left of a point.
    let mut sums = vec![[0_u32; 3]; (width + 1) * (height + 1)];
    for (row, levels) in pixels.rows().enumerate() {
        for column in 0..width {
            for colour in 0..3 {
                let above = row * (width + 1) + column;
                let here = above + width + 2;
                sums[here][colour] =
                    u32::from(levels[3 * column + colour]) + sums[here - 1][colour] + sums[above + 1][colour]
                        - sums[above][colour];
            }
        }
    }
    let mut rgb = Vec::with_capacity(width * height * 3);
    for row in 0..height {
        let (top, bottom) = (row.saturating_sub(reach), (row + reach + 1).min(height));
        for column in 0..width {
            let (left, right) = (column.saturating_sub(reach), (column + reach + 1).min(width));
            let sum = |row: usize, column: usize| sums[row * (width + 1) + column];
            let count = ((bottom - top) * (right - left)) as u32;
            for colour in 0..3 {
                let total = sum(bottom, right)[colour] + sum(top, left)[colour]
                    - sum(top, right)[colour]
                    - sum(bottom, left)[colour];
                rgb.push((total / count) as u8);
            }
        }
    }
    Pixels::from_rgb(pixels.width(), pixels.height(), rgb).unwrap()
}

#[test]
fn good_portraits_pass_and_bad_copies_have_their_fault() {
    let test = "good_portraits_pass_and_bad_copies_have_their_fault";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let limits = QualityLimits::default();
    for file in PORTRAITS.into_iter().chain(["faces/obama_biden_2faces.jpg"]) {
        let image = image(&samples.join(file));
        for face in detections(&mut *yunet, &image) {
            let quality = FaceQuality::measure(&image.pixels, &face).unwrap();
            assert_eq!(quality.fault(&limits), None, "{file}: {quality:?}");
            assert!(
                quality.sharpness > 1.2 && quality.yaw.abs() < 30.0 && quality.pitch.abs() < 20.0,
                "{file}: {quality:?}"
            );
            let copies = [
                (relit(&image.pixels, |level| level / 8), "face_too_dark"),
                (relit(&image.pixels, |level| level.saturating_mul(4)), "face_too_bright"),
                (blurred(&image.pixels, quality.size as usize / 14), "face_blurred"),
            ];
            for (copy, code) in copies {
                let quality = FaceQuality::measure(&copy, &face).unwrap();
                assert_eq!(quality.fault(&limits).map(|fault| fault.code()), Some(code), "{file}: {quality:?}");
            }
        }
    }
}

/// The pixels, turned by 90° counterclockwise.
fn turned_left(pixels: &Pixels) -> Pixels {
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let source = |column: usize, row: usize| (column * width + (width - 1 - row)) * 3;
    let rows = (0..width).flat_map(|row| (0..height).map(move |column| (column, row)));
    let rgb = rows.flat_map(|(column, row)| pixels.rgb()[source(column, row)..][..3].to_vec()).collect();
    Pixels::from_rgb(pixels.height(), pixels.width(), rgb).unwrap()
}

fn surest(detector: &mut dyn Detector, pixels: Pixels) -> (Arc<Image>, Option<contracts::Detection>) {
    let image = Arc::new(Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: false });
    let found = detections(detector, &image).into_iter().next();
    (image, found)
}

#[test]
fn a_face_that_is_not_upright_is_told_from_one_that_is() {
    let test = "a_face_that_is_not_upright_is_told_from_one_that_is";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let mut compared = 0;
    for file in PORTRAITS {
        let mut pixels = image(&samples.join(file)).pixels.clone();
        for expected in [None, Some(90), Some(180), Some(270)] {
            let (image, face) = surest(&mut *yunet, pixels);
            // One that is not found is not enrolled either.
            if let Some(face) = face {
                let crops = turned_crops(&image.pixels, &face).unwrap();
                let confidence = |crop| surest(&mut *yunet, crop).1.map_or(0.0, |found| found.confidence);
                let fault = upright_fault(crops.map(confidence));
                assert_eq!(fault, expected.map(|degrees| FaceFault::NotUpright { degrees }), "{file}");
                compared += 1;
            }
            pixels = turned_left(&image.pixels);
        }
    }
    assert!(compared >= 18, "{compared}");
}
