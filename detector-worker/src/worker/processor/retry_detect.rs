//! Retries a detector until its outcome for an image is final.

use std::sync::Arc;

use bus::Position;
use consumer_kit::backoff;
use contracts::FailureCode;
use vision::inference::Inference;
use vision::model::{self, DetectError, Findings, Image};
use vision::pipeline::Failure;

use super::FrameProcessor;
use crate::metrics;

/// Number of failed inferences of an image after which a blank image is tried, to distinguish a bad image from a bad device.
const MAX_TRIES: u32 = 3;

impl FrameProcessor {
    /// The findings of one detector, or its final failure. `outcome` is that of the first attempt.
    ///
    /// # Errors
    /// The device fails on every image, or the detector's threads have ended.
    pub(super) async fn retry_detect(
        &self,
        position: Position,
        inference: &Inference,
        image: &Arc<Image>,
        mut outcome: model::Outcome,
    ) -> anyhow::Result<Result<Findings, Failure>> {
        let (mut tries, mut backoff) = (1, backoff::PROCESS);
        loop {
            let error = match outcome {
                Ok(findings) => return Ok(Ok(findings)),
                Err(error) => error,
            };
            if let Some(code) = error.failure_code() {
                return Ok(Err(Failure { code, message: format!("{}: {error}", inference.name()) }));
            }
            if tries >= MAX_TRIES && matches!(error, DetectError::Inference(_)) {
                return reject_or_bail(inference, &error).await.map(Err);
            }
            let pause = backoff.pause();
            tracing::warn!(detector = %inference.name(), %error, ?pause, "the detector failed; retrying");
            metrics::retry("infer");
            tokio::time::sleep(pause).await;
            let _native = self.native.enter(position).await;
            outcome = inference.detect(image.clone()).await?;
            tries += 1;
        }
    }
}

/// Decides about an image that failed repeatedly. If the detector still processes a blank image, the image is at fault and
/// is rejected. Otherwise the device is at fault, and the worker ends instead of failing every frame.
async fn reject_or_bail(inference: &Inference, error: &DetectError) -> anyhow::Result<Failure> {
    if inference.processes_blank_image().await? {
        return Ok(Failure { code: FailureCode::Rejected, message: format!("{}: {error}", inference.name()) });
    }
    anyhow::bail!(
        "the detector {} fails on every image: {error}; check the device and SIGHTLINE_EXECUTION_PROVIDER, and restart",
        inference.name()
    )
}
