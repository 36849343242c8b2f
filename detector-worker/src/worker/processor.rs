//! One frame from its message to its results.
//!
//! ```text
//! fetch the bytes (if the blob store has them) ─▶ reserve pixels ─▶ decode ─▶ detect ─▶ keep the image ─▶ build results
//! ```
//!
//! A permanent failure becomes a failed result and a dead letter. A transient failure is retried without end, with
//! growing backoff: the frame stays in flight, so its partition pauses, and ingest-api finally refuses new frames. An
//! error of this module ends the worker.

mod blobs;
mod native;
mod results;
mod retry_detect;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bus::{Acknowledged, Position, Producer};
use bytes::Bytes;
use contracts::{BlobKey, Event, FailureCode, FrameContent, FrameEvent, Message, ResultEvent, TopicRole};
use futures::future::try_join_all;
use platform::traces::{Span, Traces};
use store::Blobs;
use tokio::sync::Semaphore;
use vision::inference::Inference;
use vision::model::Findings;
use vision::pipeline::{Failure, Pipeline};

use crate::Deps;
use crate::consumer::{Content, FrameTask};
use crate::crash_log::{CrashLog, MAX_CRASHES};
use crate::identity::{Comparison, FaceIdentifier};
use crate::metrics;
use crate::publisher::{FrameSpans, ProcessedFrame};
use native::NativeGate;

/// Maximum number of frames in flight whose bytes come from the blob store. Each can have the
/// largest allowed size, and the bus counts only their small messages.
const MAX_FETCHED: usize = 8;

/// Processes frames. All partitions share one.
pub struct FrameProcessor {
    pipeline: Pipeline,
    blobs: Arc<dyn Blobs>,
    producer: Arc<dyn Producer>,
    traces: Traces,
    images: KeptImages,
    fetch_permits: Semaphore,
    native: NativeGate,
    identifier: Option<FaceIdentifier>,
}

/// Which images are kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptImages {
    /// Whether those of frames with detections are.
    pub are_kept: bool,
    /// For how long those of frames with only strangers are, if it is shorter.
    pub of_strangers: Option<Duration>,
}

/// A message that was processed, and the span of that.
struct ProcessedDelivery {
    position: Position,
    message: Message,
    span: Span,
}

/// The outcomes of the detectors for one image.
struct Analysis {
    width: u32,
    height: u32,
    /// One per requested detector, in the order of the request.
    findings: Vec<Result<Findings, Failure>>,
    /// Key of the kept image.
    image_key: Option<BlobKey>,
}

impl FrameProcessor {
    /// Its producer sends only replies to waiting clients; the publisher sends results.
    pub fn new(
        pipeline: Pipeline,
        crash_log: CrashLog,
        deps: &Deps,
        images: KeptImages,
        identifier: Option<FaceIdentifier>,
    ) -> Self {
        let (fetch_permits, native) = (Semaphore::new(MAX_FETCHED), NativeGate::new(crash_log));
        let (blobs, producer, traces) = (deps.blobs.clone(), deps.bus.producer(), deps.traces.clone());
        Self { pipeline, blobs, producer, traces, images, fetch_permits, native, identifier }
    }

    /// Processes one message.
    ///
    /// # Errors
    /// The worker cannot continue: an inference thread has ended, or the device or the blob store failed for good.
    pub async fn process(&self, task: FrameTask) -> anyhow::Result<ProcessedFrame> {
        let FrameTask { position, message, content, .. } = task;
        let (frame, detectors) = match content {
            Content::Frame { frame, detectors } => (frame, detectors),
            Content::Invalid(reason) => {
                metrics::frame("invalid");
                let dead_letter = Some(("invalid_event".to_owned(), reason));
                let spans = FrameSpans::default();
                return Ok(ProcessedFrame { position, results: Vec::new(), dead_letter, message, spans });
            }
        };
        let span = self.span(position, &frame);
        let analysis = self.analyse(position, &frame, &detectors, &span).await?;
        // The crashes of a failed frame stay recorded until its offset is committed, so that
        // another crash before that does not restart the count.
        if !analysis.as_ref().is_err_and(|failure| failure.code == FailureCode::Crashed) {
            self.native.crash_log().clear(position);
        }
        let delivery = ProcessedDelivery { position, message, span };
        let processed = self.build_results(delivery, &frame, &detectors, analysis);
        self.reply(&frame, &processed.results);
        Ok(processed)
    }

    fn span(&self, position: Position, frame: &FrameEvent) -> Span {
        let mut span = self.traces.consumer("process frames", frame.traceparent.as_deref(), None);
        span.set_id("frame.id", frame.id);
        span.set("messaging.destination.partition.id", i64::from(position.partition));
        span.set("messaging.kafka.offset", position.offset);
        span
    }

    /// Fetches the image of a frame, runs the detectors on it, and keeps it if it has detections.
    async fn analyse(
        &self,
        position: Position,
        frame: &FrameEvent,
        detectors: &[usize],
        span: &Span,
    ) -> anyhow::Result<Result<Analysis, Failure>> {
        let crashes = self.native.crash_log().crashes(position);
        if crashes >= MAX_CRASHES {
            let message = format!("the worker's process crashed {crashes} times while it processed this frame");
            return Ok(Err(Failure { code: FailureCode::Crashed, message }));
        }
        let _fetch_permit = match &frame.content {
            FrameContent::Inline(_) => None,
            FrameContent::Blob(_) => Some(self.fetch_permits.acquire().await.context("the fetch permits")?),
        };
        let encoded = match self.image_bytes(frame, span).await? {
            Ok(encoded) => encoded,
            Err(failure) => return Ok(Err(failure)),
        };
        let mut analysis = match self.detect(position, frame, detectors, &encoded, span).await? {
            Ok(analysis) => analysis,
            Err(failure) => return Ok(Err(failure)),
        };
        analysis.image_key = self.keep_image(frame, encoded, &analysis.findings, span).await?;
        Ok(Ok(analysis))
    }

