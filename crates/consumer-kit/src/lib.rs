//! Common parts of all consumers of the log.
//!
//! ```text
//! topic ──▶ GroupReader ──▶ handler ──▶ Sender ──▶ another topic
//!               ▲              └─ permanent error ──▶ DeadLetterQueue ──▶ <topic>.dlq
//!               └── commit ◀── finished
//! ```
//!
//! In: a topic's messages, as a member of a consumer group. Out: the handler's effects, messages on other topics, and dead
//! letters.
//!
//! Guarantees: a message is finished only after its handler succeeded or its dead letter is acknowledged. A crash repeats work
//! and loses none, so effects must be idempotent. Transient errors are retried with growing pauses until the service stops;
//! fatal errors end the service with their cause.
//!
//! [`run`] is a whole consumer that handles one message at a time. A service that processes several messages concurrently
//! uses the parts: [`GroupReader`], [`Sender`], [`DeadLetterQueue`], [`Retry`] and [`repeat()`].

pub mod backoff;
mod dead_letters;
mod group_reader;
mod repeat;
mod retry;
mod run;
mod sender;

pub use dead_letters::DeadLetterQueue;
pub use group_reader::{Group, GroupReader};
pub use repeat::repeat;
pub use retry::{Interrupted, Retry};
pub use run::{HandleError, Handler, run};
pub use sender::{PendingSend, Sender, TooLarge};
