//! A search for stores that read vectors one by one, such as a database beyond the bound of memory.

use contracts::{SubjectId, VectorId};

use crate::best::{Best, Match};
use crate::embedding::{Embedding, EmbeddingError};
use crate::stored_vector::{StoredVector, VectorKind};

/// The same search as [`crate::Codes::search`], over vectors that come subject by subject. It keeps the best `k` subjects and one
/// similarity of the current one, whatever the gallery's size.
pub struct OrderedSearch<'a> {
    query: &'a Embedding,
    best: Best,
    current: Option<Current>,
}

/// The subject whose vectors are being read.
struct Current {
    subject: SubjectId,
    nearest: Option<(f32, VectorId)>,
    negative: Option<f32>,
}

impl<'a> OrderedSearch<'a> {
    /// A search for the `k` nearest subjects with a similarity of at least `floor`.
    pub fn new(query: &'a Embedding, k: usize, floor: f32) -> Self {
        Self { query, best: Best::new(k, floor, 0), current: None }
    }

    /// Compares the next vector. All vectors and negatives of a subject must come in a row.
    ///
    /// # Errors
    /// If the vector has another length than the query.
    pub fn compare(&mut self, vector: &StoredVector) -> Result<(), EmbeddingError> {
        let similarity = vector.embedding.similarity(self.query)?;
        if self.current.as_ref().is_none_or(|current| current.subject != vector.subject) {
            self.end_subject();
        }
        let new = || Current { subject: vector.subject, nearest: None, negative: None };
        let current = self.current.get_or_insert_with(new);
        match vector.kind {
            VectorKind::Negative => {
                let nearer = |known: f32| known.max(similarity);
                current.negative = Some(current.negative.map_or(similarity, nearer));
            }
            VectorKind::Enrolled => {
                let is_nearer = |(known, id): (f32, VectorId)| (known, vector.id) < (similarity, id);
                if current.nearest.is_none_or(is_nearer) {
                    current.nearest = Some((similarity, vector.id));
                }
            }
        }
        Ok(())
    }

    /// The best subjects: the most similar first, then the lowest id.
    pub fn finish(mut self) -> Vec<Match> {
        self.end_subject();
        self.best.into_matches()
    }

    /// Only now all negatives of the subject are known.
    fn end_subject(&mut self) {
        if let Some(Current { subject, nearest: Some((similarity, vector)), negative }) = self.current.take() {
            self.best.offer(Match { subject, similarity, vector, negative });
        }
    }
}
