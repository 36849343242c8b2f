//! The progress of a book, now and at every change, for an admin whose credential stays valid.

use std::sync::Arc;
use std::time::Duration;

use api_kit::error::{ApiError, ServiceError};
use contracts::media::MediaProgress;
use contracts::{BookId, PipelineState};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::feed::Changes;
use crate::app::App;
use crate::app::access::check_admin;
use crate::error::media_refused;

/// Streams of all admins of an instance.
const WATCHERS: usize = 200;
/// How often the credential of a stream is verified.
const VERIFY_EVERY: Duration = Duration::from_secs(2);

/// Permits for streams.
#[derive(Clone)]
pub struct Watched(Arc<Semaphore>);

impl Default for Watched {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WATCHERS)))
    }
}

struct Watch {
    app: App,
    book: BookId,
    token: String,
    changes: Changes,
    /// Generation and revision that were sent last.
    sent: Option<(u32, i64)>,
    is_done: bool,
    verified: Instant,
    _permit: OwnedSemaphorePermit,
}

impl App {
    /// The progress of a book, now and at every change, until it is done or the credential ends.
    ///
    /// # Errors
    /// When the work has not begun, the pipeline is off, or too many watch.
    pub async fn watch(
        &self,
        book: BookId,
        token: &str,
    ) -> Result<BoxStream<'static, Result<MediaProgress, ApiError>>, ApiError> {
        // Refuses a book without a pipeline before the stream begins.
        self.progress(book).await?;
        let pipeline = self.pipeline("state of its steps")?;
        let permit = self.watched.0.clone().try_acquire_owned().map_err(|_| ServiceError::Busy)?;
        let watch = Watch {
            app: self.clone(),
            book,
            token: token.to_owned(),
            changes: pipeline.feed.subscribe(book),
            sent: None,
            is_done: false,
            verified: Instant::now(),
            _permit: permit,
        };
        let events = stream::unfold(Some(watch), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(Some(progress)) => Some((Ok(progress), Some(watch))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(events.boxed())
    }
}

impl Watch {
    /// The next change; `None` at the end.
    async fn next(&mut self) -> Result<Option<MediaProgress>, ApiError> {
        let pipelines = self.app.pipeline("state of its steps")?.pipelines.clone();
        loop {
            if self.is_done {
                return Ok(None);
            }
            self.verify().await?;
            // One row says whether anything has changed; the rest is read only then.
            let Some(known) = pipelines.database().pipeline(self.book).await? else { return Ok(None) };
            let now = Some((known.generation, known.revision));
            if self.sent != now {
                self.sent = now;
                self.is_done = known.state == PipelineState::Done;
                return Ok(Some(pipelines.progress(&known).await.map_err(media_refused)?));
            }
            if !self.changes.changed().await {
                return Ok(None);
            }
        }
    }

    /// A stream outlives the request that was authenticated, so its credential is verified again.
    async fn verify(&mut self) -> Result<(), ApiError> {
        if self.verified.elapsed() < VERIFY_EVERY {
            return Ok(());
        }
        let caller = self.app.accounts.authenticate(&self.token).await?;
        check_admin(&caller)?;
        self.verified = Instant::now();
        Ok(())
    }
}
