//! One frame from its message to what is to be published about it.
//!
//! Fetch its bytes where they are elsewhere, decode, detect, keep the picture. What can never work becomes a failure; what
//! may work later is tried again after growing pauses, for as long as it takes: the frame stays in hand, and so its
//! partition stands still and the senders feel it in the end. Errors of this module end the worker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bus::{Acknowledged, Position, Producer};
use bytes::Bytes;
use contracts::result::ResultData;
use contracts::{Detection, Event, FailureCode, FrameContent, FrameEvent, Message, Outcome, ResultEvent, TopicRole};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use platform::retry::Backoff;
use store::{Blobs, StoreError};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore};
use uuid::Uuid;

use crate::consumer::{Content, Work};
use crate::inference::Inference;
use crate::journal::{CONDEMNED, Inside, Journal};
use crate::meters;
use crate::model::{DetectError, Picture};
use crate::pipeline::{Failure, Pipeline};

/// Fetched frames in hand at most: each has up to the largest frame's size, and the bus counted only their messages.
const FETCHED: usize = 8;
/// Failed inferences of one picture before it is asked whose fault it is.
const TRIES: u32 = 3;

/// What is to be published about one message.
pub struct Examined {
    /// Where the message stands.
    pub position: Position,
    /// One result for each detector that was to look; none for what is no frame.
    pub results: Vec<ResultEvent>,
    /// Why it goes to the dead letters: code and words.
    pub dead: Option<(String, String)>,
    /// The message as it was.
    pub message: Message,
}

/// What examining a frame needs.
pub struct Examiner {
    pipeline: Pipeline,
    journal: Journal,
    blobs: Arc<dyn Blobs>,
    producer: Arc<dyn Producer>,
    keep_pictures: bool,
    fetched: Semaphore,
    /// Held shared by who is in native code, exclusively by a suspect.
    native: RwLock<()>,
}

/// A frame's stay in native code.
struct Stay<'e> {
    _inside: Inside<'e>,
    _company: Company<'e>,
}

