//! What the first upload waits for, for the log and for `/readyz`.
//!
//! In: how each attempt to handle an upload ended. Out: the reason of the last one, while it is tried again.

use std::sync::{Arc, Mutex, PoisonError};

use consumer_kit::HandleError;
use platform::Health;

/// The name of the check.
const CHECK: &str = "photographs";

/// Why uploads wait. Clones share it.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    /// Notes how an attempt ended.
    pub fn note(&self, handled: &Result<(), HandleError>) {
        let reason = match handled {
            Err(HandleError::Transient(reason)) => Some(reason.clone()),
            Ok(()) | Err(HandleError::Permanent(_)) => None,
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    fn check(&self) -> Result<(), String> {
        let reason = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.map_or(Ok(()), |reason| Err(format!("photographs wait: {reason}")))
    }

    /// Adds to what `/readyz` shows. The service stays ready, because everything else works.
    pub fn shown_by(&self, health: Health) -> Health {
        let waiting = self.clone();
        health.with_optional(CHECK, move || {
            let checked = waiting.check();
            async move { checked }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_upload_that_is_tried_again_waits() {
        let waiting = Waiting::default();
        assert_eq!(waiting.check(), Ok(()));
        waiting.note(&Err(HandleError::Transient("the database is away".to_owned())));
        assert_eq!(waiting.clone().check(), Err("photographs wait: the database is away".to_owned()));
        for ended in [Err(HandleError::permanent("undecodable", &"no JSON")), Ok(())] {
            waiting.note(&Err(HandleError::Transient("away".to_owned())));
            waiting.note(&ended);
            assert_eq!(waiting.check(), Ok(()));
        }
    }
}
