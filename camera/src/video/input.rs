//! One opened source: packets in, decoded frames out.
//!
//! Packets are read directly, because the wrapper's iterator swallows errors. At the end the decoder is drained; otherwise the last
//! frames would stay in it. A damaged packet costs the frames that depend on it and no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::codec::packet::side_data::Type;
use ffmpeg_next::error::EAGAIN;
use ffmpeg_next::{Error, Packet, decoder, format, media};
use jiff::{SignedDuration, Timestamp};

use super::failure::{explained, failure, not_reached};
use super::guard::Guard;
use super::timeline::Timeline;
use super::{Cause, Failure, Frame, Orientation, Watch, last_error, open};
use crate::source::Address;
use crate::tunnel::Tunnel;

/// Packets that are skipped at most while waiting for a key frame. Streams without key frames, with a refresh in rows, exist.
const LONGEST_WITHOUT_KEY: u32 = 600;
/// Damaged packets in a row after which a source is given up.
const MOST_DAMAGED: u32 = 1000;
/// What may be missing at the end of a complete recording: editors cut without rewriting the list of frames.
const MISSING_FRAMES: u64 = 2;
const MISSING_TIME: SignedDuration = SignedDuration::from_millis(500);
const MICROSECONDS: i64 = 1_000_000;

/// Containers of live sources whose images have no times. FFmpeg makes some up, 25 images a second.
const FORMATS_WITHOUT_CLOCK: [&str; 4] = ["mpjpeg", "mjpeg", "jpeg_pipe", "image2pipe"];

/// The container whose images come in bursts: its server keeps segments of some seconds, and gives them as fast as it can.
const BUFFERED: &str = "hls";

/// An opened source with its decoder.
pub struct Input {
    context: format::context::Input,
    decoder: decoder::Video,
    watch: Arc<Watch>,
    guard: Arc<Guard>,
    limit: Duration,
    is_live: bool,
    stream: usize,
    /// Of the stream's clock, in seconds.
    time_base: (i64, i64),
    /// Time of the first frame on that clock.
    begins: i64,
    last: i64,
    timeline: Timeline,
    /// A frame that was decoded before its turn, with its time in the file.
    ahead: Option<(Frame, SignedDuration)>,
    /// Length of a frame, for frames without a time.
    period: i64,
    rotation: Orientation,
    skipped_before_key: Option<u32>,
    /// Number of frames so far, also of those that nobody wants.
    decoded: u64,
    damaged: u64,
    damaged_in_row: u32,
    drained: bool,
    ended_by: Option<Failure>,
    /// When a live source was opened that has no clock: its times are those of arrival.
    without_clock: Option<Instant>,
    /// Dropped after the connection that goes through it.
    _tunnel: Option<Tunnel>,
}

impl Input {
    /// Opens a source and finds its video. `limit` is the longest time without a frame, for a live source.
    ///
    /// # Errors
    /// When it cannot be read or has no video.
    pub fn open(address: &Address, watch: &Arc<Watch>, limit: Duration, threads: usize) -> Result<Self, Failure> {
        last_error();
        if address.is_live() {
            watch.expect_within(limit);
        }
        let (tunnel, address) = tunnelled(address)?;
        let guard = Arc::new(Guard::new(&address, Arc::clone(watch)));
        let context = open::open(&address, &guard).map_err(|error| match tunnel.as_ref().and_then(Tunnel::error) {
            Some(told) if watch.cause().is_none() => not_reached(&told),
            _ => guard.failure().unwrap_or_else(|| failure(error, watch, limit, &address)),
        })?;
        let Some(stream) = context.streams().best(media::Type::Video) else {
            return Err(Failure::Other("it has no video".to_owned()));
        };
        let base = stream.time_base();
        let time_base = (i64::from(base.numerator()).max(1), i64::from(base.denominator()).max(1));
        let rate = stream.avg_frame_rate();
        let rate = if rate.numerator() > 0 && rate.denominator() > 0 { f64::from(rate) } else { 25.0 };
        let period = (time_base.1 as f64 / time_base.0 as f64 / rate).max(1.0) as i64;
        let matrix = stream.side_data().find(|data| data.kind() == Type::DisplayMatrix);
        let rotation = matrix.map_or(Orientation::UPRIGHT, |data| Orientation::of_display_matrix(data.data()));
        let begins = if stream.start_time() == ffmpeg_next::ffi::AV_NOPTS_VALUE { 0 } else { stream.start_time() };
        let index = stream.index();
        let decoder = open::decoder(&stream, threads).map_err(Failure::Other)?;
        let decoder = decoder.map_err(|error| failure(error, watch, limit, &address))?;
        Ok(Self {
            decoder,
            watch: Arc::clone(watch),
            guard,
            limit,
            is_live: address.is_live(),
            stream: index,
            time_base,
            begins,
            last: begins - period,
            timeline: Timeline::default(),
            ahead: None,
            period,
            rotation,
            skipped_before_key: Some(0),
            decoded: 0,
            damaged: 0,
            damaged_in_row: 0,
            drained: false,
            ended_by: None,
            without_clock: (address.is_live() && FORMATS_WITHOUT_CLOCK.contains(&context.format().name()))
                .then(Instant::now),
            _tunnel: tunnel,
            context,
        })
    }

