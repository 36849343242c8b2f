//! The vectors of one owner for one model, in memory.

mod negatives;
mod quantised;
mod search;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use contracts::{SubjectId, VectorId};

use crate::embedding::{Embedding, EmbeddingError};
use crate::scan::{DEPTH, LANES, Line};
use crate::stored_vector::{StoredVector, VectorKind};
use negatives::Negatives;
use quantised::Quantised;

pub use search::Found;

/// Vectors of a gallery with their int8 codes. A search is exact: its result is that of comparing the query with every
/// vector in full precision.
///
/// For each vector of `d` numbers: `d` bytes of codes, 4 for their scale and 4 for their radius (how far the codes are from the
/// vector), `4 d` for the vector itself, 32 for its ids, and its entries in two tables. Its `Debug` form has no numbers of vectors.
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
    negatives: Negatives,
}

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (vectors, subjects) = (self.len(), self.subjects());
        write!(f, "Codes({vectors} vectors of {subjects} subjects, {} numbers each)", self.dimensions)
    }
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
            negatives: Negatives::default(),
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

    /// Number of subjects with at least one vector. A search compares each of their vectors, so [`Self::len`] comparisons.
    pub fn subjects(&self) -> usize {
        self.counts.len()
    }

    /// Adds a vector. A vector with the same id is replaced, so a repeated change is harmless.
    ///
    /// # Errors
    /// If the embedding has another length than this gallery's.
    pub fn put(&mut self, vector: StoredVector) -> Result<(), EmbeddingError> {
        self.put_prepared(Prepared::of(vector, self.dimensions)?);
        Ok(())
    }

    /// Adds a vector whose codes are computed. It must have been prepared for this number of dimensions.
    pub(crate) fn put_prepared(&mut self, Prepared { vector, quantised }: Prepared) {
        self.take(&vector.id);
        let Some(quantised) = quantised else {
            self.negatives.put(vector);
            return;
        };
        let at = self.len();
        self.reserve(1);
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
    }

    /// Removes a vector or a negative. Returns `false` if there is none with this id.
    pub fn remove(&mut self, id: &VectorId) -> bool {
        let removed = self.take(id);
        self.shrink();
        removed
    }

    /// Removes a vector or a negative, and keeps the memory for others.
    pub(crate) fn take(&mut self, id: &VectorId) -> bool {
        let Some(at) = self.index.remove(id) else {
            return self.negatives.remove(id);
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
        true
    }

    /// Removes all vectors and negatives of a subject. Returns their number.
    pub fn remove_subject(&mut self, subject: &SubjectId) -> usize {
        let of_subject = self.subjects.iter().zip(&self.ids).filter(|(owner, _)| *owner == subject);
        let ids: Vec<VectorId> = of_subject.map(|(_, id)| *id).collect();
        let removed = ids.iter().filter(|id| self.take(id)).count();
        self.shrink();
        removed + self.negatives.remove_subject(subject)
    }

    /// Memory in bytes, with what is reserved for further vectors.
    pub fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>()
            + (self.scales.capacity() + self.radii.capacity() + self.numbers.capacity()) * size_of::<f32>()
            + self.subjects.capacity() * size_of::<SubjectId>()
            + self.ids.capacity() * size_of::<VectorId>()
            + table_bytes::<IndexEntry>(self.index.capacity())
            + table_bytes::<CountEntry>(self.counts.capacity())
            + self.negatives.bytes(self.dimensions)
    }

    /// The most memory in bytes that [`Self::reserve`] for `vectors` further vectors, adding them and adding `negatives` takes,
    /// also while memory is copied to a larger place.
    pub fn bytes_with(&self, vectors: usize, negatives: usize) -> usize {
        let of_negatives = self.negatives.bytes_with(negatives, self.dimensions);
        let mut bytes = self.bytes() - self.negatives.bytes(self.dimensions) + of_negatives;
        let mut copied = 0;
        if self.ids.capacity() - self.len() < vectors {
            let room = self.len() + room_for(self.len(), vectors);
            let lines = room.div_ceil(LANES) * self.lines_per_block();
            bytes += (lines * size_of::<Line>()).saturating_sub(self.lines.capacity() * size_of::<Line>());
            bytes += (room - self.ids.capacity()) * self.bytes_of_one();
            copied = (self.numbers.capacity() * size_of::<f32>()).max(self.lines.capacity() * size_of::<Line>());
        }
        for (length, capacity) in
            [(self.index.len(), self.index.capacity()), (self.counts.len(), self.counts.capacity())]
        {
            if capacity - length < vectors {
                let larger = table_bytes::<IndexEntry>(length + vectors);
                bytes += larger.saturating_sub(table_bytes::<IndexEntry>(capacity));
                copied = copied.max(larger / 2);
            }
        }
        bytes + copied
    }

    /// The memory in bytes that `vectors` enrolled embeddings of `dimensions` numbers will need at most, if each is of another subject. A
    /// negative takes about as much; what is really taken is [`Self::bytes`].
    pub fn estimate(vectors: usize, dimensions: usize) -> usize {
        let reserved = room_for(0, vectors).saturating_add(LANES);
        let codes = dimensions.next_multiple_of(DEPTH) + 2 * size_of::<f32>();
        let each = codes + dimensions * size_of::<f32>() + size_of::<SubjectId>() + size_of::<VectorId>();
        let tables = 2 * table_bytes::<IndexEntry>(vectors);
        // A table that grows is copied.
        reserved.saturating_mul(each).saturating_add(tables + tables / 4)
    }

    /// Takes memory for further vectors at once, if there is not enough. Doubling, as vectors do by themselves, would leave up to
    /// half of a large gallery unused.
    pub fn reserve(&mut self, vectors: usize) {
        if self.ids.capacity() - self.len() >= vectors {
            return;
        }
        let more = room_for(self.len(), vectors);
        let lines = (self.len() + more).div_ceil(LANES) * self.lines_per_block();
        self.lines.reserve_exact(lines - self.lines.len());
        self.scales.reserve_exact(more);
        self.radii.reserve_exact(more);
        self.numbers.reserve_exact(more * self.dimensions);
        self.subjects.reserve_exact(more);
        self.ids.reserve_exact(more);
        self.index.reserve(vectors);
    }

    /// Bytes of a vector without its codes and its entries in the tables.
    fn bytes_of_one(&self) -> usize {
        (2 + self.dimensions) * size_of::<f32>() + size_of::<SubjectId>() + size_of::<VectorId>()
    }

    /// The similarity of the negative of this subject that is nearest to the query.
    fn nearest_negative(&self, subject: &SubjectId, query: &Embedding) -> Option<f32> {
        self.negatives.nearest(subject, query)
    }

    fn lines_per_block(&self) -> usize {
        self.dimensions.div_ceil(DEPTH)
    }

    /// Gives memory back when more than half of it is unused.
    pub(crate) fn shrink(&mut self) {
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

/// How many further vectors memory is taken for when `vectors` more do not fit.
fn room_for(length: usize, vectors: usize) -> usize {
    vectors.saturating_add(growth(length.saturating_add(vectors)))
}

type IndexEntry = (VectorId, u32);
type CountEntry = (SubjectId, u32);

/// A hash table with this capacity has a power of two of places, of which an eighth stays empty, a byte for each place beside it, and
/// one group of bytes at the end.
pub(crate) fn table_bytes<Entry>(capacity: usize) -> usize {
    if capacity == 0 {
        return 0;
    }
    let places = capacity.saturating_mul(8).div_ceil(7).max(4).checked_next_power_of_two().unwrap_or(usize::MAX);
    places.saturating_mul(size_of::<Entry>() + 1).saturating_add(32)
}

/// A vector that is ready to be added: its codes are computed. A negative has none.
pub(crate) struct Prepared {
    vector: StoredVector,
    quantised: Option<Quantised>,
}

impl Prepared {
    /// Fails if the embedding has another length.
    pub(crate) fn of(vector: StoredVector, dimensions: usize) -> Result<Self, EmbeddingError> {
        check(dimensions, &vector.embedding)?;
        let enrolled = vector.kind == VectorKind::Enrolled;
        let quantised = enrolled.then(|| Quantised::of(vector.embedding.numbers()));
        Ok(Self { vector, quantised })
    }

    pub(crate) fn kind(&self) -> VectorKind {
        self.vector.kind
    }
}

fn check(expected: usize, embedding: &Embedding) -> Result<(), EmbeddingError> {
    let found = embedding.dimensions();
    if expected == found { Ok(()) } else { Err(EmbeddingError::WrongLength { expected, found }) }
}
