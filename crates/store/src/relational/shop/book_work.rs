//! What is still to be done with the files of books: previews, and books that are being processed.

use contracts::{BookId, whole_microseconds};
use jiff::Timestamp;

use super::book_records::{BookRecord, book_columns};
use super::page_limit;
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::values;

impl Relational {
    /// Records what is wrong with the files of a book, or that nothing is, and when its preview is begun next. `false` for an unknown book.
    pub async fn set_book_fault(
        &self,
        id: BookId,
        fault: Option<&str>,
        attempts: u32,
        after: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql =
            "UPDATE books SET fault = $2, preview_attempts = $3, preview_after = $4, updated_at = $5 WHERE id = $1";
        let values = values![id, fault, i64::from(attempts), after, whole_microseconds(now)];
        Ok(self.execute(sql, values).await? == 1)
    }

    /// Claims the work on a book until a time, unless somebody else has since `attempts_seen` were known.
    pub async fn claim_book_work(&self, id: BookId, attempts_seen: u32, until: Timestamp) -> Result<bool, StoreError> {
        let sql = "UPDATE books SET preview_attempts = preview_attempts + 1, preview_after = $3 \
                   WHERE id = $1 AND preview_attempts = $2";
        Ok(self.execute(sql, values![id, i64::from(attempts_seen), until]).await? == 1)
    }

    /// Books with a master whose preview is to be made by `now`, those that have waited longest first.
    pub async fn previews_due(&self, now: Timestamp, limit: u32) -> Result<Vec<BookRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            book_columns!(),
            " FROM books WHERE books.preview_after <= $1 AND books.fault IS NULL",
            " AND books.status IN ('processing', 'ready', 'hidden')",
            " AND EXISTS (SELECT 1 FROM assets a WHERE a.book_id = books.id AND a.kind = 'master')",
            " AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.book_id = books.id AND a.kind = 'preview')",
            " ORDER BY books.preview_after LIMIT $2"
        );
        self.rows(sql, values![now, page_limit(limit)]).await?.iter().map(BookRecord::read).collect()
    }

    /// Books that have been processing without a change since `older_than`, those that have waited longest first. Those of which the audio
    /// pipeline has something left to do only with `in_pipeline`, or with a complete upload that is not their file yet: they may be many, and
    /// wait for hours or for an admin.
    pub async fn books_processing(
        &self,
        older_than: Timestamp,
        in_pipeline: bool,
        limit: u32,
    ) -> Result<Vec<BookRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            book_columns!(),
            " FROM books WHERE books.status = 'processing' AND books.updated_at < $1",
            " AND ($3 OR NOT EXISTS (SELECT 1 FROM pipelines p WHERE p.book_id = books.id AND p.state <> 'done')",
            " OR EXISTS (SELECT 1 FROM media_uploads u WHERE u.book = books.id AND u.state = 'complete'",
            " AND NOT EXISTS (SELECT 1 FROM assets a WHERE a.book_id = books.id AND a.media_key = u.object_key)))",
            " ORDER BY books.updated_at LIMIT $2"
        );
        let arguments = values![older_than, page_limit(limit), in_pipeline];
        self.rows(sql, arguments).await?.iter().map(BookRecord::read).collect()
    }
}
