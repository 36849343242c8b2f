//! Bodies of the routes of the shop: books, the cart, orders, purchases, and what an admin changes.
//!
//! The gRPC services answer out of the same views, so the two protocols say the same of a book, a cart and an order.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::optional_timestamp;
use super::subjects::given;
use crate::ids::{BookId, CategorySlug, OrderId};
use crate::{BookStatus, Money, OrderStatus};

/// A book of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookView {
    /// Id of the book.
    pub id: BookId,
    /// The title.
    pub title: String,
    /// The author.
    pub author: String,
    /// The language, as a BCP 47 tag such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Today's price. Missing for a draft without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// Whether it is for sale, and if not, why.
    pub status: BookStatus,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Length of the recording in whole seconds, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// Media type of the recording. Missing while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The categories.
    pub categories: Vec<CategorySlug>,
    /// Address of the cover, if there is one. It needs a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cover_url: Option<String>,
    /// Address of a minute of the recording, if it is made. It needs a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_url: Option<String>,
    /// Whether the caller has bought it.
    pub owned: bool,
    /// What is wrong with its files: a code such as `not_audio`. Only admins see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Grows with every change.
    pub version: i64,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A book to add. It is a draft until its recording is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBookBody {
    /// The title.
    pub title: String,
    /// The author.
    pub author: String,
    /// The price. A book without one is not for sale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The language, as a BCP 47 tag such as `en`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Categories that exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<CategorySlug>,
}

/// A change of a book. A missing field stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BookChangeBody {
    /// The new title.
    #[serde(default)]
    pub title: Option<String>,
    /// The new author.
    #[serde(default)]
    pub author: Option<String>,
    /// The new price. Carts in which another one was shown are told before their checkout.
    #[serde(default)]
    pub price: Option<Money>,
    /// The new language; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub language: Option<Option<String>>,
    /// The new description; `null` removes it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// The new categories, which replace the old ones.
    #[serde(default)]
    pub categories: Option<Vec<CategorySlug>>,
    /// The version that is changed. If the book has another one, nothing is changed.
    #[serde(default)]
    pub version: Option<i64>,
}

/// A category of books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CategoryView {
    /// Its name in paths and filters.
    pub slug: CategorySlug,
    /// Its name for people.
    pub label: String,
    /// What belongs to it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether it is in use, and not only proposed.
    pub accepted: bool,
}

/// A category to add or to change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CategoryBody {
    /// Its name for people.
    pub label: String,
    /// What belongs to it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Where a recording is uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadLinkView {
    /// The book of the recording.
    pub book: BookId,
    /// Takes one `PUT` of the whole file, or `HEAD` and `PATCH` of tus 1.0. Whoever has it may upload, so keep it secret.
    pub upload_url: String,
    /// Most bytes of the file.
    pub max_bytes: u64,
    /// Until when the address works.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A link to a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DownloadView {
    /// Address of the file, for ten minutes. Whoever has it can read the file, so keep it secret.
    pub download_url: String,
    /// Until when the address works.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// A book in a cart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CartItemView {
    /// The book.
    pub book: BookView,
    /// Today's price. Missing if the book is not for sale any more: remove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Money>,
    /// The price that the cart showed before, if it was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_before: Option<Money>,
}

/// A cart. Its prices are those of today, and count as shown from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CartView {
    /// The books, in the order in which they were added.
    pub items: Vec<CartItemView>,
    /// The sum. Missing for a cart without books.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
    /// Grows with every change.
    pub version: i64,
}

/// What a checkout may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    /// The total that the buyer has seen. Missing: that which the cart showed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_total: Option<Money>,
}

/// A book of an order, with the price at which it was sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderLineView {
    /// Id of the book.
    pub book: BookId,
    /// The title at that time.
    pub title: String,
    /// The price at that time.
    pub price: Money,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// Id of the order.
    pub id: OrderId,
    /// How far it is.
    pub status: OrderStatus,
    /// The sum of its lines.
    pub total: Money,
    /// Its books.
    pub lines: Vec<OrderLineView>,
    /// Time of the checkout.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
    /// Time when the money was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refunded_at: Option<Timestamp>,
}

/// An order of a user that was deleted: what the law wants kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptOrderView {
    /// Id of the order.
    pub id: OrderId,
    /// How far it is.
    pub status: OrderStatus,
    /// The sum of its lines.
    pub total: Money,
    /// Its books.
    pub lines: Vec<OrderLineView>,
    /// Time of the checkout.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paid_at: Option<Timestamp>,
    /// Time when the money was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub refunded_at: Option<Timestamp>,
}

/// A book that the caller has bought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurchaseView {
    /// The order with which it was bought.
    pub order: OrderId,
    /// The book, also if it is not for sale any more.
    pub book: BookView,
    /// The price at which it was bought.
    pub price: Money,
    /// When it was bought.
    #[schema(value_type = String, format = DateTime)]
    pub purchased_at: Timestamp,
}

/// Why the money of an order is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundBody {
    /// The reason, for the audit log.
    pub reason: String,
}

/// Where a listener stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PositionView {
    /// Milliseconds from the beginning of the recording.
    pub position_ms: u64,
    /// When the listener was there, by the clock of the listener's device: the latest one counts. Missing before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub event_time: Option<Timestamp>,
}

/// Where a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PositionBody {
    /// Milliseconds from the beginning of the recording.
    pub position_ms: u64,
    /// When the listener was there, by the clock of the listener's device; missing: now.
    #[serde(default, deserialize_with = "optional_timestamp", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub event_time: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_tells_what_is_removed_from_what_stays() {
        let change = |body: &str| serde_json::from_str::<BookChangeBody>(body).unwrap();
        assert_eq!(change("{}"), BookChangeBody::default());
        assert_eq!(change(r#"{"language": null}"#).language, Some(None));
        assert_eq!(change(r#"{"language": "en"}"#).language, Some(Some("en".to_owned())));
        assert_eq!(change(r#"{"categories": []}"#).categories, Some(Vec::new()));
        assert!(serde_json::from_str::<BookChangeBody>(r#"{"status": "ready"}"#).is_err());
    }

    #[test]
    fn money_in_a_body_is_a_whole_number_and_a_known_currency() {
        let body = |price: &str| format!(r#"{{"title": "Emma", "author": "Jane Austen", "price": {price}}}"#);
        let read = |price: &str| serde_json::from_str::<NewBookBody>(&body(price)).map(|new| new.price);
        assert_eq!(read(r#"{"minor": 1299, "currency": "EUR"}"#).unwrap().map(|price| price.minor), Some(1_299));
        assert_eq!(read("null").unwrap(), None);
        for wrong in [r#"{"minor": 12.99, "currency": "EUR"}"#, r#"{"minor": 1, "currency": "EURO"}"#, "1299"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
