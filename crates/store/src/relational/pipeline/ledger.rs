//! The ledger: each call of a provider is reserved before it is made and settled after it. The sums of a book and of a day are kept in step, in
//! the same transactions, so a cap holds however many workers there are.

use contracts::{BookId, whole_microseconds};
use jiff::Timestamp;
use uuid::Uuid;

use super::calls::call_columns;
use super::{
    CallCaps, CallFilter, CallPrice, CallRecord, MAX_PAGE, NewCall, ReserveOutcome, Settlement, Spent, stored,
};
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, cursor_position, values};
use crate::{PageCursor, StoreError};

const INSERT: &str = "INSERT INTO provider_calls (id, book_id, generation, step, window_number, provider, provider_group, \
                      model, state, currency, reserved_micro, audio_ms, day, reserved_at, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'reserved', $9, $10, $11, $12, $13, $14)";

const ALL_CALLS: &str = concat!(
    "SELECT ",
    call_columns!(),
    " FROM provider_calls WHERE (reserved_at, id) < ($1, $2) ORDER BY reserved_at DESC, id DESC LIMIT $3"
);
const CALLS_OF_PROVIDER: &str = concat!(
    "SELECT ",
    call_columns!(),
    " FROM provider_calls WHERE provider = $4 AND (reserved_at, id) < ($1, $2) \
     ORDER BY reserved_at DESC, id DESC LIMIT $3"
);
const CALLS_OF_BOOK: &str = concat!(
    "SELECT ",
    call_columns!(),
    " FROM provider_calls WHERE book_id = $4 AND provider = COALESCE($5, provider) AND (reserved_at, id) < ($1, $2) \
     ORDER BY reserved_at DESC, id DESC LIMIT $3"
);

/// The names of the sums to which a call adds: the book's before the day's, which is the order of their locks.
fn scopes(book: Option<BookId>, day: &str) -> Vec<String> {
    let of_book = book.map(|book| format!("book {book}"));
    of_book.into_iter().chain([format!("day {day}")]).collect()
}

/// The day in UTC, such as `2026-01-02`.
fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

impl Relational {
    /// Reserves a call, if what it may cost is within the caps. Several callers at once do not exceed them together.
    pub async fn reserve_call(
        &self,
        call: &NewCall,
        caps: Option<&CallCaps>,
        now: Timestamp,
    ) -> Result<ReserveOutcome, StoreError> {
        let (now, day) = (whole_microseconds(now), day(now));
        let mut transaction = self.begin().await?;
        if let Some(price) = &call.price {
            let caps = caps.filter(|caps| caps.currency == price.currency);
            for scope in scopes(call.book, &day) {
                let is_book = scope.starts_with("book ");
                let cap = caps.and_then(|caps| if is_book { caps.book_micro } else { caps.day_micro });
                let cap = cap.unwrap_or(i64::MAX);
                if let Some(spent) = transaction.spend(&scope, price, cap).await? {
                    let over = if is_book {
                        ReserveOutcome::OverBook { spent, cap }
                    } else {
                        ReserveOutcome::OverDay { spent, cap }
                    };
                    return Ok(over);
                }
            }
        }
        transaction.insert_call(call, &day, now).await?;
        transaction.commit().await?;
        Ok(ReserveOutcome::Reserved)
    }

