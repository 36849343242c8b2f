//! Orders: opening them, reading them.

use contracts::{BookId, Money, OrderId, UserId, whole_microseconds};
use jiff::Timestamp;

use super::cart::CartRecord;
use super::order_records::{LINES, LINES_OF, OrderRecord, lines, lines_by_order, order_columns, order_tables};
use super::page_limit;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{Row, cursor_position, position_from_oldest, values};
use crate::{PageCursor, StoreError};

/// An order to open.
#[derive(Debug, Clone, Copy)]
pub struct NewOrder<'a> {
    /// The id.
    pub id: OrderId,
    /// Who buys.
    pub user: UserId,
    /// The key of the request, so that a repeat of it finds this order.
    pub key: &'a str,
    /// The total that the user has seen; without it, the prices that the user has seen in the cart count.
    pub seen_total: Option<Money>,
}

/// The outcome of opening an order. But for the first, nothing was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenOrderOutcome {
    /// It is open, of all that is in the cart.
    Opened(OrderRecord),
    /// The order that the key has already.
    Existing(OrderRecord),
    /// An order of the user with another key, which is being paid.
    Pending(OrderRecord),
    /// The user is disabled or deleted.
    NoUser,
    /// The cart is empty.
    Empty,
    /// The cart has books of two currencies.
    MixedCurrency,
    /// These books are not for sale any more. They are still in the cart.
    BookGone(Vec<BookId>),
    /// The user has bought these books. They are still in the cart.
    Owned(Vec<BookId>),
    /// The total is another one than the user has seen. Now it counts as seen.
    PriceChanged(Money),
}

/// An order by its id.
const ORDER: &str = concat!("SELECT ", order_columns!(), " FROM ", order_tables!(), " WHERE o.id = $1");
/// An order by its key.
const OF_KEY: &str =
    concat!("SELECT ", order_columns!(), " FROM ", order_tables!(), " WHERE o.user_id = $1 AND o.order_key = $2");
/// The pending order of a user.
const PENDING: &str = concat!(
    "SELECT ",
    order_columns!(),
    " FROM ",
    order_tables!(),
    " WHERE o.user_id = $1 AND o.status = 'pending' LIMIT 1"
);

impl Relational {
    /// Opens an order of all that is in the cart of a user, at today's prices. The cart stays as it is until the order is paid.
    pub async fn open_order(&self, new: &NewOrder<'_>, now: Timestamp) -> Result<OpenOrderOutcome, StoreError> {
        let NewOrder { user, key, .. } = *new;
        let mut transaction = self.begin().await?;
        if !transaction.lock_active_user(user).await? {
            return Ok(OpenOrderOutcome::NoUser);
        }
        if let Some(existing) = transaction.order_of_key(user, key).await? {
            return Ok(OpenOrderOutcome::Existing(existing));
        }
        if let Some(pending) = transaction.pending_order(user).await? {
            return Ok(OpenOrderOutcome::Pending(pending));
        }
        transaction.lock_books_of_cart(user).await?;
        let cart = transaction.cart(user).await?;
        let total = match transaction.total_to_pay(user, &cart).await? {
            Ok(total) => total,
            Err(refused) => return Ok(refused),
        };
        let seen = if new.seen_total.is_some() { new.seen_total } else { cart.total_seen() };
        if seen != Some(total) {
            transaction.see_prices(user, &cart).await?;
            transaction.commit().await?;
            return Ok(OpenOrderOutcome::PriceChanged(total));
        }
        let opened = transaction.insert_order(new, total, &cart, whole_microseconds(now)).await?;
        transaction.commit().await?;
        Ok(OpenOrderOutcome::Opened(opened))
    }

    /// An order.
    pub async fn order(&self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        self.begin_snapshot().await?.order(id).await
    }

    /// The order of a user with this key.
    pub async fn order_of_key(&self, user: UserId, key: &str) -> Result<Option<OrderRecord>, StoreError> {
        self.begin_snapshot().await?.order_of_key(user, key).await
    }

    /// The order of a user that is being paid.
    pub async fn pending_order(&self, user: UserId) -> Result<Option<OrderRecord>, StoreError> {
        self.begin_snapshot().await?.pending_order(user).await
    }

    /// Orders of a user, newest first, after a cursor; at most [`MAX_SHOP_PAGE`](super::MAX_SHOP_PAGE).
    pub async fn orders(
        &self,
        user: UserId,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<OrderRecord>, StoreError> {
        let (at, id) = cursor_position(after);
        let sql = concat!(
            "SELECT ",
            order_columns!(),
            " FROM ",
            order_tables!(),
            " WHERE o.user_id = $1 AND (o.created_at, o.id) < ($2, $3) ORDER BY o.created_at DESC, o.id DESC LIMIT $4"
        );
        let rows = self.rows(sql, values![user, at, id, page_limit(limit)]).await?;
        self.with_lines(&rows).await
    }

    /// Orders that have been pending since `older_than`, those that have waited longest first, after a cursor.
    pub async fn unsettled_orders(
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
            " WHERE o.status = 'pending' AND o.created_at < $1 AND (o.created_at, o.id) > ($2, $3)",
            " ORDER BY o.created_at, o.id LIMIT $4"
        );
        let rows = self.rows(sql, values![older_than, at, id, page_limit(limit)]).await?;
        self.with_lines(&rows).await
    }

