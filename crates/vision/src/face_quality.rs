//! Quality of a face for enrolment: figures of one face of an image, and the fault that makes it useless.
//!
//! In: the upright pixels, and the box and five landmarks of one face as a detector found them. Out: [`FaceQuality`], and by
//! [`QualityLimits`] at most one [`FaceFault`], whose message says what to do.
//!
//! Guarantees: no box and no landmarks, however wrong, make it panic or read outside of the image. Landmarks that are not those of a
//! face are [unmeasurable](FaceFault::Unmeasurable), not a small or turned face. Every figure is finite. The work is bounded for any size of
//! image, because all light and sharpness is measured on an aligned crop of fixed size. Formulas and measurements: docs/FACES.md.

mod crop;
mod pose;
mod upright;

use contracts::{Detection, Point};

use crate::model::align::{Alignment, LANDMARKS};
use crate::pixels::Pixels;
use crop::Crop;
use pose::Pose;

pub use upright::{TURNS, turned_crops, upright_fault};

/// Figures of one face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceQuality {
    /// The shorter side of the box, in pixels of the image. Not the distance between the eyes, which is small for a turned face too.
    pub size: f32,
    /// How fine the details of the face are: 0 for none, above 1.1 for sharp photographs, 2.83 for a checkerboard of single pixels.
    pub sharpness: f32,
    /// Turn to the side, in degrees: positive towards the right edge of the image, 90 in profile.
    pub yaw: f32,
    /// Turn up (positive) or down, in degrees. A rough estimate.
    pub pitch: f32,
    /// Tilt in the plane of the image, in degrees: positive clockwise. Never a fault, because alignment removes it.
    pub roll: f32,
    /// Mean luma of the face, from 0 (black) to 1 (white).
    pub brightness: f32,
    /// Standard deviation of the luma of the face, from 0 to 0.5. For information; no limit applies to it.
    pub contrast: f32,
}

/// Limits of the figures of a face that can be enrolled. The defaults are measured: docs/FACES.md.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityLimits {
    /// Minimum [`FaceQuality::size`].
    pub min_size: f32,
    /// Minimum [`FaceQuality::sharpness`].
    pub min_sharpness: f32,
    /// Maximum [`FaceQuality::yaw`] to either side.
    pub max_yaw: f32,
    /// Maximum [`FaceQuality::pitch`], up or down. It is far from 0 because the estimate is rough.
    pub max_pitch: f32,
    /// Minimum [`FaceQuality::brightness`]. It is low, so that it refuses no dark skin in usable light.
    pub min_brightness: f32,
    /// Maximum [`FaceQuality::brightness`].
    pub max_brightness: f32,
}

impl Default for QualityLimits {
    fn default() -> Self {
        Self {
            min_size: 48.0,
            min_sharpness: 0.75,
            max_yaw: 45.0,
            max_pitch: 40.0,
            min_brightness: 0.1,
            max_brightness: 0.9,
        }
    }
}

/// Why a face cannot be enrolled, and what to do. The numbers in a message are rounded away from the limit.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FaceFault {
    /// There are no figures, for this reason.
    #[error("the face cannot be measured, because {0}: send a photograph that shows the whole face")]
    Unmeasurable(&'static str),
    /// The face has too few pixels.
    #[error(
        "the face has {} pixels along its shorter side, at least {least} are needed: come closer, or send the photograph at full size",
        size.floor()
    )]
    TooSmall {
        /// [`FaceQuality::size`].
        size: f32,
        /// The limit.
        least: f32,
    },
    /// The face has too little light.
    #[error(
        "the face is too dark: brightness {}, at least {least} is needed: turn on a light in front of the face",
        floored(*brightness)
    )]
    TooDark {
        /// [`FaceQuality::brightness`].
        brightness: f32,
        /// The limit.
        least: f32,
    },
    /// The face is overexposed.
    #[error(
        "the face is too bright: brightness {}, at most {most}: use less light, or a shorter exposure",
        raised(*brightness)
    )]
    TooBright {
        /// [`FaceQuality::brightness`].
        brightness: f32,
        /// The limit.
        most: f32,
    },
    /// The image is turned, and nothing in it says so.
    #[error("the image is not upright: turn it by {degrees}° clockwise, or send the original file of the camera")]
    NotUpright {
        /// By how much the image is to be turned clockwise: 90, 180 or 270.
        degrees: u16,
    },
    /// The face does not look at the camera.
    #[error("the face is turned {way} by {}°, at most {most}°: look straight into the camera", degrees.ceil())]
    Turned {
        /// `sideways`, `up` or `down`.
        way: &'static str,
        /// [`FaceQuality::yaw`] or [`FaceQuality::pitch`], without its sign.
        degrees: f32,
        /// The limit.
        most: f32,
    },
    /// The face is out of focus, or moved.
    #[error(
        "the face is blurred: sharpness {}, at least {least} is needed: focus on the face, and hold the camera still",
        floored(*sharpness)
    )]
    Blurred {
        /// [`FaceQuality::sharpness`].
        sharpness: f32,
        /// The limit.
        least: f32,
    },
}