    /// Records how a call ended. `false` if it is settled or not known.
    pub async fn settle_call(&self, id: Uuid, settlement: &Settlement<'_>, now: Timestamp) -> Result<bool, StoreError> {
        let Settlement { outcome, cost_micro, audio_ms, tokens_in, tokens_out, request_id } = settlement;
        let mut transaction = self.begin().await?;
        let sql = "UPDATE provider_calls SET state = 'settled', outcome = $2, \
                   cost_micro = CASE WHEN currency IS NULL THEN NULL ELSE COALESCE($3, reserved_micro) END, \
                   audio_ms = COALESCE($4, audio_ms), tokens_in = $5, tokens_out = $6, request_id = $7, settled_at = $8 \
                   WHERE id = $1 AND state <> 'settled' RETURNING book_id, currency, reserved_micro, cost_micro, day";
        let numbers = [*audio_ms, *tokens_in, *tokens_out].map(|number| number.map(stored));
        let [audio_ms, tokens_in, tokens_out] = numbers;
        let cost = cost_micro.map(|micro| micro.max(0));
        let now = whole_microseconds(now);
        let arguments = values![id, *outcome, cost, audio_ms, tokens_in, tokens_out, *request_id, now];
        let Some(row) = transaction.row(sql, arguments).await? else { return Ok(false) };
        transaction.correct_sums(&row).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Marks calls as unknown that were not settled in time, at most `limit`. Their reserved amounts stay spent. Returns their number.
    pub async fn expire_calls(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let sql = "UPDATE provider_calls SET state = 'unknown' WHERE state = 'reserved' AND id IN \
                   (SELECT id FROM provider_calls WHERE state = 'reserved' AND expires_at < $1 ORDER BY expires_at LIMIT $2)";
        self.execute(sql, values![whole_microseconds(now), i64::from(limit)]).await
    }

    /// Calls, newest first, after a cursor; at most 201: a page of 200, and one that says that there is another page.
    pub async fn provider_calls(
        &self,
        filter: &CallFilter,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<CallRecord>, StoreError> {
        let ((at, id), limit) = (cursor_position(after), i64::from(limit.min(MAX_PAGE + 1)));
        let rows = match filter {
            CallFilter { book: Some(book), provider } => {
                self.rows(CALLS_OF_BOOK, values![at, id, limit, *book, provider]).await?
            }
            CallFilter { book: None, provider: Some(provider) } => {
                self.rows(CALLS_OF_PROVIDER, values![at, id, limit, provider]).await?
            }
            CallFilter { book: None, provider: None } => self.rows(ALL_CALLS, values![at, id, limit]).await?,
        };
        rows.iter().map(CallRecord::read).collect()
    }

    /// What is spent and reserved on a book, by currency.
    pub async fn spent_on_book(&self, book: BookId) -> Result<Vec<Spent>, StoreError> {
        self.spent(&format!("book {book}")).await
    }

    /// What is spent and reserved on the day in UTC of a time, by currency.
    pub async fn spent_on_day(&self, at: Timestamp) -> Result<Vec<Spent>, StoreError> {
        self.spent(&format!("day {}", day(at))).await
    }

    async fn spent(&self, scope: &str) -> Result<Vec<Spent>, StoreError> {
        let sql = "SELECT currency, micro FROM provider_spend WHERE scope = $1 ORDER BY currency";
        let rows = self.rows(sql, values![scope]).await?;
        rows.iter().map(|row| Ok(Spent { currency: row.get("currency")?, micro: row.get("micro")? })).collect()
    }
}

impl Transaction {
    /// Adds the price to a sum, unless it would exceed the cap: the sum is then returned.
    async fn spend(&mut self, scope: &str, price: &CallPrice, cap: i64) -> Result<Option<i64>, StoreError> {
        let (currency, micro) = (price.currency.as_str(), price.reserved_micro.max(0));
        let sql = "INSERT INTO provider_spend (scope, currency, micro) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
        self.execute(sql, values![scope, currency]).await?;
        // Subtracted, because the sum of both might be too large a number.
        let sql = "UPDATE provider_spend SET micro = micro + $3 WHERE scope = $1 AND currency = $2 AND micro <= $4";
        let left = cap.saturating_sub(micro);
        if self.execute(sql, values![scope, currency, micro, left]).await? == 1 {
            return Ok(None);
        }
        let sql = "SELECT micro FROM provider_spend WHERE scope = $1 AND currency = $2";
        let row = self.row(sql, values![scope, currency]).await?;
        row.map_or(Ok(Some(0)), |row| row.get("micro").map(Some))
    }

    async fn insert_call(&mut self, call: &NewCall, day: &str, now: Timestamp) -> Result<(), StoreError> {
        let NewCall { id, book, generation, step, window, provider, group, model, price, audio_ms, expires_at } = call;
        let row = values![
            *id,
            book.map(|book| book.uuid()),
            i64::from(*generation),
            step.as_str(),
            window.map(i64::from),
            provider,
            group,
            model,
            price.as_ref().map(|price| price.currency.as_str()),
            price.as_ref().map_or(0, |price| price.reserved_micro.max(0)),
            audio_ms.map(stored),
            day,
            now,
            whole_microseconds(*expires_at),
        ];
        self.execute(INSERT, row).await.map(drop)
    }

    /// Replaces the reserved amount of a settled call by its cost, in the sums of its book and its day.
    async fn correct_sums(&mut self, settled: &Row) -> Result<(), StoreError> {
        let Some(currency) = settled.get::<Option<String>>("currency")? else { return Ok(()) };
        let (reserved, cost): (i64, Option<i64>) = (settled.get("reserved_micro")?, settled.get("cost_micro")?);
        let more = cost.unwrap_or(reserved).saturating_sub(reserved);
        let book = settled.get::<Option<Uuid>>("book_id")?.map(BookId::from_uuid);
        let day: String = settled.get("day")?;
        for scope in scopes(book, &day) {
            let sql = "UPDATE provider_spend SET micro = micro + $3 WHERE scope = $1 AND currency = $2";
            self.execute(sql, values![&scope, &currency, more]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_that_of_greenwich() {
        for (at, expected) in
            [("2026-01-02T23:59:59.999999Z", "2026-01-02"), ("2026-01-03T00:30:00+01:00", "2026-01-02")]
        {
            assert_eq!(day(at.parse().unwrap()), expected);
        }
    }
}
