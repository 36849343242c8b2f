//! The ledger of a group's member: what was delivered and is not finished, and how far each partition may be committed.
//!
//! In: deliveries, marks of finished work in any order, partitions taken away. Out: the offset to commit (that of the lowest
//! unfinished message), and whether there is room for more. Both buses use it; it does no I/O and knows no time.
//!
//! A [`Position`] has no generation, and needs none: a mark says that the effects of the message at this offset are stored,
//! which stays true when the partition went away and came back. So a mark counts when its offset is in flight here and now,
//! and is ignored otherwise. A late mark that meets the second delivery of its message finishes it, rightly.

use std::collections::BTreeMap;

use crate::seam::{ConsumerOptions, Position};

/// What one member of a group has in hand. Offsets of a partition are delivered in ascending order.
#[derive(Debug, Default)]
pub struct InFlight {
    partitions: BTreeMap<i32, Partition>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Partition {
    /// Unfinished offsets with the bytes they count for.
    unfinished: BTreeMap<i64, usize>,
    /// The offset after the last delivered one.
    next: i64,
    /// What [`InFlight::committed`] last said, or where the member began.
    committed: i64,
}

impl Partition {
    fn commit_offset(&self) -> i64 {
        self.unfinished.first_key_value().map_or(self.next, |(lowest, _)| *lowest)
    }
}

impl InFlight {
    /// A message is handed to the member; it counts for `weight` bytes until it is finished.
    pub fn delivered(&mut self, position: Position, weight: usize) {
        let Position { partition, offset } = position;
        let partition = self.partitions.entry(partition).or_insert_with(|| Partition {
            unfinished: BTreeMap::new(),
            next: offset,
            committed: offset,
        });
        partition.next = partition.next.max(offset + 1);
        if let Some(before) = partition.unfinished.insert(offset, weight) {
            self.bytes -= before;
            self.messages -= 1;
        }
        self.bytes += weight;
        self.messages += 1;
    }

    /// The work on a message is done. Says whether the mark counted: `false` for what is not in flight here.
    pub fn finished(&mut self, position: Position) -> bool {
        let partition = self.partitions.get_mut(&position.partition);
        let Some(weight) = partition.and_then(|partition| partition.unfinished.remove(&position.offset)) else {
            return false;
        };
        self.bytes -= weight;
        self.messages -= 1;
        true
    }

    /// Forgets a partition that is no longer this member's; marks for it are ignored from now on. Gives the offset that should
    /// still be committed for it, where that moved.
    pub fn forget(&mut self, partition: i32) -> Option<Position> {
        let gone = self.partitions.remove(&partition)?;
        self.messages -= gone.unfinished.len();
        self.bytes -= gone.unfinished.values().sum::<usize>();
        let offset = gone.commit_offset();
        (offset > gone.committed).then_some(Position { partition, offset })
    }

    /// For each partition whose commit moved since [`committed`](Self::committed): the offset of its lowest unfinished message,
    /// or the one after its last delivered message when all are finished. A group that starts there misses nothing.
    pub fn uncommitted(&self) -> Vec<Position> {
        let moved = self.partitions.iter().filter(|(_, partition)| partition.commit_offset() > partition.committed);
        moved.map(|(&partition, state)| Position { partition, offset: state.commit_offset() }).collect()
    }

    /// The log took this commit.
    pub fn committed(&mut self, position: Position) {
        if let Some(partition) = self.partitions.get_mut(&position.partition) {
            partition.committed = partition.committed.max(position.offset);
        }
    }

    /// Whether a message of `weight` bytes may be delivered within `options`. One message always may.
    pub fn has_room(&self, options: &ConsumerOptions, weight: usize) -> bool {
        let within = self.messages < options.max_in_flight && self.bytes + weight <= options.max_in_flight_bytes;
        self.messages == 0 || within
    }

    /// Messages delivered and not finished.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Messages of one partition delivered and not finished.
    pub fn messages_of(&self, partition: i32) -> usize {
        self.partitions.get(&partition).map_or(0, |partition| partition.unfinished.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(partition: i32, offset: i64) -> Position {
        Position { partition, offset }
    }

    /// Every order in which `rest` can be finished.
    fn orders(rest: &[i64]) -> Vec<Vec<i64>> {
        if rest.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for (index, first) in rest.iter().enumerate() {
            let others: Vec<i64> = rest.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, o)| *o).collect();
            all.extend(orders(&others).into_iter().map(|order| [vec![*first], order].concat()));
        }
        all
    }

