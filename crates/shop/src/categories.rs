//! Categories of books.

use accounts::Actor;
use contracts::CategorySlug;
use store::relational::{CategoryRecord, MAX_CATEGORIES};

use crate::{Shop, ShopError};

/// Longest label, in characters.
const MAX_LABEL: usize = 60;
/// Longest hint, in characters.
const MAX_HINT: usize = 300;

impl Shop {
    /// All categories, by their slug.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn categories(&self) -> Result<Vec<CategoryRecord>, ShopError> {
        Ok(self.database().categories().await?)
    }

    /// Adds a category, or changes one.
    ///
    /// # Errors
    /// `Invalid` names the field; so does one category too many.
    pub async fn put_category(&self, category: CategoryRecord, actor: &Actor) -> Result<CategoryRecord, ShopError> {
        let category = CategoryRecord {
            label: line("label", &category.label, 1..=MAX_LABEL)?,
            hint: category.hint.as_deref().map(|hint| line("hint", hint, 0..=MAX_HINT)).transpose()?,
            ..category
        };
        let entry = self.entry("category_changed", actor, category.slug.as_str());
        if self.database().put_category(&category, Some(&entry)).await? {
            return Ok(category);
        }
        Err(ShopError::invalid("slug", format!("there are already {MAX_CATEGORIES} categories; remove one first")))
    }

    /// Removes a category, also from all books.
    ///
    /// # Errors
    /// `NotFound` without such a category.
    pub async fn remove_category(&self, slug: &CategorySlug, actor: &Actor) -> Result<(), ShopError> {
        let entry = self.entry("category_removed", actor, slug.as_str());
        if self.database().remove_category(slug, Some(&entry), self.now()).await? {
            return Ok(());
        }
        Err(ShopError::NotFound("category"))
    }
}

/// A text of one line.
fn line(field: &'static str, text: &str, lengths: std::ops::RangeInclusive<usize>) -> Result<String, ShopError> {
    let text = text.trim();
    if lengths.contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        return Ok(text.to_owned());
    }
    let (min, max) = lengths.into_inner();
    Err(ShopError::invalid(field, format!("it has {min} to {max} characters, and no control characters")))
}