impl FaceFault {
    /// Stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unmeasurable(_) => "face_unmeasurable",
            Self::TooSmall { .. } => "face_too_small",
            Self::TooDark { .. } => "face_too_dark",
            Self::TooBright { .. } => "face_too_bright",
            Self::NotUpright { .. } => "face_not_upright",
            Self::Turned { .. } => "face_turned",
            Self::Blurred { .. } => "face_blurred",
        }
    }
}

impl FaceQuality {
    /// Measures one face of an image. The landmarks are those of [`Detection::landmarks`].
    ///
    /// # Errors
    /// Always [`FaceFault::Unmeasurable`]: there is no box, or the landmarks are not five points of a face that is in the image.
    pub fn measure(pixels: &Pixels, face: &Detection) -> Result<Self, FaceFault> {
        let bounds = face.bounds.filter(|bounds| bounds.is_valid() && bounds.width.min(bounds.height) > 0.0);
        let bounds = bounds.ok_or(FaceFault::Unmeasurable("it has no box"))?;
        let landmarks: &[Point; LANDMARKS] =
            face.landmarks.as_slice().try_into().map_err(|_| FaceFault::Unmeasurable("it has no five landmarks"))?;
        let (width, height) = (f64::from(pixels.width()), f64::from(pixels.height()));
        // Also false for what is not a number.
        let in_image = |point: &Point| (0.0..=width).contains(&point.x) && (0.0..=height).contains(&point.y);
        if !landmarks.iter().all(in_image) {
            return Err(FaceFault::Unmeasurable("a part of it is outside of the image"));
        }
        let no_face = FaceFault::Unmeasurable("its landmarks are not those of a face");
        let alignment = Alignment::of(landmarks, &crop::template()).ok_or(no_face)?;
        let pose = Pose::of(landmarks).ok_or(no_face)?;
        let outside = FaceFault::Unmeasurable("most of it is outside of the image");
        let crop = Crop::of(pixels, &alignment).ok_or(outside)?;
        let (brightness, contrast) = crop.brightness_and_contrast();
        Ok(Self {
            size: bounds.width.min(bounds.height) as f32,
            sharpness: crop.sharpness(),
            yaw: pose.yaw as f32,
            pitch: pose.pitch as f32,
            roll: pose.roll as f32,
            brightness,
            contrast,
        })
    }

    /// The fault of the face by these limits; `None` if it can be enrolled.
    ///
    /// Of several faults it is the one that makes the figures after it unreliable: size, light, pose, sharpness.
    pub fn fault(&self, limits: &QualityLimits) -> Option<FaceFault> {
        let Self { size, sharpness, yaw, pitch, roll, brightness, contrast } = *self;
        let figures = [size, sharpness, yaw, pitch, roll, brightness, contrast];
        if !figures.iter().all(|figure| figure.is_finite()) {
            return Some(FaceFault::Unmeasurable("its figures are not numbers"));
        }
        if size < limits.min_size {
            return Some(FaceFault::TooSmall { size, least: limits.min_size });
        }
        if brightness < limits.min_brightness {
            return Some(FaceFault::TooDark { brightness, least: limits.min_brightness });
        }
        if brightness > limits.max_brightness {
            return Some(FaceFault::TooBright { brightness, most: limits.max_brightness });
        }
        if yaw.abs() > limits.max_yaw {
            return Some(FaceFault::Turned { way: "sideways", degrees: yaw.abs(), most: limits.max_yaw });
        }
        if pitch.abs() > limits.max_pitch {
            let way = if pitch > 0.0 { "up" } else { "down" };
            return Some(FaceFault::Turned { way, degrees: pitch.abs(), most: limits.max_pitch });
        }
        (sharpness < limits.min_sharpness).then_some(FaceFault::Blurred { sharpness, least: limits.min_sharpness })
    }
}

/// Rounded down to hundredths, so that a figure below its limit does not read as equal to it.
fn floored(figure: f32) -> f32 {
    (figure * 100.0).floor() / 100.0
}

/// Rounded up to hundredths, as [`floored`].
fn raised(figure: f32) -> f32 {
    (figure * 100.0).ceil() / 100.0
}

#[cfg(test)]
mod tests;
