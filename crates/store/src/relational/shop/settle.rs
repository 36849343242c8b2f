//! The end of a payment: an order is paid, with all that follows from it, or declined.

use contracts::{OrderId, OrderStatus, UserId, whole_microseconds};
use jiff::Timestamp;

use super::kept_orders::KeptOrderRecord;
use super::order_records::{OrderRecord, PaymentRecord};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// The outcome of recording a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettleOutcome {
    /// The order is paid, and its books belong to the user.
    Settled(OrderRecord),
    /// It was paid before.
    Already(OrderRecord),
    /// It is declined: pay the money back.
    Declined(OrderRecord),
    /// The payment is of another amount. Nothing was recorded.
    WrongAmount(OrderRecord),
    /// The user was deleted meanwhile. Nothing was recorded.
    UserGone(KeptOrderRecord),
    /// There is no such order.
    Unknown,
}

impl Relational {
    /// Records the payment of an order: it is paid, its books belong to its user, and are in the cart no more.
    ///
    /// # Errors
    /// `Fatal` for a payment of another order.
    pub async fn settle_order(
        &self,
        id: OrderId,
        payment: &PaymentRecord,
        now: Timestamp,
    ) -> Result<SettleOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(order) = transaction.lock_order(id).await? else {
            drop(transaction);
            return Ok(self.kept_order(id).await?.map_or(SettleOutcome::Unknown, SettleOutcome::UserGone));
        };
        match order.status {
            OrderStatus::Pending if order.total != payment.amount => return Ok(SettleOutcome::WrongAmount(order)),
            OrderStatus::Pending => {}
            OrderStatus::Declined => return Ok(SettleOutcome::Declined(order)),
            OrderStatus::Paid | OrderStatus::Refunding | OrderStatus::Refunded => {
                return Ok(SettleOutcome::Already(order));
            }
        }
        transaction.pay(id, payment).await?;
        transaction.grant(order.user, id, whole_microseconds(now)).await?;
        let paid = transaction.order(id).await?;
        transaction.commit().await?;
        Ok(paid.map_or(SettleOutcome::Unknown, SettleOutcome::Settled))
    }

    /// Declines an order that is pending. `false` for any other.
    pub async fn decline_order(&self, id: OrderId, why: &str) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let order = transaction.lock_order(id).await?;
        if order.is_none_or(|order| order.status != OrderStatus::Pending) {
            return Ok(false);
        }
        let sql = "UPDATE orders SET status = 'declined', why = $2 WHERE id = $1";
        transaction.execute(sql, values![id, why]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl Transaction {
    /// Records the payment of a locked order.
    async fn pay(&mut self, id: OrderId, payment: &PaymentRecord) -> Result<(), StoreError> {
        let PaymentRecord { provider, reference, amount, paid_at } = payment;
        let sql = "INSERT INTO payments (provider, reference, order_id, amount_minor, currency, paid_at) \
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let paid_at = whole_microseconds(*paid_at);
        let row = values![provider, reference, id, amount.minor, amount.currency.code(), paid_at];
        if self.execute(sql, row).await? == 0 {
            return Err(StoreError::Fatal(format!("the payment {reference} of {provider} is that of another order")));
        }
        self.execute("UPDATE orders SET status = 'paid' WHERE id = $1", values![id]).await.map(drop)
    }

    /// Gives a locked user the books of an order, and takes them out of the cart.
    async fn grant(&mut self, user: UserId, order: OrderId, now: Timestamp) -> Result<(), StoreError> {
        // What the user has of another order stays that order's.
        let sql = "INSERT INTO entitlements (user_id, book_id, order_id, bought_at) \
                   SELECT $1, l.book_id, $2, $3 FROM order_lines l WHERE l.order_id = $2 \
                   ON CONFLICT (user_id, book_id) DO UPDATE SET order_id = excluded.order_id, \
                   bought_at = excluded.bought_at, revoked_at = NULL WHERE entitlements.revoked_at IS NOT NULL";
        self.execute(sql, values![user, order, now]).await?;
        let sql = "DELETE FROM cart_lines WHERE user_id = $1 \
                   AND book_id IN (SELECT l.book_id FROM order_lines l WHERE l.order_id = $2)";
        self.execute(sql, values![user, order]).await?;
        self.cart_changed(user).await
    }
}
