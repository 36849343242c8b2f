//! Books: adding, changing, deleting.

use contracts::{BookId, BookStatus, CategorySlug, whole_microseconds};
use jiff::Timestamp;

use super::book_records::{BookChange, BookRecord, BookWriteOutcome, MAX_CATEGORIES_OF_BOOK, NewBook, book_columns};
use super::words::search_text;
use super::{millis, minor_and_code, page_limit};
use crate::StoreError;
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::values;

/// Stores a book as it is after a change.
const UPDATE: &str = "UPDATE books SET title = $2, author = $3, language = $4, price_minor = $5, currency = $6, \
                      status = $7, description = $8, duration_ms = $9, version = $10, updated_at = $11, search = $12 \
                      WHERE id = $1";

/// Deleted books with files that nobody has bought, and nobody is buying.
const WITHOUT_BUYERS: &str = "SELECT books.id FROM books WHERE books.status = 'deleted' AND books.updated_at <= $1 \
                              AND EXISTS (SELECT 1 FROM assets a WHERE a.book_id = books.id) \
                              AND NOT EXISTS (SELECT 1 FROM entitlements e WHERE e.book_id = books.id \
                              AND e.revoked_at IS NULL) AND NOT EXISTS (SELECT 1 FROM order_lines l \
                              JOIN orders o ON o.id = l.order_id WHERE l.book_id = books.id AND o.status = 'pending') \
                              ORDER BY books.updated_at LIMIT $2";

impl Relational {
    /// Adds a book.
    pub async fn create_book(
        &self,
        new: &NewBook,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        let now = whole_microseconds(now);
        let NewBook { id, title, author, language, price, description, categories, status } = new;
        let mut transaction = self.begin().await?;
        if let Some(unknown) = transaction.first_unknown(categories).await? {
            return Ok(BookWriteOutcome::UnknownCategory(unknown));
        }
        let search = search_text([title, author, description.as_deref().unwrap_or_default()], categories, *status);
        let (minor, code) = minor_and_code(*price);
        let sql = "INSERT INTO books (id, title, author, language, price_minor, currency, status, description, version, \
                   preview_attempts, created_at, updated_at, search) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, $9, $9, $10) ON CONFLICT DO NOTHING RETURNING number";
        let row = values![*id, title, author, language, minor, code, status.as_str(), description, now, &search];
        let Some(row) = transaction.row(sql, row).await? else { return Ok(BookWriteOutcome::Taken) };
        transaction.replace_search(row.get("number")?, None, &search).await?;
        transaction.put_categories(*id, categories).await?;
        transaction.add_audit_entry(audit).await?;
        let outcome = transaction.stored(*id).await?;
        committed_if_stored(transaction, outcome).await
    }

    /// Changes a book, unless it has another version than the expected one, or was deleted.
    pub async fn change_book(
        &self,
        id: BookId,
        expected_version: Option<i64>,
        change: &BookChange,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(known) = transaction.lock_book(id).await? else { return Ok(BookWriteOutcome::Unknown) };
        let is_other = expected_version.is_some_and(|expected| expected != known.version);
        if is_other || known.status == BookStatus::Deleted {
            return Ok(BookWriteOutcome::Changed(Box::new(known)));
        }
        let outcome = transaction.store_change(known, change, audit, now).await?;
        committed_if_stored(transaction, outcome).await
    }

    /// Changes the status of a book, unless it has another one than those in `from`.
    pub async fn set_book_status(
        &self,
        id: BookId,
        from: &[BookStatus],
        to: BookStatus,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(known) = transaction.lock_book(id).await? else { return Ok(BookWriteOutcome::Unknown) };
        if !from.contains(&known.status) {
            return Ok(BookWriteOutcome::Changed(Box::new(known)));
        }
        let change = BookChange { status: Some(to), ..BookChange::default() };
        let outcome = transaction.store_change(known, &change, audit, now).await?;
        committed_if_stored(transaction, outcome).await
    }

    /// Deletes a book: it is in no list but that of deleted books. Its files end with it, or after its last buyer is gone
    /// ([`Self::sweep_deleted_books`]). Again: the same.
    pub async fn delete_book(
        &self,
        id: BookId,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(known) = transaction.lock_book(id).await? else { return Ok(BookWriteOutcome::Unknown) };
        if known.status == BookStatus::Deleted {
            return Ok(BookWriteOutcome::Stored(Box::new(known)));
        }
        if !transaction.has_buyer(id).await? {
            transaction.remove_assets(id, now).await?;
        }
        transaction.end_pipeline(id, now).await?;
        let change = BookChange { status: Some(BookStatus::Deleted), ..BookChange::default() };
        let outcome = transaction.store_change(known, &change, audit, now).await?;
        committed_if_stored(transaction, outcome).await
    }

