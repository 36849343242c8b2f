//! What clients see of the shop's records.

use contracts::api::{BookView, CartItemView, CartView, CategoryView, OrderLineView, OrderView, PurchaseView};
use shop::{Book, Cart, CartLine, Purchase};
use store::relational::{CategoryRecord, OrderLine, OrderRecord};

use super::App;

impl App {
    /// A book. What is wrong with its files is for admins only.
    pub(super) fn book_view(&self, book: Book, for_admin: bool) -> BookView {
        let Book { record, owned } = book;
        BookView {
            id: record.id,
            title: record.title,
            author: record.author,
            language: record.language,
            price: record.price,
            status: record.status,
            description: record.description,
            duration_seconds: record.duration.map(|duration| duration.as_secs()),
            content_type: record.content_type,
            categories: record.categories,
            cover_url: record.has_cover.then(|| self.files.cover_url(record.id)),
            preview_url: record.has_preview.then(|| self.files.preview_url(record.id)),
            owned,
            fault: record.fault.filter(|_| for_admin),
            version: record.version,
            created_at: record.created_at,
            updated_at: record.updated_at,
        }
    }

    /// A cart.
    pub(super) fn cart_view(&self, cart: Cart) -> CartView {
        let Cart { lines, total, version } = cart;
        let item = |CartLine { book, price, price_before }: CartLine| CartItemView {
            book: self.book_view(book, false),
            price,
            price_before,
        };
        CartView { items: lines.into_iter().map(item).collect(), total, version }
    }

    /// A book that was bought.
    pub(super) fn purchase_view(&self, purchase: Purchase) -> PurchaseView {
        let Purchase { order, book, price, purchased_at, .. } = purchase;
        PurchaseView { order, book: self.book_view(book, false), price, purchased_at }
    }
}

/// An order.
pub fn order_view(order: OrderRecord) -> OrderView {
    let OrderRecord { id, status, total, lines, created_at, paid_at, refunded_at, .. } = order;
    OrderView { id, status, total, lines: order_lines(lines), created_at, paid_at, refunded_at }
}

/// The books of an order.
pub fn order_lines(lines: Vec<OrderLine>) -> Vec<OrderLineView> {
    lines.into_iter().map(|OrderLine { book, title, price }| OrderLineView { book, title, price }).collect()
}

/// A category.
pub fn category_view(category: CategoryRecord) -> CategoryView {
    let CategoryRecord { slug, label, hint, accepted } = category;
    CategoryView { slug, label, hint, accepted }
}
