//! Books as the database stores them.

use std::time::Duration;

use contracts::{BookId, BookStatus, CategorySlug, IdError, Money};
use jiff::Timestamp;

use super::words::search_text;
use super::{book_id, duration, money, named};
use crate::relational::values::{Row, unreadable};
use crate::{PageCursor, StoreError};

/// Maximum number of categories of a book.
pub const MAX_CATEGORIES_OF_BOOK: usize = 10;

/// A book to add.
#[derive(Debug, Clone)]
pub struct NewBook {
    /// The id.
    pub id: BookId,
    /// The title.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// The language, as a tag of BCP 47.
    pub language: Option<String>,
    /// The price; without one it is not for sale.
    pub price: Option<Money>,
    /// What it is about.
    pub description: Option<String>,
    /// Its categories, the first one first.
    pub categories: Vec<CategorySlug>,
    /// Its status.
    pub status: BookStatus,
}

/// A book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookRecord {
    /// Its position in lists.
    pub(super) number: i64,
    /// The id.
    pub id: BookId,
    /// The title.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// The language, as a tag of BCP 47.
    pub language: Option<String>,
    /// The price now; without one it is not for sale.
    pub price: Option<Money>,
    /// Its status.
    pub status: BookStatus,
    /// What it is about.
    pub description: Option<String>,
    /// How long its master plays.
    pub duration: Option<Duration>,
    /// Its categories, the first one first.
    pub categories: Vec<CategorySlug>,
    /// One more with each change.
    pub version: i64,
    /// Media type of the master; `None` without a master.
    pub content_type: Option<String>,
    /// Whether it has a preview.
    pub has_preview: bool,
    /// Whether it has a cover.
    pub has_cover: bool,
    /// The code of what is wrong with its files.
    pub fault: Option<String>,
    /// How often its preview was begun.
    pub preview_attempts: u32,
    /// When its preview is begun next. `None` if it has one, or no master.
    pub preview_after: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// The columns of a book in every statement that reads one.
macro_rules! book_columns {
    () => {
        "books.number, books.id AS book_id, books.title AS book_title, books.author, books.language, \
         books.price_minor AS book_price, books.currency AS book_currency, books.status AS book_status, \
         books.description, books.duration_ms, books.version AS book_version, books.fault, books.preview_attempts, \
         books.preview_after, books.created_at AS book_created_at, books.updated_at AS book_updated_at, \
         (SELECT a.content_type FROM assets a WHERE a.book_id = books.id AND a.kind = 'master') AS master_type, \
         (SELECT count(*) FROM assets a WHERE a.book_id = books.id AND a.kind = 'preview') AS previews, \
         (SELECT count(*) FROM assets a WHERE a.book_id = books.id AND a.kind = 'cover') AS covers, \
         (SELECT string_agg(c.slug, ' ' ORDER BY c.position) FROM book_categories c WHERE c.book_id = books.id) \
         AS categories"
    };
}
pub(super) use book_columns;

impl BookRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let categories: Option<String> = row.get("categories")?;
        let attempts: i64 = row.get("preview_attempts")?;
        Ok(Self {
            number: row.get("number")?,
            id: book_id(row)?,
            title: row.get("book_title")?,
            author: row.get("author")?,
            language: row.get("language")?,
            price: money(row, "book_price", "book_currency")?,
            status: named(row, "book_status")?,
            description: row.get("description")?,
            duration: row.get::<Option<i64>>("duration_ms")?.map(duration),
            categories: categories_of(categories.as_deref().unwrap_or_default())?,
            version: row.get("book_version")?,
            content_type: row.get("master_type")?,
            has_preview: row.get::<i64>("previews")? > 0,
            has_cover: row.get::<i64>("covers")? > 0,
            fault: row.get("fault")?,
            preview_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            preview_after: row.get("preview_after")?,
            created_at: row.get("book_created_at")?,
            updated_at: row.get("book_updated_at")?,
        })
    }

    /// The cursor after this book in the list of books.
    pub fn cursor(&self) -> PageCursor {
        PageCursor { at: self.created_at, id: self.number.to_string() }
    }

    /// Whether it can be put into a cart.
    pub(super) fn price_if_for_sale(&self) -> Option<Money> {
        self.price.filter(|_| self.status == BookStatus::Ready)
    }

    /// The words by which it is found.
    pub(super) fn search_text(&self) -> String {
        let texts: [&str; 3] = [&self.title, &self.author, self.description.as_deref().unwrap_or_default()];
        search_text(texts, &self.categories, self.status)
    }
}

fn categories_of(slugs: &str) -> Result<Vec<CategorySlug>, StoreError> {
    let slugs = slugs.split_whitespace().map(str::parse::<CategorySlug>);
    slugs.collect::<Result<_, IdError>>().map_err(|error| unreadable("category", &error))
}

/// A change of a book. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct BookChange {
    /// The new title.
    pub title: Option<String>,
    /// The new author.
    pub author: Option<String>,
    /// The new language; an inner `None` removes it.
    pub language: Option<Option<String>>,
    /// The new price; an inner `None` takes the book from sale.
    pub price: Option<Option<Money>>,
    /// The new description; an inner `None` removes it.
    pub description: Option<Option<String>>,
    /// The new duration.
    pub duration: Option<Duration>,
    /// The new categories, instead of all that it has.
    pub categories: Option<Vec<CategorySlug>>,
    /// The new status.
    pub status: Option<BookStatus>,
}

impl BookChange {
    /// The book as it is after the change at `now`.
    pub(super) fn applied_to(&self, known: BookRecord, now: Timestamp) -> BookRecord {
        let Self { title, author, language, price, description, duration, categories, status } = self.clone();
        BookRecord {
            title: title.unwrap_or(known.title),
            author: author.unwrap_or(known.author),
            language: language.unwrap_or(known.language),
            price: price.unwrap_or(known.price),
            description: description.unwrap_or(known.description),
            duration: duration.or(known.duration),
            categories: categories.unwrap_or(known.categories),
            status: status.unwrap_or(known.status),
            version: known.version.saturating_add(1),
            updated_at: now,
            ..known
        }
    }
}

/// The outcome of writing a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookWriteOutcome {
    /// Stored, as it is now.
    Stored(Box<BookRecord>),
    /// A book has the id of the new one.
    Taken,
    /// No book has the id.
    Unknown,
    /// It has another version or status than the caller knows. Nothing was written; this is the book.
    Changed(Box<BookRecord>),
    /// There is no such accepted category, or it is one more than [`MAX_CATEGORIES_OF_BOOK`]. Nothing was written.
    UnknownCategory(CategorySlug),
}
