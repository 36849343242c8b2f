//! Faces that were rejected as a subject ("not this person").

use std::collections::HashMap;

use contracts::{SubjectId, VectorId};

use super::table_bytes;
use crate::embedding::{Embedding, similarity};
use crate::stored_vector::StoredVector;

type Entry = (VectorId, Embedding);

/// A list grows by one part of this many, and by one at least.
const LIST_GROWTH: usize = 8;

/// The negatives of a gallery. Few, so their numbers have no codes.
#[derive(Default)]
pub(super) struct Negatives {
    of_subject: HashMap<SubjectId, Vec<Entry>>,
    /// The subject of each negative, so that none has to be looked for.
    subjects: HashMap<VectorId, SubjectId>,
}

impl Negatives {
    pub(super) fn put(&mut self, vector: StoredVector) {
        self.subjects.insert(vector.id, vector.subject);
        let list = self.of_subject.entry(vector.subject).or_default();
        if list.len() == list.capacity() {
            list.reserve_exact((list.len() / LIST_GROWTH).max(1));
        }
        list.push((vector.id, vector.embedding));
    }

    pub(super) fn remove(&mut self, id: &VectorId) -> bool {
        let Some(subject) = self.subjects.remove(id) else {
            return false;
        };
        if let Some(list) = self.of_subject.get_mut(&subject) {
            list.retain(|(negative, _)| negative != id);
            list.shrink_to(list.len());
            if list.is_empty() {
                self.of_subject.remove(&subject);
            }
        }
        true
    }

    /// Removes the negatives of a subject. Returns their number.
    pub(super) fn remove_subject(&mut self, subject: &SubjectId) -> usize {
        let removed = self.of_subject.remove(subject).unwrap_or_default();
        for (id, _) in &removed {
            self.subjects.remove(id);
        }
        removed.len()
    }

    /// The similarity of the negative of this subject that is nearest to the query.
    pub(super) fn nearest(&self, subject: &SubjectId, query: &Embedding) -> Option<f32> {
        let negatives = self.of_subject.get(subject)?.iter();
        negatives.map(|(_, negative)| similarity(negative.numbers(), query.numbers())).max_by(f32::total_cmp)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of_subject.is_empty() && self.subjects.is_empty()
    }

    pub(super) fn bytes(&self, dimensions: usize) -> usize {
        let lists: usize = self.of_subject.values().map(Vec::capacity).sum();
        lists * size_of::<Entry>()
            + self.subjects.len() * dimensions * size_of::<f32>()
            + table_bytes::<(SubjectId, Vec<Entry>)>(self.of_subject.capacity())
            + table_bytes::<(VectorId, SubjectId)>(self.subjects.capacity())
    }

    /// The most memory in bytes with `more` further negatives, also while it is copied to a larger place.
    pub(super) fn bytes_with(&self, more: usize, dimensions: usize) -> usize {
        if more == 0 {
            return self.bytes(dimensions);
        }
        let length = self.subjects.len() + more;
        let lists = length + length / LIST_GROWTH;
        let subjects =
            table_bytes::<(SubjectId, Vec<Entry>)>((self.of_subject.len() + more).max(self.of_subject.capacity()));
        let index = table_bytes::<(VectorId, SubjectId)>(length.max(self.subjects.capacity()));
        let copied = (subjects / 2).max(self.subjects.len() * size_of::<Entry>());
        lists * size_of::<Entry>() + length * dimensions * size_of::<f32>() + subjects + index + copied
    }
}
