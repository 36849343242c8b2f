//! The sentences of a recording with their times and embeddings: as they are stored, and the search in them.
//!
//! They are stored in parts, so that no part is long. The format is read by this crate only:
//!
//! ```text
//! part:     version (1 byte) · number of passages (u32) · passages
//! passage:  start, end in milliseconds (u64 each) · length of the text (u32) · text (UTF-8) · embedding (384 × f32)
//! ```

use crate::embedding::{DIMENSIONS, Embedding};

/// The name of the parts in the database.
pub const PASSAGES: &str = "passages";

/// Version of the format.
const VERSION: u8 = 1;
/// Passages of a part.
const IN_PART: usize = 256;
/// Bytes of an embedding.
const EMBEDDING: usize = DIMENSIONS * 4;

/// A sentence of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Its start in the recording, in milliseconds.
    pub start_ms: u64,
    /// Its end.
    pub end_ms: u64,
    /// What is said.
    pub text: String,
    /// What it means.
    pub embedding: Embedding,
}

/// Passages as they are stored.
pub fn parts_of(passages: &[Passage]) -> Vec<Vec<u8>> {
    passages.chunks(IN_PART).map(part).collect()
}

fn part(passages: &[Passage]) -> Vec<u8> {
    let texts: usize = passages.iter().map(|passage| passage.text.len()).sum();
    let mut part = Vec::with_capacity(5 + passages.len() * (20 + EMBEDDING) + texts);
    part.push(VERSION);
    part.extend(length(passages.len()).to_le_bytes());
    for Passage { start_ms, end_ms, text, embedding } in passages {
        part.extend(start_ms.to_le_bytes());
        part.extend(end_ms.to_le_bytes());
        part.extend(length(text.len()).to_le_bytes());
        part.extend(text.as_bytes());
        part.extend(embedding.to_bytes());
    }
    part
}

/// A length for the format. A sentence is short, and a part has few passages.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The passages of a part; `None` for bytes that are none, such as those of a later version.
pub fn passages_of(part: &[u8]) -> Option<Vec<Passage>> {
    let mut rest = part;
    if take::<1>(&mut rest)? != [VERSION] {
        return None;
    }
    let count = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
    // Nothing is allocated because a header says so.
    let mut passages = Vec::with_capacity(count.min(IN_PART));
    for _ in 0..count {
        let (start_ms, end_ms) = (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?));
        let text_length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
        let (text, after) = rest.split_at_checked(text_length)?;
        let (embedding, after) = after.split_at_checked(EMBEDDING)?;
        rest = after;
        let (text, embedding) = (std::str::from_utf8(text).ok()?.to_owned(), Embedding::from_bytes(embedding)?);
        passages.push(Passage { start_ms, end_ms, text, embedding });
    }
    rest.is_empty().then_some(passages)
}

/// The next bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

/// The passages that are closest to a meaning, the closest first, with the cosine of each. At most `count`, and none that is not close at all.
pub fn closest<'p>(passages: &'p [Passage], meaning: &Embedding, count: usize) -> Vec<(&'p Passage, f32)> {
    let mut found: Vec<(&Passage, f32)> = passages
        .iter()
        .map(|passage| (passage, passage.embedding.cosine(meaning)))
        .filter(|(_, score)| *score > 0.0)
        .collect();
    // The earlier one of equally close ones comes first.
    let order = |one: &(&Passage, f32), other: &(&Passage, f32)| {
        other.1.total_cmp(&one.1).then_with(|| one.0.start_ms.cmp(&other.0.start_ms))
    };
    if found.len() > count && count > 0 {
        found.select_nth_unstable_by(count - 1, order);
    }
    found.truncate(count);
    found.sort_by(order);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::tests::embedding;

    fn passage(number: u64) -> Passage {
        let angle = number as f32 / 100.0;
        Passage {
            start_ms: number * 1_000,
            end_ms: number * 1_000 + 900,
            text: format!("Sentence {number} – é"),
            embedding: embedding(&[angle.cos(), angle.sin()]),
        }
    }

    #[test]
    fn passages_are_the_same_after_storage() {
        let passages: Vec<Passage> = (0..600).map(passage).collect();
        let parts = parts_of(&passages);
        assert_eq!(parts.len(), 3);
        let read: Vec<Passage> = parts.iter().flat_map(|part| passages_of(part).unwrap()).collect();
        assert_eq!(read, passages);
        assert!(parts_of(&[]).is_empty());
    }

    #[test]
    fn other_bytes_are_no_passages() {
        let part = part(&[passage(1), passage(2)]);
        for cut in 0..part.len() {
            assert_eq!(passages_of(&part[..cut]), None, "{cut}");
        }
        let longer = [&part[..], &[0]].concat();
        assert_eq!(passages_of(&longer), None);
        let huge = [&[VERSION][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(passages_of(&huge), None);
        let later = [&[VERSION + 1][..], &part[1..]].concat();
        assert_eq!(passages_of(&later), None);
    }

    #[test]
    fn the_closest_passages_come_first() {
        let passages: Vec<Passage> = (0..300).map(passage).collect();
        let found = closest(&passages, &passage(42).embedding, 3);
        let starts: Vec<u64> = found.iter().map(|(passage, _)| passage.start_ms / 1_000).collect();
        assert_eq!(starts[0], 42);
        assert!(starts[1..] == [41, 43] || starts[1..] == [43, 41], "{starts:?}");
        assert!(found[0].1 > 0.999 && found[2].1 < found[0].1);
        assert!(closest(&passages, &Embedding::zero(), 3).is_empty());
        assert!(closest(&passages, &passage(1).embedding, 0).is_empty());
    }
}
