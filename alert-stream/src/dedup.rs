//! Recognises duplicates on the log. The decision depends on the log alone, so every replica drops the same records.
//!
//! The indexer publishes at least once, so the log may contain the same alert twice. A record is a duplicate when one of the
//! 2,000 offsets before it has an alert with the same id. So a reader that starts 2,000 offsets earlier makes the same
//! decisions as all others.

use std::collections::{HashMap, VecDeque};

use contracts::AlertId;

/// Number of offsets before a record in which an equal id makes it a duplicate.
pub const DEDUP_WINDOW: i64 = 2_000;

/// The alert ids at the last [`DEDUP_WINDOW`] offsets.
#[derive(Default)]
pub struct Deduplicator {
    ids: VecDeque<(i64, AlertId)>,
    /// For each id, its latest offset.
    latest: HashMap<AlertId, i64>,
}

impl Deduplicator {
    /// Whether the alert at this offset is a duplicate. Offsets must ascend.
    pub fn is_duplicate(&mut self, offset: i64, id: AlertId) -> bool {
        while let Some((at, old)) = self.ids.front().copied().filter(|(at, _)| *at < offset - DEDUP_WINDOW) {
            self.ids.pop_front();
            if self.latest.get(&old) == Some(&at) {
                self.latest.remove(&old);
            }
        }
        self.ids.push_back((offset, id));
        self.latest.insert(id, offset).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> AlertId {
        AlertId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn an_id_is_a_duplicate_within_the_window_only() {
        let mut dedup = Deduplicator::default();
        assert!(!dedup.is_duplicate(10, id(1)));
        assert!(dedup.is_duplicate(10 + DEDUP_WINDOW, id(1)));
        assert!(
            dedup.is_duplicate(11 + DEDUP_WINDOW, id(1)),
            "the last occurrence decides, also where it is a duplicate"
        );
        assert!(!dedup.is_duplicate(12 + 2 * DEDUP_WINDOW, id(1)));
        assert!(dedup.ids.len() <= 2 && dedup.latest.len() <= 2);
    }

    #[test]
    fn starting_one_window_earlier_gives_the_same_answers() {
        // A log of few ids, with duplicates at every distance, inside the window and beyond.
        let mut random = 7_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            id(u128::from((random >> 33) % 1_500))
        };
        let log: Vec<AlertId> = (0..9_000).map(|_| next()).collect();
        let duplicates = |from: usize| {
            let mut dedup = Deduplicator::default();
            let records = (0_i64..).zip(&log).skip(from);
            records.map(|(offset, id)| dedup.is_duplicate(offset, *id)).collect::<Vec<bool>>()
        };
        let all = duplicates(0);
        assert!(all.iter().any(|duplicate| *duplicate) && all.iter().any(|duplicate| !*duplicate));
        for start in [1_usize, 999, 4_000] {
            let window = usize::try_from(DEDUP_WINDOW).unwrap();
            assert_eq!(duplicates(start)[window..], all[start + window..]);
        }
    }
}
