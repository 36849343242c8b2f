//! Calls of providers as the database stores them.

use contracts::{BookId, MediaStep};
use jiff::Timestamp;
use uuid::Uuid;

use super::{optional_large, optional_small, small, step};
use crate::relational::values::{Row, unreadable};
use crate::{PageCursor, StoreError};

/// What a call is expected to cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPrice {
    /// The currency, as its code of ISO 4217.
    pub currency: String,
    /// Millionths of its unit that are reserved; 0 or more.
    pub reserved_micro: i64,
}

/// A call that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its id.
    pub id: Uuid,
    /// The book; `None` for a probe.
    pub book: Option<BookId>,
    /// The generation of the book's pipeline; 0 for a probe.
    pub generation: u32,
    /// What it is for.
    pub step: MediaStep,
    /// The window.
    pub window: Option<u32>,
    /// The provider.
    pub provider: String,
    /// The provider's group.
    pub group: String,
    /// The provider's model.
    pub model: String,
    /// What it is expected to cost; `None` for a provider without a price.
    pub price: Option<CallPrice>,
    /// Length of the sound that is sent.
    pub audio_ms: Option<u64>,
    /// When it counts as unknown, unless it was settled before.
    pub expires_at: Timestamp,
}

/// What may be spent. Only calls in this currency count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallCaps {
    /// The currency.
    pub currency: String,
    /// On a book, in millionths of its unit.
    pub book_micro: Option<i64>,
    /// On a day in UTC.
    pub day_micro: Option<i64>,
}

/// The outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutcome {
    /// The call may be made.
    Reserved,
    /// It would cost more than is left for the book. Nothing is reserved.
    OverBook {
        /// What is spent and reserved.
        spent: i64,
        /// What may be.
        cap: i64,
    },
    /// It would cost more than is left for the day. Nothing is reserved.
    OverDay {
        /// What is spent and reserved.
        spent: i64,
        /// What may be.
        cap: i64,
    },
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settlement<'a> {
    /// The outcome in a word, such as `done` or `rate_limited`.
    pub outcome: &'a str,
    /// What it cost; `None`: unknown, so the reserved amount stays spent.
    pub cost_micro: Option<i64>,
    /// Length of the sound that was charged; `None` leaves the one that was sent.
    pub audio_ms: Option<u64>,
    /// Tokens that were read.
    pub tokens_in: Option<u64>,
    /// Tokens that were written.
    pub tokens_out: Option<u64>,
    /// The provider's id of the request.
    pub request_id: Option<&'a str>,
}

/// State of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// It is being made.
    Reserved,
    /// It has ended.
    Settled,
    /// It was not settled in time. The reserved amount counts as spent.
    Unknown,
}

impl CallState {
    const ALL: [Self; 3] = [Self::Reserved, Self::Settled, Self::Unknown];

    /// The name in the database and in the public API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Settled => "settled",
            Self::Unknown => "unknown",
        }
    }
}

/// A call of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// What was known before it.
    pub call: NewCall,
    /// Its state.
    pub state: CallState,
    /// The outcome in a word.
    pub outcome: Option<String>,
    /// What it cost, after it.
    pub cost_micro: Option<i64>,
    /// Tokens that were read.
    pub tokens_in: Option<u64>,
    /// Tokens that were written.
    pub tokens_out: Option<u64>,
    /// The provider's id of the request.
    pub request_id: Option<String>,
    /// When it was reserved.
    pub reserved_at: Timestamp,
    /// When it was settled.
    pub settled_at: Option<Timestamp>,
}

/// Which calls are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Those of a book.
    pub book: Option<BookId>,
    /// Those of a provider.
    pub provider: Option<String>,
}

/// What is spent and reserved in a currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The currency.
    pub currency: String,
    /// Millionths of its unit.
    pub micro: i64,
}

/// The columns of a call in every statement that reads one.
macro_rules! call_columns {
    () => {
        "id, book_id, generation, step, window_number, provider, provider_group, model, state, outcome, currency, \
         reserved_micro, cost_micro, audio_ms, tokens_in, tokens_out, request_id, reserved_at, settled_at, expires_at"
    };
}
pub(super) use call_columns;

impl CallRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let state: String = row.get("state")?;
        let state = CallState::ALL.into_iter().find(|known| known.as_str() == state);
        let (currency, reserved_micro): (Option<String>, i64) = (row.get("currency")?, row.get("reserved_micro")?);
        let call = NewCall {
            id: row.get("id")?,
            book: row.get::<Option<Uuid>>("book_id")?.map(BookId::from_uuid),
            generation: small(row, "generation")?,
            step: step(row, "step")?,
            window: optional_small(row, "window_number")?,
            provider: row.get("provider")?,
            group: row.get("provider_group")?,
            model: row.get("model")?,
            price: currency.map(|currency| CallPrice { currency, reserved_micro }),
            audio_ms: optional_large(row, "audio_ms")?,
            expires_at: row.get("expires_at")?,
        };
        Ok(Self {
            call,
            state: state.ok_or_else(|| unreadable("state of a call", &"it is not known"))?,
            outcome: row.get("outcome")?,
            cost_micro: row.get("cost_micro")?,
            tokens_in: optional_large(row, "tokens_in")?,
            tokens_out: optional_large(row, "tokens_out")?,
            request_id: row.get("request_id")?,
            reserved_at: row.get("reserved_at")?,
            settled_at: row.get("settled_at")?,
        })
    }

    /// The cursor after this call in the list of calls.
    pub fn cursor(&self) -> PageCursor {
        PageCursor { at: self.reserved_at, id: self.call.id.to_string() }
    }
}
