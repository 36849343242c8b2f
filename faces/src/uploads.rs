//! Photographs that verify users, from a topic.
//!
//! ```text
//! POST /v1/users/me/photo ─┐ file, message
//! another program ─────────┴──▶ faces_uploads ──▶ handler: read the file ▶ Encoder ▶ Relational: face, verified, outcome
//!                                                     ▶ faces_verified ▶ delete the file ▶ finished
//! ```
//!
//! In: messages that name a user and a file in the folder of uploads. Out: the user's enrolled face, an outcome for each message, an
//! event with it, and a folder without the file. A message that cannot be read, or whose rows in the database cannot, becomes a dead letter.
//! What is not the message's fault never makes it one.
//!
//! Guarantees: an upload has one outcome, however often its message is delivered or written. A file is deleted after its outcome is
//! durable, and after its event is sent, unless a second copy of the message is handled first. A user who is disabled or being deleted
//! gets no face. While the database, the log, the models or the disk cannot be used, also because a right or a table is missing, the message
//! waits, and `/readyz` says for what. A photograph at which the process ended five times is refused.

mod folder;
mod handler;
mod photos;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bus::{Bus, BusError, ConsumerOptions};
use consumer_kit::{Group, Retry, Sender, backoff, repeat};
use contracts::topics::RETENTION_RESERVE;
use contracts::{TopicRole, Topics, groups};
use metrics::counter;
use platform::Health;
use store::Relational;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::encoder::Encoders;
use handler::VerifyUploads;
use waiting::Waiting;

pub use folder::{FileId, ReadError, UploadFolder, UploadedFile};
pub(crate) use photos::erase_before;
pub use photos::{MOST_OF_USER, PhotoEraser, WriteError};

/// Messages that are delivered and wait for their turn.
const MAX_IN_FLIGHT: usize = 64;
/// Pause between two searches for photographs without a message.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// The log and the folder.
#[derive(Clone)]
pub struct Uploads {
    /// The log.
    pub bus: Arc<dyn Bus>,
    /// The folder.
    pub folder: Arc<UploadFolder>,
    waiting: Waiting,
    topic_id: Arc<OnceCell<String>>,
}

impl Uploads {
    /// Uploads that are announced on this log.
    pub fn new(bus: Arc<dyn Bus>, folder: Arc<UploadFolder>) -> Self {
        Self { bus, folder, waiting: Waiting::default(), topic_id: Arc::default() }
    }

    /// Id of the topic, by which outcomes are stored. The log is asked once, so that responses and outcomes have the same.
    pub(crate) async fn topic_id(&self) -> Result<&str, BusError> {
        let asked = || self.bus.topic_id(TopicRole::FacesUploads);
        self.topic_id.get_or_try_init(asked).await.map(String::as_str)
    }

    /// Adds to what `/readyz` shows whether uploads wait, and for what.
    #[must_use]
    pub fn shown_by(&self, health: Health) -> Health {
        self.waiting.shown_by(health)
    }
}

/// What an upload is decided with.
pub(crate) struct Verifier {
    /// Users, subjects, vectors and outcomes.
    pub database: Relational,
    /// Find faces and make their embeddings.
    pub encoders: Arc<Encoders>,
}

/// Handles uploads until `stop`.
///
/// # Errors
/// When the log refuses for good.
pub(crate) async fn consume(
    uploads: &Uploads,
    verifier: Verifier,
    topics: &Topics,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    // A photograph is kept as long as its message may be read.
    let kept = topics.get(TopicRole::FacesUploads).retention.saturating_add(RETENTION_RESERVE.unsigned_abs());
    // The sweep ends when the consumer ends or fails.
    let background = stop.child_token();
    let ended = background.clone().drop_guard();
    let consuming = async {
        let result = verify(uploads, verifier, stop).await;
        drop(ended);
        result
    };
    let (result, ()) = tokio::join!(consuming, sweep(&uploads.folder, kept, &background));
    result.context("uploads of faces")
}

async fn verify(uploads: &Uploads, verifier: Verifier, stop: CancellationToken) -> anyhow::Result<()> {
    let Uploads { bus, folder, waiting, .. } = uploads;
    let Some(topic_id) = topic_id(uploads, &stop).await? else { return Ok(()) };
    let sender = Sender::new(bus.producer(), stop.clone());
    let group = Group {
        role: TopicRole::FacesUploads,
        name: groups::FACES.to_owned(),
        options: ConsumerOptions { max_in_flight: MAX_IN_FLIGHT, ..ConsumerOptions::default() },
        retries: counter!("sightline_faces_upload_retries_total"),
    };
    let (folder, waiting) = (Arc::clone(folder), waiting.clone());
    let handler = VerifyUploads { verifier, folder, topic_id, sender, waiting, begun: None };
    consumer_kit::run(Arc::clone(bus), group, handler, stop).await
}

/// The id of the topic of uploads; `None` when `stop` comes first.
async fn topic_id(uploads: &Uploads, stop: &CancellationToken) -> anyhow::Result<Option<String>> {
    let mut retry = Retry::new("the topic of uploads cannot be looked up", backoff::READ, stop);
    loop {
        match uploads.topic_id().await {
            Ok(id) => return Ok(Some(id.to_owned())),
            Err(error) => match retry.wait_or_fail(error).await {
                Ok(()) => {}
                Err(interrupted) => return interrupted.end().map(|()| None),
            },
        }
    }
}

/// Deletes photographs that no message can name any more: the process ended before it was sent.
async fn sweep(folder: &Arc<UploadFolder>, kept: Duration, stop: &CancellationToken) {
    let work = || {
        let folder = Arc::clone(folder);
        async move {
            let before = SystemTime::now().checked_sub(kept).unwrap_or(SystemTime::UNIX_EPOCH);
            let swept = tokio::task::spawn_blocking(move || folder.sweep(before)).await;
            let swept = swept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            if swept > 0 {
                tracing::info!(swept, "photographs without a message were deleted");
            }
            Ok::<(), String>(())
        }
    };
    repeat(SWEEP_EVERY, stop, "photographs without a message stay in the folder of uploads", work).await;
}
