//! An embedding: a direction in 384 dimensions. Texts of similar meaning have similar ones.

use std::fmt;

/// Numbers of an embedding.
pub const DIMENSIONS: usize = 384;

/// An embedding of length 1; of length 0 for a text without words.
#[derive(Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

/// Without the numbers, which say nothing to a reader.
impl fmt::Debug for Embedding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Embedding({} numbers)", self.0.len())
    }
}

impl Embedding {
    /// The embedding of a text without words. It is close to nothing.
    pub fn zero() -> Self {
        Self(vec![0.0; DIMENSIONS])
    }

    /// The direction of these numbers. `None` for another number of them, or one that is not finite.
    pub fn of(numbers: &[f32]) -> Option<Self> {
        if numbers.len() != DIMENSIONS || !numbers.iter().all(|number| number.is_finite()) {
            return None;
        }
        let length = numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
        if length == 0.0 {
            return Some(Self::zero());
        }
        Some(Self(numbers.iter().map(|number| (f64::from(*number) / length) as f32).collect()))
    }

    /// How close two meanings are: the cosine of the angle between them, -1 to 1.
    pub fn cosine(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(left, right)| left * right).sum()
    }

    /// The direction of the sum of embeddings; `None` of none.
    pub fn mean<'a>(embeddings: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut sum: Option<Vec<f32>> = None;
        for embedding in embeddings {
            let sum = sum.get_or_insert_with(|| vec![0.0; DIMENSIONS]);
            sum.iter_mut().zip(&embedding.0).for_each(|(sum, number)| *sum += number);
        }
        Self::of(&sum?)
    }

    /// The numbers, 32 bits each, the lowest byte first.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// From [`Self::to_bytes`]. `None` for bytes that are no embedding.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<4>();
        let numbers: Vec<f32> = numbers.iter().map(|number| f32::from_le_bytes(*number)).collect();
        let is_one = rest.is_empty() && numbers.len() == DIMENSIONS && numbers.iter().all(|number| number.is_finite());
        is_one.then_some(Self(numbers))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An embedding whose first numbers are these.
    pub(crate) fn embedding(first: &[f32]) -> Embedding {
        let mut numbers = vec![0.0; DIMENSIONS];
        numbers[..first.len()].copy_from_slice(first);
        Embedding::of(&numbers).unwrap()
    }

    #[test]
    fn an_embedding_has_length_one() {
        let (left, right) = (embedding(&[3.0, 4.0]), embedding(&[1.0]));
        assert!((left.cosine(&left) - 1.0).abs() < 1e-6);
        assert!((left.cosine(&right) - 0.6).abs() < 1e-6);
        assert!(Embedding::zero().cosine(&left) == 0.0);
        assert_eq!(Embedding::of(&[1.0]), None);
        assert_eq!(Embedding::of(&[f32::NAN; DIMENSIONS]), None);
    }

    #[test]
    fn bytes_become_the_same_embedding() {
        let found = embedding(&[3.0, -4.0]);
        assert_eq!(found.to_bytes().len(), DIMENSIONS * 4);
        assert_eq!(Embedding::from_bytes(&found.to_bytes()), Some(found.clone()));
        assert_eq!(Embedding::from_bytes(&found.to_bytes()[1..]), None);
        assert_eq!(Embedding::from_bytes(&[0xff; DIMENSIONS * 4]), None);
    }

    #[test]
    fn the_mean_lies_between() {
        let mean = Embedding::mean(&[embedding(&[1.0]), embedding(&[0.0, 1.0])]).unwrap();
        assert_eq!(mean, embedding(&[1.0, 1.0]));
        assert_eq!(Embedding::mean([]), None);
    }
}
