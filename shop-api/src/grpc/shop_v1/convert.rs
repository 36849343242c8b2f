//! The views of the application layer as messages. Each field has its twin in JSON, but for the names that the reference system chose.

use contracts::api::{BookView, CartView, CategoryView, OrderLineView, OrderView, PurchaseView, UploadLinkView};
use contracts::{BookStatus, MediaStep, Money};

use crate::proto::shop_v1::list_purchases_response::PurchasedItem;
use crate::proto::shop_v1::{
    Audiobook, CartItem, Category, CategoryState, CreateUploadUrlResponse, MediaStatus, Order, OrderLine, OrderStatus,
    ViewCartResponse,
};
use crate::proto::timestamp;

/// A book.
pub fn audiobook(book: BookView) -> Audiobook {
    let (price_cents, currency) = amount(book.price);
    Audiobook {
        id: book.id.to_string(),
        title: book.title,
        author: book.author,
        duration_seconds: book.duration_seconds.map_or(0, whole),
        price_cents,
        cover_url: book.cover_url.unwrap_or_default(),
        status: media_status(book.status).into(),
        categories: book.categories.iter().map(ToString::to_string).collect(),
        ai_description: book.description.unwrap_or_default(),
        created_at: Some(timestamp(book.created_at)),
        updated_at: Some(timestamp(book.updated_at)),
        content_type: book.content_type.unwrap_or_default(),
        currency,
        language: book.language.unwrap_or_default(),
        version: book.version,
        preview_url: book.preview_url.unwrap_or_default(),
        owned: book.owned,
        fault: book.fault.unwrap_or_default(),
    }
}

/// A book that is worked on at a step, which its status says.
pub fn audiobook_at(book: BookView, step: Option<MediaStep>) -> Audiobook {
    let status = status_at(book.status, step);
    Audiobook { status: status.into(), ..audiobook(book) }
}

/// The status of a book that is worked on at a step.
pub const fn status_at(status: BookStatus, step: Option<MediaStep>) -> MediaStatus {
    match (status, step) {
        (BookStatus::Processing, Some(MediaStep::Transcribe)) => MediaStatus::MediaProcessingTranscript,
        (BookStatus::Processing, Some(MediaStep::Summarise | MediaStep::Publish)) => {
            MediaStatus::MediaProcessingSummary
        }
        _ => media_status(status),
    }
}

/// The status of a book. A draft waits for its audio, which the reference system calls the processing of it.
pub const fn media_status(status: BookStatus) -> MediaStatus {
    match status {
        BookStatus::Draft | BookStatus::Processing => MediaStatus::MediaProcessingAudio,
        BookStatus::Ready => MediaStatus::MediaReady,
        BookStatus::Hidden => MediaStatus::MediaHide,
        BookStatus::Deleted => MediaStatus::MediaDeteted,
    }
}

/// The statuses that a status of the protos stands for.
pub fn book_statuses(status: MediaStatus) -> Vec<BookStatus> {
    match status {
        MediaStatus::Unspecified => Vec::new(),
        MediaStatus::MediaProcessingAudio => vec![BookStatus::Draft, BookStatus::Processing],
        MediaStatus::MediaProcessingTranscript | MediaStatus::MediaProcessingSummary => vec![BookStatus::Processing],
        MediaStatus::MediaReady => vec![BookStatus::Ready],
        MediaStatus::MediaHide => vec![BookStatus::Hidden],
        MediaStatus::MediaDeteted => vec![BookStatus::Deleted],
    }
}

/// Where a recording is uploaded.
pub fn upload_link(link: UploadLinkView) -> CreateUploadUrlResponse {
    let UploadLinkView { book, upload_url, max_bytes, expires_at } = link;
    CreateUploadUrlResponse {
        audiobook_id: book.to_string(),
        upload_url,
        max_bytes: whole(max_bytes),
        expires_at: Some(timestamp(expires_at)),
    }
}

/// A cart.
pub fn cart(cart: CartView) -> ViewCartResponse {
    let (subtotal_cents, currency) = amount(cart.total);
    let items = cart.items.into_iter().map(|item| CartItem {
        line_subtotal_cents: amount(item.price).0,
        price_before_cents: item.price_before.map(|price| price.minor),
        book: Some(audiobook(item.book)),
    });
    ViewCartResponse { items: items.collect(), subtotal_cents, currency, version: cart.version }
}

/// A book that was bought.
pub fn purchase(purchase: PurchaseView) -> PurchasedItem {
    let PurchaseView { order, book, price, purchased_at } = purchase;
    PurchasedItem {
        order_id: order.to_string(),
        book: Some(audiobook(book)),
        price_cents: price.minor,
        purchased_at: Some(timestamp(purchased_at)),
        currency: price.currency.to_string(),
    }
}

/// An order.
pub fn order(order: OrderView) -> Order {
    let OrderView { id, status, total, lines, created_at, paid_at, refunded_at } = order;
    Order {
        id: id.to_string(),
        status: order_status(status).into(),
        total_cents: total.minor,
        currency: total.currency.to_string(),
        created_at: Some(timestamp(created_at)),
        paid_at: paid_at.map(timestamp),
        refunded_at: refunded_at.map(timestamp),
        lines: order_lines(lines),
    }
}

/// The books of an order.
pub fn order_lines(lines: Vec<OrderLineView>) -> Vec<OrderLine> {
    let line = |OrderLineView { book, title, price }: OrderLineView| OrderLine {
        audiobook_id: book.to_string(),
        title,
        price_cents: price.minor,
    };
    lines.into_iter().map(line).collect()
}

const fn order_status(status: contracts::OrderStatus) -> OrderStatus {
    match status {
        contracts::OrderStatus::Pending => OrderStatus::Pending,
        contracts::OrderStatus::Paid => OrderStatus::Paid,
        contracts::OrderStatus::Declined => OrderStatus::Declined,
        contracts::OrderStatus::Refunding => OrderStatus::Refunding,
        contracts::OrderStatus::Refunded => OrderStatus::Refunded,
    }
}

/// A category.
pub fn category(category: CategoryView) -> Category {
    let CategoryView { slug, label, hint, accepted } = category;
    let state = if accepted { CategoryState::Accepted } else { CategoryState::Proposed };
    Category { slug: slug.to_string(), label, hint: hint.unwrap_or_default(), state: state.into() }
}

/// An amount and its currency; nothing and an empty text for none.
fn amount(money: Option<Money>) -> (i64, String) {
    money.map_or_else(|| (0, String::new()), |money| (money.minor, money.currency.to_string()))
}

/// A number that the protos have with a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_stands_for_itself_in_a_filter() {
        for status in BookStatus::ALL {
            assert!(book_statuses(media_status(status)).contains(&status), "{status}");
        }
        assert!(book_statuses(MediaStatus::Unspecified).is_empty());
    }
}