/// Who else may be in native code: held, never read.
enum Company<'e> {
    Any(#[expect(dead_code, reason = "held for its end")] RwLockReadGuard<'e, ()>),
    None(#[expect(dead_code, reason = "held for its end")] RwLockWriteGuard<'e, ()>),
}

/// What all detectors said of a picture.
struct Seen {
    width: u32,
    height: u32,
    answers: Vec<Result<Vec<Detection>, Failure>>,
    image: Option<String>,
}

impl Examiner {
    /// Examines with these parts.
    pub fn new(
        pipeline: Pipeline,
        journal: Journal,
        blobs: Arc<dyn Blobs>,
        producer: Arc<dyn Producer>,
        keep_pictures: bool,
    ) -> Self {
        let (fetched, native) = (Semaphore::new(FETCHED), RwLock::new(()));
        Self { pipeline, journal, blobs, producer, keep_pictures, fetched, native }
    }

    /// Everything from a message to what is to be published about it.
    ///
    /// # Errors
    /// When the worker cannot go on: threads that are gone, a device or store that failed for good.
    pub async fn examine(&self, work: Work) -> anyhow::Result<Examined> {
        let Work { position, message, content, .. } = work;
        let (frame, wanted) = match content {
            Content::Frame(frame, wanted) => (frame, wanted),
            Content::Invalid(reason) => {
                meters::frame("invalid");
                let dead = Some(("invalid_event".to_owned(), reason));
                return Ok(Examined { position, results: Vec::new(), dead, message });
            }
        };
        let seen = self.look(position, &frame, &wanted).await?;
        // A condemned frame stays condemned: another death before its end is committed must not start the count anew.
        if !seen.as_ref().is_err_and(|failure| failure.code == FailureCode::Crashed) {
            self.journal.acquit(position);
        }
        let examined = self.conclude(position, message, &frame, &wanted, seen);
        self.reply(&frame, &examined.results);
        Ok(examined)
    }

    async fn look(
        &self,
        position: Position,
        frame: &FrameEvent,
        wanted: &[usize],
    ) -> anyhow::Result<Result<Seen, Failure>> {
        let deaths = self.journal.deaths(position);
        if deaths >= CONDEMNED {
            let message = format!("the worker's process died {deaths} times over this frame");
            return Ok(Err(Failure { code: FailureCode::Crashed, message }));
        }
        let _fetched = match &frame.content {
            FrameContent::Inline(_) => None,
            FrameContent::Blob(_) => Some(self.fetched.acquire().await.context("the fetches")?),
        };
        let encoded = match self.bytes(frame).await? {
            Ok(encoded) => encoded,
            Err(failure) => return Ok(Err(failure)),
        };
        // Room first: who has room and asks a detector again waits to enter, behind a suspect that waits to be alone.
        let room = match self.pipeline.room(&encoded).await? {
            Ok(room) => room,
            Err(failure) => return Ok(Err(failure)),
        };
        let stay = self.enter(position).await;
        let decoded = match self.pipeline.decode(room, encoded.clone()).await? {
            Ok(decoded) => decoded,
            Err(failure) => return Ok(Err(failure)),
        };
        let picture = &decoded.picture;
        let first = self.pipeline.detect(picture, wanted).await?;
        drop(stay);
        let mut answers = Vec::with_capacity(first.len());
        for (answer, &detector) in first.into_iter().zip(wanted) {
            answers.push(self.insist(position, detector, picture, answer).await?);
        }
        let (width, height) = (picture.image.width(), picture.image.height());
        drop(decoded);
        let found = answers.iter().any(|answer| answer.as_ref().is_ok_and(|detections| !detections.is_empty()));
        let image = if found && self.keep_pictures { Some(self.keep(frame, encoded).await?) } else { None };
        Ok(Ok(Seen { width, height, answers, image }))
    }

    /// Waits until the frame may be in native code, and notes that it is.
    async fn enter(&self, position: Position) -> Stay<'_> {
        let company = if self.journal.deaths(position) > 0 {
            Company::None(self.native.write().await)
        } else {
            Company::Any(self.native.read().await)
        };
        Stay { _inside: self.journal.enter(position), _company: company }
    }

    /// The frame's bytes, fetched where they are elsewhere.
    async fn bytes(&self, frame: &FrameEvent) -> anyhow::Result<Result<Bytes, Failure>> {
        let key = match &frame.content {
            FrameContent::Inline(bytes) => return Ok(Ok(bytes.clone())),
            FrameContent::Blob(key) => key,
        };
        if !is_inbox_key(key) {
            let message = format!("{key:?} is no key of a frame's picture");
            return Ok(Err(Failure { code: FailureCode::Missing, message }));
        }
        let begun = Instant::now();
        let fetched = again("fetch", || self.blobs.get(key)).await?;
        meters::stage("fetch", begun.elapsed());
        let gone = || Failure { code: FailureCode::Missing, message: format!("the picture {key} is gone") };
        Ok(fetched.ok_or_else(gone))
    }

    /// An answer for good: what may be different another time is asked again.
    async fn insist(
        &self,
        position: Position,
        detector: usize,
        picture: &Arc<Picture>,
        mut answer: crate::model::Outcome,
    ) -> anyhow::Result<Result<Vec<Detection>, Failure>> {
        let inference = self.pipeline.inferences().get(detector).context("a detector that is not there")?;
        let (mut tries, mut backoff) = (1, backoff());
        loop {
            let error = match answer {
                Ok(detections) => return Ok(Ok(detections)),
                Err(error) => error,
            };
            if let Some(code) = error.failure() {
                return Ok(Err(Failure { code, message: format!("{}: {error}", inference.name()) }));
            }
            if tries >= TRIES && matches!(error, DetectError::Inference(_)) {
                return whose_fault(inference, &error).await.map(Err);
            }
            let pause = backoff.pause();
            tracing::warn!(detector = %inference.name(), %error, ?pause, "the detector gave no answer and is asked again");
            meters::retry("infer");
            tokio::time::sleep(pause).await;
            let _stay = self.enter(position).await;
            answer = inference.detect(picture.clone()).await?;
            tries += 1;
        }
    }

    /// Stores the picture and returns its key.
    async fn keep(&self, frame: &FrameEvent, encoded: Bytes) -> anyhow::Result<String> {
        let begun = Instant::now();
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let key = format!("frames/{today}/{}/{}", frame.tenant, frame.id);
        again("keep", || self.blobs.put(&key, encoded.clone())).await?;
        meters::stage("keep", begun.elapsed());
        Ok(key)
    }

    fn conclude(
        &self,
        position: Position,
        message: Message,
        frame: &FrameEvent,
        wanted: &[usize],
        seen: Result<Seen, Failure>,
    ) -> Examined {
        let mut dead = None;
        let mut failed = |failure: Failure| {
            dead.get_or_insert((failure.code.as_str().to_owned(), failure.message.clone()));
            Outcome::Failed { code: failure.code, message: failure.message }
        };
        let outcomes: Vec<Outcome> = match seen {
            Err(failure) => wanted.iter().map(|_| failed(failure.clone())).collect(),
            Ok(Seen { width, height, answers, image }) => answers
                .into_iter()
                .map(|answer| match answer {
                    Ok(detections) => Outcome::Ok { width, height, detections, image: image.clone() },
                    Err(failure) => failed(failure),
                })
                .collect(),
        };
        meters::frame(if dead.is_some() { "failed" } else { "ok" });
        let detectors = wanted.iter().filter_map(|&detector| self.pipeline.inferences().get(detector));
        let results = detectors.zip(outcomes).map(|(inference, outcome)| result(frame, &message, inference, outcome));
        Examined { position, results: results.collect(), dead, message }
    }

    /// Tells the replica that has a client waiting. Best effort: who waits in vain finds the result later.
    fn reply(&self, frame: &FrameEvent, results: &[ResultEvent]) {
        if frame.reply_to.is_none() {
            return;
        }
        for result in results {
            let sent: Result<Acknowledged, _> = self.producer.send(TopicRole::Replies, result.to_message());
            if let Err(error) = sent {
                tracing::debug!(%error, frame.id = %frame.id, "a reply was not sent");
            }
        }
    }
}