    /// Whether the source's server buffers it, so that it can be read at any pace.
    pub fn is_buffered(&self) -> bool {
        self.context.format().name() == BUFFERED
    }

    /// Whether nothing more is read: what still comes was in the decoder.
    pub const fn is_over(&self) -> bool {
        self.drained
    }

    /// How the frames have to be turned.
    pub const fn rotation(&self) -> Orientation {
        self.rotation
    }

    /// Number of frames, or an estimate.
    pub fn frames(&self) -> Option<u64> {
        let stream = self.context.stream(self.stream)?;
        let known = u64::try_from(stream.frames()).ok().filter(|count| *count > 0);
        known.or_else(|| {
            let seconds = self.context.duration() as f64 / MICROSECONDS as f64;
            let count = seconds * f64::from(stream.avg_frame_rate());
            (count.is_finite() && count >= 1.0).then_some(count as u64)
        })
    }

    /// Length of the recording, if it is known.
    pub fn length(&self) -> Option<SignedDuration> {
        let microseconds = self.context.duration();
        (microseconds > 0).then(|| SignedDuration::from_micros(microseconds))
    }

    /// When the recording began, if it says so.
    pub fn creation_time(&self) -> Option<Timestamp> {
        let metadata = self.context.metadata();
        let of_stream = self
            .context
            .stream(self.stream)
            .and_then(|stream| stream.metadata().get("creation_time").map(str::to_owned));
        let text = metadata.get("creation_time").map(str::to_owned).or(of_stream)?;
        // Recorders without a clock write the beginning of 1904 or of 1970.
        text.parse().ok().filter(|time: &Timestamp| time.as_second() > 0)
    }

    /// Goes to the last key frame before this time of the recording.
    ///
    /// # Errors
    /// When the recording cannot be sought in.
    pub fn seek(&mut self, time: SignedDuration) -> Result<(), Failure> {
        let start = self.begins.saturating_mul(MICROSECONDS * self.time_base.0) / self.time_base.1;
        let target = start.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
        let sought = self.context.seek(target, ..target);
        sought.map_err(|error| Failure::Other(format!("it cannot be read from {} s on: {error}", time.as_secs())))?;
        self.decoder.flush();
        // What was read before is read again.
        (self.skipped_before_key, self.damaged, self.damaged_in_row) = (Some(0), 0, 0);
        (self.decoded, self.timeline, self.ahead) = (0, Timeline::default(), None);
        (self.drained, self.ended_by) = (false, None);
        Ok(())
    }

    /// Number of damaged packets and frames so far.
    pub const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Time of the last frame since the first one.
    pub fn last_time(&self) -> SignedDuration {
        self.since_begin(self.last)
    }

    /// What was found instead, if a source that was read to its end gave no frame at all.
    pub fn has_no_frame(&self) -> Option<String> {
        if self.decoded > 0 {
            return None;
        }
        let codec = self.decoder.codec().map_or_else(|| "an unknown form".to_owned(), |codec| codec.name().to_owned());
        Some(match (self.skipped_before_key, self.damaged) {
            (Some(0), 0) => format!("it announces video in {codec}, and has none"),
            (Some(packets), 0) => format!(
                "it has no frame: none of its {packets} packets of video in {codec} is a key frame, which the others need"
            ),
            _ => {
                let told = last_error().map(|told| format!(" ({told})")).unwrap_or_default();
                format!("none of its frames can be decoded{told}")
            }
        })
    }

    /// Whether a recording that was read to its end has clearly fewer frames than it announces, and ends before its length.
    pub fn ends_early(&self, decoded: u64) -> Option<String> {
        let announced = u64::try_from(self.context.stream(self.stream)?.frames()).ok().filter(|count| *count > 0)?;
        let (length, last) = (self.length()?, self.since_begin(self.last));
        let is_short = decoded + MISSING_FRAMES < announced && last.saturating_add(MISSING_TIME) < length;
        is_short.then(|| {
            let (last, length) = (last.as_secs_f64().max(0.0), length.as_secs_f64());
            format!("it is incomplete: it ends after {decoded} of {announced} frames, at {last:.1} of {length:.1} s")
        })
    }

    /// Decodes the next frame; returns its time on the stream's clock, or `None` at the end.
    ///
    /// # Errors
    /// When the source broke off. All frames before were returned.
    pub fn next(&mut self, frame: &mut Frame) -> Result<Option<SignedDuration>, Failure> {
        let time = match self.ahead.take() {
            Some((kept, time)) => {
                *frame = kept;
                Some(time)
            }
            None => self.decode(frame)?,
        };
        let Some(time) = time.filter(|_| !self.is_live) else { return Ok(time) };
        let next = if self.timeline.is_jump(time) { self.look_ahead() } else { None };
        Ok(Some(self.timeline.continuous(time, next)))
    }

