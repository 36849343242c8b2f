//! A vector as stores and galleries have it.

use contracts::{SubjectId, VectorId};

use crate::embedding::Embedding;

/// What a vector says about its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorKind {
    /// It is a face of the subject.
    Enrolled,
    /// It is a face that was taken for the subject and is not ("not this person").
    Negative,
}

/// A vector as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVector {
    /// Its id.
    pub id: VectorId,
    /// Whose face it is, or is not.
    pub subject: SubjectId,
    /// Which of the two.
    pub kind: VectorKind,
    /// The vector.
    pub embedding: Embedding,
}
