//! Checkout: from the cart to a paid order.
//!
//! ```text
//! cart ──lock──▶ order (pending, prices of this moment) ──commit──▶ pay, key = order id ──▶ settle: paid + entitlements − cart lines
//!                        │                                             │ no answer                     (one transaction)
//!                        └── same key, or same cart: the same order ◀──┘ reconciler: find, then settle or decline
//! ```
//!
//! A user has at most one order that is not decided. So it does not matter how many requests come with how many keys: they meet at that
//! order, and the provider takes the money of an order once. An order in the way, of a cart that changed since, is ended first: the
//! provider is told to refuse its payment, and only then it is given up.

use contracts::{BookId, Money, OrderId, OrderStatus, UserId};
use store::relational::{NewOrder, OpenOrderOutcome, OrderRecord, PaymentRecord};
use tokio::time::timeout;

use crate::payments::{PaymentOutcome, PaymentRequest};
use crate::{Shop, ShopError, money};

/// Orders in the way that one checkout passes.
const TRIES: u32 = 16;
/// Longest idempotency key, in bytes.
const MAX_KEY: usize = 255;
/// The provider of orders that cost nothing: there is nothing to pay.
pub(crate) const FREE: &str = "free";

/// The idempotency key of a checkout.
enum Key {
    /// The client's.
    Given(String),
    /// The cart's content, for a client without one.
    Cart { version: i64, after: Option<OrderId> },
}

impl Key {
    fn given(key: &str) -> Result<Self, ShopError> {
        let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if key.is_empty() || key.len() > MAX_KEY || !printable {
            let reason = format!("an idempotency key must be 1 to {MAX_KEY} printable ASCII characters");
            return Err(ShopError::invalid("idempotency_key", reason));
        }
        Ok(Self::Given(key.to_owned()))
    }

    /// As the store has it. The prefixes keep a client's key from being that of a cart.
    fn text(&self) -> String {
        match self {
            Self::Given(key) => format!("key:{key}"),
            Self::Cart { version, after: None } => format!("cart:{version}"),
            Self::Cart { version, after: Some(order) } => format!("cart:{version}:{order}"),
        }
    }
}

impl Shop {
    /// Buys what is in the cart. With a key that was used: the order of that key. Without a key, the cart's content is the key, and a second
    /// call at once is the same order.
    ///
    /// The work goes on when the caller goes away.
    ///
    /// # Errors
    /// `PriceChanged` with the new total when it is not the one that the user saw: `seen_total`, or what the cart showed last. `CartEmpty`,
    /// `BookGone`, `AlreadyOwned`, `MixedCurrency` before anything is written. `PaymentDeclined`. `PaymentPending` while the provider's
    /// answer is open.
    pub async fn checkout(
        &self,
        user: UserId,
        key: Option<&str>,
        seen_total: Option<Money>,
    ) -> Result<OrderRecord, ShopError> {
        let key = key.map(Key::given).transpose()?;
        let shop = self.clone();
        let work = tokio::spawn(async move {
            match shop.open_order(user, key, seen_total).await? {
                order if order.status == OrderStatus::Pending => shop.pay(&order).await,
                order => over(order),
            }
        });
        work.await.map_err(|error| ShopError::Internal(format!("a checkout ended: {error}")))?
    }

    /// The order of a checkout: a new one, that of the key, or the one that all requests of the user meet at.
    async fn open_order(
        &self,
        user: UserId,
        given: Option<Key>,
        seen_total: Option<Money>,
    ) -> Result<OrderRecord, ShopError> {
        let cart = self.database().cart(user).await?;
        if given.is_none() && cart.lines.is_empty() {
            return self.order_just_paid(user).await?.ok_or(ShopError::CartEmpty);
        }
        let mut key = given.unwrap_or(Key::Cart { version: cart.version, after: None });
        for _ in 0..TRIES {
            let text = key.text();
            let new = NewOrder { id: OrderId::now(), user, key: &text, seen_total };
            match self.database().open_order(&new, self.now()).await? {
                OpenOrderOutcome::Opened(order) => return Ok(order),
                OpenOrderOutcome::Existing(order) => match (&mut key, order.status) {
                    // The same cart is tried again after its payment was declined, however often that was.
                    (Key::Cart { after, .. }, OrderStatus::Declined) => {
                        let last = self.database().orders(user, None, 1).await?.into_iter().next();
                        let last = last.map(|last| last.id).filter(|last| Some(*last) != *after);
                        *after = last.or(Some(order.id));
                    }
                    (Key::Cart { .. }, OrderStatus::Pending) => {
                        if self.is_agreed(&order, seen_total).await? {
                            return Ok(order);
                        }
                        self.end_order(&order).await?;
                    }
                    (Key::Given(_), OrderStatus::Pending) if seen_total.is_some_and(|seen| seen != order.total) => {
                        return Err(ShopError::PriceChanged(order.total));
                    }
                    _ => return Ok(order),
                },
                OpenOrderOutcome::Pending(order) => {
                    if self.is_agreed(&order, seen_total).await? {
                        return Ok(order);
                    }
                    self.end_order(&order).await?;
                }
                // The first of two taps was settled while this one looked at the cart.
                OpenOrderOutcome::Empty if matches!(key, Key::Cart { .. }) => {
                    return self.order_just_paid(user).await?.ok_or(ShopError::CartEmpty);
                }
                outcome => return Err(self.refusal(outcome).await?),
            }
        }
        Err(ShopError::CheckoutRunning)
    }

