//! Image bytes in, the outcome of every detector out. Images are decoded on a pool of CPU threads and then passed to the
//! detectors concurrently.
//!
//! Memory is bounded for any size and form of image. An image is decoded only after its pixels are reserved, and the reservation
//! lasts until the last detector has finished. Reservations are granted in the order of the requests, so small images
//! cannot starve a large one.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use contracts::FailureCode;
use futures::future::try_join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::inference::{DetectorSpec, Inference, InferenceSettings};
use crate::media::{self, DecodeLimits, Header};
use crate::metrics;
use crate::model::{self, Image};

/// Pixels per permit, so that a large budget fits a semaphore's number of permits.
const PIXELS_PER_PERMIT: u64 = 1024;

/// How a pipeline works.
#[derive(Debug, Clone, Copy)]
pub struct PipelineSettings {
    /// Threads of each detector.
    pub inference: InferenceSettings,
    /// Images decoded concurrently.
    pub decode_threads: usize,
    /// Pixels of the largest image that is decoded.
    pub max_pixels: u64,
    /// Pixels of all decoded images that are not finished; one larger image takes all of them.
    pub pixel_budget: u64,
}

/// Why an image can never have detections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code.
    pub code: FailureCode,
    /// Description of the cause.
    pub message: String,
}

/// Reserved pixels of an image that is not decoded yet.
pub struct PixelReservation {
    header: Header,
    permit: OwnedSemaphorePermit,
}

/// A decoded image. Dropping it returns its pixels to the budget.
pub struct Decoded {
    /// The image.
    pub image: Arc<Image>,
    _permit: OwnedSemaphorePermit,
}

/// The decoders and detectors of a process.
pub struct Pipeline {
    inferences: Vec<Inference>,
    limits: DecodeLimits,
    decode_permits: Arc<Semaphore>,
    pixel_permits: Arc<Semaphore>,
    pixel_budget: u32,
}

impl Pipeline {
    /// Opens all detectors. Returns when they are ready.
    ///
    /// # Errors
    /// A detector cannot be opened; the message names the setting and the remedy.
    pub async fn start(detectors: Vec<DetectorSpec>, settings: PipelineSettings) -> anyhow::Result<Self> {
        let mut inferences = Vec::new();
        for spec in detectors {
            inferences.push(Inference::start(spec, settings.inference).await?);
        }
        let pixel_budget = permits(settings.pixel_budget);
        Ok(Self {
            inferences,
            limits: DecodeLimits { max_pixels: settings.max_pixels },
            decode_permits: Arc::new(Semaphore::new(settings.decode_threads)),
            pixel_permits: Arc::new(Semaphore::new(pixel_budget as usize)),
            pixel_budget,
        })
    }

    /// The detectors, in the order of the settings.
    pub fn inferences(&self) -> &[Inference] {
        &self.inferences
    }

    /// Waits until the pixel budget has enough free pixels for an image, and reserves them. To
    /// avoid a deadlock, the caller must not hold a lock or permit that another frame needs before
    /// it can return its pixels.
    ///
    /// # Errors
    /// The inner one when the bytes can never be decoded; the outer one when the budget is closed.
    pub async fn reserve(&self, encoded: &[u8]) -> anyhow::Result<Result<PixelReservation, Failure>> {
        let header = match media::probe(encoded).and_then(|header| self.limits.check(&header).map(|()| header)) {
            Ok(header) => header,
            Err(error) => return Ok(Err(error.into())),
        };
        // An image larger than the whole budget takes all of it.
        let share = permits(header.pixels()).min(self.pixel_budget);
        let permit = self.pixel_permits.clone().acquire_many_owned(share).await.context("the pixel budget")?;
        Ok(Ok(PixelReservation { header, permit }))
    }

    /// Decodes an image whose pixels are reserved. The detectors then make embeddings of its faces, if these are needed.
    ///
    /// # Errors
    /// The inner one when the bytes can never be decoded; the outer one when the thread pool has ended.
    pub async fn decode(
        &self,
        reservation: PixelReservation,
        encoded: Bytes,
        embed_faces: bool,
    ) -> anyhow::Result<Result<Decoded, Failure>> {
        let PixelReservation { header, permit } = reservation;
        let decode_permit = Arc::clone(&self.decode_permits).acquire_owned().await.context("the decode permits")?;
        let (limits, bytes, started) = (self.limits, encoded.clone(), Instant::now());
        // The thread has both permits: it decodes to the end, also when the caller is gone.
        let decoded = tokio::task::spawn_blocking(move || {
            let _decode_permit = decode_permit;
            (media::decode(&bytes, &limits), permit)
        });
        let (decoded, permit) = decoded.await.context("the decode pool")?;
        metrics::stage("decode", started.elapsed());
        Ok(decoded.map_err(Failure::from).map(|pixels| Decoded {
            image: Arc::new(Image { pixels, encoded, media_type: header.format.media_type(), embed_faces }),
            _permit: permit,
        }))
    }

    /// The outcomes of some detectors, given by their indices in [`Pipeline::inferences`], for one image.
    ///
    /// # Errors
    /// The threads of a detector have ended.
    pub async fn detect(&self, image: &Arc<Image>, detectors: &[usize]) -> anyhow::Result<Vec<model::Outcome>> {
        let inferences = detectors.iter().filter_map(|&detector| self.inferences.get(detector));
        try_join_all(inferences.map(|inference| inference.detect(image.clone()))).await
    }
}

impl From<media::DecodeError> for Failure {
    fn from(error: media::DecodeError) -> Self {
        Self { code: error.failure_code(), message: error.to_string() }
    }
}

fn permits(pixels: u64) -> u32 {
    // A semaphore allows far more permits than 2^28.
    u32::try_from(pixels.div_ceil(PIXELS_PER_PERMIT)).map_or(1 << 28, |permits| permits.clamp(1, 1 << 28))
}
