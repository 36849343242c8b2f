//! The regular tasks of the shop: reconciling, repairing, deleting. Every instance runs them; each step may be repeated and done by two at
//! once.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::{AssetKind, BookId};
use futures::future::join_all;
use store::{MediaKey, MediaUploadState, sweep_media};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{Shop, ShopError};

/// Books that one round repairs, and previews that it makes.
const BOOKS: u32 = 20;
/// Objects that one step deletes.
const OBJECTS: u32 = 100;
/// Steps of one round of deletions.
const STEPS: u32 = 20;

impl Shop {
    /// Runs the regular tasks until `stop`: asks the provider about orders that are not settled, finishes refunds, continues books that a
    /// crash left in work, makes previews, and deletes what nobody has any more.
    pub async fn work(&self, stop: CancellationToken) {
        let (repair, sweep) = (self.0.timing.repair_every, self.0.timing.sweep_every);
        tokio::join!(
            regularly(&stop, repair, "the reconciliation of orders", || self.reconcile_orders()),
            regularly(&stop, repair, "the finishing of refunds", || self.reconcile_refunds()),
            regularly(&stop, repair, "the reconciliation of orders of deleted users", || self.reconcile_kept_orders()),
            regularly(&stop, repair, "the repair of books", || self.repair_once()),
            regularly(&stop, sweep, "the deletion of unused files", || self.sweep_once()),
        );
        // What reads a file on a blocking thread ends with the next block.
        self.0.stopping.cancel();
    }

    /// Runs every regular task once.
    ///
    /// # Errors
    /// The first failure.
    pub async fn work_once(&self) -> Result<(), ShopError> {
        self.reconcile_orders().await?;
        self.reconcile_refunds().await?;
        self.reconcile_kept_orders().await?;
        self.repair_once().await?;
        self.sweep_once().await
    }

    /// Continues the books in work whose time is over, and makes the previews that are due.
    pub(crate) async fn repair_once(&self) -> Result<(), ShopError> {
        let database = self.database();
        let since = self.since(self.0.timing.reconcile_after);
        // The pipeline ends its own work. Without one, what an earlier one left is ended here.
        let in_work = database.books_processing(since, self.pipelines().is_none(), BOOKS).await?;
        let due = database.previews_due(self.now(), BOOKS).await?;
        let books: BTreeSet<BookId> = in_work.into_iter().chain(due).map(|book| book.id).collect();
        // Together, so that a slow book delays no other; the permits bound how many are read at a time.
        let repaired = join_all(books.into_iter().map(|id| self.repair_book(id))).await;
        repaired.into_iter().collect()
    }

    /// Continues one book. A refusal of its file ends its work and is no failure of the task.
    async fn repair_book(&self, id: BookId) -> Result<(), ShopError> {
        let upload = self.database().open_media_upload(id, AssetKind::Master, self.now()).await?;
        let complete = upload.filter(|upload| matches!(upload.state, MediaUploadState::Complete { .. }));
        let repaired = match &complete {
            Some(upload) => self.finish(upload).await,
            None => self.make_preview(id).await,
        };
        match repaired {
            Ok(book) if complete.is_none() && book.content_type.is_none() => {
                // Its upload was given up.
                self.leave_processing(id).await.map(drop)
            }
            Ok(_) => Ok(()),
            Err(error @ (ShopError::Unavailable(_) | ShopError::DiskFull(_) | ShopError::Internal(_))) => Err(error),
            Err(error) => {
                tracing::info!(book.id = %id, code = error.code(), "the work on a book ended");
                Ok(())
            }
        }
    }

    /// Deletes what nobody has any more: uploads that nobody finished, files of deleted books without buyers, replaced files.
    pub(crate) async fn sweep_once(&self) -> Result<(), ShopError> {
        let uploads = sweep_media(self.database(), self.media().as_ref(), self.now()).await?;
        if uploads > 0 {
            tracing::info!(uploads, "unfinished uploads were ended");
        }
        self.database().sweep_deleted_books(self.now(), OBJECTS).await?;
        self.sweep_objects().await
    }

    async fn sweep_objects(&self) -> Result<(), ShopError> {
        let unused_since = self.since(self.0.timing.keep_unused);
        for _ in 0..STEPS {
            let keys = self.database().media_to_delete(unused_since, OBJECTS).await?;
            let deleted = self.delete_objects(&keys).await;
            self.database().media_deleted(&deleted).await?;
            // Those that cannot be deleted now would come again at once.
            if deleted.len() < OBJECTS as usize {
                break;
            }
        }
        Ok(())
    }

    /// Deletes objects. Returns those that are gone.
    async fn delete_objects(&self, keys: &[MediaKey]) -> Vec<MediaKey> {
        let mut deleted = Vec::with_capacity(keys.len());
        for key in keys {
            match self.media().delete(key).await {
                Ok(()) => deleted.push(*key),
                Err(error) => {
                    tracing::warn!(book.id = %key.book(), error = error.to_string(), "an unused file could not be deleted");
                }
            }
        }
        deleted
    }
}

/// Runs a task once each period until `stop`. The first of several failures is logged, and their end.
async fn regularly<F>(stop: &CancellationToken, period: Duration, what: &'static str, task: impl Fn() -> F)
where
    F: Future<Output = Result<(), ShopError>>,
{
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let round = async {
            interval.tick().await;
            task().await
        };
        let Some(result) = stop.run_until_cancelled(round).await else { return };
        match &result {
            Ok(()) if failing => tracing::info!("{what} works again"),
            Ok(()) => {}
            Err(error) if failing => tracing::debug!(error = cause_of(error), "{what} still fails"),
            Err(error) => tracing::warn!(error = cause_of(error), "{what} failed and is retried"),
        }
        failing = result.is_err();
    }
}

/// The cause of a failure, for the log.
fn cause_of(error: &ShopError) -> String {
    error.cause().map_or_else(|| error.to_string(), str::to_owned)
}
