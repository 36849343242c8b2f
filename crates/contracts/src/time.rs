//! The precision of times.

use jiff::Timestamp;

/// The time without its part below a microsecond. The stores keep microseconds, so a time that is cut before it is published is
/// the same in a response, on the log and in a store.
pub fn whole_microseconds(at: Timestamp) -> Timestamp {
    // The result is nearer to 1970 than `at`, so it is in range.
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_are_cut() {
        for (at, expected) in [
            ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123456Z"),
            ("2026-01-02T03:04:05.999999999Z", "2026-01-02T03:04:05.999999Z"),
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ] {
            assert_eq!(whole_microseconds(at.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
