//! Large portraits: a face is found once at any size, in the same place and with the same embedding.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use contracts::{BoundingBox, Detection};
use fast_image_resize::images::{Image as Resized, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use vision::model::{Detector, Findings, Image};
use vision::pixels::Pixels;
use vision::registry::Registry;

use crate::vision::{PORTRAITS, detector, folders, image, installed, options};

/// A part of an image, enlarged.
struct Enlarged {
    pixels: Pixels,
    part: BoundingBox,
    factor: f64,
}

impl Enlarged {
    fn of(pixels: &Pixels, part: BoundingBox, factor: f64) -> Self {
        let side = |length: f64| (length * factor).round() as u32;
        let source = ImageRef::new(pixels.width(), pixels.height(), pixels.rgb(), PixelType::U8x3).unwrap();
        let mut target = Resized::new(side(part.width), side(part.height), PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).crop(
            part.x,
            part.y,
            part.width,
            part.height,
        );
        Resizer::new().resize(&source, &mut target, &options).unwrap();
        let (width, height) = (target.width(), target.height());
        Self { pixels: Pixels::from_rgb(width, height, target.into_vec()).unwrap(), part, factor }
    }

    /// The box of a detection in pixels of the whole image.
    fn back(&self, found: &Detection) -> BoundingBox {
        let bounds = found.bounds.unwrap();
        BoundingBox {
            x: bounds.x / self.factor + self.part.x,
            y: bounds.y / self.factor + self.part.y,
            width: bounds.width / self.factor,
            height: bounds.height / self.factor,
        }
    }
}

/// The whole image, enlarged, and the surroundings of a face, enlarged until the face has 1,000 pixels.
fn enlargements(pixels: &Pixels, face: BoundingBox) -> Vec<Enlarged> {
    let (width, height) = (f64::from(pixels.width()), f64::from(pixels.height()));
    let whole = BoundingBox { x: 0.0, y: 0.0, width, height };
    let side = face.width.max(face.height);
    let around = |reach: f64| {
        let (x, y) = ((face.x - reach * side).max(0.0).floor(), (face.y - reach * side).max(0.0).floor());
        let right = (face.x + face.width + reach * side).min(width).floor();
        let bottom = (face.y + face.height + reach * side).min(height).floor();
        BoundingBox { x, y, width: right - x, height: bottom - y }
    };
    let parts =
        [(whole, 1.5), (whole, 2.0), (whole, 3.0), (around(0.5), 1_000.0 / side), (around(0.1), 1_000.0 / side)];
    // No larger than images of requests may be.
    let fits = |part: &BoundingBox, factor: f64| part.width * part.height * factor * factor < 25e6;
    parts
        .into_iter()
        .filter(|(part, factor)| fits(part, *factor))
        .map(|(part, factor)| Enlarged::of(pixels, part, factor))
        .collect()
}

fn found_in(detector: &mut dyn Detector, pixels: Pixels) -> Findings {
    let image = Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: true };
    detector.detect(&[Arc::new(image)]).remove(0).unwrap()
}

fn only_face(file: &str, found: &Findings) -> (Detection, Vec<f32>) {
    assert_eq!(found.detections.len(), 1, "{file}: not one face: {:?}", found.detections);
    let face = &found.detections[0];
    (face.clone(), found.embeddings[&0].clone())
}

/// Each portrait, with a detector that makes embeddings by a model, whose file is there.
fn each_portrait_is_found_once(samples: &Path, models: &Path, embedding: &str) {
    let registry = Registry::built_in().unwrap();
    let model = registry.model(embedding).unwrap();
    let mut faces = registry.open_with_embeddings(&"face".parse().unwrap(), model, &options(models)).unwrap();
    for file in PORTRAITS {
        let pixels = image(&samples.join(file)).pixels.clone();
        let (face, embedding) = only_face(file, &found_in(&mut *faces, pixels.clone()));
        for large in enlargements(&pixels, face.bounds.unwrap()) {
            let what = format!("{file} at {} by {}", large.pixels.width(), large.pixels.height());
            let (again, other) = only_face(&what, &found_in(&mut *faces, large.pixels.clone()));
            let iou = large.back(&again).iou(&face.bounds.unwrap());
            assert!(iou >= 0.6, "{what}: IoU {iou}");
            let cosine: f32 = embedding.iter().zip(&other).map(|(a, b)| a * b).sum();
            assert!(cosine >= 0.9, "{what}: cosine {cosine}");
        }
    }
}

#[test]
fn a_large_portrait_has_one_face() {
    let test = "a_large_portrait_has_one_face";
    let Some((samples, models)) = folders(test) else { return };
    let registry = Registry::built_in().unwrap();
    for embedding in ["face_reid_0095", "mobilefacenet_128d"] {
        if ["yunet_n", embedding].into_iter().all(|model| installed(&registry, test, &models, model).is_some()) {
            each_portrait_is_found_once(&samples, &models, embedding);
        }
    }
}

/// Two images beside each other, as high as the lower one.
fn side_by_side(left: &Pixels, right: &Pixels) -> Pixels {
    let rows = left.rows().zip(right.rows());
    let rgb: Vec<u8> = rows.flat_map(|(left, right)| left.iter().chain(right).copied()).collect();
    Pixels::from_rgb(left.width() + right.width(), left.height().min(right.height()), rgb).unwrap()
}

#[test]
fn small_faces_beside_a_large_one_are_kept() {
    let test = "small_faces_beside_a_large_one_are_kept";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let group = image(&samples.join("faces/solvay_1927_29faces.jpg")).pixels.clone();
    let portrait = image(&samples.join("faces/obama_a.jpg")).pixels.clone();
    // Together they fit into the network's input, and the faces have up to 41 pixels on the left and 480 on the right.
    let whole = BoundingBox { x: 0.0, y: 0.0, width: 1_600.0, height: 1_158.0 };
    let small = Enlarged::of(&group, whole, 0.6).pixels;
    let head = BoundingBox { x: 250.0, y: 0.0, width: 500.0, height: 464.0 };
    let large = Enlarged::of(&portrait, head, 1.5).pixels;
    let alone = found_in(&mut *yunet, small.clone()).detections.len();
    let both = found_in(&mut *yunet, side_by_side(&small, &large)).detections;
    assert!(alone >= 25, "{alone}");
    assert_eq!(both.len(), alone + 1, "{both:?}");
}

#[test]
fn two_large_faces_are_two() {
    let test = "two_large_faces_are_two";
    let Some((samples, models)) = folders(test) else { return };
    let Some(mut yunet) = detector(test, &models, "yunet_n") else { return };
    let portrait = image(&samples.join("faces/obama_a.jpg")).pixels.clone();
    let head = BoundingBox { x: 300.0, y: 50.0, width: 400.0, height: 414.0 };
    let large = Enlarged::of(&portrait, head, 2.35).pixels;
    let both = found_in(&mut *yunet, side_by_side(&large, &large)).detections;
    assert_eq!(both.len(), 2, "{both:?}");
}
