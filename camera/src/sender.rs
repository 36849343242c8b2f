//! Sends the images of one source, one after the other, because order is kept within a stream.
//!
//! 429 and 503 are obeyed: nothing is sent before the time that the server asks for. Meanwhile the queue fills, and its source waits or
//! the oldest images are dropped.

use std::time::{Duration, Instant};

use platform::retry::Backoff;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, REQUEST_LIMIT, Refusal};
use crate::queue::{Image, Queue};
use crate::source::SourceConfig;
use crate::status::Status;

/// Pauses between tries, beside what the server asks for.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Pause after a refusal of everything, such as a wrong token.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// Least time that a request gets, also where less is left.
const LEAST_REQUEST: Duration = Duration::from_secs(1);

/// How long a recording waits for the server. Cameras wait without end.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For a server that does not answer.
    pub absent: Duration,
    /// For one that asks to come later.
    pub busy: Duration,
}

impl Patience {
    /// Time limit of a request that begins after this time: a server that accepts it and does not answer is not waited for longer than
    /// for one that refuses.
    fn of_request(self, elapsed: Duration) -> Duration {
        self.busy.saturating_sub(elapsed).clamp(LEAST_REQUEST, REQUEST_LIMIT)
    }
}

/// Sends what is in the queue until it is closed, and closes it on the way out.
///
/// # Errors
/// With `patience`, when the server accepts nothing.
pub async fn send_all(
    api: &Api,
    source: &SourceConfig,
    queue: &Queue,
    status: &Status,
    patience: Option<Patience>,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let sending = async {
        while let Some(image) = queue.next().await {
            send(api, source, &image, status, patience).await?;
        }
        Ok(())
    };
    let result = stop.run_until_cancelled(sending).await.unwrap_or(Ok(()));
    queue.close();
    result
}

/// Sends one image, and tries again while a retry may succeed.
async fn send(
    api: &Api,
    source: &SourceConfig,
    image: &Image,
    status: &Status,
    patience: Option<Patience>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut answered = begun;
    loop {
        let limit = patience.map_or(REQUEST_LIMIT, |patience| patience.of_request(begun.elapsed()));
        let (pause, reason, is_answer) = match api.send(&source.stream, &source.detectors, image, limit).await {
            Ok(()) => {
                status.sent();
                return Ok(());
            }
            // A damaged recording is not decoded to the same pixels each time. The frame that is there is the one from before.
            Err(refusal) if patience.is_some() && refusal.is_known_key() => {
                status.sent();
                return Ok(());
            }
            Err(Refusal::Frame { reason, .. }) => {
                status.refused();
                if status.note(&reason) {
                    tracing::warn!(stream = %source.stream, "a frame was refused: {reason}");
                }
                return Ok(());
            }
            Err(Refusal::All(reason)) if patience.is_some() => anyhow::bail!("the server refuses all frames: {reason}"),
            Err(Refusal::All(reason)) => (REFUSED_PAUSE, reason, true),
            Err(Refusal::Later { pause, is_answer, reason }) => (pause.max(backoff.pause()), reason, is_answer),
        };
        if is_answer {
            answered = Instant::now();
        }
        if let Some(Patience { absent, busy }) = patience {
            let limit_passed = begun.elapsed() + pause > busy || answered.elapsed() + pause > absent && !is_answer;
            anyhow::ensure!(!limit_passed, "gave up after {} s: {reason}", begun.elapsed().as_secs());
        }
        if status.note(&reason) {
            tracing::warn!(stream = %source.stream, "a frame waits {} s: {reason}", pause.as_secs_f32().ceil());
        }
        tokio::time::sleep(pause).await;
    }
}
