//! Descriptions and categories that a program made. Those of an admin stay: a program writes only where nobody has written, or where a program
//! has.

use contracts::{BookId, BookStatus, CategorySlug, IdError, whole_microseconds};
use jiff::Timestamp;

use super::book_records::BookWriteOutcome;
use super::categories::MAX_CATEGORIES;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::transaction::Transaction;
use crate::relational::values::{unreadable, values};

/// What a program says of a book.
#[derive(Debug, Clone, PartialEq)]
pub struct BookDescription {
    /// What it is about; `None` leaves what it has.
    pub description: Option<String>,
    /// Which kind of program: `ai` or `extract`.
    pub source: &'static str,
    /// Accepted categories with how well they fit, the best one first. None leaves what it has.
    pub categories: Vec<(CategorySlug, f64)>,
}

/// Where the description and the categories of a book come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// `ai` or `extract`; `None`: an admin's, or there is none.
    pub source: Option<String>,
    /// The categories, the first one first.
    pub categories: Vec<DescribedCategory>,
}

/// A category of a book.
#[derive(Debug, Clone, PartialEq)]
pub struct DescribedCategory {
    /// Its name in addresses.
    pub slug: CategorySlug,
    /// How well it fits; `None` for an admin's.
    pub score: Option<f64>,
    /// `ai` or `extract`; `None`: an admin's.
    pub source: Option<String>,
}

impl Relational {
    /// Stores what a program says of a book, but for what an admin has written. A category that is not accepted is refused, and nothing is
    /// stored.
    pub async fn describe_book(
        &self,
        id: BookId,
        said: &BookDescription,
        now: Timestamp,
    ) -> Result<BookWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(mut book) = transaction.lock_book(id).await? else { return Ok(BookWriteOutcome::Unknown) };
        if book.status == BookStatus::Deleted {
            return Ok(BookWriteOutcome::Changed(Box::new(book)));
        }
        let slugs: Vec<CategorySlug> = said.categories.iter().map(|(slug, _)| slug.clone()).collect();
        if let Some(unknown) = transaction.first_unknown(&slugs).await? {
            return Ok(BookWriteOutcome::UnknownCategory(unknown));
        }
        let known = transaction.description(id).await?;
        if let Some(description) = &said.description
            && (book.description.is_none() || known.source.is_some())
        {
            book.description = Some(description.clone());
            transaction.set_description_source(id, Some(said.source)).await?;
        }
        if !slugs.is_empty() && known.categories.iter().all(|category| category.source.is_some()) {
            transaction.replace_categories(id, said).await?;
            book.categories = slugs;
        }
        book.version = book.version.saturating_add(1);
        book.updated_at = whole_microseconds(now);
        transaction.store_book(&book).await?;
        let outcome = transaction.stored(id).await?;
        transaction.commit().await?;
        Ok(outcome)
    }

    /// Where the description and the categories of a book come from.
    pub async fn description(&self, book: BookId) -> Result<Option<Description>, StoreError> {
        let mut snapshot = self.begin_snapshot().await?;
        if snapshot.book(book).await?.is_none() {
            return Ok(None);
        }
        snapshot.description(book).await.map(Some)
    }

    /// Proposes a category, unless there is one with the name. `false` if there is, or there are [`MAX_CATEGORIES`].
    pub async fn propose_category(&self, slug: &CategorySlug, label: &str) -> Result<bool, StoreError> {
        let sql = "INSERT INTO categories (slug, label, hint, accepted) SELECT $1, $2, NULL, $3 \
                   WHERE (SELECT count(*) FROM categories) < $4 ON CONFLICT DO NOTHING";
        let arguments = values![slug.as_str(), label, false, i64::from(MAX_CATEGORIES)];
        Ok(self.execute(sql, arguments).await? == 1)
    }
}

impl Transaction {
    /// Records whose the description of a locked book is.
    pub(super) async fn set_description_source(&mut self, id: BookId, source: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE books SET description_source = $2 WHERE id = $1";
        self.execute(sql, values![id, source]).await.map(drop)
    }

    async fn description(&mut self, id: BookId) -> Result<Description, StoreError> {
        let row = self.row("SELECT description_source FROM books WHERE id = $1", values![id]).await?;
        let source = row.map_or(Ok(None), |row| row.get("description_source"))?;
        let sql = "SELECT slug, score, source FROM book_categories WHERE book_id = $1 ORDER BY position";
        let mut categories = Vec::new();
        for row in self.rows(sql, values![id]).await? {
            let slug: String = row.get("slug")?;
            let slug = slug.parse().map_err(|error: IdError| unreadable("category", &error))?;
            categories.push(DescribedCategory { slug, score: row.get("score")?, source: row.get("source")? });
        }
        Ok(Description { source, categories })
    }

    /// Gives a locked book these categories instead of those that it has.
    async fn replace_categories(&mut self, book: BookId, said: &BookDescription) -> Result<(), StoreError> {
        self.execute("DELETE FROM book_categories WHERE book_id = $1", values![book]).await?;
        for (position, (slug, score)) in (0_i64..).zip(&said.categories) {
            let sql = "INSERT INTO book_categories (book_id, slug, position, score, source) VALUES ($1, $2, $3, $4, $5) \
                       ON CONFLICT DO NOTHING";
            self.execute(sql, values![book, slug.as_str(), position, *score, said.source]).await?;
        }
        Ok(())
    }
}
