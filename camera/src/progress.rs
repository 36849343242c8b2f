//! How far a source is, while it is sent: one line that changes on a terminal, and elsewhere a line every half minute.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use contracts::api::ReportedState;
use indicatif::{ProgressBar, ProgressStyle};
use platform::{error_line, one_line};
use tokio_util::sync::CancellationToken;

use crate::redact::redact;
use crate::source::{Address, SourceConfig};
use crate::status::{Snapshot, Status};
use crate::video::{Input, Watch};

/// Pause between two states of the line on a terminal.
const PERIOD: Duration = Duration::from_millis(200);
/// Pause between two lines elsewhere.
const LINE_PERIOD: Duration = Duration::from_secs(30);
/// Time over which the rate is measured.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// The line that is on the terminal now. A line of the log is printed above it and not into it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Shows how far a source is, until `ended`.
pub async fn show(source: SourceConfig, status: Arc<Status>, ended: CancellationToken) {
    let is_terminal = std::io::stderr().is_terminal();
    let begun = Instant::now();
    // Elsewhere nothing is opened for a source that ends before the first line.
    if !is_terminal && ended.run_until_cancelled(tokio::time::sleep(LINE_PERIOD)).await.is_none() {
        return;
    }
    let (counted, stop) = (source.clone(), ended.clone());
    // A file that cannot be read has no number of frames; the error is that of the reader.
    let total = tokio::task::spawn_blocking(move || frames(&counted, stop)).await.ok().flatten();
    let mut progress = Progress { total, is_live: is_live(&source), begun, samples: VecDeque::from([(begun, 0)]) };
    if is_terminal {
        return progress.show_on_terminal(&status, &ended).await;
    }
    let name = redact(source.url.expose());
    while !ended.is_cancelled() {
        error_line(one_line(&format_args!("{name}: {}", progress.line(&status.snapshot(), Instant::now()))));
        let _ = ended.run_until_cancelled(tokio::time::sleep(LINE_PERIOD)).await;
    }
}

fn is_live(source: &SourceConfig) -> bool {
    source.address().is_ok_and(|address| address.is_live())
}

/// What is known of a source beside its counts.
struct Progress {
    /// Frames that will be decoded and sent or left out; `None` for a camera, and for a file that does not say it.
    total: Option<u64>,
    is_live: bool,
    begun: Instant,
    /// Numbers of decoded frames of the last seconds.
    samples: VecDeque<(Instant, u64)>,
}

impl Progress {
    async fn show_on_terminal(&mut self, status: &Status, ended: &CancellationToken) {
        // Cut at the width of the terminal: a line that wraps could not be erased. A bar would leave no space for the counts.
        let style = ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let shown = OnTerminal::new(ProgressBar::new_spinner().with_style(style));
        loop {
            let counts = status.snapshot();
            shown.bar.set_message(self.line(&counts, Instant::now()));
            if ended.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_none() {
                return;
            }
        }
    }

    /// `1200/4800 frames, 31 s left, 1180 acknowledged, 0 refused, 0 dropped, 118/s`; of a camera, its state and no time left. What matters
    /// least is last, where a narrow terminal cuts.
    fn line(&mut self, counts: &Snapshot, now: Instant) -> String {
        let Snapshot { frames_decoded, frames_sent, frames_refused, frames_dropped, .. } = counts;
        let rate = rate_text(self.rate(*frames_decoded, now));
        let mut line = match self.total {
            Some(total) => format!("{}/{total} frames", frames_decoded.min(&total)),
            None => format!("{frames_decoded} frames"),
        };
        if self.is_live {
            line = format!("{}, {line}", state(counts.state));
        } else if let Some(left) = self.left(*frames_decoded, now) {
            line += &format!(", {} left", time(left));
        }
        format!("{line}, {frames_sent} acknowledged, {frames_refused} refused, {frames_dropped} dropped, {rate}")
    }

