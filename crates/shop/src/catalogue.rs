//! The catalogue: books, who sees them, and their changes.
//!
//! A user sees a book that is ready, and any book that it has bought. Everything else is not found, as if it were not there: drafts,
//! books in work, hidden and deleted ones. An admin sees all of them, deleted ones only by their id or when it asks for them.

mod checks;

use std::collections::BTreeSet;
use std::ops::Deref;

use accounts::Actor;
use contracts::{BookId, BookStatus, CategorySlug, Money};
use store::PageCursor;
use store::relational::{BookChange, BookFilter, BookRecord, BookWriteOutcome, NewBook};

use crate::{Shop, ShopError, Viewer};

/// Changes that are tried again when another change comes in between.
const TRIES: u32 = 5;

/// A book, as a viewer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// The book.
    pub record: BookRecord,
    /// Whether the viewer has bought it.
    pub owned: bool,
}

impl Deref for Book {
    type Target = BookRecord;

    fn deref(&self) -> &BookRecord {
        &self.record
    }
}

/// A new book.
#[derive(Debug, Clone, Default)]
pub struct NewBookFields {
    /// The title.
    pub title: String,
    /// The author; may be empty.
    pub author: String,
    /// The language, as BCP 47 names it.
    pub language: Option<String>,
    /// The price; a book without one is not for sale.
    pub price: Option<Money>,
    /// The description.
    pub description: Option<String>,
    /// The categories.
    pub categories: Vec<CategorySlug>,
}

/// A change of a book. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct BookFields {
    /// The new title.
    pub title: Option<String>,
    /// The new author.
    pub author: Option<String>,
    /// The new language; an inner `None` removes it.
    pub language: Option<Option<String>>,
    /// The new price.
    pub price: Option<Money>,
    /// The new description; an inner `None` removes it.
    pub description: Option<Option<String>>,
    /// The new categories, instead of the old ones.
    pub categories: Option<Vec<CategorySlug>>,
}

/// Which books are listed.
#[derive(Debug, Clone, Default)]
pub struct BookQuery {
    /// Words of title, author and description.
    pub query: Option<String>,
    /// Books of this category only.
    pub category: Option<CategorySlug>,
    /// Books of these statuses. Empty: for users the ready ones, for admins all but the deleted ones.
    pub statuses: Vec<BookStatus>,
}

impl Shop {
    /// Adds a book, as a draft.
    ///
    /// # Errors
    /// `Invalid` names the field.
    pub async fn create_book(&self, new: NewBookFields, actor: &Actor) -> Result<Book, ShopError> {
        let new = checks::new_book(new)?;
        let entry = self.entry("book_created", actor, &format!("{}: {}", new.id, price_text(new.price)));
        let outcome = self.database().create_book(&new, Some(&entry), self.now()).await?;
        Ok(for_admin(written(outcome)?))
    }

    /// Changes a book. It stays what it is: no change publishes it.
    ///
    /// # Errors
    /// `VersionConflict` when it is not of the expected version any more.
    pub async fn change_book(
        &self,
        id: BookId,
        change: BookFields,
        expected_version: Option<i64>,
        actor: &Actor,
    ) -> Result<Book, ShopError> {
        let change = checks::change(change)?;
        for _ in 0..TRIES {
            let before = self.managed(id).await?;
            let version = expected_version.unwrap_or(before.version);
            let (action, detail) = describe(&before, &change);
            let entry = self.entry(action, actor, &detail);
            let outcome = self.database().change_book(id, Some(version), &change, Some(&entry), self.now()).await?;
            match outcome {
                BookWriteOutcome::Changed(_) if expected_version.is_none() => {}
                outcome => return Ok(for_admin(written(outcome)?)),
            }
        }
        Err(ShopError::VersionConflict)
    }

    /// A book that the viewer may see.
    ///
    /// # Errors
    /// `NotFound` for any other.
    pub async fn book(&self, viewer: &Viewer, id: BookId) -> Result<Book, ShopError> {
        let record = self.database().book(id).await?.ok_or(NO_BOOK)?;
        let owned = self.owns(viewer, id).await?;
        if viewer.admin || owned || record.status == BookStatus::Ready {
            return Ok(Book { record, owned });
        }
        Err(NO_BOOK)
    }

