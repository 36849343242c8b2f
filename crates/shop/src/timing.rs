//! How long the shop waits for what.

use std::time::Duration;

/// The times of the shop. The defaults are those of every installation; a test may have shorter ones.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Longest wait for the provider's answer to a payment or a refund.
    pub payment: Duration,
    /// Longest wait for the provider's answer to a question.
    pub question: Duration,
    /// Age at which the reconciler asks about an order that is not settled. Longer than `payment`, so that it does not meddle with a
    /// checkout in progress.
    pub reconcile_after: Duration,
    /// Age at which the reconciler ends an order that nobody paid.
    pub abandon_after: Duration,
    /// Longest time after an order was paid in which a checkout without a key, of an empty cart, is a repeat of it.
    pub double_tap: Duration,
    /// Time for which a book in work belongs to one instance; the first wait before a repeat.
    pub lease: Duration,
    /// Longest wait before a repeat.
    pub longest_wait: Duration,
    /// Age at which a file that no book has any more is deleted: somebody may still be reading it.
    pub keep_unused: Duration,
    /// Longest wait for a block of a file that is read for its content.
    pub block: Duration,
    /// Period of the regular tasks that repair and reconcile.
    pub repair_every: Duration,
    /// Period of the regular tasks that delete.
    pub sweep_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        Self {
            payment: Duration::from_secs(30),
            question: Duration::from_secs(10),
            reconcile_after: Duration::from_secs(MINUTE),
            abandon_after: Duration::from_secs(30 * MINUTE),
            double_tap: Duration::from_secs(MINUTE),
            lease: Duration::from_secs(5 * MINUTE),
            longest_wait: Duration::from_secs(60 * MINUTE),
            keep_unused: Duration::from_secs(48 * 60 * MINUTE),
            block: Duration::from_secs(30),
            repair_every: Duration::from_secs(15),
            sweep_every: Duration::from_secs(10 * MINUTE),
        }
    }
}
