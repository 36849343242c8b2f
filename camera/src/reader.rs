//! Reads one source on a thread of its own: decodes, chooses frames, passes over still ones, encodes.
//!
//! ```text
//! Input ─▶ clock: capture time ─▶ pace: fps ─▶ planes, upright ─▶ gate ─▶ JPEG ─▶ queue
//! ```
//!
//! A live source that ends, breaks off or stalls is opened again, with growing pauses. After a refused password the pause is a
//! minute or more, because cameras lock accounts.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contracts::api::ReportedState;
use jiff::{SignedDuration, Timestamp};
use platform::retry::Backoff;
use uuid::Uuid;

use crate::clock::Clock;
use crate::gate::Gate;
use crate::pace::Pace;
use crate::queue::{Picture, Pushed, Queue};
use crate::recording::Recording;
use crate::source::{Address, SourceConfig, WhenSlow};
use crate::status::Status;
use crate::video::{Encoder, Failure, Frame, Input, Planar, Planes, Watch, fitted};

/// Pauses before a live source is opened again. The longest is short enough for frames within ten seconds of its return.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The same after a refused password.
const FIRST_REFUSED_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_REFUSED_PAUSE: Duration = Duration::from_secs(15 * 60);
/// How often a thread that pauses shows that it lives.
const TICK: Duration = Duration::from_millis(100);

/// Reads one source.
pub struct Reader {
    source: SourceConfig,
    address: Address,
    queue: Arc<Queue>,
    status: Arc<Status>,
    watch: Arc<Watch>,
    frames: Frames,
}

/// What turns decoded frames into images; it stays the same when a source is opened again.
struct Frames {
    clock: Clock,
    pace: Pace,
    gate: Option<Gate>,
    planar: Planar,
    planes: Planes,
    encoder: Encoder,
    recording: Option<Recording>,
}

impl Reader {
    /// A reader of a source. Reads a recording once, for its hash.
    ///
    /// # Errors
    /// When the source is not valid, or a recording cannot be read.
    pub fn new(
        source: SourceConfig,
        queue: Arc<Queue>,
        status: Arc<Status>,
        watch: Arc<Watch>,
    ) -> anyhow::Result<Self> {
        let address = source.address()?;
        let recording = match &address {
            Address::File(path) => Some(Recording::open(path, &source)?),
            Address::Live(_) => None,
        };
        let frames = Frames {
            clock: Clock::live(),
            pace: Pace::new(source.fps),
            gate: source.motion_gate.unwrap_or(address.is_live()).then(Gate::default),
            planar: Planar::default(),
            planes: Planes::default(),
            encoder: Encoder::new()?,
            recording,
        };
        Ok(Self { source, address, queue, status, watch, frames })
    }

    /// What happens to the source's frames when the server is too slow.
    pub fn when_slow(source: &SourceConfig) -> WhenSlow {
        let is_live = source.address().is_ok_and(|address| address.is_live());
        source.when_slow.unwrap_or(if is_live { WhenSlow::Drop } else { WhenSlow::Wait })
    }

    /// Reads until the end of a recording, or until the stop. Closes the queue on the way out.
    ///
    /// # Errors
    /// When a recording cannot be read, or ends early. With `gives_up`, when a live source cannot be opened the first time.
    pub fn run(mut self, gives_up: bool) -> anyhow::Result<()> {
        let result = if self.address.is_live() { self.read_live(gives_up) } else { self.read_file() };
        match &result {
            // A source that was stopped has more frames.
            Ok(()) if self.watch.is_stopped() => {}
            Ok(()) => drop(self.status.set(ReportedState::Ended)),
            Err(error) => drop(self.status.fail(&format!("{error:#}"), false)),
        }
        self.queue.close();
        result
    }

