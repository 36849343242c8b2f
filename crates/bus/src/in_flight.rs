//! The messages in flight of a group's member: delivered and not finished. They decide how far each partition may be committed.
//!
//! In: deliveries, finished positions in any order, revoked partitions. Out: the offset to commit (that of the lowest
//! unfinished message), and whether another message may be delivered. Both buses use it; it does no I/O and reads no clock.
//!
//! A [`Position`] needs no generation: "finished" says that the effects of the message at this offset are stored, which
//! stays true when its partition is revoked and assigned again. So it counts if the offset is in flight now, and is ignored
//! otherwise. A late call may finish the second delivery of the same message, which is correct.

use std::collections::BTreeMap;

use crate::seam::{ConsumerOptions, Position};

/// The messages in flight of one member. Offsets of a partition are delivered in ascending order.
#[derive(Debug, Default)]
pub struct InFlight {
    partitions: BTreeMap<i32, Partition>,
    messages: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Partition {
    /// Unfinished offsets with their weights in bytes.
    unfinished: BTreeMap<i64, usize>,
    /// The offset after the last delivered message.
    next: i64,
    /// The last committed offset, or the first delivered one.
    committed: i64,
}

impl Partition {
    fn commit_offset(&self) -> i64 {
        self.unfinished.first_key_value().map_or(self.next, |(lowest, _)| *lowest)
    }
}

impl InFlight {
    /// Adds a delivered message. It counts for `weight` bytes until it is finished.
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

    /// Marks a message as finished. Returns `false` if it is not in flight.
    pub fn finished(&mut self, position: Position) -> bool {
        let partition = self.partitions.get_mut(&position.partition);
        let Some(weight) = partition.and_then(|partition| partition.unfinished.remove(&position.offset)) else {
            return false;
        };
        self.bytes -= weight;
        self.messages -= 1;
        true
    }

    /// Removes a revoked partition. Returns its last offset to commit, if that has changed.
    pub fn forget(&mut self, partition: i32) -> Option<Position> {
        let removed = self.partitions.remove(&partition)?;
        self.messages -= removed.unfinished.len();
        self.bytes -= removed.unfinished.values().sum::<usize>();
        let offset = removed.commit_offset();
        (offset > removed.committed).then_some(Position { partition, offset })
    }

    /// The offset to commit, for each partition where it changed since [`committed`](Self::committed): that of its lowest
    /// unfinished message, or the one after its last delivered message. A group that starts there misses no message.
    pub fn uncommitted(&self) -> Vec<Position> {
        let moved = self.partitions.iter().filter(|(_, partition)| partition.commit_offset() > partition.committed);
        moved.map(|(&partition, state)| Position { partition, offset: state.commit_offset() }).collect()
    }

    /// Records that the log has stored this commit.
    pub fn committed(&mut self, position: Position) {
        if let Some(partition) = self.partitions.get_mut(&position.partition) {
            partition.committed = partition.committed.max(position.offset);
        }
    }

    /// Whether a message of `weight` bytes may be delivered within `options`. A single message is always allowed.
    pub fn has_room(&self, options: &ConsumerOptions, weight: usize) -> bool {
        let within = self.messages < options.max_in_flight && self.bytes + weight <= options.max_in_flight_bytes;
        self.messages == 0 || within
    }

    /// Messages in flight.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Messages in flight of one partition.
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

    /// All permutations of `rest`.
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
    fn the_commit_is_the_lowest_unfinished_offset_in_every_order() {
        let offsets = [7, 8, 10, 11, 15, 16];
        for order in orders(&offsets) {
            let mut in_flight = InFlight::default();
            offsets.iter().for_each(|offset| in_flight.delivered(at(3, *offset), 10));
            let mut done = Vec::new();
            for offset in &order {
                assert!(in_flight.finished(at(3, *offset)), "{order:?}");
                done.push(*offset);
                let lowest = offsets.iter().copied().find(|offset| !done.contains(offset)).unwrap_or(17);
                let expected = if lowest == 7 { vec![] } else { vec![at(3, lowest)] };
                assert_eq!(in_flight.uncommitted(), expected, "{order:?} after {done:?}");
                assert_eq!(in_flight.messages(), offsets.len() - done.len());
                assert_eq!(in_flight.bytes, 10 * (offsets.len() - done.len()));
            }
        }
    }

    #[test]
    fn a_commit_is_returned_until_it_is_stored() {
        let mut in_flight = InFlight::default();
        in_flight.delivered(at(0, 4), 1);
        in_flight.finished(at(0, 4));
        assert_eq!(in_flight.uncommitted(), [at(0, 5)]);
        assert_eq!(in_flight.uncommitted(), [at(0, 5)]);
        in_flight.committed(at(0, 5));
        assert_eq!(in_flight.uncommitted(), []);
    }

    #[test]
    fn partitions_do_not_block_each_other() {
        let mut in_flight = InFlight::default();
        in_flight.delivered(at(0, 1), 1);
        in_flight.delivered(at(1, 5), 2);
        in_flight.finished(at(1, 5));
        assert_eq!(in_flight.uncommitted(), [at(1, 6)]);
        assert_eq!((in_flight.messages_of(0), in_flight.messages_of(1), in_flight.messages_of(2)), (1, 0, 0));
    }

    #[test]
    fn a_revoked_partition_frees_its_bytes_and_returns_its_commit() {
        let mut in_flight = InFlight::default();
        for offset in 0..3 {
            in_flight.delivered(at(0, offset), 100);
        }
        in_flight.delivered(at(1, 0), 7);
        in_flight.finished(at(0, 0));
        in_flight.finished(at(0, 2));

        assert_eq!(in_flight.forget(0), Some(at(0, 1)));
        assert_eq!((in_flight.messages(), in_flight.bytes), (1, 7));
        assert!(!in_flight.finished(at(0, 1)));
        assert_eq!(in_flight.forget(0), None);

        // It is assigned again and continues at the commit; only messages that are in flight again can be finished.
        in_flight.delivered(at(0, 1), 100);
        assert!(!in_flight.finished(at(0, 2)));
        assert_eq!(in_flight.uncommitted(), []);
        assert!(in_flight.finished(at(0, 1)));
        assert_eq!(in_flight.uncommitted(), [at(0, 2)]);
    }

    #[test]
    fn finishing_twice_counts_once() {
        let mut in_flight = InFlight::default();
        in_flight.delivered(at(0, 0), 5);
        assert!(in_flight.finished(at(0, 0)));
        assert!(!in_flight.finished(at(0, 0)));
        assert_eq!((in_flight.messages(), in_flight.bytes), (0, 0));
    }

    #[test]
    fn count_and_bytes_are_bounded_except_for_one_message() {
        let options = ConsumerOptions { max_in_flight: 3, max_in_flight_bytes: 100, ..ConsumerOptions::default() };
        let mut in_flight = InFlight::default();
        assert!(in_flight.has_room(&options, 1_000));
        in_flight.delivered(at(0, 0), 60);
        assert!(in_flight.has_room(&options, 40));
        assert!(!in_flight.has_room(&options, 41));
        in_flight.delivered(at(0, 1), 1);
        in_flight.delivered(at(0, 2), 1);
        assert!(!in_flight.has_room(&options, 1), "three are in flight");
        in_flight.finished(at(0, 1));
        assert!(in_flight.has_room(&options, 1));
    }
}
