//! When a deletion is repeated. What was on its way at a deletion is stored after it, so the deletion is repeated after a minute, two, four and
//! so on, and the last time when nothing can come any more. This also finishes a deletion whose process ended.

use jiff::{SignedDuration, Timestamp};

/// Time between a deletion and its first repeat.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The time of the first repeat.
pub(super) fn first_repeat(deleted_at: Timestamp) -> Timestamp {
    deleted_at.checked_add(FIRST_PAUSE).unwrap_or(deleted_at)
}

/// The time of the next repeat after one at `now`: after twice the time since the deletion, and last at the end of `kept`. `None` after that.
pub(super) fn next_repeat(deleted_at: Timestamp, now: Timestamp, kept: SignedDuration) -> Option<Timestamp> {
    let last = deleted_at.checked_add(kept).unwrap_or(Timestamp::MAX);
    if now >= last {
        return None;
    }
    let pause = now.duration_since(deleted_at).max(FIRST_PAUSE);
    Some(now.checked_add(pause).unwrap_or(Timestamp::MAX).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_repeated_until_nothing_can_come() {
        let deleted_at: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let kept = SignedDuration::from_hours(24);
        let (mut passes, mut now) = (0, deleted_at);
        while let Some(at) = next_repeat(deleted_at, now, kept) {
            assert!(at > now && at <= deleted_at + kept, "{at}");
            (passes, now) = (passes + 1, at);
        }
        // 1, 2, 4 minutes and so on, and at the end.
        assert_eq!((passes, now), (12, deleted_at + kept));
        assert_eq!(first_repeat(deleted_at), deleted_at + SignedDuration::from_mins(1));
    }
}