    #[test]
    fn in_every_order_of_finishing_the_commit_is_the_lowest_unfinished_offset() {
        let offsets = [7, 8, 10, 11, 15, 16];
        for order in orders(&offsets) {
            let mut ledger = InFlight::default();
            offsets.iter().for_each(|offset| ledger.delivered(at(3, *offset), 10));
            let mut done = Vec::new();
            for offset in &order {
                assert!(ledger.finished(at(3, *offset)), "{order:?}");
                done.push(*offset);
                let lowest = offsets.iter().copied().find(|offset| !done.contains(offset)).unwrap_or(17);
                let expected = if lowest == 7 { vec![] } else { vec![at(3, lowest)] };
                assert_eq!(ledger.uncommitted(), expected, "{order:?} after {done:?}");
                assert_eq!(ledger.messages(), offsets.len() - done.len());
                assert_eq!(ledger.bytes, 10 * (offsets.len() - done.len()));
            }
        }
    }

    #[test]
    fn a_commit_is_offered_until_the_log_took_it() {
        let mut ledger = InFlight::default();
        ledger.delivered(at(0, 4), 1);
        ledger.finished(at(0, 4));
        assert_eq!(ledger.uncommitted(), [at(0, 5)]);
        assert_eq!(ledger.uncommitted(), [at(0, 5)]);
        ledger.committed(at(0, 5));
        assert_eq!(ledger.uncommitted(), []);
    }

    #[test]
    fn partitions_do_not_hold_each_other_back() {
        let mut ledger = InFlight::default();
        ledger.delivered(at(0, 1), 1);
        ledger.delivered(at(1, 5), 2);
        ledger.finished(at(1, 5));
        assert_eq!(ledger.uncommitted(), [at(1, 6)]);
        assert_eq!((ledger.messages_of(0), ledger.messages_of(1), ledger.messages_of(2)), (1, 0, 0));
    }

    #[test]
    fn a_partition_taken_away_frees_its_room_gives_its_commit_and_ignores_late_marks() {
        let mut ledger = InFlight::default();
        for offset in 0..3 {
            ledger.delivered(at(0, offset), 100);
        }
        ledger.delivered(at(1, 0), 7);
        ledger.finished(at(0, 0));
        ledger.finished(at(0, 2));

        assert_eq!(ledger.forget(0), Some(at(0, 1)));
        assert_eq!((ledger.messages(), ledger.bytes), (1, 7));
        assert!(!ledger.finished(at(0, 1)));
        assert_eq!(ledger.forget(0), None);

        // It comes back and continues at what was committed; only what is in flight again can be finished.
        ledger.delivered(at(0, 1), 100);
        assert!(!ledger.finished(at(0, 2)));
        assert_eq!(ledger.uncommitted(), []);
        assert!(ledger.finished(at(0, 1)));
        assert_eq!(ledger.uncommitted(), [at(0, 2)]);
    }

    #[test]
    fn a_mark_counts_once() {
        let mut ledger = InFlight::default();
        ledger.delivered(at(0, 0), 5);
        assert!(ledger.finished(at(0, 0)));
        assert!(!ledger.finished(at(0, 0)));
        assert_eq!((ledger.messages(), ledger.bytes), (0, 0));
    }

    #[test]
    fn room_is_bounded_by_count_and_bytes_and_one_message_always_passes() {
        let options = ConsumerOptions { max_in_flight: 3, max_in_flight_bytes: 100, ..ConsumerOptions::default() };
        let mut ledger = InFlight::default();
        assert!(ledger.has_room(&options, 1_000));
        ledger.delivered(at(0, 0), 60);
        assert!(ledger.has_room(&options, 40));
        assert!(!ledger.has_room(&options, 41));
        ledger.delivered(at(0, 1), 1);
        ledger.delivered(at(0, 2), 1);
        assert!(!ledger.has_room(&options, 1), "three are in flight");
        ledger.finished(at(0, 1));
        assert!(ledger.has_room(&options, 1));
    }
}
