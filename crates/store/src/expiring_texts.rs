//! Texts under keys, each with an expiry, in the memory of this process.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Number of texts from which on expired ones are removed.
const SWEEP_FROM: usize = 1_024;

/// Texts under keys. An expired text is not returned, and is removed when others are put.
#[derive(Debug, Default)]
pub struct ExpiringTexts(HashMap<String, (String, Instant)>);

impl ExpiringTexts {
    /// Puts a text under a key for `life`.
    pub fn put(&mut self, key: &str, text: &str, life: Duration) {
        let now = Instant::now();
        // At every power of two, so that the cost of each stays constant.
        if self.0.len() >= SWEEP_FROM && self.0.len().is_power_of_two() {
            self.0.retain(|_, (_, ends)| *ends > now);
        }
        self.0.insert(key.to_owned(), (text.to_owned(), now + life));
    }

    /// The text; `None` for an unknown or expired key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|(_, ends)| *ends > Instant::now()).map(|(text, _)| text.as_str())
    }

    /// Removes a key. An unknown key is no error.
    pub fn remove(&mut self, key: &str) {
        self.0.remove(key);
    }
}