    /// Frames per second over the last seconds.
    fn rate(&mut self, frames: u64, now: Instant) -> f64 {
        self.samples.push_back((now, frames));
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            self.samples.pop_front();
        }
        let Some((at, before)) = self.samples.front() else { return 0.0 };
        let seconds = now.duration_since(*at).as_secs_f64();
        if seconds > 0.0 { frames.saturating_sub(*before) as f64 / seconds } else { 0.0 }
    }

    /// The time that the rest needs at the pace so far.
    fn left(&self, frames: u64, now: Instant) -> Option<Duration> {
        let rest = self.total?.saturating_sub(frames);
        let seconds = now.duration_since(self.begun).as_secs_f64() * rest as f64 / frames as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// The line on the terminal. It is erased when this is dropped, also after a failure.
struct OnTerminal {
    bar: ProgressBar,
}

impl OnTerminal {
    fn new(bar: ProgressBar) -> Self {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        platform::print_lines_within(above_the_bar);
        Self { bar }
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.bar.finish_and_clear();
    }
}

/// Prints a line above the bar, if there is one.
fn above_the_bar(print: &mut dyn FnMut()) {
    let bar = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match bar {
        Some(bar) => bar.suspend(print),
        None => print(),
    }
}

const fn state(state: ReportedState) -> &'static str {
    match state {
        ReportedState::Connecting => "connecting",
        ReportedState::Connected => "connected",
        ReportedState::Failed => "failed",
        ReportedState::Ended => "ended",
    }
}

/// `118/s`, and `4.9/s` below 10.
fn rate_text(rate: f64) -> String {
    if rate < 9.95 { format!("{rate:.1}/s") } else { format!("{rate:.0}/s") }
}

/// `31 s`, `4 min 5 s`, `2 h 10 min`.
fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Number of frames that will be decoded and sent or left out.
fn frames(source: &SourceConfig, stop: CancellationToken) -> Option<u64> {
    let Ok(Address::File(path)) = source.address() else { return None };
    if !path.is_file() {
        return None;
    }
    let input = Input::open(&Address::File(path), &Arc::new(Watch::new(stop)), Duration::MAX, 1).ok()?;
    let (frames, length) = (input.frames()?, input.length()?.as_secs_f64());
    let start = source.start.unwrap_or(0.0).min(length);
    let rest = source.duration.unwrap_or(length).min(length - start);
    Some((frames as f64 * rest / length.max(0.001)).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(decoded: u64) -> Snapshot {
        let status = Status::default();
        status.set(ReportedState::Connected);
        let counts = Snapshot { frames_decoded: decoded, frames_sent: decoded, ..status.snapshot() };
        Snapshot { frames_refused: 2, frames_dropped: 3, ..counts }
    }

    fn lines(total: Option<u64>, is_live: bool, frames_per_second: u64) -> Vec<String> {
        let begun = Instant::now();
        let mut progress = Progress { total, is_live, begun, samples: VecDeque::new() };
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        (0..=20).map(|second| progress.line(&counts(second * frames_per_second), at(second))).collect()
    }

    #[test]
    fn the_line_of_a_file_has_the_time_left() {
        let lines = lines(Some(4_800), false, 118);
        assert_eq!(lines[0], "0/4800 frames, 0 acknowledged, 2 refused, 3 dropped, 0.0/s");
        assert_eq!(lines[20], "2360/4800 frames, 21 s left, 2360 acknowledged, 2 refused, 3 dropped, 118/s");
    }

    #[test]
    fn eighty_columns_are_enough_for_an_hour() {
        let lines = lines(Some(90_000), false, 118);
        let (shown, _) = lines[20].split_at(80.min(lines[20].len()));
        assert!(shown.contains(" left") && shown.contains(" dropped"), "{shown}");
    }

    #[test]
    fn the_line_of_a_camera_has_its_state_and_no_time_left() {
        let expected = "connected, 100 frames, 100 acknowledged, 2 refused, 3 dropped, 5.0/s";
        assert_eq!(lines(None, true, 5)[20], expected);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let begun = Instant::now();
        let mut progress = Progress { total: None, is_live: true, begun, samples: VecDeque::new() };
        for second in 0..60 {
            progress.rate(second * 25, begun + Duration::from_secs(second));
        }
        assert_eq!(progress.rate(59 * 25, begun + Duration::from_secs(64)), 0.0, "it stands still for five seconds");
    }

    #[test]
    fn a_time_has_suitable_units() {
        for (seconds, expected) in [(0.2, "1 s"), (59.0, "59 s"), (245.0, "4 min 5 s"), (7_800.0, "2 h 10 min")] {
            assert_eq!(time(Duration::from_secs_f64(seconds)), expected);
        }
    }
}
