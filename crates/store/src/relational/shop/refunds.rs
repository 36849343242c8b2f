//! Refunds: first the user loses the books, then the money is paid back, and then that is recorded. A task finishes what was begun.

use contracts::{OrderId, OrderStatus, UserId, whole_microseconds};
use jiff::Timestamp;

use super::order_records::{OrderRecord, order_columns, order_tables};
use super::page_limit;
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{position_from_oldest, values};
use crate::{PageCursor, StoreError};

/// The outcome of beginning a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundOutcome {
    /// The user has lost the books; now pay back the money.
    Begun(OrderRecord),
    /// It was begun before, and may be ended.
    Already(OrderRecord),
    /// Nobody has paid for the order.
    NotPaid(OrderRecord),
    /// There is no such order, or its user is deleted.
    Unknown,
}

/// Gives the books of an order to another paid order of the user that has them.
const MOVE: &str = "UPDATE entitlements SET order_id = (SELECT o.id FROM order_lines l JOIN orders o ON o.id = l.order_id \
                    WHERE l.book_id = entitlements.book_id AND o.user_id = $1 AND o.status = 'paid' \
                    ORDER BY o.created_at, o.id LIMIT 1) \
                    WHERE user_id = $1 AND order_id = $2 AND EXISTS (SELECT 1 FROM order_lines l JOIN orders o \
                    ON o.id = l.order_id WHERE l.book_id = entitlements.book_id AND o.user_id = $1 \
                    AND o.status = 'paid')";

impl Relational {
    /// Takes the books of a paid order back, but for those of another paid order of its user.
    pub async fn begin_refund(
        &self,
        id: OrderId,
        reason: &str,
        audit: &AuditEntry,
        now: Timestamp,
    ) -> Result<RefundOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(order) = transaction.lock_order(id).await? else { return Ok(RefundOutcome::Unknown) };
        match order.status {
            OrderStatus::Paid => {}
            OrderStatus::Refunding | OrderStatus::Refunded => return Ok(RefundOutcome::Already(order)),
            OrderStatus::Pending | OrderStatus::Declined => return Ok(RefundOutcome::NotPaid(order)),
        }
        let now = whole_microseconds(now);
        transaction.execute("UPDATE orders SET status = 'refunding' WHERE id = $1", values![id]).await?;
        let sql = "INSERT INTO refunds (order_id, reason, begun_at) VALUES ($1, $2, $3)";
        transaction.execute(sql, values![id, reason, now]).await?;
        transaction.revoke_entitlements(order.user, id, now).await?;
        transaction.add_audit_entry(Some(audit)).await?;
        let begun = transaction.order(id).await?;
        transaction.commit().await?;
        Ok(begun.map_or(RefundOutcome::Unknown, RefundOutcome::Begun))
    }

    /// Records that the money of a begun refund is paid back. `true` also if that was recorded before.
    pub async fn end_refund(&self, id: OrderId, reference: Option<&str>, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let order = transaction.lock_order(id).await?;
        match order.map(|order| order.status) {
            Some(OrderStatus::Refunded) => return Ok(true),
            Some(OrderStatus::Refunding) => {}
            _ => return Ok(false),
        }
        transaction.execute("UPDATE orders SET status = 'refunded' WHERE id = $1", values![id]).await?;
        let sql = "UPDATE refunds SET reference = $2, ended_at = $3 WHERE order_id = $1";
        transaction.execute(sql, values![id, reference, whole_microseconds(now)]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Orders whose refund was begun before `older_than` and is not ended, those that were opened first, after a cursor.
    pub async fn unfinished_refunds(
        &self,
        older_than: Timestamp,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        let (at, id) = position_from_oldest(after);
        let sql = concat!(
            "SELECT ",
            order_columns!(),
            " FROM ",
            order_tables!(),
            " WHERE o.status = 'refunding' AND r.begun_at < $1 AND (o.created_at, o.id) > ($2, $3)",
            " ORDER BY o.created_at, o.id LIMIT $4"
        );
        let rows = self.rows(sql, values![older_than, at, id, page_limit(limit)]).await?;
        self.with_lines(&rows).await
    }
}

impl Transaction {
    /// Takes the books of an order, which is not paid any more, from a locked user.
    async fn revoke_entitlements(&mut self, user: UserId, order: OrderId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(MOVE, values![user, order]).await?;
        let sql = "UPDATE entitlements SET revoked_at = $3 WHERE user_id = $1 AND order_id = $2 AND revoked_at IS NULL";
        self.execute(sql, values![user, order, now]).await.map(drop)
    }
}