    /// Books that the viewer may see, newest first, after a cursor. The cursor of a book is `book.cursor()`.
    ///
    /// # Errors
    /// `Invalid` for a query that is too long, and for statuses that only an admin may ask for.
    pub async fn books(
        &self,
        viewer: &Viewer,
        query: &BookQuery,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<Book>, ShopError> {
        let filter = BookFilter {
            query: query.query.as_deref().map(checks::query).transpose()?,
            category: query.category.clone(),
            statuses: statuses(viewer, &query.statuses)?,
        };
        let records = self.database().books(&filter, after, limit).await?;
        self.with_owners(viewer, records).await
    }

    /// These books with whether the viewer has bought them.
    pub(crate) async fn with_owners(&self, viewer: &Viewer, records: Vec<BookRecord>) -> Result<Vec<Book>, ShopError> {
        let ids: Vec<BookId> = records.iter().map(|record| record.id).collect();
        let owned = match viewer.user {
            Some(user) if !ids.is_empty() => self.database().entitled_to(user, &ids).await?,
            _ => BTreeSet::new(),
        };
        Ok(records.into_iter().map(|record| Book { owned: owned.contains(&record.id), record }).collect())
    }

    /// Whether the viewer has bought a book.
    pub(crate) async fn owns(&self, viewer: &Viewer, book: BookId) -> Result<bool, ShopError> {
        match viewer.user {
            Some(user) => Ok(self.database().entitled(user, book).await?),
            None => Ok(false),
        }
    }

    /// A book that an admin works on.
    pub(crate) async fn managed(&self, id: BookId) -> Result<BookRecord, ShopError> {
        let record = self.database().book(id).await?.ok_or(NO_BOOK)?;
        if record.status == BookStatus::Deleted { Err(ShopError::BookDeleted) } else { Ok(record) }
    }
}

/// The error for a book that is not there, or that the viewer may not see.
pub(crate) const NO_BOOK: ShopError = ShopError::NotFound("book");

/// A book, as an admin sees it after a change.
pub(crate) const fn for_admin(record: BookRecord) -> Book {
    Book { record, owned: false }
}

/// The book that was written, or why it was not.
pub(crate) fn written(outcome: BookWriteOutcome) -> Result<BookRecord, ShopError> {
    match outcome {
        BookWriteOutcome::Stored(record) => Ok(*record),
        BookWriteOutcome::Unknown => Err(NO_BOOK),
        BookWriteOutcome::Changed(now) if now.status == BookStatus::Deleted => Err(ShopError::BookDeleted),
        BookWriteOutcome::Changed(_) => Err(ShopError::VersionConflict),
        BookWriteOutcome::UnknownCategory(slug) => {
            Err(ShopError::invalid("categories", format!("there is no category {slug}; add it first")))
        }
        BookWriteOutcome::Taken => Err(ShopError::Internal("the id of a new book is taken".to_owned())),
    }
}

/// The statuses of a list.
fn statuses(viewer: &Viewer, wanted: &[BookStatus]) -> Result<Vec<BookStatus>, ShopError> {
    if viewer.admin {
        let all = BookStatus::ALL.into_iter().filter(|status| *status != BookStatus::Deleted);
        return Ok(if wanted.is_empty() { all.collect() } else { wanted.to_vec() });
    }
    if wanted.iter().any(|status| *status != BookStatus::Ready) {
        return Err(ShopError::invalid("status", "only an admin may list other books than ready ones"));
    }
    Ok(vec![BookStatus::Ready])
}

/// A change for the audit log: its action, and a text.
fn describe(before: &BookRecord, change: &BookChange) -> (&'static str, String) {
    if let Some(price) = change.price.filter(|price| *price != before.price) {
        let text = format!("{}: {} to {}", before.id, price_text(before.price), price_text(price));
        return ("book_price_changed", text);
    }
    ("book_changed", before.id.to_string())
}

fn price_text(price: Option<Money>) -> String {
    price.map_or_else(|| "no price".to_owned(), |price| format!("price {price}"))
}

/// A new book of these fields, for the store.
pub(crate) fn draft(fields: NewBookFields) -> NewBook {
    let NewBookFields { title, author, language, price, description, categories } = fields;
    NewBook { id: BookId::now(), title, author, language, price, description, categories, status: BookStatus::Draft }
}
