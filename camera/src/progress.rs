//! The progress bar of a recording, on a terminal.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::reader::measure;
use crate::source::{Address, SourceConfig};
use crate::status::Status;
use crate::video::Watch;

const PERIOD: Duration = Duration::from_millis(200);

/// Shows how far a recording is, until `ended`.
pub async fn show(source: SourceConfig, status: Arc<Status>, ended: CancellationToken) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let (counted, stop) = (source.clone(), ended.clone());
    // A file that cannot be read has no bar; the error is that of the reader.
    let frames = tokio::task::spawn_blocking(move || frames(&counted, stop)).await.ok().flatten();
    let Some(frames) = frames else { return };
    let style = "{bar:32} {pos}/{len} frames, {per_sec}, {msg}, {eta} left";
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(frames).with_style(style);
    while ended.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        let counts = status.snapshot();
        let (acknowledged, refused) = (counts.frames_sent, counts.frames_refused);
        bar.set_position(counts.frames_decoded.min(frames));
        bar.set_message(format!("{acknowledged} acknowledged, {refused} refused"));
    }
    bar.finish_and_clear();
}

/// Number of frames that will be decoded and sent or left out.
fn frames(source: &SourceConfig, stop: CancellationToken) -> Option<u64> {
    let Ok(Address::File(path)) = source.address() else { return None };
    if !path.is_file() {
        return None;
    }
    let (frames, length) = measure(&path, &Arc::new(Watch::new(stop))).ok()?;
    let length = length?.as_secs_f64();
    let start = source.start.unwrap_or(0.0).min(length);
    let rest = source.duration.unwrap_or(length).min(length - start);
    Some((frames? as f64 * rest / length.max(0.001)).round() as u64)
}
