//! The end of an order: it is settled with its payment, or ended without one.

use contracts::OrderStatus;
use store::relational::{OrderRecord, PaymentRecord, SettleOutcome};
use tokio::time::timeout;

use crate::checkout::{FREE, over};
use crate::payments::{PaymentRequest, PaymentState};
use crate::{Shop, ShopError};

/// Why an order ended that nobody paid, for its user.
const NOT_PAID: &str = "it was not paid in time";

impl Shop {
    /// Grants what was paid. Again: the same.
    pub(crate) async fn settle(&self, order: &OrderRecord, payment: &PaymentRecord) -> Result<OrderRecord, ShopError> {
        match self.database().settle_order(order.id, payment, self.now()).await? {
            SettleOutcome::Settled(order) => {
                tracing::info!(order.id = %order.id, books = order.lines.len(), "an order was paid");
                Ok(order)
            }
            SettleOutcome::Already(order) => over(order),
            SettleOutcome::Declined(order) => {
                self.give_back(&order, payment).await;
                over(order)
            }
            SettleOutcome::WrongAmount(order) => {
                self.give_back(&order, payment).await;
                Err(ShopError::Internal(format!(
                    "the provider took {} for the order {}, which costs {}",
                    payment.amount, order.id, order.total
                )))
            }
            SettleOutcome::UserGone(kept) => {
                self.finish_kept_order(&kept).await?;
                Err(ShopError::NoUser)
            }
            SettleOutcome::Unknown => Err(ShopError::Internal(format!("there is no order {} to settle", order.id))),
        }
    }

    /// Gives back what was paid for an order that cannot have it. The provider was told to refuse such a payment, so a failure is logged for
    /// the operator.
    async fn give_back(&self, order: &OrderRecord, payment: &PaymentRecord) {
        if payment.provider == FREE {
            return;
        }
        let request = PaymentRequest { key: order.id, amount: payment.amount };
        let refund = timeout(self.0.timing.payment, self.0.payments.refund(&payment.reference, &request)).await;
        let (reference, provider) = (&payment.reference, &payment.provider);
        match refund {
            Ok(Ok(_)) => {
                tracing::warn!(order.id = %order.id, provider, reference, "a payment of a declined order was given back");
            }
            Ok(Err(_)) | Err(_) => {
                tracing::error!(
                    order.id = %order.id, provider, reference,
                    "a payment of a declined order could not be given back; refund it at the provider"
                );
            }
        }
    }

    /// Finds out what became of a pending order, and settles or declines it. `abandon`: an order that is not decided ends, once the provider
    /// refuses its payment. Returns the order when it is decided.
    pub(crate) async fn reconcile_order(
        &self,
        order: &OrderRecord,
        abandon: bool,
    ) -> Result<Option<OrderRecord>, ShopError> {
        if order.total.minor == 0 {
            return self.settle(order, &self.free(order)).await.map(Some);
        }
        let request = PaymentRequest { key: order.id, amount: order.total };
        let why = match self.ask(&request, abandon).await? {
            Some(PaymentState::Paid { reference, amount }) => {
                let payment = self.payment(reference, amount);
                return self.settle(order, &payment).await.map(Some);
            }
            Some(PaymentState::Declined { why }) => why,
            Some(PaymentState::Cancelled) => NOT_PAID.to_owned(),
            Some(PaymentState::Refunded) => "the money was given back".to_owned(),
            Some(PaymentState::Waiting) | None => return Ok(None),
        };
        self.database().decline_order(order.id, &why).await?;
        Ok(self.database().order(order.id).await?)
    }

    /// Ends a pending order that is in the way of another one.
    ///
    /// # Errors
    /// `PaymentPending` while the provider does not say what became of it.
    pub(crate) async fn end_order(&self, order: &OrderRecord) -> Result<(), ShopError> {
        match self.reconcile_order(order, true).await {
            Ok(Some(order)) if order.status != OrderStatus::Pending => Ok(()),
            Ok(_) | Err(ShopError::Unavailable(_)) => Err(ShopError::PaymentPending),
            Err(error) => Err(error),
        }
    }

    /// What the provider knows of a payment. `abandon`: one that is not decided is cancelled.
    pub(crate) async fn ask(&self, request: &PaymentRequest, abandon: bool) -> Result<Option<PaymentState>, ShopError> {
        let payments = &self.0.payments;
        let question = async {
            match payments.find(request.key).await? {
                None | Some(PaymentState::Waiting) if abandon => payments.cancel(request).await.map(Some),
                state => Ok(state),
            }
        };
        match timeout(self.0.timing.question, question).await {
            Ok(Ok(state)) => Ok(state),
            Ok(Err(error)) => Err(ShopError::Unavailable(format!("the payment provider: {error}"))),
            Err(_) => Err(ShopError::Unavailable("the payment provider does not answer".to_owned())),
        }
    }
}
