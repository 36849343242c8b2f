//! The payments of the provider `mock`, which takes no money. Like those of a real provider, they are apart from the shop's: each has a key,
//! and a key has one payment.

use contracts::{Money, OrderId, whole_microseconds};
use jiff::Timestamp;
use uuid::Uuid;

use super::{named, order_id, page_limit, required_money};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, values};

/// Where a payment of the mock is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MockPaymentState {
    /// Paid.
    Paid,
    /// Declined.
    Declined,
    /// It was called off before it was made, and never will be made.
    Cancelled,
    /// Paid back.
    Refunded,
}

impl MockPaymentState {
    const ALL: [Self; 4] = [Self::Paid, Self::Declined, Self::Cancelled, Self::Refunded];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Cancelled => "cancelled",
            Self::Refunded => "refunded",
        }
    }
}

impl std::str::FromStr for MockPaymentState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| format!("there is no state of a payment {text:?}"))
    }
}

/// A payment of the mock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockPaymentRecord {
    /// Its key.
    pub key: OrderId,
    /// The provider's own id of it.
    pub reference: String,
    /// Where it is.
    pub state: MockPaymentState,
    /// The amount.
    pub amount: Money,
    /// When it was made.
    pub at: Timestamp,
    /// When it was paid back.
    pub refunded_at: Option<Timestamp>,
}

/// The columns of a payment of the mock in every statement that reads one.
macro_rules! mock_columns {
    () => {
        "order_id, reference, state, amount_minor, currency, made_at, refunded_at"
    };
}
/// A payment by its key.
const OF_KEY: &str = concat!("SELECT ", mock_columns!(), " FROM mock_payments WHERE order_id = $1");

impl MockPaymentRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            key: order_id(row)?,
            reference: row.get("reference")?,
            state: named(row, "state")?,
            amount: required_money(row, "amount_minor", "currency")?,
            at: row.get("made_at")?,
            refunded_at: row.get("refunded_at")?,
        })
    }
}

impl Relational {
    /// The payment with a key.
    pub async fn mock_payment(&self, key: OrderId) -> Result<Option<MockPaymentRecord>, StoreError> {
        self.row(OF_KEY, values![key]).await?.as_ref().map(MockPaymentRecord::read).transpose()
    }

    /// Records a payment, unless its key has one. Returns the one that the key has.
    pub async fn mock_pay(&self, payment: &MockPaymentRecord) -> Result<MockPaymentRecord, StoreError> {
        let MockPaymentRecord { key, reference, state, amount, at, refunded_at } = payment;
        let mut transaction = self.begin().await?;
        let sql = "INSERT INTO mock_payments (order_id, reference, state, amount_minor, currency, made_at, refunded_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (order_id) DO NOTHING";
        let (at, code) = (whole_microseconds(*at), amount.currency.code());
        let row = values![*key, reference, state.as_str(), amount.minor, code, at, *refunded_at];
        transaction.execute(sql, row).await?;
        let stored = transaction.row(OF_KEY, values![*key]).await?;
        transaction.commit().await?;
        let gone = || StoreError::Unavailable("a payment was stored and is gone".to_owned());
        MockPaymentRecord::read(&stored.ok_or_else(gone)?)
    }

    /// Records that a payment is paid back. `true` also if it was before; `false` if it is not paid.
    pub async fn mock_refund(&self, reference: &str, at: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE mock_payments SET state = 'refunded', refunded_at = COALESCE(refunded_at, $2) \
                   WHERE reference = $1 AND state IN ('paid', 'refunded')";
        Ok(self.execute(sql, values![reference, whole_microseconds(at)]).await? == 1)
    }

    /// Payments in the order of their keys, after one.
    pub async fn mock_payments(
        &self,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<MockPaymentRecord>, StoreError> {
        let sql =
            concat!("SELECT ", mock_columns!(), " FROM mock_payments WHERE order_id > $1 ORDER BY order_id LIMIT $2");
        let after = after.map_or(Uuid::nil(), |after| after.uuid());
        self.rows(sql, values![after, page_limit(limit)]).await?.iter().map(MockPaymentRecord::read).collect()
    }
}
