//! Texts of a book in parts, such as its sentences with times and embeddings. The store does not look into them.

use contracts::BookId;

use super::MAX_TEXTS;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::values;

/// Maximum number of parts of a text.
pub const MAX_TEXT_PARTS: usize = 10_000;

impl Relational {
    /// Gives a generation of a book these parts of a kind, instead of those that it has.
    ///
    /// # Errors
    /// `Fatal` for more than [`MAX_TEXT_PARTS`].
    pub async fn put_text_parts(
        &self,
        book: BookId,
        generation: u32,
        kind: &str,
        parts: &[Vec<u8>],
    ) -> Result<(), StoreError> {
        if parts.len() > MAX_TEXT_PARTS {
            return Err(StoreError::Fatal(format!(
                "a text has at most {MAX_TEXT_PARTS} parts, this one {}",
                parts.len()
            )));
        }
        let mut transaction = self.begin().await?;
        let sql = "DELETE FROM text_parts WHERE book_id = $1 AND generation = $2 AND kind = $3";
        transaction.execute(sql, values![book, i64::from(generation), kind]).await?;
        for (number, part) in (0_i64..).zip(parts) {
            let sql = "INSERT INTO text_parts (book_id, generation, kind, number, body) VALUES ($1, $2, $3, $4, $5)";
            transaction.execute(sql, values![book, i64::from(generation), kind, number, &part[..]]).await?;
        }
        transaction.commit().await
    }

    /// Parts of a text, in their order, from a number on; at most 64.
    pub async fn text_parts(
        &self,
        book: BookId,
        generation: u32,
        kind: &str,
        from: u32,
        limit: u32,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let sql = "SELECT body FROM text_parts WHERE book_id = $1 AND generation = $2 AND kind = $3 AND number >= $4 \
                   ORDER BY number LIMIT $5";
        let limit = i64::from(limit.min(MAX_TEXTS));
        let rows = self.rows(sql, values![book, i64::from(generation), kind, i64::from(from), limit]).await?;
        rows.iter().map(|row| row.get("body")).collect()
    }
}
