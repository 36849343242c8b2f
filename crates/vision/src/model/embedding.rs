//! Face embeddings: networks that turn an aligned face into a vector, close to those of the same person.
//!
//! A kind of network is one line of [`EMBEDDINGS`]. Its name is the `kind` of an entry in `models.yaml`. Sources of templates and input
//! formats: the models' own descriptions, docs/MODELS.md.

use contracts::Point;

use super::align::{Alignment, Template};
use super::crop_head::CropHead;
use super::head::Outputs;
use super::prepare::{Channels, Normalisation, Size};
use super::{DetectError, Findings};
use crate::pixels::Pixels;

/// The template of ArcFace (Deng et al., 2019) for 112 × 112 pixels.
pub const ARCFACE: Template =
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)];

/// The template of the Open Model Zoo for 128 × 128 pixels.
const OPEN_MODEL_ZOO: Template = [
    (0.315_568_75 * 128.0, 0.461_574_11 * 128.0),
    (0.682_622_92 * 128.0, 0.461_574_11 * 128.0),
    (0.500_262_5 * 128.0, 0.640_505_36 * 128.0),
    (0.349_471_88 * 128.0, 0.824_691_96 * 128.0),
    (0.653_436_46 * 128.0, 0.824_691_96 * 128.0),
];

/// Every kind of network, by name.
pub const EMBEDDINGS: &[(&str, FaceEmbedding)] = &[
    (
        "mobilefacenet",
        FaceEmbedding {
            outputs: &["output0"],
            length: 128,
            side: 112,
            channels: Channels::Rgb,
            normalisation: Some(Normalisation::IMAGENET),
            template: ARCFACE,
        },
    ),
    (
        "face_reidentification",
        FaceEmbedding {
            outputs: &["embedding"],
            length: 256,
            side: 128,
            channels: Channels::Bgr,
            normalisation: None,
            template: OPEN_MODEL_ZOO,
        },
    ),
];

/// The network of that kind.
pub fn of_kind(kind: &str) -> Option<FaceEmbedding> {
    EMBEDDINGS.iter().find(|(name, _)| *name == kind).map(|(_, embedding)| *embedding)
}

/// Input and output of one kind of network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaceEmbedding {
    /// The only output, `[batch, length]`.
    outputs: &'static [&'static str],
    /// Numbers of an embedding.
    length: usize,
    /// Width and height of the input in pixels, for which the template is.
    side: u32,
    channels: Channels,
    normalisation: Option<Normalisation>,
    template: Template,
}

impl FaceEmbedding {
    /// Numbers of an embedding.
    pub fn length(&self) -> usize {
        self.length
    }

    /// The crop of a face as the network reads it, before its normalisation: three colour planes of levels from 0 to 255, in the network's
    /// order of colours. `None` if the landmarks are not those of a face.
    pub fn aligned(&self, pixels: &Pixels, landmarks: &[Point]) -> Option<Vec<f32>> {
        let size = Size { width: self.side, height: self.side };
        let mut planes = vec![0.0; size.planes()];
        Alignment::of(landmarks, &self.template)?.fill(pixels, size, self.channels, &mut planes);
        Some(planes)
    }
}

impl CropHead for FaceEmbedding {
    fn channels(&self) -> Channels {
        self.channels
    }

    fn normalisation(&self) -> Option<Normalisation> {
        self.normalisation
    }

    fn template(&self) -> Option<(&Template, u32)> {
        Some((&self.template, self.side))
    }

    fn outputs(&self) -> &'static [&'static str] {
        self.outputs
    }

    /// Adds the embedding, scaled to length 1. A face for which the network has no direction (all zero, or no numbers) gets none.
    fn add(
        &self,
        outputs: &Outputs<'_>,
        item: usize,
        findings: &mut Findings,
        detection: usize,
    ) -> Result<(), DetectError> {
        let numbers = outputs.item(self.outputs[0], item, &[self.length])?;
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        if length.is_normal() {
            findings.embeddings.insert(detection, numbers.iter().map(|number| number / length).collect());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(numbers: &[f32]) -> Findings {
        let (_, network) = EMBEDDINGS[0];
        let mut findings = Findings::default();
        let mut outputs = Outputs::default();
        outputs.push("output0", &[1, 128], numbers);
        network.add(&outputs, 0, &mut findings, 3).unwrap();
        findings
    }

    #[test]
    fn an_embedding_has_length_one() {
        let mut numbers = [0.0; 128];
        (numbers[5], numbers[6]) = (-3.0, 4.0);
        let findings = add(&numbers);
        let embedding = &findings.embeddings[&3];
        assert_eq!((embedding.len(), embedding[4], embedding[5], embedding[6]), (128, 0.0, -0.6, 0.8));
    }

    #[test]
    fn a_face_without_a_direction_has_no_embedding() {
        assert!(add(&[0.0; 128]).embeddings.is_empty());
        assert!(add(&[f32::NAN; 128]).embeddings.is_empty());
        assert!(add(&[f32::INFINITY; 128]).embeddings.is_empty());
    }

    #[test]
    fn an_output_of_another_length_is_refused() {
        let mut outputs = Outputs::default();
        let numbers = [1.0; 64];
        outputs.push("output0", &[1, 64], &numbers);
        assert!(EMBEDDINGS[0].1.add(&outputs, 0, &mut Findings::default(), 0).is_err());
    }
}
