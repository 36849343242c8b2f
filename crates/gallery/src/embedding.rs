//! An embedding: the unit vector that a model computes from one face.

use std::fmt;

/// Most numbers of an embedding. The bounds of rounding in [`crate::Codes`] hold up to here.
pub const MAX_DIMENSIONS: usize = 1024;

/// How far the norm of a stored vector may be from 1. Rounding each number to `f32` stays below a tenth of this, and
/// the bounds of a search rest on it.
const UNIT_TOLERANCE: f64 = 1e-6;

/// Why numbers or bytes are no embedding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EmbeddingError {
    /// Another length than the model's, or none that is possible.
    #[error("an embedding of this model has {expected} numbers, but this one has {found}")]
    WrongLength {
        /// Numbers of an embedding of the model.
        expected: usize,
        /// Numbers that were given.
        found: usize,
    },
    /// The model's length is not possible.
    #[error("an embedding has 1 to {MAX_DIMENSIONS} numbers, not {0}")]
    ImpossibleLength(usize),
    /// The number at this index is infinite or not a number.
    #[error("number {0} of the embedding is not finite")]
    NotFinite(usize),
    /// All numbers are zero, so the vector has no direction.
    #[error("the embedding is all zero")]
    Zero,
    /// A stored vector must have length 1.
    #[error("the stored embedding has length {0}, not 1")]
    NotUnit(f64),
    /// The bytes are not a whole number of `f32`.
    #[error("{0} bytes are not a whole number of 4-byte numbers")]
    WrongBytes(usize),
}

/// A unit vector of `f32`. It never holds anything but finite numbers with length 1. Its `Debug` form has no numbers: a
/// vector identifies a person and must not reach the log output.
#[derive(Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

impl Embedding {
    /// Normalises the output of a model to length 1 (L2).
    ///
    /// # Errors
    /// If there are not `dimensions` numbers, one is not finite, or all are zero.
    pub fn new(numbers: &[f32], dimensions: usize) -> Result<Self, EmbeddingError> {
        let norm = checked_norm(numbers, dimensions)?;
        // Numbers below the smallest normal `f32` have lost digits, and with them the direction.
        if norm < f64::from(f32::MIN_POSITIVE) {
            return Err(EmbeddingError::Zero);
        }
        Ok(Self(numbers.iter().map(|number| (f64::from(*number) / norm) as f32).collect()))
    }

    /// Reads the form of [`Self::to_bytes`]. Nothing is normalised again, so the bytes stay the same when they are written again.
    ///
    /// # Errors
    /// If there are not `dimensions` numbers, one is not finite, or the length is not 1.
    pub fn from_bytes(bytes: &[u8], dimensions: usize) -> Result<Self, EmbeddingError> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(EmbeddingError::WrongBytes(bytes.len()));
        }
        let numbers: Box<[f32]> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        let norm = checked_norm(&numbers, dimensions)?;
        if (norm - 1.0).abs() > UNIT_TOLERANCE {
            return Err(EmbeddingError::NotUnit(norm));
        }
        Ok(Self(numbers))
    }

    /// The form for databases: each number as `f32`, little-endian, 4 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// The numbers, for the one who may see them (scope `faces:vectors`) and for a database that computes with them.
    pub fn numbers(&self) -> &[f32] {
        &self.0
    }

    /// How many numbers it has.
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// The cosine of two embeddings of one model, −1 to 1.
    ///
    /// # Errors
    /// If they have different lengths, so that they are of different models.
    pub fn similarity(&self, other: &Self) -> Result<f32, EmbeddingError> {
        if self.dimensions() != other.dimensions() {
            return Err(EmbeddingError::WrongLength { expected: self.dimensions(), found: other.dimensions() });
        }
        Ok(similarity(&self.0, &other.0))
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({} numbers)", self.0.len())
    }
}