    /// Whether a pending order is that of the cart as it is, at the total that its user saw last.
    async fn is_agreed(&self, order: &OrderRecord, seen_total: Option<Money>) -> Result<bool, ShopError> {
        let cart = self.database().cart(order.user).await?;
        let seen = seen_total.or_else(|| money::total(cart.lines.iter().filter_map(|line| line.price_seen)));
        Ok(order.cart_version == cart.version && seen == Some(order.total))
    }

    /// Why no order was opened.
    async fn refusal(&self, outcome: OpenOrderOutcome) -> Result<ShopError, ShopError> {
        Ok(match outcome {
            OpenOrderOutcome::NoUser => ShopError::NoUser,
            OpenOrderOutcome::Empty => ShopError::CartEmpty,
            OpenOrderOutcome::MixedCurrency => ShopError::MixedCurrency,
            OpenOrderOutcome::BookGone(books) => ShopError::BookGone(self.titled(books).await?),
            OpenOrderOutcome::Owned(books) => ShopError::AlreadyOwned(books),
            OpenOrderOutcome::PriceChanged(total) => ShopError::PriceChanged(total),
            OpenOrderOutcome::Opened(_) | OpenOrderOutcome::Existing(_) | OpenOrderOutcome::Pending(_) => {
                ShopError::Internal("an order is no refusal".to_owned())
            }
        })
    }

    /// The user's last order, if it was paid a moment ago: a second tap on the same button comes when the cart is empty already.
    async fn order_just_paid(&self, user: UserId) -> Result<Option<OrderRecord>, ShopError> {
        let last = self.database().orders(user, None, 1).await?.into_iter().next();
        let since = self.now() - self.0.timing.double_tap;
        Ok(last.filter(|order| order.status == OrderStatus::Paid && order.paid_at.is_some_and(|at| at >= since)))
    }

    async fn titled(&self, books: Vec<BookId>) -> Result<Vec<(BookId, String)>, ShopError> {
        let mut titled = Vec::with_capacity(books.len());
        for id in books {
            let title = self.database().book(id).await?.map_or_else(|| id.to_string(), |book| book.title);
            titled.push((id, title));
        }
        Ok(titled)
    }

    /// Pays a pending order and settles it.
    async fn pay(&self, order: &OrderRecord) -> Result<OrderRecord, ShopError> {
        let request = PaymentRequest { key: order.id, amount: order.total };
        if order.total.minor == 0 {
            return self.settle(order, &self.free(order)).await;
        }
        let outcome = match timeout(self.0.timing.payment, self.0.payments.pay(&request)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                tracing::warn!(order.id = %order.id, error = error.to_string(), "a payment is not decided; the reconciler asks again");
                return Err(ShopError::PaymentPending);
            }
            Err(_) => {
                tracing::warn!(order.id = %order.id, "the payment provider does not answer; the reconciler asks again");
                return Err(ShopError::PaymentPending);
            }
        };
        match outcome {
            PaymentOutcome::Paid { reference } => {
                let payment = self.payment(reference, order.total);
                self.settle(order, &payment).await
            }
            PaymentOutcome::Action { url } => Err(ShopError::PaymentAction(url)),
            PaymentOutcome::Declined { why } => {
                if self.database().decline_order(order.id, &why).await? {
                    return Err(ShopError::PaymentDeclined(why));
                }
                // Another request decided it.
                over(self.database().order(order.id).await?.ok_or(ShopError::NoUser)?)
            }
        }
    }

    /// A payment of now.
    pub(crate) fn payment(&self, reference: String, amount: Money) -> PaymentRecord {
        let provider = self.0.payments.provider().to_owned();
        PaymentRecord { provider, reference, amount, paid_at: self.now() }
    }

    /// The payment of an order that costs nothing.
    pub(crate) fn free(&self, order: &OrderRecord) -> PaymentRecord {
        PaymentRecord {
            provider: FREE.to_owned(),
            reference: order.id.to_string(),
            amount: order.total,
            paid_at: self.now(),
        }
    }
}

/// The answer of an order that is decided.
pub(crate) fn over(order: OrderRecord) -> Result<OrderRecord, ShopError> {
    match order.status {
        OrderStatus::Paid => Ok(order),
        OrderStatus::Declined => {
            Err(ShopError::PaymentDeclined(order.why.unwrap_or_else(|| "it was declined".to_owned())))
        }
        OrderStatus::Refunding | OrderStatus::Refunded => Err(ShopError::KeySpent(order.status.as_str())),
        OrderStatus::Pending => Err(ShopError::PaymentPending),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_key_is_never_that_of_a_cart() {
        let cart = Key::Cart { version: 7, after: None };
        assert_ne!(Key::given(&cart.text()).map(|key| key.text()).ok(), Some(cart.text()));
        for key in ["", "tab\t", "ü", &"x".repeat(256)] {
            assert_eq!(Key::given(key).err().and_then(|error| error.field()), Some("idempotency_key"), "{key:?}");
        }
    }
}
