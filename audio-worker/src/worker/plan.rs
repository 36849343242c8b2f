//! The beginning and the end of a transcription: the windows of a recording are planned, and when all are done the step is.

use media::{Cause, MediaError, Window, codes};
use sound::Decoder;
use store::relational::{MAX_WINDOWS, PipelineRecord};
use tokio_util::sync::CancellationToken;

use super::book::Unreadable;
use super::steps::{StepEnd, Steps, stopped};
use crate::object::Object;
use crate::sounds::Sounds;
use crate::speech::recording::{self, Plan};
use crate::speech::{FolderArgs, OnnxArgs, Vad};

/// Pause before a file that cannot be read is tried again, in seconds.
pub(super) const READ_AGAIN: i64 = 30;

impl Steps {
    /// Plans the windows, or ends the step when they are done.
    pub(super) async fn plan(&self, record: &PipelineRecord) -> Result<StepEnd, MediaError> {
        if record.are_windows_done() {
            return Ok(StepEnd::Finished);
        }
        let (_, master) = match self.master(record.book, record.source).await? {
            Ok(found) => found,
            Err(unreadable) => return Ok(self.not_read(unreadable)),
        };
        let Ok(permit) = self.plans.clone().acquire_owned().await else {
            return Ok(StepEnd::Waits(self.pipelines.now(), stopped()));
        };
        let cancelled = CancellationToken::new();
        // Dropping this future ends the thread with its next block.
        let _cancel = cancelled.clone().drop_guard();
        let object = self.object(&master, cancelled.clone());
        let (sounds, folder, onnx) = (self.sounds.clone(), self.shared.folder.clone(), self.shared.onnx.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let planned = listen(&object, &sounds, &folder, &onnx, &cancelled);
            drop(permit);
            planned
        });
        match planning.await {
            Ok(Ok(plan)) => {
                let (windows, heard) = (plan.windows.len(), plan.heard().as_secs());
                if windows > MAX_WINDOWS {
                    let detail = format!("{windows} parts with speech; a book has at most {MAX_WINDOWS}");
                    return Ok(StepEnd::Failed(Cause::new(codes::TOO_LONG, detail)));
                }
                tracing::info!(book.id = %record.book, windows, seconds = heard, "the windows of a book are planned");
                let windows = plan.windows.into_iter().map(|(start, end)| Window { start, end });
                Ok(StepEnd::Planned(windows.collect()))
            }
            Ok(Err(unreadable)) => Ok(self.not_read(unreadable)),
            Err(error) => Err(MediaError::Damaged(format!("the thread that listened to a recording ended: {error}"))),
        }
    }

    /// The end of a step whose recording is not read.
    fn not_read(&self, unreadable: Unreadable) -> StepEnd {
        match unreadable {
            Unreadable::Later(cause) => StepEnd::Waits(self.in_seconds(READ_AGAIN), cause),
            Unreadable::Never(cause) => StepEnd::Failed(cause),
        }
    }
}

/// Decodes a recording to its end, and finds speech in it. Blocking.
fn listen(
    object: &Object,
    sounds: &Sounds,
    folder: &FolderArgs,
    onnx: &OnnxArgs,
    cancelled: &CancellationToken,
) -> Result<Plan, Unreadable> {
    let sound = sounds.of(object)?;
    let mut vad = Vad::open(folder, onnx)?;
    let mut decoder = Decoder::open(object.source(), object.bytes, &sound)?;
    Ok(recording::plan(&mut decoder, &mut vad, |_| !cancelled.is_cancelled())?)
}
