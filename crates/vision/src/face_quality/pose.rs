//! Direction of a face, estimated from its five landmarks.
//!
//! The landmarks are compared with a model in three dimensions: eyes and corners of the mouth in one plane, and the tip of the nose in
//! front of it. In a parallel projection each axis of the face becomes an arrow in the image. `across` is the arrow of the line through
//! the eyes, `down` that from the eyes to the mouth, `forward` that out of the face; each has its full length when the axis is parallel to
//! the image, and length 0 when it points at the camera. The face is turned by `yaw` about its vertical axis, then by `pitch` about a
//! horizontal line, then by `roll` in the image, so that the arrows are, but for one scale:
//!
//! ```text
//!  down    = (0, cos pitch)                        all three turned by roll
//!  across  = (cos yaw, sin pitch · sin yaw)
//!  forward = (sin yaw, -sin pitch · cos yaw)
//! ```

use std::ops::{Add, Mul, Sub};

use contracts::Point;

use crate::model::align::LANDMARKS;

/// Height of the eyes above the mouth, in distances between the eyes. Like the depth of the nose it is close to the best fit of one rigid
/// face to landmarks of `yunet_n` (docs/FACES.md).
const HEIGHT: f64 = 1.05;
/// Depth of the tip of the nose in front of the other points, in distances between the eyes.
const NOSE_DEPTH: f64 = 0.45;
/// Where the tip of the nose is between the eyes (0) and the mouth (1) when a portrait is taken from the front.
const NOSE_HEIGHT: f64 = 0.58;
/// Width of the mouth, in distances between the eyes.
const MOUTH_WIDTH: f64 = 0.84;

/// Least quotient of the two scales of a face, along and across the image, which are equal in the model. Among 530 faces of samples,
/// many of them in profile, it is at least 0.44; landmarks on one line have 0.
const LEAST_QUOTIENT: f64 = 0.25;

/// Direction of a face in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Turn to the side; positive towards the right edge of the image.
    pub yaw: f64,
    /// Turn up (positive) or down.
    pub pitch: f64,
    /// Tilt in the plane of the image; positive clockwise.
    pub roll: f64,
}

impl Pose {
    /// The direction of a face; `None` if no turn of the model looks like these landmarks, which are finite.
    pub fn of(landmarks: &[Point; LANDMARKS]) -> Option<Self> {
        let [right_eye, left_eye, nose, right_mouth, left_mouth] = landmarks.map(|point| Arrow(point.x, point.y));
        let (eyes, mouth) = ((right_eye + left_eye) * 0.5, (right_mouth + left_mouth) * 0.5);
        // The least squares over both pairs of points.
        let pairs = (left_eye - right_eye) + (left_mouth - right_mouth) * MOUTH_WIDTH;
        let across = pairs * (1.0 / (1.0 + MOUTH_WIDTH * MOUTH_WIDTH));
        let down = (mouth - eyes) * (1.0 / HEIGHT);
        let forward = (nose - eyes - (mouth - eyes) * NOSE_HEIGHT) * (1.0 / NOSE_DEPTH);

        let roll = (-down.0).atan2(down.1);
        let [across, down, forward] = [across, down, forward].map(|arrow| arrow.turned(-roll));
        let yaw = forward.0.atan2(across.0);
        let lowered = across.1 * yaw.sin() - forward.1 * yaw.cos();
        let pitch = lowered.atan2(down.1);

        let (along, upright) = (across.0.hypot(forward.0), lowered.hypot(down.1));
        (along.min(upright) > LEAST_QUOTIENT * along.max(upright)).then(|| Self {
            yaw: yaw.to_degrees(),
            pitch: pitch.to_degrees(),
            roll: roll.to_degrees(),
        })
    }
}

/// A difference of two points of the image: to the right, and down.
#[derive(Debug, Clone, Copy)]
struct Arrow(f64, f64);

impl Arrow {
    /// Turned clockwise, by radians.
    fn turned(self, angle: f64) -> Self {
        let (sine, cosine) = angle.sin_cos();
        Self(cosine * self.0 - sine * self.1, sine * self.0 + cosine * self.1)
    }
}

