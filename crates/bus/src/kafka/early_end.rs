//! Decides what it means that Kafka reports the end of a partition before the end of the range that a reader reads. Either no message
//! has the offsets between, for example because they mark the end of a transaction; or a new leader does not know yet how far the
//! messages go, because it learns that from the followers. No input or output here: the reader asks the leader.

use std::time::Instant;

/// A partition that ended before the end of its range.
pub struct EarlyEnd {
    /// When it ended at `offset` for the first time.
    since: Instant,
    /// Where it ended last.
    offset: Option<i64>,
    check: Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// The leader must be asked.
    Needed,
    /// The leader was asked since the partition ended last.
    Done { knows_end: bool },
}

impl Default for EarlyEnd {
    fn default() -> Self {
        Self { since: Instant::now(), offset: None, check: Check::Needed }
    }
}

impl EarlyEnd {
    /// Notes that the partition ended at this offset. Returns whether no message follows within the range: the leader knew the end of
    /// the range, and then the partition ended at the same offset again.
    pub fn ended_at(&mut self, offset: i64) -> bool {
        let is_proven = self.offset == Some(offset) && self.check == Check::Done { knows_end: true };
        if self.offset != Some(offset) {
            *self = Self { offset: Some(offset), ..Self::default() };
        }
        self.check = Check::Needed;
        is_proven
    }

    /// Notes whether the leader knows the end of the range.
    pub fn checked(&mut self, knows_end: bool) {
        self.check = Check::Done { knows_end };
    }

    /// Whether the leader must be asked.
    pub fn must_be_checked(&self) -> bool {
        self.check == Check::Needed
    }

    /// When the partition ended for the first time where it ended last.
    pub fn since(&self) -> Instant {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_follows_only_if_the_partition_ends_again_after_the_leader_knew_the_end() {
        let mut early = EarlyEnd::default();
        assert!(!early.ended_at(5));
        assert!(early.must_be_checked());

        // A new leader that does not know the later messages yet.
        early.checked(false);
        assert!(!early.must_be_checked());
        assert!(!early.ended_at(5));
        assert!(early.must_be_checked());

        early.checked(true);
        // Messages came between, so the check proves nothing for what follows them.
        assert!(!early.ended_at(7));
        early.checked(true);
        assert!(early.ended_at(7));
    }
}
