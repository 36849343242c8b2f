//! Reads one source on a thread of its own: decodes, chooses frames, skips still ones, encodes.
//!
//! ```text
//! Input ─▶ steady: bursts of HLS ─▶ clock: capture time ─▶ pace: fps ─▶ planes, upright ─▶ gate ─▶ JPEG ─▶ queue
//! ```
//!
//! A live source that ends, breaks off or stalls is opened again, with growing pauses. After a refused password the pause is a
//! minute or more, because cameras lock accounts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use contracts::api::ReportedState;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::clock::Clock;
use crate::gate::Gate;
use crate::pace::Pace;
use crate::pauses::Pauses;
use crate::queue::{Image, Pushed, Queue};
use crate::recording::Recording;
use crate::source::{Address, SourceConfig, WhenSlow};
use crate::status::Status;
use crate::steady::{Steady, Turn};
use crate::video::{Encoder, Failure, Frame, Input, Planar, Planes, Watch, fitted};

/// How often a thread that pauses shows that it lives.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of a large recording.
const LARGE: u64 = 1 << 30;

/// Reads one source.
pub struct Reader {
    source: SourceConfig,
    address: Address,
    queue: Arc<Queue>,
    status: Arc<Status>,
    watch: Arc<Watch>,
    frames: Frames,
    /// Our own clock begins here.
    begun: Instant,
    seen: Seen,
}

/// What was seen of a live source.
#[derive(Default)]
struct Seen {
    /// When the first frame arrived.
    first: Option<Instant>,
    /// Time on the source's clock, of all connections together.
    time: SignedDuration,
    /// Time of the last frame of this connection.
    last: Option<SignedDuration>,
    /// The pace of this connection, if its server buffers it.
    steady: Steady,
}

