//! The reconciler: finishes what a crash, a slow provider or a lost answer left between the orders and the provider.
//!
//! Orders, refunds and the orders of deleted users are tasks of their own: a provider that hangs at refunds does not delay what was paid.

use std::time::Duration;

use contracts::{OrderId, OrderStatus};
use jiff::Timestamp;
use store::PageCursor;
use store::relational::{KeptOrderRecord, PaymentRecord};

use crate::checkout::FREE;
use crate::payments::{PaymentRequest, PaymentState};
use crate::{Shop, ShopError};

/// Orders that are read at once. A round goes through all, so that orders which nobody pays do not keep it from those that were paid.
const BATCH: u32 = 100;

impl Shop {
    /// Takes a message of the payment provider, and asks the provider about the order that it names. A message of an order that is decided, or
    /// of none of ours, changes nothing.
    ///
    /// # Errors
    /// `Invalid` for a message that the provider did not send. `Unavailable` while the provider cannot be asked.
    pub async fn payment_message(&self, body: &[u8], signature: Option<&str>) -> Result<(), ShopError> {
        let named = self.0.payments.webhook(body, signature).await;
        let Some(id) = named.map_err(|error| ShopError::invalid("message", error.to_string()))? else { return Ok(()) };
        match self.database().order(id).await? {
            Some(order) if order.status == OrderStatus::Pending => self.reconcile_order(&order, false).await.map(drop),
            _ => Ok(()),
        }
    }

    /// One round over orders that are not settled. The next round goes on after a failure.
    pub(crate) async fn reconcile_orders(&self) -> Result<(), ShopError> {
        let timing = self.0.timing;
        let (since, abandoned) = (self.since(timing.reconcile_after), self.since(timing.abandon_after));
        let mut after = None;
        loop {
            let orders = self.database().unsettled_orders(since, after.as_ref(), BATCH).await?;
            let Some(last) = orders.last() else { return Ok(()) };
            after = Some(place_of(last.created_at, last.id));
            for order in orders {
                let decided = self.reconcile_order(&order, order.created_at < abandoned).await;
                match decided {
                    Ok(Some(decided)) => {
                        tracing::info!(order.id = %order.id, status = decided.status.as_str(), "an order was reconciled");
                    }
                    Ok(None) => {}
                    // The provider or the database: all others would fail too, each after its time.
                    Err(error @ (ShopError::Unavailable(_) | ShopError::DiskFull(_))) => return Err(error),
                    // About this order; the others go on.
                    Err(error) => log_refusal(&order.id, &error),
                }
            }
        }
    }

    /// One round over refunds that are not finished.
    pub(crate) async fn reconcile_refunds(&self) -> Result<(), ShopError> {
        let (since, mut after) = (self.since(self.0.timing.reconcile_after), None);
        loop {
            let orders = self.database().unfinished_refunds(since, after.as_ref(), BATCH).await?;
            let Some(last) = orders.last() else { return Ok(()) };
            after = Some(place_of(last.created_at, last.id));
            for order in orders {
                self.finish_refund(&order).await?;
            }
        }
    }

    /// One round over the orders of deleted users.
    pub(crate) async fn reconcile_kept_orders(&self) -> Result<(), ShopError> {
        let (since, mut after) = (self.since(self.0.timing.reconcile_after), None);
        loop {
            let orders = self.database().unsettled_kept_orders(since, after.as_ref(), BATCH).await?;
            let Some(last) = orders.last() else { return Ok(()) };
            after = Some(place_of(last.created_at, last.id));
            for order in orders {
                self.finish_kept_order(&order).await?;
            }
        }
    }

    /// The time of this age.
    pub(crate) fn since(&self, age: Duration) -> Timestamp {
        self.now() - age
    }

    /// Ends an order of a deleted user. Nobody can have its books, so what was paid and not granted is given back.
    pub(crate) async fn finish_kept_order(&self, order: &KeptOrderRecord) -> Result<(), ShopError> {
        let request = PaymentRequest { key: order.id, amount: order.total };
        match order.status {
            OrderStatus::Pending if order.total.minor == 0 => self.drop_kept_order(order).await,
            OrderStatus::Pending => match self.ask(&request, true).await? {
                Some(PaymentState::Paid { reference, amount }) => {
                    let payment = self.payment(reference, amount);
                    self.take_back(order, &payment).await?;
                    let paid = PaymentRequest { amount, ..request };
                    self.pay_kept_back(order, &payment.provider, &payment.reference, &paid).await
                }
                Some(PaymentState::Waiting) | None => Ok(()),
                Some(PaymentState::Declined { .. } | PaymentState::Cancelled | PaymentState::Refunded) => {
                    self.drop_kept_order(order).await
                }
            },
            OrderStatus::Refunding => match &order.payment {
                Some((provider, reference)) => self.pay_kept_back(order, provider, reference, &request).await,
                None => self.pay_kept_back(order, FREE, "", &request).await,
            },
            OrderStatus::Paid | OrderStatus::Declined | OrderStatus::Refunded => Ok(()),
        }
    }

    /// An order that nobody paid is not kept.
    async fn drop_kept_order(&self, order: &KeptOrderRecord) -> Result<(), ShopError> {
        let (from, to) = (OrderStatus::Pending, OrderStatus::Declined);
        self.database().change_kept_order(order.id, from, to, None, None, self.now()).await?;
        Ok(())
    }

    async fn take_back(&self, order: &KeptOrderRecord, payment: &PaymentRecord) -> Result<(), ShopError> {
        let (from, to) = (OrderStatus::Pending, OrderStatus::Refunding);
        self.database().change_kept_order(order.id, from, to, Some(payment), None, self.now()).await?;
        Ok(())
    }

    async fn pay_kept_back(
        &self,
        order: &KeptOrderRecord,
        provider: &str,
        reference: &str,
        request: &PaymentRequest,
    ) -> Result<(), ShopError> {
        if self.pay_back(provider, reference, request).await.is_some() {
            let (from, to) = (OrderStatus::Refunding, OrderStatus::Refunded);
            self.database().change_kept_order(order.id, from, to, None, None, self.now()).await?;
        }
        Ok(())
    }
}

/// The place of an order among those that are read, the oldest first.
fn place_of(created_at: Timestamp, id: OrderId) -> PageCursor {
    PageCursor { at: created_at, id: id.to_string() }
}

/// A failure that concerns one order only. Refusals are no failures: the order is decided.
fn log_refusal(order: &OrderId, error: &ShopError) {
    match error.cause() {
        Some(cause) => tracing::error!(order.id = %order, error = cause, "an order could not be reconciled"),
        None => tracing::info!(order.id = %order, code = error.code(), "an order was reconciled"),
    }
}
