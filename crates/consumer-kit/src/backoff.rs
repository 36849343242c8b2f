//! Named backoff policies. Each constant is an unused [`Backoff`] with its first and its longest pause.

use std::time::Duration;

use platform::retry::Backoff;

/// Joining a group and reading a topic, 0.1 s to 5 s. A restarting broker is available again within seconds.
pub const READ: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// Sending a message, 2 ms to 5 s. A full queue accepts messages again within milliseconds.
pub const SEND: Backoff = Backoff::new(Duration::from_millis(2), Duration::from_secs(5));
/// Calls to a blob store or a detector while a message is processed, 100 ms to 15 s. They may be remote and slow to recover.
pub const PROCESS: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));
/// Writing to a database and handling a message, 50 ms to 5 s.
pub const STORE: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
