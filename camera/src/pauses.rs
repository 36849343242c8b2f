//! Pauses before a live source is opened again.

use std::time::Duration;

use platform::retry::Backoff;

use crate::video::Failure;

/// The longest is short enough for frames within ten seconds of its return.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(5);
/// The same where a server is there and refuses the parts of its playlist: each try is several requests.
const FIRST_OF_PARTS: Duration = Duration::from_secs(1);
const LONGEST_OF_PARTS: Duration = Duration::from_secs(60);
/// The same after a refused password.
const FIRST_REFUSED: Duration = Duration::from_secs(60);
const LONGEST_REFUSED: Duration = Duration::from_secs(15 * 60);

/// The pauses of one source. They grow until there are frames.
pub struct Pauses {
    usual: Backoff,
    of_parts: Backoff,
    /// Without jitter: a camera may lock its account for a whole minute.
    refused: Duration,
}

impl Pauses {
    /// The first ones.
    pub const fn new() -> Self {
        let (usual, of_parts) = (Backoff::new(FIRST, LONGEST), Backoff::new(FIRST_OF_PARTS, LONGEST_OF_PARTS));
        Self { usual, of_parts, refused: FIRST_REFUSED }
    }

    /// The next pause.
    pub fn after(&mut self, failure: &Failure) -> Duration {
        match failure {
            Failure::Refused | Failure::Demanded => {
                let pause = self.refused;
                self.refused = (pause * 2).min(LONGEST_REFUSED);
                pause
            }
            Failure::PartsRefused(_) => self.of_parts.pause(),
            _ => self.usual.pause(),
        }
    }

    /// There were frames.
    pub const fn reset(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_most_where_a_server_refuses() {
        let mut pauses = Pauses::new();
        let mut tenth = |failure: Failure| (0..10).map(|_| pauses.after(&failure)).last().unwrap();
        assert_eq!(tenth(Failure::Refused), LONGEST_REFUSED);
        assert_eq!(tenth(Failure::Demanded), LONGEST_REFUSED);
        assert!(tenth(Failure::PartsRefused("404")) >= LONGEST_OF_PARTS / 2);
        assert!(tenth(Failure::Stalled(Duration::from_secs(10))) <= LONGEST);
        pauses.reset();
        assert!(pauses.after(&Failure::PartsRefused("404")) <= FIRST_OF_PARTS);
        assert_eq!(pauses.after(&Failure::Refused), FIRST_REFUSED);
    }
}
