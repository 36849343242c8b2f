//! The last step: a book with everything that it needs is offered.

use contracts::BookStatus;
use media::{Cause, MediaError, codes};
use store::relational::{BookRecord, BookWriteOutcome, PipelineRecord};

use super::steps::{StepEnd, Steps};

/// Pause before a preview that is being made is looked for again, in seconds.
const LOOK_AGAIN: i64 = 2;

impl Steps {
    /// Makes a book ready. One that an admin has hidden stays hidden, and one that is for sale already stays so.
    pub(super) async fn publish(&self, record: &PipelineRecord) -> Result<StepEnd, MediaError> {
        let Some(book) = self.pipelines.database().book(record.book).await? else { return Ok(deleted()) };
        match book.status {
            BookStatus::Deleted => return Ok(deleted()),
            BookStatus::Ready | BookStatus::Hidden => return Ok(StepEnd::Finished),
            BookStatus::Draft | BookStatus::Processing => {}
        }
        if let Some(fault) = &book.fault {
            self.leave(&book, BookStatus::Draft).await?;
            return Ok(StepEnd::Failed(Cause::new(fault, "")));
        }
        let missing = missing(&book);
        if !missing.is_empty() {
            self.leave(&book, BookStatus::Draft).await?;
            return Ok(StepEnd::Failed(Cause::new(codes::INCOMPLETE, missing.join(", "))));
        }
        if !book.has_preview {
            // shop-api makes it, also for a shop without this worker, for books in work.
            self.leave(&book, BookStatus::Processing).await?;
            return Ok(StepEnd::Waits(self.in_seconds(LOOK_AGAIN), Cause::new(codes::PREVIEW_PENDING, "")));
        }
        self.leave(&book, BookStatus::Ready).await?;
        tracing::info!(book.id = %book.id, "a book is ready");
        Ok(StepEnd::Finished)
    }

    /// Gives a book another status, unless an admin has changed it meanwhile.
    async fn leave(&self, book: &BookRecord, to: BookStatus) -> Result<(), MediaError> {
        if book.status == to {
            return Ok(());
        }
        let from = [BookStatus::Draft, BookStatus::Processing];
        let outcome = self.pipelines.database().set_book_status(book.id, &from, to, None, self.pipelines.now()).await?;
        if let BookWriteOutcome::Changed(now) = outcome {
            tracing::info!(book.id = %book.id, status = %now.status, "an admin has changed the status of a book meanwhile");
        }
        Ok(())
    }
}

fn deleted() -> StepEnd {
    StepEnd::Failed(Cause::new(codes::BOOK_DELETED, ""))
}

/// What a book lacks, besides its preview.
fn missing(book: &BookRecord) -> Vec<&'static str> {
    let parts = [
        ("no title", book.title.is_empty()),
        ("no price", book.price.is_none()),
        ("no audio file", book.content_type.is_none()),
    ];
    parts.into_iter().filter(|(_, missing)| *missing).map(|(part, _)| part).collect()
}
