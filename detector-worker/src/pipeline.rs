//! Bytes in, what every detector says of the picture out: decode on a CPU pool, then the detectors side by side.
//!
//! Memory is bounded whatever the sizes: a picture is decoded only when its pixels fit the budget, and they count until the
//! last detector is done with it. Who does not fit waits, first come first served, so a large picture is not starved by
//! small ones. The worker and the stand-alone engine use the same pipeline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use contracts::FailureCode;
use futures::future::try_join_all;
use platform::Common;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::inference::{DetectorSpec, Inference, InferenceSettings};
use crate::media::{self, DecodeLimits, Header};
use crate::model::Picture;

/// Pixels for each permit of the budget, so that large budgets fit the permits' number.
const GRAIN: u64 = 1024;

/// Why a frame can never have detections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code.
    pub code: FailureCode,
    /// The cause in words.
    pub message: String,
}

/// Room for a picture that is not decoded yet: its share of the pixel budget.
pub struct Room {
    header: Header,
    pixels: OwnedSemaphorePermit,
}

/// A decoded picture with its share of the pixel budget, which is given back when this is dropped.
pub struct Decoded {
    /// The picture.
    pub picture: Arc<Picture>,
    _pixels: OwnedSemaphorePermit,
}

/// The decoders and the detectors of a process.
pub struct Pipeline {
    inferences: Vec<Inference>,
    limits: DecodeLimits,
    decoders: Semaphore,
    pixels: Arc<Semaphore>,
    budget: u32,
}

impl Pipeline {
    /// Opens all detectors and returns when they are ready.
    ///
    /// # Errors
    /// When one cannot be opened; the message names the setting and the remedy.
    pub async fn start(detectors: Vec<DetectorSpec>, config: &Config, common: &Common) -> anyhow::Result<Self> {
        let settings = InferenceSettings {
            threads: config.pace.inference_threads(config.models.execution_provider),
            batch_size: config.pace.batch_size,
            batch_wait: Duration::from_millis(config.pace.batch_wait_ms),
        };
        let mut inferences = Vec::new();
        for spec in detectors {
            inferences.push(Inference::start(spec, settings).await?);
        }
        let budget = permits(config.pace.worker_pixels);
        Ok(Self {
            inferences,
            limits: DecodeLimits { max_pixels: common.max_frame_pixels },
            decoders: Semaphore::new(config.pace.decode_threads()),
            pixels: Arc::new(Semaphore::new(budget as usize)),
            budget,
        })
    }

    /// The detectors, in the order they were given.
    pub fn inferences(&self) -> &[Inference] {
        &self.inferences
    }

    /// Waits until there is room for a picture. Whoever waits here must hold nothing that others need to give room back.
    ///
    /// # Errors
    /// The inner one when the bytes can never be a picture; the outer one when the budget is gone.
    pub async fn room(&self, encoded: &[u8]) -> anyhow::Result<Result<Room, Failure>> {
        let header = match media::probe(encoded) {
            Ok(header) if header.pixels() <= self.limits.max_pixels => header,
            Ok(header) => {
                let (width, height, limit) = (header.width, header.height, self.limits.max_pixels);
                return Ok(Err(media::DecodeError::TooLarge { width, height, limit }.into()));
            }
            Err(error) => return Ok(Err(error.into())),
        };
        // One that is larger than the whole budget takes all of it.
        let share = permits(header.pixels()).min(self.budget);
        let pixels = self.pixels.clone().acquire_many_owned(share).await.context("the pixel budget")?;
        Ok(Ok(Room { header, pixels }))
    }

    /// Decodes a picture that has its room.
    ///
    /// # Errors
    /// The inner one when the bytes can never be a picture; the outer one when the pool is gone.
    pub async fn decode(&self, room: Room, encoded: Bytes) -> anyhow::Result<Result<Decoded, Failure>> {
        let Room { header, pixels } = room;
        let _decoder = self.decoders.acquire().await.context("the decoders")?;
        let (limits, bytes, begun) = (self.limits, encoded.clone(), Instant::now());
        let image =
            tokio::task::spawn_blocking(move || media::decode(&bytes, &limits)).await.context("the decode pool")?;
        crate::meters::stage("decode", begun.elapsed());
        Ok(image.map_err(Failure::from).map(|image| Decoded {
            picture: Arc::new(Picture { image, encoded, media_type: header.format.media_type() }),
            _pixels: pixels,
        }))
    }

    /// What each of the wanted detectors, by its place among [`Pipeline::inferences`], says of a picture.
    ///
    /// # Errors
    /// When a detector's threads are gone.
    pub async fn detect(&self, picture: &Arc<Picture>, wanted: &[usize]) -> anyhow::Result<Vec<crate::model::Outcome>> {
        let asked = wanted.iter().filter_map(|&detector| self.inferences.get(detector));
        try_join_all(asked.map(|inference| inference.detect(picture.clone()))).await
    }
}

impl From<media::DecodeError> for Failure {
    fn from(error: media::DecodeError) -> Self {
        Self { code: error.failure(), message: error.to_string() }
    }
}

fn permits(pixels: u64) -> u32 {
    // The largest number of permits a semaphore takes is far above 2^28.
    u32::try_from(pixels.div_ceil(GRAIN)).map_or(1 << 28, |permits| permits.clamp(1, 1 << 28))
}
