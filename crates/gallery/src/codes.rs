//! The vectors of one owner for one model, in memory.

mod quantised;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use contracts::{SubjectId, VectorId};

use crate::embedding::{Embedding, EmbeddingError, similarity};
use crate::scan::{DEPTH, LANES, Line};
use crate::stored_vector::{StoredVector, VectorKind};
use quantised::Quantised;

pub use search::{Found, Match};

/// Vectors of a gallery with their int8 codes. A search is exact: its result is that of comparing the query with every
/// vector in full precision.
///
/// For each vector of `d` numbers: `d` bytes of codes, 4 for their scale and 4 for their radius (how far the codes are from the
/// vector), `4 d` for the vector itself, 32 for its ids, and its entries in two tables.
#[derive(Debug)]
pub struct Codes {
    dimensions: usize,
    /// Blocks of 16 vectors; see [`crate::scan`].
    lines: Vec<Line>,
    scales: Vec<f32>,
    radii: Vec<f32>,
    /// `dimensions` numbers for each vector.
    numbers: Vec<f32>,
    subjects: Vec<SubjectId>,
    ids: Vec<VectorId>,
    /// Index of each vector.
    index: HashMap<VectorId, u32>,
    /// Number of vectors of each subject.
    counts: HashMap<SubjectId, u32>,
    negatives: HashMap<SubjectId, Vec<(VectorId, Embedding)>>,
}

