//! What a command that retries reports on standard error: each change once.

/// The state that was last reported.
#[derive(Debug, Default)]
pub struct Reported {
    failure: Option<String>,
}

impl Reported {
    /// The line about a failed attempt; `None` if the previous one failed for the same reason.
    pub fn failed(&mut self, reason: String) -> Option<String> {
        if self.failure.as_ref() == Some(&reason) {
            return None;
        }
        let line = format!("{reason}; trying again");
        self.failure = Some(reason);
        Some(line)
    }

    /// The line about a success; `None` if no failure was reported before.
    pub fn connected(&mut self) -> Option<&'static str> {
        self.failure.take().map(|_| "connected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_reported_once_and_then_each_change() {
        let mut reported = Reported::default();
        assert_eq!(reported.connected(), None);
        assert_eq!(reported.failed("refused".to_owned()).as_deref(), Some("refused; trying again"));
        assert_eq!(reported.failed("refused".to_owned()), None);
        assert_eq!(reported.failed("503".to_owned()).as_deref(), Some("503; trying again"));
        assert_eq!(reported.connected(), Some("connected"));
        assert_eq!(reported.failed("503".to_owned()).as_deref(), Some("503; trying again"));
    }
}