    /// Decodes an image, runs the detectors on it, and compares its faces. The image is not kept.
    async fn detect(
        &self,
        position: Position,
        frame: &FrameEvent,
        detectors: &[usize],
        encoded: &Bytes,
        span: &Span,
    ) -> anyhow::Result<Result<Analysis, Failure>> {
        let comparison = self.comparison(frame).await;
        // Reserves pixels before entering native code. A frame with reserved pixels enters native
        // code again when it retries a detector, and then waits for a suspect; so a suspect must
        // not wait for pixels inside native code.
        let pixels = match self.pipeline.reserve(encoded).await? {
            Ok(pixels) => pixels,
            Err(failure) => return Ok(Err(failure)),
        };
        let native = self.native.enter(position).await;
        let decoding = span.child("decode");
        let decoded = match self.pipeline.decode(pixels, encoded.clone(), comparison.needs_embeddings()).await? {
            Ok(decoded) => decoded,
            Err(failure) => return Ok(Err(failure)),
        };
        drop(decoding);
        let image = &decoded.image;
        let detecting = span.child("detect");
        let inferences: Vec<&Inference> =
            detectors.iter().filter_map(|&detector| self.inference(detector, &comparison)).collect();
        let first = try_join_all(inferences.iter().map(|inference| inference.detect(image.clone()))).await?;
        drop(native);
        let mut findings = Vec::with_capacity(first.len());
        for (outcome, inference) in first.into_iter().zip(inferences) {
            findings.push(self.retry_detect(position, inference, image, outcome).await?);
        }
        drop(detecting);
        self.identify(frame, detectors, &comparison, &mut findings).await;
        let (width, height) = (image.pixels.width(), image.pixels.height());
        Ok(Ok(Analysis { width, height, findings, image_key: None }))
    }

    /// Keeps the image of a frame with detections, if images are kept. Returns its key.
    async fn keep_image(
        &self,
        frame: &FrameEvent,
        encoded: Bytes,
        findings: &[Result<Findings, Failure>],
        span: &Span,
    ) -> anyhow::Result<Option<BlobKey>> {
        let found = findings.iter().any(|found| found.as_ref().is_ok_and(|found| !found.is_empty()));
        if !found || !self.images.are_kept {
            return Ok(None);
        }
        let _keeping = span.child("keep image");
        let retention = self.images.of_strangers.filter(|_| has_only_strangers(findings));
        Ok(Some(blobs::keep(&*self.blobs, frame, encoded, retention).await?))
    }

    /// What runs a detector for a frame: its own, or for faces that which makes the embeddings of another model.
    fn inference<'a>(&'a self, detector: usize, comparison: &'a Comparison) -> Option<&'a Inference> {
        let own = self.pipeline.inferences().get(detector)?;
        let is_face = self.identifier.as_ref().is_some_and(|identifier| identifier.is_of(own.name()));
        Some(comparison.inference().filter(|_| is_face).unwrap_or(own))
    }

    /// What to do with the faces of a frame.
    async fn comparison(&self, frame: &FrameEvent) -> Comparison {
        match &self.identifier {
            Some(identifier) => identifier.comparison(&frame.tenant).await,
            None => Comparison::None,
        }
    }

    /// Adds the identities of faces to the findings of the detector that finds them.
    async fn identify(
        &self,
        frame: &FrameEvent,
        detectors: &[usize],
        comparison: &Comparison,
        findings: &mut [Result<Findings, Failure>],
    ) {
        let Some(identifier) = &self.identifier else { return };
        for (outcome, &detector) in findings.iter_mut().zip(detectors) {
            let is_face = self.pipeline.inferences().get(detector).is_some_and(|found| identifier.is_of(found.name()));
            if let Ok(findings) = outcome
                && is_face
            {
                identifier.identify(&frame.tenant, comparison, findings).await;
            }
        }
    }

    /// Sends the results to the instance of ingest-api whose client waits for them. Best effort: a
    /// client that gets no reply gets the result with its next request.
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

    async fn image_bytes(&self, frame: &FrameEvent, span: &Span) -> anyhow::Result<Result<Bytes, Failure>> {
        match &frame.content {
            FrameContent::Inline(bytes) => Ok(Ok(bytes.clone())),
            FrameContent::Blob(key) => {
                let _fetching = span.child("fetch image");
                blobs::fetch(&*self.blobs, frame, key).await
            }
        }
    }
}

/// Whether faces were compared, or should have been, and nobody who is enrolled is among them.
fn has_only_strangers(findings: &[Result<Findings, Failure>]) -> bool {
    let detections = findings.iter().flatten().flat_map(|findings| &findings.detections);
    let mut faces = detections.filter(|found| found.attributes.get("identity").is_some()).peekable();
    faces.peek().is_some() && faces.all(|face| face.attributes.is_stranger())
}