impl Codes {
    /// No vectors yet, of a model whose embeddings have `dimensions` numbers.
    pub fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            lines: Vec::new(),
            scales: Vec::new(),
            radii: Vec::new(),
            numbers: Vec::new(),
            subjects: Vec::new(),
            ids: Vec::new(),
            index: HashMap::new(),
            counts: HashMap::new(),
            negatives: HashMap::new(),
        }
    }

    /// Numbers of each embedding.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Number of vectors, without negatives.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no vector to compare with.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Number of subjects with at least one vector: how many comparisons a search makes.
    pub fn subjects(&self) -> usize {
        self.counts.len()
    }

    /// Adds a vector. A vector with the same id is replaced, so a repeated change is harmless.
    ///
    /// # Errors
    /// If the embedding has another length than this gallery's.
    pub fn put(&mut self, vector: StoredVector) -> Result<(), EmbeddingError> {
        self.check(&vector.embedding)?;
        self.remove(&vector.id);
        if vector.kind == VectorKind::Negative {
            self.negatives.entry(vector.subject).or_default().push((vector.id, vector.embedding));
            return Ok(());
        }
        let at = self.len();
        self.reserve_for_one();
        let quantised = Quantised::of(vector.embedding.numbers());
        if at.is_multiple_of(LANES) {
            self.lines.resize(self.lines.len() + self.lines_per_block(), Line::ZERO);
        }
        self.write_codes(at, &quantised.codes);
        self.scales.push(quantised.scale);
        self.radii.push(quantised.radius);
        self.numbers.extend_from_slice(vector.embedding.numbers());
        self.subjects.push(vector.subject);
        self.ids.push(vector.id);
        self.index.insert(vector.id, at as u32);
        *self.counts.entry(vector.subject).or_default() += 1;
        Ok(())
    }

    /// Removes a vector or a negative. Returns `false` if there is none with this id.
    pub fn remove(&mut self, id: &VectorId) -> bool {
        let Some(at) = self.index.remove(id) else {
            return self.remove_negative(id);
        };
        let (at, last) = (at as usize, self.len() - 1);
        let subject = self.subjects.swap_remove(at);
        self.ids.swap_remove(at);
        self.scales.swap_remove(at);
        self.radii.swap_remove(at);
        if let Some(moved) = self.ids.get(at) {
            self.index.insert(*moved, at as u32);
            self.move_codes(last, at);
            self.numbers.copy_within(last * self.dimensions..(last + 1) * self.dimensions, at * self.dimensions);
        }
        // What is removed does not stay in the spare memory.
        self.numbers[last * self.dimensions..].fill(0.0);
        self.numbers.truncate(last * self.dimensions);
        self.write_codes(last, &vec![0; self.dimensions]);
        self.lines.truncate(last.div_ceil(LANES) * self.lines_per_block());
        if let Some(count) = self.counts.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&subject);
            }
        }
        self.shrink();
        true
    }

    /// Removes all vectors and negatives of a subject. Returns their number.
    pub fn remove_subject(&mut self, subject: &SubjectId) -> usize {
        let of_subject = self.subjects.iter().zip(&self.ids).filter(|(owner, _)| *owner == subject);
        let ids: Vec<VectorId> = of_subject.map(|(_, id)| *id).collect();
        let removed = ids.iter().filter(|id| self.remove(id)).count();
        removed + self.negatives.remove(subject).map_or(0, |negatives| negatives.len())
    }

    /// Memory in bytes, with what is reserved for further vectors.
    pub fn bytes(&self) -> usize {
        let vectors = self.lines.capacity() * size_of::<Line>()
            + (self.scales.capacity() + self.radii.capacity() + self.numbers.capacity()) * size_of::<f32>()
            + self.subjects.capacity() * size_of::<SubjectId>()
            + self.ids.capacity() * size_of::<VectorId>();
        let negatives: usize = self.negatives.values().map(Vec::len).sum();
        vectors
            + table_bytes(self.index.capacity())
            + table_bytes(self.counts.capacity())
            + negatives * negative_bytes(self.dimensions)
    }

    /// The memory in bytes that `vectors` embeddings of `dimensions` numbers will need at most, if each is of another subject.
    pub fn estimate(vectors: usize, dimensions: usize) -> usize {
        let reserved = vectors + growth(vectors) + LANES;
        let codes = dimensions.next_multiple_of(DEPTH) + 2 * size_of::<f32>();
        let each = codes + dimensions * size_of::<f32>() + size_of::<SubjectId>() + size_of::<VectorId>();
        reserved * each.max(negative_bytes(dimensions)) + 2 * table_bytes(vectors * 2)
    }

    fn check(&self, embedding: &Embedding) -> Result<(), EmbeddingError> {
        let (expected, found) = (self.dimensions, embedding.dimensions());
        if expected == found { Ok(()) } else { Err(EmbeddingError::WrongLength { expected, found }) }
    }

    fn remove_negative(&mut self, id: &VectorId) -> bool {
        let has = |list: &Vec<(VectorId, Embedding)>| list.iter().any(|(negative, _)| negative == id);
        let Some(subject) = self.negatives.iter().find(|(_, list)| has(list)).map(|(subject, _)| *subject) else {
            return false;
        };
        if let Some(list) = self.negatives.get_mut(&subject) {
            list.retain(|(negative, _)| negative != id);
            if list.is_empty() {
                self.negatives.remove(&subject);
            }
        }
        true
    }

    /// The similarity of the negative of this subject that is nearest to the query.
    fn nearest_negative(&self, subject: &SubjectId, query: &Embedding) -> Option<f32> {
        let negatives = self.negatives.get(subject)?.iter();
        negatives.map(|(_, negative)| similarity(negative.numbers(), query.numbers())).max_by(f32::total_cmp)
    }

    fn lines_per_block(&self) -> usize {
        self.dimensions.div_ceil(DEPTH)
    }

    /// Doubling, as vectors do by themselves, would leave up to half of a large gallery unused.
    fn reserve_for_one(&mut self) {
        if self.ids.len() == self.ids.capacity() {
            let more = growth(self.ids.len());
            self.lines.reserve_exact(more.div_ceil(LANES) * self.lines_per_block());
            self.scales.reserve_exact(more);
            self.radii.reserve_exact(more);
            self.numbers.reserve_exact(more * self.dimensions);
            self.subjects.reserve_exact(more);
            self.ids.reserve_exact(more);
        }
    }

    /// Gives memory back when more than half of it is unused.
    fn shrink(&mut self) {
        let keep = self.len() + growth(self.len());
        if self.ids.capacity() > 2 * keep {
            self.lines.shrink_to(keep.div_ceil(LANES) * self.lines_per_block());
            self.scales.shrink_to(keep);
            self.radii.shrink_to(keep);
            self.numbers.shrink_to(keep * self.dimensions);
            self.subjects.shrink_to(keep);
            self.ids.shrink_to(keep);
            self.index.shrink_to(keep);
            self.counts.shrink_to(self.counts.len());
        }
    }

    fn write_codes(&mut self, at: usize, codes: &[i8]) {
        let first = at / LANES * self.lines_per_block();
        let offset = at % LANES * DEPTH;
        for (number, code) in codes.iter().enumerate() {
            self.lines[first + number / DEPTH].0[offset + number % DEPTH] = code.cast_unsigned() ^ 0x80;
        }
    }

    fn move_codes(&mut self, from: usize, to: usize) {
        let (from_offset, to_offset) = (from % LANES * DEPTH, to % LANES * DEPTH);
        for line in 0..self.lines_per_block() {
            let source = self.lines[from / LANES * self.lines_per_block() + line].0;
            let target = &mut self.lines[to / LANES * self.dimensions.div_ceil(DEPTH) + line].0;
            target[to_offset..to_offset + DEPTH].copy_from_slice(&source[from_offset..from_offset + DEPTH]);
        }
    }
}

/// How many further vectors a gallery of this size gets memory for at once.
fn growth(vectors: usize) -> usize {
    (vectors / 16).max(LANES)
}

/// A hash table has a byte for each entry beside the entry, and an eighth of them stay empty.
fn table_bytes(capacity: usize) -> usize {
    capacity * 8 / 7 * (size_of::<(VectorId, u32)>() + 1)
}

fn negative_bytes(dimensions: usize) -> usize {
    size_of::<(VectorId, Embedding)>() + dimensions * size_of::<f32>() + size_of::<SubjectId>() + 32
}
