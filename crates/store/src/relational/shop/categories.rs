//! Categories of books.

use contracts::{BookId, CategorySlug, IdError, whole_microseconds};
use jiff::Timestamp;

use crate::StoreError;
use crate::relational::audit::AuditEntry;
use crate::relational::database::Relational;
use crate::relational::values::{Row, unreadable, values};

/// Maximum number of categories.
pub const MAX_CATEGORIES: u32 = 500;
/// Books that lose a removed category in one transaction.
const BOOKS_AT_ONCE: i64 = 50;

/// A category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CategoryRecord {
    /// Its name in addresses and filters.
    pub slug: CategorySlug,
    /// Its name for people.
    pub label: String,
    /// What belongs to it.
    pub hint: Option<String>,
    /// Whether books can have it. Others are proposed.
    pub accepted: bool,
}

impl CategoryRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let slug: String = row.get("slug")?;
        Ok(Self {
            slug: slug.parse().map_err(|error: IdError| unreadable("category", &error))?,
            label: row.get("label")?,
            hint: row.get("hint")?,
            accepted: row.get("accepted")?,
        })
    }
}

impl Relational {
    /// All categories, by their names in addresses.
    pub async fn categories(&self) -> Result<Vec<CategoryRecord>, StoreError> {
        let sql = "SELECT slug, label, hint, accepted FROM categories ORDER BY slug LIMIT $1";
        self.rows(sql, values![i64::from(MAX_CATEGORIES)]).await?.iter().map(CategoryRecord::read).collect()
    }

    /// A category.
    pub async fn category(&self, slug: &CategorySlug) -> Result<Option<CategoryRecord>, StoreError> {
        let sql = "SELECT slug, label, hint, accepted FROM categories WHERE slug = $1";
        self.row(sql, values![slug.as_str()]).await?.as_ref().map(CategoryRecord::read).transpose()
    }

    /// Adds a category, or changes it. `false` if there are [`MAX_CATEGORIES`].
    pub async fn put_category(
        &self,
        category: &CategoryRecord,
        audit: Option<&AuditEntry>,
    ) -> Result<bool, StoreError> {
        let CategoryRecord { slug, label, hint, accepted } = category;
        let mut transaction = self.begin().await?;
        // Two that are added at once may exceed the maximum by one.
        let sql = "INSERT INTO categories (slug, label, hint, accepted) SELECT $1, $2, $3, $4 \
                   WHERE (SELECT count(*) FROM categories) < $5 OR EXISTS (SELECT 1 FROM categories WHERE slug = $1) \
                   ON CONFLICT (slug) DO UPDATE SET label = excluded.label, hint = excluded.hint, \
                   accepted = excluded.accepted";
        let row = values![slug.as_str(), label, hint, *accepted, i64::from(MAX_CATEGORIES)];
        if transaction.execute(sql, row).await? == 0 {
            return Ok(false);
        }
        transaction.add_audit_entry(audit).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes a category, also from all books that have it. `false` for an unknown one.
    pub async fn remove_category(
        &self,
        slug: &CategorySlug,
        audit: Option<&AuditEntry>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // From now on no book gets it.
        let sql = "UPDATE categories SET accepted = $2 WHERE slug = $1";
        if self.execute(sql, values![slug.as_str(), false]).await? == 0 {
            return Ok(false);
        }
        while self.remove_from_books(slug, now).await? {}
        let mut transaction = self.begin().await?;
        let removed = transaction.execute("DELETE FROM categories WHERE slug = $1", values![slug.as_str()]).await?;
        transaction.add_audit_entry(audit.filter(|_| removed == 1)).await?;
        transaction.commit().await?;
        Ok(removed == 1)
    }

    /// Removes a category from some of the books that have it. `false` if none has it.
    async fn remove_from_books(&self, slug: &CategorySlug, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT book_id FROM book_categories WHERE slug = $1 ORDER BY book_id LIMIT $2";
        let rows = transaction.rows(sql, values![slug.as_str(), BOOKS_AT_ONCE]).await?;
        for row in &rows {
            let id = BookId::from_uuid(row.get("book_id")?);
            let Some(mut book) = transaction.lock_book(id).await? else { continue };
            let sql = "DELETE FROM book_categories WHERE book_id = $1 AND slug = $2";
            transaction.execute(sql, values![id, slug.as_str()]).await?;
            book.categories.retain(|category| category != slug);
            book.version = book.version.saturating_add(1);
            book.updated_at = whole_microseconds(now);
            transaction.store_book(&book).await?;
        }
        transaction.commit().await?;
        Ok(!rows.is_empty())
    }
}
