//! A provider without money: it always pays, and in tests declines, hangs or loses its answers.
//!
//! It keeps its payments in a table of the shop's database, apart from those of the shop, so that they survive the program, are the same
//! for all instances, and can be compared with the orders.

use std::sync::atomic::{AtomicU8, Ordering};

use accounts::Clock;
use async_trait::async_trait;
use contracts::OrderId;
use store::relational::{MockPaymentRecord, MockPaymentState};
use store::{Relational, StoreError};
use uuid::Uuid;

use super::{PaymentError, PaymentOutcome, PaymentRequest, PaymentState, Payments};

/// How the mock behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MockBehaviour {
    /// It pays.
    Pay = 0,
    /// It declines.
    Decline = 1,
    /// It never answers, and does nothing.
    Hang = 2,
    /// It pays, and its answer is lost.
    PayAndHang = 3,
    /// It cannot be reached.
    Fail = 4,
}

/// The mock. A new one always pays.
pub struct MockPayments {
    database: Relational,
    clock: Clock,
    behaviour: AtomicU8,
}

impl MockPayments {
    /// A mock with its payments in this database.
    pub const fn new(database: Relational, clock: Clock) -> Self {
        Self { database, clock, behaviour: AtomicU8::new(MockBehaviour::Pay as u8) }
    }

    /// Behaves like this from now on.
    pub fn behave(&self, behaviour: MockBehaviour) {
        self.behaviour.store(behaviour as u8, Ordering::SeqCst);
    }

    /// How it answers. Waits without end while it hangs, and fails while it cannot be reached.
    async fn answer(&self) -> Result<MockBehaviour, PaymentError> {
        let found = self.behaviour.load(Ordering::SeqCst);
        let behaviours = [
            MockBehaviour::Pay,
            MockBehaviour::Decline,
            MockBehaviour::Hang,
            MockBehaviour::PayAndHang,
            MockBehaviour::Fail,
        ];
        match behaviours.into_iter().find(|behaviour| *behaviour as u8 == found) {
            Some(MockBehaviour::Hang) => std::future::pending().await,
            Some(MockBehaviour::Fail) => Err(PaymentError("the mock provider cannot be reached".to_owned())),
            behaviour => Ok(behaviour.unwrap_or(MockBehaviour::Pay)),
        }
    }

    /// Stores a payment of this state, unless its key has one. Returns the one that the key has.
    async fn record(
        &self,
        request: &PaymentRequest,
        state: MockPaymentState,
    ) -> Result<MockPaymentRecord, PaymentError> {
        let record = MockPaymentRecord {
            key: request.key,
            reference: format!("mock-{}", Uuid::now_v7()),
            state,
            amount: request.amount,
            at: self.clock.now(),
            refunded_at: None,
        };
        self.database.mock_pay(&record).await.map_err(|error| failed(&error))
    }
}

fn failed(error: &StoreError) -> PaymentError {
    PaymentError(format!("the payments of the mock provider cannot be used: {error}"))
}

/// What a stored payment means.
fn state_of(record: MockPaymentRecord) -> PaymentState {
    match record.state {
        MockPaymentState::Paid => PaymentState::Paid { reference: record.reference, amount: record.amount },
        MockPaymentState::Declined => PaymentState::Declined { why: DECLINED.to_owned() },
        MockPaymentState::Cancelled => PaymentState::Cancelled,
        MockPaymentState::Refunded => PaymentState::Refunded,
    }
}

const DECLINED: &str = "the provider refuses this payment";

#[async_trait]
impl Payments for MockPayments {
    fn provider(&self) -> &'static str {
        "mock"
    }

    async fn pay(&self, request: &PaymentRequest) -> Result<PaymentOutcome, PaymentError> {
        let behaviour = self.answer().await?;
        let wanted =
            if behaviour == MockBehaviour::Decline { MockPaymentState::Declined } else { MockPaymentState::Paid };
        let record = self.record(request, wanted).await?;
        if behaviour == MockBehaviour::PayAndHang {
            return std::future::pending().await;
        }
        Ok(match state_of(record) {
            PaymentState::Paid { reference, amount } if amount == request.amount => PaymentOutcome::Paid { reference },
            PaymentState::Paid { .. } => {
                PaymentOutcome::Declined { why: "the order was paid with another amount".to_owned() }
            }
            PaymentState::Declined { why } => PaymentOutcome::Declined { why },
            PaymentState::Waiting | PaymentState::Cancelled | PaymentState::Refunded => {
                PaymentOutcome::Declined { why: "the payment was cancelled".to_owned() }
            }
        })
    }

    async fn find(&self, key: OrderId) -> Result<Option<PaymentState>, PaymentError> {
        self.answer().await?;
        Ok(self.database.mock_payment(key).await.map_err(|error| failed(&error))?.map(state_of))
    }

    async fn cancel(&self, request: &PaymentRequest) -> Result<PaymentState, PaymentError> {
        self.answer().await?;
        Ok(state_of(self.record(request, MockPaymentState::Cancelled).await?))
    }

    async fn refund(&self, reference: &str, request: &PaymentRequest) -> Result<String, PaymentError> {
        self.answer().await?;
        if self.database.mock_refund(reference, self.clock.now()).await.map_err(|error| failed(&error))? {
            return Ok(format!("{reference}-refund"));
        }
        Err(PaymentError(format!("the mock provider has no payment {reference} of the order {}", request.key)))
    }

    async fn webhook(&self, _body: &[u8], _signature: Option<&str>) -> Result<Option<OrderId>, PaymentError> {
        Err(PaymentError("the mock provider sends no messages".to_owned()))
    }
}