    /// Orders with their lines.
    pub(super) async fn with_lines(&self, rows: &[Row]) -> Result<Vec<OrderRecord>, StoreError> {
        let ids = rows.iter().map(super::order_id).collect::<Result<Vec<_>, _>>()?;
        let found = self.shop_rows_by_ids(LINES_OF, values![], &ids).await?;
        let mut lines = lines_by_order(&found)?;
        let of_order = |(row, id): (&Row, &OrderId)| OrderRecord::read(row, lines.remove(id).unwrap_or_default());
        rows.iter().zip(&ids).map(of_order).collect()
    }
}

impl Transaction {
    /// Locks the order of an id, with its user. `None` without the order, also if it is deleted with its user meanwhile.
    pub(super) async fn lock_order(&mut self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        let row = self.row("SELECT user_id FROM orders WHERE id = $1", values![id]).await?;
        let Some(row) = row else { return Ok(None) };
        if !self.lock_user(UserId::from_uuid(row.get("user_id")?)).await? {
            return Ok(None);
        }
        self.order(id).await
    }

    pub(super) async fn order(&mut self, id: OrderId) -> Result<Option<OrderRecord>, StoreError> {
        let row = self.row(ORDER, values![id]).await?;
        self.with_own_lines(row).await
    }

    async fn order_of_key(&mut self, user: UserId, key: &str) -> Result<Option<OrderRecord>, StoreError> {
        let row = self.row(OF_KEY, values![user, key]).await?;
        self.with_own_lines(row).await
    }

    async fn pending_order(&mut self, user: UserId) -> Result<Option<OrderRecord>, StoreError> {
        let row = self.row(PENDING, values![user]).await?;
        self.with_own_lines(row).await
    }

    async fn with_own_lines(&mut self, row: Option<Row>) -> Result<Option<OrderRecord>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        let found = self.rows(LINES, values![super::order_id(&row)?]).await?;
        OrderRecord::read(&row, lines(&found)?).map(Some)
    }

    /// Keeps prices and statuses of the books in a cart as they are until this transaction ends. SQLite has no other writer anyway.
    async fn lock_books_of_cart(&mut self, user: UserId) -> Result<(), StoreError> {
        if self.is_postgres() {
            let sql = "SELECT id FROM books WHERE id IN (SELECT book_id FROM cart_lines WHERE user_id = $1) \
                       ORDER BY id FOR SHARE";
            self.rows(sql, values![user]).await?;
        }
        Ok(())
    }

    /// What the books in a cart cost, if all of them can be bought.
    async fn total_to_pay(
        &mut self,
        user: UserId,
        cart: &CartRecord,
    ) -> Result<Result<Money, OpenOrderOutcome>, StoreError> {
        if cart.lines.is_empty() {
            return Ok(Err(OpenOrderOutcome::Empty));
        }
        let gone = cart.lines.iter().filter(|line| line.book.price_if_for_sale().is_none());
        let gone: Vec<BookId> = gone.map(|line| line.book.id).collect();
        if !gone.is_empty() {
            return Ok(Err(OpenOrderOutcome::BookGone(gone)));
        }
        let owned = self.owned_in_cart(user).await?;
        if !owned.is_empty() {
            return Ok(Err(OpenOrderOutcome::Owned(owned)));
        }
        let mut currencies = cart.lines.iter().filter_map(|line| line.book.price).map(|price| price.currency);
        let first = currencies.next();
        if currencies.any(|currency| Some(currency) != first) {
            return Ok(Err(OpenOrderOutcome::MixedCurrency));
        }
        let too_much = || StoreError::Fatal("the total of a cart is larger than an amount can be".to_owned());
        cart.total().map(Ok).ok_or_else(too_much)
    }

    async fn insert_order(
        &mut self,
        new: &NewOrder<'_>,
        total: Money,
        cart: &CartRecord,
        now: Timestamp,
    ) -> Result<OrderRecord, StoreError> {
        let NewOrder { id, user, key, .. } = *new;
        let sql = "INSERT INTO orders (id, user_id, order_key, status, total_minor, currency, cart_version, created_at) \
                   VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7)";
        let row = values![id, user, key, total.minor, total.currency.code(), cart.version, now];
        self.execute(sql, row).await?;
        for (position, line) in (1_i64..).zip(&cart.lines) {
            let price = line.book.price.map(|price| price.minor);
            let sql =
                "INSERT INTO order_lines (order_id, position, book_id, title, price_minor) VALUES ($1, $2, $3, $4, $5)";
            self.execute(sql, values![id, position, line.book.id, &line.book.title, price]).await?;
        }
        let opened = self.order(id).await?;
        opened.ok_or_else(|| StoreError::Unavailable("an order was stored and is gone".to_owned()))
    }
}