/// Whether a key can be that of a frame on its way. Whoever writes to the topic must not read kept pictures by it, nor end
/// the worker by a key that the store refuses.
fn is_inbox_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let sound = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(allowed);
    key.len() <= 256 && key.starts_with("inbox/") && key.split('/').all(sound)
}

fn result(frame: &FrameEvent, message: &Message, inference: &Inference, outcome: Outcome) -> ResultEvent {
    let key = message.key.as_ref().map(|key| String::from_utf8_lossy(key).into_owned());
    ResultEvent {
        id: Uuid::now_v7(),
        tenant: frame.tenant.clone(),
        key: key.unwrap_or_else(|| frame.id.to_string()),
        traceparent: frame.traceparent.clone(),
        reply_to: frame.reply_to.clone(),
        data: ResultData {
            frame_id: frame.id,
            stream: frame.stream.clone(),
            detector: inference.name().clone(),
            model: inference.model().to_owned(),
            captured_at: frame.captured_at,
            processed_at: Timestamp::now(),
            outcome,
        },
    }
}

/// A picture failed repeatedly: where the detector still sees a plain one, it is the picture's fault; else the device's,
/// and the worker ends loudly instead of failing frame after frame.
async fn whose_fault(inference: &Inference, error: &DetectError) -> anyhow::Result<Failure> {
    if inference.is_sound().await? {
        return Ok(Failure { code: FailureCode::Rejected, message: format!("{}: {error}", inference.name()) });
    }
    anyhow::bail!(
        "the detector {} fails on every picture: {error}; check the device and SIGHTLINE_EXECUTION_PROVIDER, and restart",
        inference.name()
    )
}

/// Asks the blob store until it answers.
async fn again<T, F>(what: &'static str, ask: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut backoff = backoff();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(StoreError::Fatal(reason)) => anyhow::bail!("SIGHTLINE_BLOB_URL: the blob store refuses: {reason}"),
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(%error, ?pause, "the blob store gave no answer and is asked again");
                meters::retry(what);
                tokio::time::sleep(pause).await;
            }
        }
    }
}

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(15))
}
