//! Which records of the log are repeats: a pure function of the log, so that every replica drops the same ones.
//!
//! The indexer publishes at least once, so the same alert may stand on the log twice. A record is a repeat when its alert's
//! id occurs at one of the 2,000 places before it. Who judges a record must have seen those places, and need not have
//! seen more.

use std::collections::{HashMap, VecDeque};

use contracts::AlertId;

/// How many places before a record decide whether it is a repeat.
pub const REACH: i64 = 2_000;

/// The ids at the last places.
#[derive(Default)]
pub struct Repeats {
    places: VecDeque<(i64, AlertId)>,
    /// For each id, its latest place.
    latest: HashMap<AlertId, i64>,
}

impl Repeats {
    /// Whether the alert at this place is a repeat. Places must come in their order.
    pub fn is_repeat(&mut self, offset: i64, id: AlertId) -> bool {
        while let Some((place, old)) = self.places.front().copied().filter(|(place, _)| *place < offset - REACH) {
            self.places.pop_front();
            if self.latest.get(&old) == Some(&place) {
                self.latest.remove(&old);
            }
        }
        self.places.push_back((offset, id));
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
    fn an_id_within_reach_is_a_repeat_and_one_beyond_is_none() {
        let mut repeats = Repeats::default();
        assert!(!repeats.is_repeat(10, id(1)));
        assert!(repeats.is_repeat(10 + REACH, id(1)));
        assert!(repeats.is_repeat(11 + REACH, id(1)), "a repeat counts as an occurrence too");
        assert!(!repeats.is_repeat(12 + 2 * REACH, id(1)));
        assert!(repeats.places.len() <= 2 && repeats.latest.len() <= 2);
    }

    #[test]
    fn who_begins_two_thousand_places_earlier_judges_alike() {
        // A log of few ids, in which repeats stand at every distance, within reach and beyond.
        let mut dice = 7_u64;
        let mut roll = || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            id(u128::from((dice >> 33) % 1_500))
        };
        let log: Vec<AlertId> = (0..9_000).map(|_| roll()).collect();
        let judge = |from: usize| {
            let mut repeats = Repeats::default();
            let places = (0_i64..).zip(&log).skip(from);
            places.map(|(offset, id)| repeats.is_repeat(offset, *id)).collect::<Vec<bool>>()
        };
        let all = judge(0);
        assert!(all.iter().any(|repeat| *repeat) && all.iter().any(|repeat| !*repeat));
        for begin in [1_usize, 999, 4_000] {
            let reach = usize::try_from(REACH).unwrap();
            assert_eq!(judge(begin)[reach..], all[begin + reach..]);
        }
    }
}