    fn read_file(&mut self) -> anyhow::Result<()> {
        let mut input = self.open(0)?;
        if let Some(start) = self.start() {
            input.seek(start)?;
        }
        let begins = self.frames.recording.as_ref().and_then(|recording| recording.begins(&input));
        self.frames.clock = Clock::of_file(begins.unwrap_or_else(Timestamp::now));
        let read = self.read(&mut input);
        self.status.damaged(input.damaged());
        let is_part = self.source.start.is_some() || self.source.duration.is_some();
        match read {
            Ok(()) => match input.ends_early(self.status.snapshot().frames_decoded).filter(|_| !is_part) {
                Some(short) => bail!(short),
                None => Ok(()),
            },
            Err(Failure::Stopped) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    fn read_live(&mut self, gives_up: bool) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut refused_pause = FIRST_REFUSED_PAUSE;
        let mut was_connected = false;
        let ends_at = self.source.duration.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        loop {
            self.status.set(ReportedState::Connecting);
            self.frames.clock.reconnected();
            let decoded = self.status.snapshot().frames_decoded;
            let read = self.open(1).and_then(|mut input| self.read(&mut input));
            if self.status.snapshot().frames_decoded > decoded {
                was_connected = true;
                backoff.reset();
                refused_pause = FIRST_REFUSED_PAUSE;
            }
            let failure = match read {
                Err(Failure::Stopped) => return Ok(()),
                _ if was_connected && ends_at.is_some_and(|end| Instant::now() >= end) => return Ok(()),
                Ok(()) => Failure::Other("the connection ended".to_owned()),
                Err(failure) => failure,
            };
            if gives_up && !was_connected {
                return Err(failure.into());
            }
            let is_refused = failure == Failure::Refused;
            let pause = if is_refused { refused_pause } else { backoff.pause() };
            if is_refused {
                refused_pause = (refused_pause * 2).min(LONGEST_REFUSED_PAUSE);
            }
            self.report(&failure, pause);
            if self.pause(pause) {
                return Ok(());
            }
        }
    }

    /// A camera that is away for a day is one line in the log, and another one when something else is wrong with it.
    fn report(&self, failure: &Failure, pause: Duration) {
        let stream = &self.source.stream;
        if self.status.fail(&failure.to_string(), *failure == Failure::Refused) {
            tracing::warn!(%stream, "no frames: {failure}; trying again in {} s", pause.as_secs_f32().ceil());
        } else {
            tracing::debug!(%stream, "no frames: {failure}");
        }
    }

    /// Waits; returns whether the program stops.
    fn pause(&self, pause: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < pause {
            self.watch.tick();
            if self.watch.stop().is_cancelled() {
                return true;
            }
            std::thread::sleep(TICK.min(pause));
        }
        self.watch.stop().is_cancelled()
    }

    fn open(&self, threads: usize) -> Result<Input, Failure> {
        Input::open(&self.address, &self.watch, self.source.stall(), threads)
    }

    fn start(&self) -> Option<SignedDuration> {
        self.source.start.map(SignedDuration::from_secs_f64)
    }

    /// Reads to the end of the input.
    fn read(&mut self, input: &mut Input) -> Result<(), Failure> {
        let mut frame = Frame::empty();
        let start = self.start().unwrap_or(SignedDuration::ZERO);
        let end = self.source.duration.map(|seconds| start.saturating_add(SignedDuration::from_secs_f64(seconds)));
        while let Some(time) = input.next(&mut frame)? {
            let arrival = Timestamp::now();
            if self.status.set(ReportedState::Connected) {
                tracing::info!(stream = %self.source.stream, "frames arrive");
            }
            if end.is_some_and(|end| time >= end) {
                return Ok(());
            }
            if time >= start {
                self.status.decoded();
                if !self.take(&frame, input, time, arrival)? {
                    return Err(Failure::Stopped);
                }
            }
            if self.address.is_live() {
                self.watch.expect_within(self.source.stall());
            }
        }
        Ok(())
    }

    /// Encodes a frame and adds it to the queue, unless it is left out. Returns `false` when the sender has ended.
    fn take(
        &mut self,
        frame: &Frame,
        input: &Input,
        time: SignedDuration,
        arrival: Timestamp,
    ) -> Result<bool, Failure> {
        let frames = &mut self.frames;
        let captured_at = frames.clock.capture_time(time, arrival);
        if !frames.pace.is_due(time) {
            return Ok(true);
        }
        let wrong = |error: anyhow::Error| Failure::Other(format!("{error:#}"));
        let size = (frame.width(), frame.height());
        let bounds = self.source.resize.map(|size| (size.0, size.1));
        let turned = |(width, height)| if input.rotation().swaps { (height, width) } else { (width, height) };
        let size = bounds.map_or(size, |bounds| turned(fitted(turned(size), bounds)));
        frames.planes.fill(frames.planar.of(frame, size).map_err(wrong)?, input.rotation());
        if let Some(gate) = &mut frames.gate
            && !gate.passes(frames.planes.luma(), frames.planes.size(), time)
        {
            self.status.skipped();
            return Ok(true);
        }
        let jpeg = frames.encoder.encode(&frames.planes).map_err(wrong)?;
        let key = match &frames.recording {
            Some(recording) => recording.key(&self.source, captured_at),
            None => Uuid::now_v7().to_string(),
        };
        self.watch.expect_nothing();
        Ok(match self.queue.push(Picture { jpeg, captured_at, key }, &self.watch) {
            Pushed::Kept => true,
            Pushed::DroppedOldest => {
                self.status.dropped();
                true
            }
            Pushed::Closed => false,
        })
    }
}

/// Number of frames of a file, and its length, for a progress bar.
///
/// # Errors
/// When it cannot be read.
pub fn measure(path: &Path, watch: &Arc<Watch>) -> anyhow::Result<(Option<u64>, Option<SignedDuration>)> {
    let input = Input::open(&Address::File(path.to_owned()), watch, Duration::MAX, 1);
    let input = input.with_context(|| path.display().to_string())?;
    Ok((input.frames(), input.length()))
}
