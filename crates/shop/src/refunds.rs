//! Refunds: the user loses the books at once, then the money is given back. A crash in between is finished by the reconciler.

use accounts::Actor;
use contracts::{OrderId, OrderStatus};
use store::relational::{OrderRecord, RefundOutcome};
use tokio::time::timeout;

use crate::checkout::FREE;
use crate::payments::PaymentRequest;
use crate::{Shop, ShopError};

/// Longest reason, in characters.
const MAX_REASON: usize = 300;

impl Shop {
    /// Refunds an order. Its books belong to the buyer no more when the call returns, on every instance. Again: the same order. While the
    /// provider does not answer, the order is `refunding`.
    ///
    /// # Errors
    /// `NotRefundable` for an order that was not paid.
    pub async fn refund(&self, order: OrderId, reason: &str, actor: &Actor) -> Result<OrderRecord, ShopError> {
        let reason = reason.trim();
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            let text = format!("a reason has at most {MAX_REASON} characters, and no control characters");
            return Err(ShopError::invalid("reason", text));
        }
        let entry = self.entry("order_refunded", actor, &format!("{order}: {reason}"));
        let order = match self.database().begin_refund(order, reason, &entry, self.now()).await? {
            RefundOutcome::Begun(order) | RefundOutcome::Already(order) => order,
            RefundOutcome::NotPaid(order) => return Err(ShopError::NotRefundable(order.status.as_str())),
            RefundOutcome::Unknown => return Err(ShopError::NotFound("order")),
        };
        let shop = self.clone();
        let work = tokio::spawn(async move { shop.finish_refund(&order).await });
        work.await.map_err(|error| ShopError::Internal(format!("a refund ended: {error}")))?
    }

    /// Gives the money of an order back whose books the user has lost. Returns the order, `refunding` when the provider has no answer.
    pub(crate) async fn finish_refund(&self, order: &OrderRecord) -> Result<OrderRecord, ShopError> {
        if order.status != OrderStatus::Refunding {
            return Ok(order.clone());
        }
        let request = PaymentRequest { key: order.id, amount: order.total };
        let reference = match &order.payment {
            Some((provider, reference)) => self.pay_back(provider, reference, &request).await,
            None => None,
        };
        if let Some(reference) = reference {
            self.database().end_refund(order.id, Some(&reference), self.now()).await?;
        }
        self.database().order(order.id).await?.ok_or(ShopError::NotFound("order"))
    }

    /// Asks the provider for a refund. Returns its reference; `None` without an answer.
    pub(crate) async fn pay_back(&self, provider: &str, reference: &str, request: &PaymentRequest) -> Option<String> {
        if provider == FREE {
            return Some(reference.to_owned());
        }
        if provider != self.0.payments.provider() {
            tracing::error!(
                order.id = %request.key, provider,
                "an order was paid with a provider that is no longer configured; refund it there"
            );
            return None;
        }
        let refund = timeout(self.0.timing.payment, self.0.payments.refund(reference, request)).await;
        match refund {
            Ok(Ok(reference)) => Some(reference),
            Ok(Err(error)) => {
                tracing::warn!(order.id = %request.key, error = error.to_string(), "a refund failed and is retried");
                None
            }
            Err(_) => {
                tracing::warn!(order.id = %request.key, "the payment provider does not answer; the refund is retried");
                None
            }
        }
    }
}