/// Why reading has ended without a failure.
enum End {
    /// The source has no further frames.
    OfSource,
    /// It was read for the duration that is wanted.
    OfDuration,
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
    /// A reader of a source, of which an earlier process had frames until `after`. Reads a recording once, for its hash.
    ///
    /// # Errors
    /// When the source is not valid, or a recording cannot be read.
    pub fn new(
        source: SourceConfig,
        queue: Arc<Queue>,
        status: Arc<Status>,
        watch: Arc<Watch>,
        after: Option<Timestamp>,
    ) -> anyhow::Result<Self> {
        let address = source.address()?;
        let recording = match &address {
            Address::File(path) => {
                // Reading the whole of it takes minutes, so that it is a video is seen before.
                if std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() > LARGE) {
                    Input::open(&address, &watch, Duration::MAX, 1)?;
                }
                Some(Recording::open(path, &source, &watch)?)
            }
            Address::Live(_) => None,
        };
        let frames = Frames {
            clock: Clock::live(after),
            pace: if address.is_live() { Pace::live(source.fps) } else { Pace::new(source.fps) },
            gate: source.motion_gate.unwrap_or(address.is_live()).then(Gate::default),
            planar: Planar::default(),
            planes: Planes::default(),
            encoder: Encoder::new()?,
            recording,
        };
        Ok(Self { source, address, queue, status, watch, frames, begun: Instant::now(), seen: Seen::default() })
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
        self.watch.expect_nothing();
        self.queue.close();
        result
    }

    fn read_file(&mut self) -> anyhow::Result<()> {
        let mut input = self.open_at_start()?;
        let begins = self.frames.recording.as_ref().and_then(|recording| recording.begins(&input));
        self.frames.clock = Clock::of_file(begins.unwrap_or_else(Timestamp::now));
        let read = self.read(&mut input);
        self.status.damaged(input.damaged());
        // Whatever else is wrong with it follows from that.
        if let Some(recording) = &self.frames.recording {
            recording.look_now()?;
        }
        let decoded = self.status.snapshot().frames_decoded;
        match read {
            Ok(End::OfSource) => self.check_end(&input, decoded),
            Ok(End::OfDuration) | Err(Failure::Stopped) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// What is wrong with a recording that was read to its end.
    fn check_end(&self, input: &Input, decoded: u64) -> anyhow::Result<()> {
        if let Some(none) = input.has_no_frame() {
            bail!(none);
        }
        let is_part = self.source.start.is_some() || self.source.duration.is_some();
        let short = input.ends_early(decoded).filter(|_| !is_part);
        if let Some(cut) = short.or_else(|| self.frames.recording.as_ref()?.is_cut(decoded, &self.watch)) {
            bail!(cut);
        }
        if let (0, Some(start)) = (decoded, self.source.start) {
            bail!("start: {start} s is after its last frame, at {:.2} s", input.last_time().as_secs_f64());
        }
        Ok(())
    }

    /// Opens a recording at the last key frame before the start. Where the container leads behind it, at the beginning: not every
    /// container can be sought back to that, so it is opened again.
    fn open_at_start(&self) -> Result<Input, Failure> {
        let mut input = self.open(0)?;
        let Some(start) = self.start().filter(SignedDuration::is_positive) else { return Ok(input) };
        input.seek(start)?;
        if input.next(&mut Frame::empty())?.is_none_or(|first| first > start) {
            return self.open(0);
        }
        input.seek(start)?;
        Ok(input)
    }

    fn read_live(&mut self, gives_up: bool) -> anyhow::Result<()> {
        let mut pauses = Pauses::new();
        loop {
            self.status.set(ReportedState::Connecting);
            self.frames.clock.reconnected();
            (self.seen.last, self.seen.steady) = (None, Steady::default());
            let decoded = self.status.snapshot().frames_decoded;
            let read = self.open(1).and_then(|mut input| self.read(&mut input));
            if self.status.snapshot().frames_decoded > decoded {
                pauses.reset();
            }
            let failure = match read {
                Err(Failure::Stopped) | Ok(End::OfDuration) => return Ok(()),
                Ok(End::OfSource) => Failure::Other("the connection ended".to_owned()),
                Err(failure) => failure,
            };
            if gives_up && self.seen.first.is_none() {
                return Err(failure.into());
            }
            let pause = pauses.after(&failure);
            self.report(&failure, pause);
            if self.pause(pause) {
                return Ok(());
            }
        }
    }

    /// Time until the end of the duration of a live source, which its first frame begins, by our own clock.
    fn rest(&self) -> Option<Duration> {
        let (duration, first) = (self.source.duration?, self.seen.first?);
        Some(Duration::from_secs_f64(duration).saturating_sub(first.elapsed()))
    }

    /// A camera that is away for a day is one line in the log, and another one when something else is wrong with it.
    fn report(&self, failure: &Failure, pause: Duration) {
        let stream = &self.source.stream;
        if self.status.fail(&failure.to_string(), failure.is_about_access()) {
            tracing::warn!(%stream, "no frames: {failure}; trying again in {} s", pause.as_secs_f32().ceil());
        } else {
            tracing::debug!(%stream, "no frames: {failure}");
        }
    }

    /// Waits; returns whether there is nothing to wait for any more: the program stops, or the duration is over.
    fn pause(&self, pause: Duration) -> bool {
        self.watch.expect_nothing();
        let begun = Instant::now();
        let is_over = || self.watch.is_stopped() || self.rest().is_some_and(|rest| rest.is_zero());
        while begun.elapsed() < pause && !is_over() {
            self.watch.tick();
            std::thread::sleep(TICK.min(pause.saturating_sub(begun.elapsed())));
        }
        is_over()
    }

    fn open(&self, threads: usize) -> Result<Input, Failure> {
        Input::open(&self.address, &self.watch, self.source.stall(), threads)
    }

    fn start(&self) -> Option<SignedDuration> {
        self.source.start.map(SignedDuration::from_secs_f64)
    }

    /// Reads to the end of the input, or of the duration.
    fn read(&mut self, input: &mut Input) -> Result<End, Failure> {
        let mut frame = Frame::empty();
        let start = self.start().unwrap_or(SignedDuration::ZERO);
        while let Some(time) = input.next(&mut frame)? {
            if let Some(recording) = &mut self.frames.recording {
                recording.look()?;
            }
            // The decoder keeps some frames back until a source has stalled.
            if !input.is_over() && self.status.set(ReportedState::Connected) {
                tracing::info!(stream = %self.source.stream, "frames arrive");
            }
            let late = self.hold_back(input, time);
            if self.is_after_duration(time) {
                return Ok(End::OfDuration);
            }
            if time >= start {
                self.status.decoded();
                if !self.take(&frame, input, time, late)? {
                    return Err(Failure::Stopped);
                }
            }
            if self.address.is_live() {
                self.watch.expect_within(self.source.stall());
            }
        }
        Ok(End::OfSource)
    }

    /// Waits for the turn of a frame of a source that its server buffers; returns how late it is by the source's clock. What has arrived
    /// meanwhile waits in the connection.
    fn hold_back(&mut self, input: &Input, time: SignedDuration) -> Duration {
        if !input.is_buffered() {
            return Duration::ZERO;
        }
        let Turn { at, late } = self.seen.steady.turn(time, Instant::now());
        self.pause(at.saturating_duration_since(Instant::now()));
        late
    }

    /// Whether the duration is over: on the source's clock, which goes on when a live source is opened again, or for a live source on our
    /// own, because its clock may stand still.
    fn is_after_duration(&mut self, time: SignedDuration) -> bool {
        let so_far = if self.address.is_live() {
            self.seen.first.get_or_insert_with(Instant::now);
            let step = time.saturating_sub(self.seen.last.replace(time).unwrap_or(time));
            // A longer step would be a stall, so it is a clock that was set.
            let longest = SignedDuration::try_from(self.source.stall()).unwrap_or(SignedDuration::MAX);
            if step.is_positive() && step <= longest {
                self.seen.time = self.seen.time.saturating_add(step);
            }
            self.seen.time
        } else {
            time.saturating_sub(self.start().unwrap_or(SignedDuration::ZERO))
        };
        let is_over = self.source.duration.is_some_and(|seconds| so_far >= SignedDuration::from_secs_f64(seconds));
        is_over || self.rest().is_some_and(|rest| rest.is_zero())
    }

    /// Encodes a frame and adds it to the queue, unless it is left out. A frame that is late counts as if it had arrived in time. Returns
    /// `false` when the sender has ended.
    fn take(&mut self, frame: &Frame, input: &Input, time: SignedDuration, late: Duration) -> Result<bool, Failure> {
        let frames = &mut self.frames;
        let arrival = Timestamp::now().saturating_sub(late).unwrap_or_else(|_| Timestamp::now());
        let captured_at = frames.clock.capture_time(time, arrival);
        let since_begin = self.begun.elapsed().saturating_sub(late);
        let since_begin = SignedDuration::try_from(since_begin).unwrap_or(SignedDuration::MAX);
        if !frames.pace.is_due(time, since_begin) {
            return Ok(true);
        }
        let wrong = |error: anyhow::Error| Failure::Other(format!("{error:#}"));
        let size = (frame.width(), frame.height());
        let bounds = self.source.resize.map(|size| (size.0, size.1));
        let turned = |(width, height)| if input.rotation().swaps { (height, width) } else { (width, height) };
        let size = bounds.map_or(size, |bounds| turned(fitted(turned(size), bounds)));
        frames.planes.fill(frames.planar.of(frame, size).map_err(wrong)?, input.rotation());
        // The time of a live source goes on when it is opened again, and our clock of the day may be set back.
        let gate_time = if self.address.is_live() { since_begin } else { time };
        if let Some(gate) = &mut frames.gate
            && !gate.passes(frames.planes.luma(), frames.planes.size(), gate_time)
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
        self.status.captured(captured_at);
        Ok(match self.queue.push(Image { jpeg, captured_at, key }, &self.watch) {
            Pushed::Kept => true,
            Pushed::DroppedOldest => {
                self.status.dropped();
                // It may have been the frame that the gate compares with.
                if let Some(gate) = &mut frames.gate {
                    gate.send_next();
                }
                true
            }
            Pushed::Closed => false,
        })
    }
}
