//! The seam to a payment provider.
//!
//! In: an order and an amount. Out: whether the provider took the money. The key of a payment is the id of its order: a provider
//! takes the money of one key once, however often it is asked, so that a repeat after a crash costs nothing. [`Payments::cancel`]
//! makes a key useless; an order may be given up only after it.

mod mock;

use async_trait::async_trait;
use contracts::{Money, OrderId};

pub use mock::{MockBehaviour, MockPayments};

/// What is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentRequest {
    /// The order, which is the idempotency key of its payment.
    pub key: OrderId,
    /// The amount, more than zero.
    pub amount: Money,
}

/// The outcome of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentOutcome {
    /// The provider has the money.
    Paid {
        /// The provider's own id of the payment.
        reference: String,
    },
    /// The user must do something first.
    Action {
        /// The page for it.
        url: String,
    },
    /// The provider refuses.
    Declined {
        /// The reason, for the user.
        why: String,
    },
}

/// What the provider knows of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentState {
    /// The provider has the money.
    Paid {
        /// The provider's own id of the payment.
        reference: String,
        /// What was paid.
        amount: Money,
    },
    /// The provider refused.
    Declined {
        /// The reason, for the user.
        why: String,
    },
    /// It is not decided: the user must do something, or the provider has not finished.
    Waiting,
    /// No payment with this key succeeds any more.
    Cancelled,
    /// The money was given back.
    Refunded,
}

/// The provider has no answer. Whether it did what was asked is unknown; the same may be asked again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PaymentError(pub String);

/// A payment provider. Share it as `Arc<dyn Payments>`. Every call may be repeated with the same key, and may be dropped at any time.
#[async_trait]
pub trait Payments: Send + Sync {
    /// The provider's name, as orders store it.
    fn provider(&self) -> &'static str;

    /// Takes the money of an order. With the same key again: the same outcome, and no further money.
    async fn pay(&self, request: &PaymentRequest) -> Result<PaymentOutcome, PaymentError>;

    /// What became of a key; `None` when the provider does not know it.
    async fn find(&self, key: OrderId) -> Result<Option<PaymentState>, PaymentError>;

    /// Makes a key useless, unless it is paid. After it, no payment with the key succeeds. Returns the state then.
    async fn cancel(&self, request: &PaymentRequest) -> Result<PaymentState, PaymentError>;

    /// Gives the money of a payment back. Again: the same. Returns the provider's own id of the refund.
    async fn refund(&self, reference: &str, request: &PaymentRequest) -> Result<String, PaymentError>;

    /// Reads a message of the provider, whose signature it verifies. Returns the order whose payment changed; the caller asks
    /// [`Self::find`] about it, and believes nothing else of the message.
    async fn webhook(&self, body: &[u8], signature: Option<&str>) -> Result<Option<OrderId>, PaymentError>;
}
