//! The work on a recording after its upload: how far it is, resuming and redoing it, and watching it.
//!
//! In: requests of admins. Out: changes of the pipeline in the database, a task for the workers, and how far a book is. Guarantee: a request
//! may end before the work does; the work goes on regardless.

mod feed;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use api_kit::error::{ApiError, HttpError};
use contracts::api::BookView;
use contracts::media::MediaProgress;
use contracts::{BookId, Event, MediaProgressEvent, MediaStep, MediaTask, MediaTaskEvent, PipelineState, TopicRole};
use http::StatusCode;
use jiff::Timestamp;
use media::{Pipelines, Request};
use shop::ShopError;
use store::relational::PipelineRecord;
use text::Embeddings;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use super::App;
use super::search::PassageCache;
use super::transcripts::UNREAD_KIB;
use crate::Viewer;
use crate::audio::Audio;
use crate::error::{media_refused, refused};

pub use feed::Feed;
pub use watch::Watched;

/// How long a request waits for the file of a book to be read, whatever it waits for the rest.
const FILE: Duration = Duration::from_secs(20);
/// Transcripts that are written out at the same time; each may have some ten MiB.
const RENDERED: usize = 4;
/// Longest name of a group, in characters.
const MAX_GROUP: usize = 64;

/// A call that needs the audio pipeline.
#[derive(Debug, thiserror::Error)]
#[error(
    "the audio pipeline is off on this server, so there is no {0}; the operator turns it on with SIGHTLINE_AUDIO=on, and the rest of \
     the shop works without it"
)]
struct AudioOff(&'static str);

impl HttpError for AudioOff {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        (StatusCode::NOT_IMPLEMENTED, "audio_off")
    }
}

/// What an admin asks of the work on a book.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// The step with which it begins again; `None`: the first one that is not done.
    pub from: Option<MediaStep>,
    /// The group of providers from now on; empty: as configured; `None`: as before.
    pub group: Option<String>,
    /// What the book may cost from now on.
    pub budget_micro: Option<i64>,
}

/// The audio pipeline, as handlers use it.
pub struct Pipeline {
    pub(super) pipelines: Pipelines,
    pub(super) embeddings: Embeddings,
    pub(super) passages: PassageCache,
    pub(super) renders: Arc<Semaphore>,
    pub(super) unread: Arc<Semaphore>,
    bus: Arc<dyn bus::Bus>,
    feed: Feed,
}

impl Pipeline {
    /// The pipeline with these parts.
    pub fn new(audio: &Audio) -> Self {
        let Audio { pipelines, bus, embeddings } = audio.clone();
        let (passages, renders) = (PassageCache::default(), Arc::new(Semaphore::new(RENDERED)));
        let unread = Arc::new(Semaphore::new(UNREAD_KIB));
        let feed = Feed::new(Arc::clone(&bus));
        Self { pipelines, embeddings, passages, renders, unread, bus, feed }
    }

    /// What tells of progress.
    pub const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Hands a step to the workers at once. If this fails, a worker finds it in the database some seconds later.
    fn publish(&self, pipeline: &PipelineRecord) {
        let PipelineRecord { book, generation, step, .. } = pipeline;
        let task = MediaTask { book: *book, generation: *generation, step: *step, window: None };
        let event = MediaTaskEvent { task, published_at: Timestamp::now(), traceparent: None };
        self.send(TopicRole::MediaTasks, event.to_message(), *book);
    }

    /// Tells those who watch a book at any instance.
    async fn tell(&self, pipeline: &PipelineRecord) {
        match self.pipelines.progress(pipeline).await {
            Ok(data) => {
                let event = MediaProgressEvent { id: Uuid::now_v7(), data };
                self.send(TopicRole::MediaProgress, event.to_message(), pipeline.book);
            }
            Err(error) => tracing::debug!(%error, book.id = %pipeline.book, "the progress of a book is not told"),
        }
    }

    fn send(&self, role: TopicRole, message: contracts::Message, book: BookId) {
        // It is sent also if nobody awaits the acknowledgement.
        if let Err(error) = self.bus.producer().send(role, message).map(drop) {
            tracing::debug!(%error, book.id = %book, topic = %role, "an event of a book is not sent");
        }
    }
}

impl App {
    /// The audio pipeline.
    ///
    /// # Errors
    /// When it is off.
    pub(super) fn pipeline(&self, what: &'static str) -> Result<&Pipeline, ApiError> {
        self.pipeline.as_ref().ok_or_else(|| AudioOff(what).into())
    }

    /// Whether recordings are worked on.
    pub fn has_pipeline(&self) -> bool {
        self.pipeline.is_some()
    }

    /// How far the work on a book is.
    ///
    /// # Errors
    /// When it has not begun, or the pipeline is off.
    pub async fn progress(&self, book: BookId) -> Result<MediaProgress, ApiError> {
        let pipeline = self.pipeline("state of its steps")?;
        let status = pipeline.pipelines.status(book).await.map_err(media_refused)?;
        status.ok_or_else(|| refused(ShopError::NotFound("pipeline; upload a file for the book first")))
    }