impl Add for Arrow {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1)
    }
}

impl Sub for Arrow {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0, self.1 - other.1)
    }
}

impl Mul<f64> for Arrow {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self(self.0 * factor, self.1 * factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Landmarks of the model after real rotations in three dimensions, with 100 pixels between the eyes.
    fn model(yaw: f64, pitch: f64, roll: f64) -> [Point; LANDMARKS] {
        let [yaw, pitch, roll] = [yaw, pitch, roll].map(f64::to_radians);
        let half = MOUTH_WIDTH / 2.0;
        let points = [
            (-0.5, 0.0, 0.0),
            (0.5, 0.0, 0.0),
            (0.0, NOSE_HEIGHT * HEIGHT, NOSE_DEPTH),
            (-half, HEIGHT, 0.0),
            (half, HEIGHT, 0.0),
        ];
        // Right, down, and towards the camera.
        points.map(|(x, y, z)| {
            let (x, z) = (x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin());
            let y = y * pitch.cos() - z * pitch.sin();
            let (x, y) = (x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos());
            Point { x: 500.0 + 100.0 * x, y: 400.0 + 100.0 * y }
        })
    }

    fn near(landmarks: &[Point; LANDMARKS], expected: [f64; 3], tolerance: f64) {
        let Pose { yaw, pitch, roll } = Pose::of(landmarks).unwrap();
        for (found, expected) in [yaw, pitch, roll].into_iter().zip(expected) {
            assert!((found - expected).abs() < tolerance, "{yaw:.2} {pitch:.2} {roll:.2}, not {expected:?}");
        }
    }

    #[test]
    fn every_turn_of_the_model_is_found_again() {
        for yaw in [-89.0, -40.0, 0.0, 15.0, 80.0] {
            for pitch in [-50.0, -10.0, 0.0, 30.0] {
                for roll in [-120.0, -30.0, 0.0, 30.0, 90.0] {
                    near(&model(yaw, pitch, roll), [yaw, pitch, roll], 1e-6);
                }
            }
        }
    }

    /// Landmarks that `yunet_n` finds on a photograph: the face looks to the left edge of the image, its head tilted a little.
    const TURNED: [Point; LANDMARKS] = [
        Point { x: 249.5, y: 364.2 },
        Point { x: 375.1, y: 376.6 },
        Point { x: 281.7, y: 442.1 },
        Point { x: 242.5, y: 508.0 },
        Point { x: 355.2, y: 519.3 },
    ];

    #[test]
    fn a_photographed_face_has_the_signs_that_a_person_sees() {
        near(&TURNED, [-22.0, 8.0, 5.0], 1.0);
        // The nose close to the mouth: the face looks down.
        let mut lowered = TURNED;
        lowered[2].y += 40.0;
        assert!(Pose::of(&lowered).unwrap().pitch < -20.0);
    }

    #[test]
    fn a_mirrored_face_is_turned_to_the_other_side() {
        let mirrored = TURNED.map(|point| Point { x: 1_000.0 - point.x, y: point.y });
        let [right_eye, left_eye, nose, right_mouth, left_mouth] = mirrored;
        let Pose { yaw, pitch, roll } = Pose::of(&TURNED).unwrap();
        near(&[left_eye, right_eye, nose, left_mouth, right_mouth], [-yaw, pitch, -roll], 1e-9);
    }

    #[test]
    fn points_on_one_line_have_no_direction() {
        let on_line = |across: f64, down: f64| {
            [-2.0, 2.0, 0.5, -1.0, 3.0].map(|step| Point { x: 100.0 + across * step, y: 100.0 + down * step })
        };
        for (across, down) in [(0.0, 0.0), (9.0, 0.0), (0.0, 9.0), (9.0, 9.0), (9.0, -4.0)] {
            assert_eq!(Pose::of(&on_line(across, down)), None, "{across} {down}");
        }
    }
}