    /// Gives up the files of deleted books that have no buyer any more, of at most `limit` books. Returns the number of books.
    pub async fn sweep_deleted_books(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let mut swept = 0;
        for row in self.rows(WITHOUT_BUYERS, values![now, page_limit(limit)]).await? {
            let id = BookId::from_uuid(row.get("id")?);
            let mut transaction = self.begin().await?;
            // No order takes a deleted book, but one that was under way may have been paid since.
            if transaction.lock_book(id).await?.is_some() && !transaction.has_buyer(id).await? {
                transaction.remove_assets(id, now).await?;
                transaction.commit().await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// Commits a transaction in which a book was stored. Nothing stays of another one.
async fn committed_if_stored(
    transaction: Transaction,
    outcome: BookWriteOutcome,
) -> Result<BookWriteOutcome, StoreError> {
    if matches!(outcome, BookWriteOutcome::Stored(_)) {
        transaction.commit().await?;
    }
    Ok(outcome)
}

impl Transaction {
    /// Stores a change of a locked book.
    async fn store_change(
        &mut self,
        known: BookRecord,
        change: &BookChange,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        if let Some(categories) = &change.categories
            && let Some(unknown) = self.first_unknown(categories).await?
        {
            return Ok(BookWriteOutcome::UnknownCategory(unknown));
        }
        let id = known.id;
        let changed = change.applied_to(known, whole_microseconds(now));
        self.store_book(&changed).await?;
        if change.description.is_some() {
            self.set_description_source(id, None).await?;
        }
        if let Some(categories) = &change.categories {
            self.put_categories(id, categories).await?;
        }
        self.add_audit_entry(audit).await?;
        self.stored(id).await
    }

    /// A book as it was stored.
    pub(super) async fn stored(&mut self, id: BookId) -> Result<BookWriteOutcome, StoreError> {
        Ok(self.book(id).await?.map_or(BookWriteOutcome::Unknown, |book| BookWriteOutcome::Stored(Box::new(book))))
    }

    /// A book, of any status.
    pub(super) async fn book(&mut self, id: BookId) -> Result<Option<BookRecord>, StoreError> {
        let sql = concat!("SELECT ", book_columns!(), " FROM books WHERE books.id = $1");
        self.row(sql, values![id]).await?.as_ref().map(BookRecord::read).transpose()
    }

    /// Locks a book until this transaction ends.
    pub(super) async fn lock_book(&mut self, id: BookId) -> Result<Option<BookRecord>, StoreError> {
        if self.execute("UPDATE books SET version = version WHERE id = $1", values![id]).await? == 0 {
            return Ok(None);
        }
        self.book(id).await
    }

    /// Stores a locked book, but for its categories, and makes it found by its new words.
    pub(super) async fn store_book(&mut self, book: &BookRecord) -> Result<(), StoreError> {
        let row = self.row("SELECT search FROM books WHERE id = $1", values![book.id]).await?;
        let old: Option<String> = row.map(|row| row.get("search")).transpose()?;
        let search = book.search_text();
        let (minor, code) = minor_and_code(book.price);
        let row = values![
            book.id,
            &book.title,
            &book.author,
            &book.language,
            minor,
            code,
            book.status.as_str(),
            &book.description,
            book.duration.map(millis),
            book.version,
            book.updated_at,
            &search,
        ];
        self.execute(UPDATE, row).await?;
        self.replace_search(book.number, old.as_deref(), &search).await
    }

    /// Keeps the index of words in step. PostgreSQL does so itself.
    async fn replace_search(&mut self, number: i64, old: Option<&str>, new: &str) -> Result<(), StoreError> {
        if self.is_postgres() || old == Some(new) {
            return Ok(());
        }
        if let Some(old) = old {
            let sql = "INSERT INTO book_search (book_search, rowid, search) VALUES ('delete', $1, $2)";
            self.execute(sql, values![number, old]).await?;
        }
        let sql = "INSERT INTO book_search (rowid, search) VALUES ($1, $2)";
        self.execute(sql, values![number, new]).await.map(drop)
    }

    /// The first of these that is no accepted category.
    pub(super) async fn first_unknown(
        &mut self,
        categories: &[CategorySlug],
    ) -> Result<Option<CategorySlug>, StoreError> {
        for (index, category) in categories.iter().enumerate() {
            let sql = "SELECT slug FROM categories WHERE slug = $1 AND accepted = $2";
            let is_known = self.row(sql, values![category.as_str(), true]).await?.is_some();
            if !is_known || index >= MAX_CATEGORIES_OF_BOOK {
                return Ok(Some(category.clone()));
            }
        }
        Ok(None)
    }

    /// Gives a locked book these categories instead of those that it has.
    async fn put_categories(&mut self, book: BookId, categories: &[CategorySlug]) -> Result<(), StoreError> {
        self.execute("DELETE FROM book_categories WHERE book_id = $1", values![book]).await?;
        for (position, category) in (0_i64..).zip(categories) {
            let sql =
                "INSERT INTO book_categories (book_id, slug, position) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
            self.execute(sql, values![book, category.as_str(), position]).await?;
        }
        Ok(())
    }

    /// Whether somebody has bought a book, or is buying it.
    async fn has_buyer(&mut self, book: BookId) -> Result<bool, StoreError> {
        // Orders first: one that is paid between the two statements is an entitlement for the second.
        let sql = "SELECT 1 AS found FROM order_lines l JOIN orders o ON o.id = l.order_id \
                   WHERE l.book_id = $1 AND o.status = 'pending' LIMIT 1";
        if self.row(sql, values![book]).await?.is_some() {
            return Ok(true);
        }
        let sql = "SELECT 1 AS found FROM entitlements WHERE book_id = $1 AND revoked_at IS NULL LIMIT 1";
        Ok(self.row(sql, values![book]).await?.is_some())
    }
}