fn checked_norm(numbers: &[f32], dimensions: usize) -> Result<f64, EmbeddingError> {
    if dimensions == 0 || dimensions > MAX_DIMENSIONS {
        return Err(EmbeddingError::ImpossibleLength(dimensions));
    }
    if numbers.len() != dimensions {
        return Err(EmbeddingError::WrongLength { expected: dimensions, found: numbers.len() });
    }
    if let Some(index) = numbers.iter().position(|number| !number.is_finite()) {
        return Err(EmbeddingError::NotFinite(index));
    }
    Ok(numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt())
}

/// The cosine of two unit vectors of the same length. The order of the additions is fixed and no additions are fused, so every
/// machine computes the same bits, and the order of results is the same on all instances.
pub(crate) fn similarity(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
    }
    (sums[0] + rest).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedding_is_normalised() {
        let embedding = Embedding::new(&[3.0, 0.0, -4.0], 3).unwrap();
        assert_eq!(embedding.numbers(), [0.6, 0.0, -0.8]);
        let huge = Embedding::new(&[f32::MAX, f32::MAX], 2).unwrap();
        assert!((huge.numbers()[0] - 0.5_f32.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_embedding_is_refused_by_name() {
        assert_eq!(Embedding::new(&[0.0, -0.0], 2), Err(EmbeddingError::Zero));
        assert_eq!(Embedding::new(&[1e-44, 0.0], 2), Err(EmbeddingError::Zero));
        assert_eq!(Embedding::new(&[1.0, f32::NAN], 2), Err(EmbeddingError::NotFinite(1)));
        assert_eq!(Embedding::new(&[f32::INFINITY, 1.0], 2), Err(EmbeddingError::NotFinite(0)));
        assert_eq!(Embedding::new(&[1.0], 2), Err(EmbeddingError::WrongLength { expected: 2, found: 1 }));
        assert_eq!(Embedding::new(&[], 0), Err(EmbeddingError::ImpossibleLength(0)));
        assert_eq!(Embedding::new(&[1.0; 1025], 1025), Err(EmbeddingError::ImpossibleLength(1025)));
    }

    #[test]
    fn bytes_round_trip_without_a_changed_bit() {
        let numbers: Vec<f32> = (0..256).map(|index| (index as f32 * 0.37).sin()).collect();
        let embedding = Embedding::new(&numbers, 256).unwrap();
        let bytes = embedding.to_bytes();
        assert_eq!(bytes[..4], embedding.numbers()[0].to_le_bytes());
        let read = Embedding::from_bytes(&bytes, 256).unwrap();
        assert_eq!(read.to_bytes(), bytes);
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let bytes = Embedding::new(&[1.0, 2.0], 2).unwrap().to_bytes();
        assert_eq!(Embedding::from_bytes(&bytes[..7], 2), Err(EmbeddingError::WrongBytes(7)));
        assert_eq!(Embedding::from_bytes(&bytes[..4], 2), Err(EmbeddingError::WrongLength { expected: 2, found: 1 }));
        let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
        assert!(matches!(
            Embedding::from_bytes(&reversed, 2),
            Err(EmbeddingError::NotUnit(_) | EmbeddingError::NotFinite(_))
        ));
        assert_eq!(Embedding::from_bytes(&[0; 8], 2), Err(EmbeddingError::NotUnit(0.0)));
    }

    #[test]
    fn the_similarity_is_the_cosine() {
        let a = Embedding::new(&[1.0, 0.0], 2).unwrap();
        let b = Embedding::new(&[1.0, 1.0], 2).unwrap();
        assert!((a.similarity(&b).unwrap() - 0.5_f32.sqrt()).abs() < 1e-6);
        // Both parts of the sum: whole groups of 16 and the rest.
        let numbers: Vec<f32> = (0..37).map(|index| (index as f32).cos()).collect();
        let long = Embedding::new(&numbers, 37).unwrap();
        assert!((long.similarity(&long).unwrap() - 1.0).abs() < 1e-6);
        assert!(long.similarity(&a).is_err());
    }

    #[test]
    fn no_number_is_printed() {
        let embedding = Embedding::new(&[0.123, 0.5], 2).unwrap();
        assert_eq!(format!("{embedding:?}"), "Embedding(2 numbers)");
    }
}
