//! The best subjects of a search.

use contracts::{SubjectId, VectorId};

/// A subject that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The subject.
    pub subject: SubjectId,
    /// Cosine of the query and the subject's nearest vector, −1 to 1.
    pub similarity: f32,
    /// The nearest vector; of equal ones that with the lowest id.
    pub vector: VectorId,
    /// Cosine of the query and the subject's nearest negative (a face that was rejected as this subject), if it has one. Below
    /// `similarity`.
    pub negative: Option<f32>,
}

/// The best `k` subjects so far.
pub(crate) struct Best {
    k: usize,
    /// The similarity that a vector must reach to change the result.
    floor: f32,
    matches: Vec<Match>,
}

impl Best {
    /// The best `k` of at most `subjects`, and at least `floor`.
    pub(crate) fn new(k: usize, floor: f32, subjects: usize) -> Self {
        Self { k, floor, matches: Vec::with_capacity(k.min(subjects) + 1) }
    }

    /// The similarity that a vector must reach to change the result.
    pub(crate) fn floor(&self) -> f32 {
        self.floor
    }

    /// Takes a vector, unless it is below the floor or a negative of its subject is as near.
    pub(crate) fn offer(&mut self, new: Match) {
        let Match { subject, similarity, vector, negative } = new;
        if self.k == 0 || similarity < self.floor || negative.is_some_and(|negative| similarity <= negative) {
            return;
        }
        if let Some(place) = self.matches.iter().position(|known| known.subject == subject) {
            let known = self.matches[place];
            if (known.similarity, vector) >= (similarity, known.vector) {
                return;
            }
            self.matches.remove(place);
        }
        let place = self.matches.partition_point(|known| {
            known.similarity > similarity || (known.similarity == similarity && known.subject < subject)
        });
        self.matches.insert(place, new);
        self.matches.truncate(self.k);
        if let Some(last) = self.matches.get(self.k - 1) {
            self.floor = self.floor.max(last.similarity);
        }
    }

    /// The most similar first, then the lowest id.
    pub(crate) fn into_matches(self) -> Vec<Match> {
        self.matches
    }
}