    /// The step at which a book is, if it is worked on.
    pub async fn step(&self, book: BookId) -> Option<MediaStep> {
        let known = self.pipeline.as_ref()?.pipelines.database().pipeline(book).await.ok()??;
        (known.state != PipelineState::Done).then_some(known.step)
    }

    /// Goes on with the work on a book, or does a step again, and waits until it is done, at most for `wait`.
    ///
    /// # Errors
    /// When the upload is not complete, the file is refused, the step was not reached, the group is unknown, the budget is negative, or the work
    /// fails.
    pub async fn resume(
        &self,
        viewer: &Viewer,
        book: BookId,
        resume: Resume,
        wait: Duration,
    ) -> Result<BookView, ApiError> {
        let pipeline = self.pipeline("step that could be done")?;
        let deadline = Instant::now() + wait;
        check_budget(resume.budget_micro)?;
        self.check_group(resume.group.as_deref()).await?;
        self.shop.take_upload(book, wait.max(FILE)).await.map_err(refused)?;
        let record = self.resumed(pipeline, viewer, book, &resume).await?;
        if record.state == PipelineState::Due {
            pipeline.publish(&record);
        }
        pipeline.tell(&record).await;
        self.wait_until_done(pipeline, book, deadline).await?;
        self.book(viewer, book).await
    }

    async fn resumed(
        &self,
        pipeline: &Pipeline,
        viewer: &Viewer,
        book: BookId,
        Resume { from, group, budget_micro }: &Resume,
    ) -> Result<PipelineRecord, ApiError> {
        let source = self.shop.recording_hash(book).await.map_err(refused)?;
        let group = group.clone().map(|group| Some(group).filter(|group| !group.is_empty()));
        let request = Request { group, budget_micro: budget_micro.map(Some) };
        let known = pipeline.pipelines.database().pipeline(book).await?;
        // A step that is about to be done anyway is not begun twice.
        let again = from.filter(|from| known.as_ref().is_some_and(|known| !goes_on_at(known, *from)));
        let (action, detail) = match again {
            Some(from) => ("pipeline_redone", format!("{book} from {from}")),
            None => ("pipeline_resumed", book.to_string()),
        };
        let entry = self.shop.entry(action, &viewer.actor(), &detail);
        let done = match again {
            Some(from) => pipeline.pipelines.redo(book, from, source, &request, Some(&entry)).await,
            None => pipeline.pipelines.resume(book, source, &request, Some(&entry)).await,
        };
        done.map_err(media_refused)
    }

    /// Waits for the end of the work on a book.
    async fn wait_until_done(&self, pipeline: &Pipeline, book: BookId, deadline: Instant) -> Result<(), ApiError> {
        let mut changes = pipeline.feed.subscribe(book);
        loop {
            let status = pipeline.pipelines.status(book).await.map_err(media_refused)?;
            match status {
                Some(MediaProgress { state: PipelineState::Failed, cause: Some(cause), .. }) => {
                    let (message, action) = (cause.message, cause.action);
                    return Err(refused(ShopError::PipelineFailed { message, action }));
                }
                Some(MediaProgress { state: PipelineState::Done, .. }) | None => return Ok(()),
                Some(_) => {}
            }
            if !changes.changed_before(deadline).await {
                return Ok(());
            }
        }
    }

    /// A group that no provider has would never do anything.
    async fn check_group(&self, group: Option<&str>) -> Result<(), ApiError> {
        let Some(group) = group.filter(|group| !group.is_empty()) else { return Ok(()) };
        let invalid = |reason: String| refused(ShopError::invalid("group", reason));
        if group.chars().count() > MAX_GROUP || group.chars().any(char::is_control) {
            return Err(invalid(format!("a group has at most {MAX_GROUP} characters, and no control characters")));
        }
        let groups = self.provider_groups().await?;
        if groups.is_empty() || groups.contains(group) {
            return Ok(());
        }
        let known: Vec<&str> = groups.iter().map(String::as_str).collect();
        Err(invalid(format!("no provider is in this group; there are {}", known.join(", "))))
    }
}

/// A negative budget is a mistake, and not a budget of nothing.
fn check_budget(budget_micro: Option<i64>) -> Result<(), ApiError> {
    if budget_micro.is_some_and(|budget| budget < 0) {
        let reason = "it must be 0 or more, in millionths of the currency's unit";
        return Err(refused(ShopError::invalid("budget_micro", reason)));
    }
    Ok(())
}

/// Whether a pipeline does this step next, or does it now.
fn goes_on_at(known: &PipelineRecord, from: MediaStep) -> bool {
    let goes_on = matches!(known.state, PipelineState::Due | PipelineState::Running | PipelineState::Waiting);
    known.step == MediaStep::Upload || (goes_on && known.step == from)
}
