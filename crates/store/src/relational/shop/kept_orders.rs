//! Orders of deleted users. Bookkeeping needs them: what was sold, when, for how much, and with which payment. They name nobody.

use contracts::{Money, OrderId, OrderStatus, UserId, whole_microseconds};
use jiff::Timestamp;

use super::order_records::{OrderLine, PaymentRecord, lines, lines_by_order, payment};
use super::{cursor_at, named, order_id, page_limit, required_money};
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, cursor_position, position_from_oldest, values};
use crate::{PageCursor, StoreError};

/// An order of a deleted user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptOrderRecord {
    /// The id.
    pub id: OrderId,
    /// Where it is; never declined.
    pub status: OrderStatus,
    /// What it costs.
    pub total: Money,
    /// Its books.
    pub lines: Vec<OrderLine>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// Payment provider, and its name of the payment.
    pub payment: Option<(String, String)>,
    /// When the money was paid back.
    pub refunded_at: Option<Timestamp>,
}

/// The columns of a kept order in every statement that reads one.
macro_rules! kept_columns {
    () => {
        "id AS order_id, status AS order_status, total_minor, currency, created_at, paid_at, provider, reference, \
         refunded_at"
    };
}

/// Reads the lines of kept orders by [`Relational::shop_rows_by_ids`](crate::Relational).
const LINES_OF: &str = "SELECT l.order_id, l.book_id, l.title, l.price_minor, o.currency FROM kept_order_lines l \
                        JOIN kept_orders o ON o.id = l.order_id WHERE l.order_id \
                        IN ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
                        ORDER BY l.order_id, l.position";
/// Reads the lines of one kept order.
const LINES: &str = "SELECT l.order_id, l.book_id, l.title, l.price_minor, o.currency FROM kept_order_lines l \
                     JOIN kept_orders o ON o.id = l.order_id WHERE l.order_id = $1 ORDER BY l.position";
/// Keeps the orders of a user.
const KEEP: [&str; 2] = [
    "INSERT INTO kept_orders (id, status, total_minor, currency, created_at, paid_at, provider, reference, refunded_at) \
     SELECT o.id, o.status, o.total_minor, o.currency, o.created_at, p.paid_at, p.provider, p.reference, r.ended_at \
     FROM orders o LEFT JOIN payments p ON p.order_id = o.id LEFT JOIN refunds r ON r.order_id = o.id \
     WHERE o.user_id = $1 AND o.status <> 'declined'",
    "INSERT INTO kept_order_lines (order_id, position, book_id, title, price_minor) \
     SELECT l.order_id, l.position, l.book_id, l.title, l.price_minor \
     FROM order_lines l JOIN orders o ON o.id = l.order_id WHERE o.user_id = $1 AND o.status <> 'declined'",
];

impl KeptOrderRecord {
    fn read(row: &Row, lines: Vec<OrderLine>) -> Result<Self, StoreError> {
        Ok(Self {
            id: order_id(row)?,
            status: named(row, "order_status")?,
            total: required_money(row, "total_minor", "currency")?,
            lines,
            created_at: row.get("created_at")?,
            paid_at: row.get("paid_at")?,
            payment: payment(row)?,
            refunded_at: row.get("refunded_at")?,
        })
    }

    /// The cursor after this order in the list of kept orders.
    pub fn cursor(&self) -> PageCursor {
        cursor_at(self.created_at, self.id.uuid())
    }
}

impl Relational {
    /// An order of a deleted user.
    pub async fn kept_order(&self, id: OrderId) -> Result<Option<KeptOrderRecord>, StoreError> {
        let sql = concat!("SELECT ", kept_columns!(), " FROM kept_orders WHERE id = $1");
        let mut snapshot = self.begin_snapshot().await?;
        let Some(row) = snapshot.row(sql, values![id]).await? else { return Ok(None) };
        let found = snapshot.rows(LINES, values![id]).await?;
        KeptOrderRecord::read(&row, lines(&found)?).map(Some)
    }

    /// Orders of deleted users, newest first, after a cursor; at most [`MAX_SHOP_PAGE`](super::MAX_SHOP_PAGE).
    pub async fn kept_orders(
        &self,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<KeptOrderRecord>, StoreError> {
        let (at, id) = cursor_position(after);
        let sql = concat!(
            "SELECT ",
            kept_columns!(),
            " FROM kept_orders WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"
        );
        let rows = self.rows(sql, values![at, id, page_limit(limit)]).await?;
        self.with_kept_lines(&rows).await
    }

    /// Orders of deleted users, opened before `older_than`, that are being paid or paid back, those that were opened first.
    pub async fn unsettled_kept_orders(
        &self,
        older_than: Timestamp,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<KeptOrderRecord>, StoreError> {
        let (at, id) = position_from_oldest(after);
        let sql = concat!(
            "SELECT ",
            kept_columns!(),
            " FROM kept_orders WHERE status IN ('pending', 'refunding') AND created_at < $1 AND (created_at, id) > ($2, $3)",
            " ORDER BY created_at, id LIMIT $4"
        );
        let rows = self.rows(sql, values![older_than, at, id, page_limit(limit)]).await?;
        self.with_kept_lines(&rows).await
    }

    /// Changes the status of an order of a deleted user, unless it has another one than `from`. One that is declined is not kept.
    pub async fn change_kept_order(
        &self,
        id: OrderId,
        from: OrderStatus,
        to: OrderStatus,
        payment: Option<&PaymentRecord>,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let changed = if to == OrderStatus::Declined {
            let sql = "DELETE FROM kept_orders WHERE id = $1 AND status = $2";
            transaction.execute(sql, values![id, from.as_str()]).await?
        } else {
            let refunded_at = (to == OrderStatus::Refunded).then_some(whole_microseconds(now));
            let sql = "UPDATE kept_orders SET status = $3, refunded_at = $4 WHERE id = $1 AND status = $2";
            transaction.execute(sql, values![id, from.as_str(), to.as_str(), refunded_at]).await?
        };
        if changed == 0 {
            return Ok(false);
        }
        if let Some(PaymentRecord { provider, reference, paid_at, .. }) = payment {
            let sql = "UPDATE kept_orders SET provider = $2, reference = $3, paid_at = $4 WHERE id = $1";
            transaction.execute(sql, values![id, provider, reference, whole_microseconds(*paid_at)]).await?;
        }
        transaction.add_audit_entry(audit).await?;
        transaction.commit().await?;
        Ok(true)
    }

    async fn with_kept_lines(&self, rows: &[Row]) -> Result<Vec<KeptOrderRecord>, StoreError> {
        let ids = rows.iter().map(order_id).collect::<Result<Vec<_>, _>>()?;
        let found = self.shop_rows_by_ids(LINES_OF, values![], &ids).await?;
        let mut lines = lines_by_order(&found)?;
        let of_order = |(row, id): (&Row, &OrderId)| KeptOrderRecord::read(row, lines.remove(id).unwrap_or_default());
        rows.iter().zip(&ids).map(of_order).collect()
    }
}

impl Transaction {
    /// Keeps what bookkeeping needs of the orders of a locked user, who is deleted with all of them.
    pub(in crate::relational) async fn keep_orders(&mut self, user: UserId) -> Result<(), StoreError> {
        for sql in KEEP {
            self.execute(sql, values![user]).await?;
        }
        Ok(())
    }
}
