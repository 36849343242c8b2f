//! Videos and live cameras in; frames out, by `POST /v1/frames`.
//!
//! ```text
//!  camera --config cameras.yaml             camera source, one process for each source
//!  supervisor ── task on stdin ───────────▶ reader (a thread): decode, choose, gate, JPEG ─▶ queue ─▶ sender ─▶ server
//!      ▲    ◀─────── state on stdout ──────
//!      └─ reports: PUT /v1/streams/{name}/state
//! ```
//!
//! In: video files, and cameras that speak RTSP, MJPEG or HLS. Out: JPEG images with capture times, in order within a stream.
//!
//! Guarantees: a process that crashes or hangs takes no other camera with it. A live source is opened again without end. Capture times of a
//! stream never go backwards. The certificate of a camera is checked unless that is turned off. The frames of a file have the same keys
//! each time, so that a half-sent file that is sent again makes no frame twice. The credentials of a camera go to no other
//! host. None is in a log line, an error, a reported state or the list of processes.
//!
//! This is the only crate that links FFmpeg (`docs/decisions/ffmpeg.md`), and a program of its own: the command runs without it.

mod api;
mod clock;
mod config;
mod gate;
mod lines;
mod pace;
mod pauses;
pub mod program;
mod progress;
mod push;
mod queue;
mod reader;
mod recording;
mod redact;
mod reports;
mod sender;
mod source;
mod source_process;
mod status;
mod steady;
mod supervisor;
mod task;
mod tunnel;
mod video;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use platform::Health;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use api::{Api, Server};
pub use config::Config;
pub use gate::Gate;
pub use pace::Pace;
pub use queue::Queue;
pub use reader::Reader;
pub use sender::Patience;
pub use source::{Address, Cameras, SecretText, SourceConfig, WhenSlow};
pub use status::{Snapshot, Status};
pub use video::{Encoder, Failure, Frame, Input, Orientation, Planar, Planes, Watch};

/// Time after the deadline of a frame that FFmpeg has to give up. The look-up of a name takes as long, in which it does not ask.
const OVERDUE: Duration = Duration::from_secs(60);

/// The cameras are ready when the server answers.
pub fn health(api: &Arc<Api>) -> Health {
    Health::default().with_shared("server", api, |api| async move { api.check().await })
}

/// Runs every source in a process of its own, until `stop`, or until all are recordings at their end.
/// Returns the recordings that were not sent to their end.
///
/// # Errors
/// When a process panics that watches another.
pub async fn run(
    cameras: Cameras,
    server: Server,
    api: Arc<Api>,
    stop: CancellationToken,
) -> anyhow::Result<Vec<String>> {
    let (mut sources, mut given_up) = (JoinSet::new(), Vec::new());
    for source in cameras.cameras {
        let (server, api, stop) = (server.clone(), Arc::clone(&api), stop.clone());
        sources.spawn(async move {
            let is_given_up = supervisor::supervise(&server, &api, &source, &stop).await;
            is_given_up.then(|| source.shown())
        });
    }
    while let Some(ended) = sources.join_next().await {
        given_up.extend(ended.context("the supervisor of a camera panicked")?);
    }
    Ok(given_up)
}

/// Runs one source in this process, of which an earlier process had frames until `after`.
///
/// # Errors
/// When a recording cannot be read to its end; with `patience`, when the server accepts nothing, or a live source cannot be opened.
pub async fn run_source(
    api: &Api,
    source: &SourceConfig,
    status: &Arc<Status>,
    watch: &Arc<Watch>,
    after: Option<Timestamp>,
    patience: Option<Patience>,
) -> anyhow::Result<()> {
    let queue = Arc::new(Queue::new(Reader::when_slow(source)));
    let read = {
        let (source, queue, status, watch) =
            (source.clone(), Arc::clone(&queue), Arc::clone(status), Arc::clone(watch));
        move || Reader::new(source, queue, status, watch, after).and_then(|reader| reader.run(patience.is_some()))
    };
    let reading = read_on_thread(&queue, read)?;
    let give_up = |error: &anyhow::Error| status.give_up(&format!("{error:#}"));
    tokio::select! {
        sent = sender::send_all(api, source, &queue, status, patience, watch.stop()) => sent.inspect_err(give_up)?,
        () = overdue(watch, OVERDUE) => {
            queue.close();
            let error = anyhow::anyhow!("no frame for {} s, and FFmpeg does not give it up", (source.stall() + OVERDUE).as_secs());
            status.give_up(&error.to_string());
            return Err(error);
        }
    }
    if watch.stop().is_cancelled() {
        return Ok(());
    }
    let result = reading.await.unwrap_or_else(|_| Err(anyhow::anyhow!("the thread that reads it panicked")));
    if let Err(error) = &result {
        status.fail(&format!("{error:#}"), false);
    }
    result
}

/// Returns when the thread that reads is late by this time: it cannot be ended, but its process can.
async fn overdue(watch: &Watch, by: Duration) {
    while !watch.is_overdue(by) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Closes its queue in any case, also in a panic: otherwise the sender would wait for ever.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Reads on a thread of its own and not on one of the runtime's: a decoder that hangs must not hold up the end of the process. What is
/// returned has an error after a panic.
fn read_on_thread(
    queue: &Arc<Queue>,
    read: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
) -> std::io::Result<oneshot::Receiver<anyhow::Result<()>>> {
    let (ended, reading) = oneshot::channel();
    let closing = CloseOnDrop(Arc::clone(queue));
    let thread = move || {
        let _closing = closing;
        // Nobody waits for it any more if sending failed.
        drop(ended.send(read()));
    };
    std::thread::Builder::new().name("reader".to_owned()).spawn(thread)?;
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_ffmpeg_holds_up_is_noticed() {
        let watch = Watch::new(CancellationToken::new());
        watch.expect_within(Duration::ZERO);
        tokio::time::timeout(Duration::from_secs(10), overdue(&watch, Duration::from_millis(20))).await.unwrap();
        // A queue that is full is no reason.
        watch.expect_nothing();
        assert!(!watch.is_overdue(Duration::from_millis(20)));
    }

    #[tokio::test]
    async fn a_pause_between_two_tries_is_no_hang() {
        let source = serde_yaml_ng::from_str("{stream: gate, url: 'rtsp://127.0.0.1:1/', stall_seconds: 0}").unwrap();
        let stop = CancellationToken::new();
        // Also when the test fails, which would wait for its thread without end.
        let _stopped = stop.clone().drop_guard();
        let (status, watch) = (Arc::new(Status::default()), Arc::new(Watch::new(stop.clone())));
        let (reading_status, reading_watch) = (Arc::clone(&status), Arc::clone(&watch));
        let reading = tokio::task::spawn_blocking(move || {
            let queue = Arc::new(Queue::new(WhenSlow::Drop));
            Reader::new(source, queue, reading_status, reading_watch, None)?.run(false)
        });
        while status.snapshot().state != contracts::api::ReportedState::Failed {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!watch.is_overdue(Duration::from_millis(20)));
        stop.cancel();
        reading.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_panic_of_the_thread_that_reads_ends_the_source() {
        let queue = Arc::new(Queue::new(WhenSlow::Wait));
        let reading = read_on_thread(&queue, || panic!("a test")).unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), queue.next()).await;
        assert!(next.unwrap().is_none(), "the queue is closed");
        assert!(reading.await.is_err());
    }
}