    /// Decodes the frame after the last one, and returns its time. A failure comes when it is the turn of that frame.
    fn look_ahead(&mut self) -> Option<SignedDuration> {
        let mut frame = Frame::empty();
        match self.decode(&mut frame) {
            Ok(time) => self.ahead = time.map(|time| (frame, time)),
            Err(failure) => (self.ended_by, self.drained) = (Some(failure), true),
        }
        self.ahead.as_ref().map(|(_, time)| *time)
    }

    fn decode(&mut self, frame: &mut Frame) -> Result<Option<SignedDuration>, Failure> {
        loop {
            self.watch.tick();
            match self.decoder.receive_frame(frame) {
                Ok(()) => {
                    self.guard.frame();
                    self.decoded += 1;
                    self.damaged_in_row = 0;
                    // The decoder has filled what is missing from the frames before.
                    self.damaged += u64::from(frame.has_decode_errors() || frame.is_corrupt());
                    return Ok(Some(self.time(frame)));
                }
                Err(Error::Other { errno: EAGAIN }) if !self.drained => {}
                Err(Error::Eof) => return self.ended_by.take().map_or(Ok(None), Err),
                Err(_) if self.drained => return self.ended_by.take().map_or(Ok(None), Err),
                Err(_) => self.count_damage()?,
            }
            if !self.drained {
                self.feed()?;
            }
        }
    }

    /// Reads one packet into the decoder.
    fn feed(&mut self) -> Result<(), Failure> {
        let mut packet = Packet::empty();
        match packet.read(&mut self.context) {
            Ok(()) if packet.stream() != self.stream || self.waits_for_key(&packet) => {}
            Ok(()) => match self.decoder.send_packet(&packet) {
                Ok(()) | Err(Error::Other { errno: EAGAIN }) => {}
                Err(_) => self.count_damage()?,
            },
            Err(Error::Other { errno: EAGAIN }) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => self.end(error),
        }
        // Packets may come without end, and none of them be a frame.
        if !self.drained && self.watch.interrupts() {
            self.end(Error::Exit);
        }
        Ok(())
    }

    /// Nothing more is read. What the decoder still has is good.
    fn end(&mut self, error: Error) {
        self.ended_by = match (error, self.watch.cause()) {
            (_, Some(Cause::Stop)) => Some(Failure::Stopped),
            (error, cause) => self.guard.failure().or(match (error, cause) {
                (_, Some(_)) => Some(Failure::Stalled(self.limit)),
                (Error::Eof, None) => None,
                (error, None) => Some(Failure::Other(format!("it breaks off: {}", explained(error, self.is_live)))),
            }),
        };
        self.drained = true;
        // Fails only for a decoder that has ended before.
        let _ = self.decoder.send_eof();
    }

    /// Before the first key frame a decoder makes grey images.
    fn waits_for_key(&mut self, packet: &Packet) -> bool {
        let Some(skipped) = self.skipped_before_key.as_mut() else { return false };
        if packet.is_key() || *skipped >= LONGEST_WITHOUT_KEY {
            if *skipped > 0 {
                tracing::warn!(
                    packets = *skipped,
                    "packets before the first key frame cannot be decoded, and are skipped"
                );
            }
            self.skipped_before_key = None;
            return false;
        }
        *skipped += 1;
        true
    }

    fn count_damage(&mut self) -> Result<(), Failure> {
        self.damaged += 1;
        self.damaged_in_row += 1;
        if self.damaged_in_row < MOST_DAMAGED {
            return Ok(());
        }
        Err(Failure::Other(format!("{MOST_DAMAGED} packets in a row cannot be decoded")))
    }

    /// Time of a frame since the first one.
    fn time(&mut self, frame: &Frame) -> SignedDuration {
        if let Some(opened) = self.without_clock {
            return SignedDuration::try_from(opened.elapsed()).unwrap_or(SignedDuration::MAX);
        }
        let ticks = frame.timestamp().unwrap_or(self.last + self.period);
        self.last = ticks;
        self.since_begin(ticks)
    }

    fn since_begin(&self, ticks: i64) -> SignedDuration {
        let (numerator, denominator) = self.time_base;
        let since = i128::from(ticks.saturating_sub(self.begins));
        let nanoseconds = since * i128::from(numerator) * 1_000_000_000 / i128::from(denominator);
        SignedDuration::from_nanos(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
    }
}

/// A camera that speaks RTSP over TLS is opened through a tunnel, which checks its certificate.
fn tunnelled(address: &Address) -> Result<(Option<Tunnel>, Address), Failure> {
    let Address::Live(live) = address else { return Ok((None, address.clone())) };
    let Some((host, port)) = live.to_tunnel() else { return Ok((None, address.clone())) };
    let tunnel = Tunnel::open(&host, port, live.tls()).map_err(|error| Failure::Other(format!("{error:#}")))?;
    let through = Address::Live(live.through(tunnel.port()));
    Ok((Some(tunnel), through))
}
