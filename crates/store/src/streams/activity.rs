//! The frames that a stream sent lately, in few spans: enough for the rate of the last minute and for the lag of the last hour.

use contracts::{FrameId, whole_microseconds};
use jiff::{SignedDuration, Timestamp};

/// Length of a new span.
const SPAN: SignedDuration = SignedDuration::from_secs(10);
/// Time over which the rate is measured.
const RATE_WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Maximum number of spans.
const MAX_SPANS: usize = 24;
/// The newest spans, which are never joined: those of the last minute and the one that is filled.
const WHOLE_SPANS: usize = 8;

/// Frames that were accepted longer ago do not count as lag.
const LAG_HORIZON: SignedDuration = SignedDuration::from_hours(1);

/// Frames that were accepted one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameSpan {
    /// When the first was accepted.
    pub from: Timestamp,
    /// When the last was accepted.
    pub to: Timestamp,
    /// Their number.
    pub frames: u64,
    /// The last of them. Frames of a stream get their results in order, so its result says that the others have theirs.
    pub last: FrameId,
}

impl FrameSpan {
    /// The span of one frame.
    pub fn of(frame: FrameId, at: Timestamp) -> Self {
        let at = whole_microseconds(at);
        Self { from: at, to: at, frames: 1, last: frame }
    }

    /// Adds the frames of a span. Spans of several processes may overlap.
    pub fn add(&mut self, other: Self) {
        if other.to >= self.to {
            self.last = other.last;
        }
        (self.from, self.to) = (self.from.min(other.from), self.to.max(other.to));
        self.frames = self.frames.saturating_add(other.frames);
    }
}

/// The frames that a stream sent lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamActivity {
    /// The newest capture time of all its frames.
    pub last_frame_at: Option<Timestamp>,
    /// Oldest first, at most 24.
    pub spans: Vec<FrameSpan>,
}

impl StreamActivity {
    /// Adds frames.
    pub fn add(&mut self, captured_at: Timestamp, sent: FrameSpan) {
        self.last_frame_at = self.last_frame_at.max(Some(captured_at));
        match self.spans.last_mut() {
            Some(last) if sent.to.duration_since(last.from) < SPAN => last.add(sent),
            _ => self.spans.push(sent),
        }
        while self.spans.len() > MAX_SPANS {
            self.join_two(sent.to);
        }
    }

    /// Joins two neighbours that are short in comparison with their age.
    fn join_two(&mut self, now: Timestamp) {
        let joinable = 0..self.spans.len().saturating_sub(WHOLE_SPANS + 1);
        let relative_length = |index: &usize| {
            let (from, to) = (self.spans[*index].from, self.spans[*index + 1].to);
            let age = now.duration_since(to).as_secs_f64().max(1.0);
            to.duration_since(from).as_secs_f64() / age
        };
        let shortest = joinable.min_by(|one, other| relative_length(one).total_cmp(&relative_length(other)));
        let Some(index) = shortest else { return };
        let later = self.spans.remove(index + 1);
        self.spans[index].add(later);
    }

    /// Frames per second over the last minute. The window begins with a span, so it is up to ten seconds longer.
    pub fn frames_per_second(&self, now: Timestamp) -> f64 {
        let within = |span: &&FrameSpan| now.duration_since(span.to) < RATE_WINDOW;
        let recent: Vec<&FrameSpan> = self.spans.iter().filter(within).collect();
        let Some(from) = recent.iter().map(|span| span.from).min() else { return 0.0 };
        let window = now.duration_since(from).max(RATE_WINDOW);
        recent.iter().map(|span| span.frames as f64).sum::<f64>() / window.as_secs_f64()
    }

    /// Begins to search for the number of frames of the last hour that have no result.
    pub fn lag_search(&self, now: Timestamp) -> LagSearch {
        let recent = self.spans.iter().rev().take_while(move |span| now.duration_since(span.to) < LAG_HORIZON);
        let spans: Vec<FrameSpan> = recent.copied().collect();
        LagSearch { low: 0, high: spans.len(), spans }
    }
}

/// A search for the newest span whose last frame has a result. Frames of a stream get their results in order, so it bisects. It asks for
/// the newest span first, because most streams keep up.
#[derive(Debug)]
pub struct LagSearch {
    /// Newest first.
    spans: Vec<FrameSpan>,
    /// The spans before this one have no results.
    low: usize,
    /// This span has its results, or there is none.
    high: usize,
}

impl LagSearch {
    /// The frame to look up next: has it a result? `None` once the lag is known.
    pub fn next_frame(&self) -> Option<FrameId> {
        (self.low < self.high).then(|| self.spans[self.probe()].last)
    }

    /// Goes on with the answer for the frame of [`Self::next_frame`].
    pub fn answer(&mut self, has_result: bool) {
        if has_result {
            self.high = self.probe();
        } else {
            self.low = self.probe() + 1;
        }
    }

    fn probe(&self) -> usize {
        if self.low == 0 { 0 } else { usize::midpoint(self.low, self.high) }
    }

    /// Number of frames after the newest span that is known to have its results.
    pub fn lag(&self) -> u64 {
        self.spans.iter().take(self.high).map(|span| span.frames).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn after(seconds: i64) -> Timestamp {
        start() + SignedDuration::from_secs(seconds)
    }

    /// Five frames a second, sent in parts of two seconds.
    fn busy(seconds: i64) -> (StreamActivity, Vec<FrameId>) {
        let (mut activity, mut last) = (StreamActivity::default(), Vec::new());
        for second in (0..seconds).step_by(2) {
            let frame = FrameId::now();
            last.push(frame);
            activity
                .add(after(second), FrameSpan { from: after(second), to: after(second + 1), frames: 10, last: frame });
        }
        (activity, last)
    }

    /// The lag, after at most six look-ups.
    fn lag(activity: &StreamActivity, now: Timestamp, has_result: impl Fn(FrameId) -> bool) -> u64 {
        let mut search = activity.lag_search(now);
        let mut look_ups = 0;
        while let Some(frame) = search.next_frame() {
            search.answer(has_result(frame));
            look_ups += 1;
        }
        assert!(look_ups <= 6, "{look_ups}");
        search.lag()
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (activity, _) = busy(300);
        let rate = activity.frames_per_second(after(300));
        assert!((4.9..=5.1).contains(&rate), "{rate}");
        assert!((2.4..=2.6).contains(&activity.frames_per_second(after(330))), "half a minute without frames");
        assert_eq!(activity.frames_per_second(after(400)), 0.0);
        let (short, _) = busy(12);
        assert_eq!(short.frames_per_second(after(12)), 1.0, "60 frames in the last minute");
    }

    #[test]
    fn spans_are_few_and_lose_no_frame() {
        let (activity, _) = busy(20_000);
        assert!(activity.spans.len() <= MAX_SPANS, "{}", activity.spans.len());
        assert_eq!(activity.spans.iter().map(|span| span.frames).sum::<u64>(), 100_000);
        assert!(activity.spans.windows(2).all(|pair| pair[0].to < pair[1].from));
        assert_eq!(activity.last_frame_at, Some(after(19_998)));
    }

    #[test]
    fn the_lag_is_a_near_upper_bound_of_the_frames_without_result() {
        let (activity, last) = busy(3_600);
        let now = after(3_600);
        for seconds_behind in [0_usize, 2, 30, 300, 1_800] {
            // The frames up to this one have results.
            let indexed = &last[..last.len() - seconds_behind / 2];
            let lag = lag(&activity, now, |frame| indexed.contains(&frame));
            let waiting = 5 * seconds_behind as u64;
            assert!((waiting..=waiting * 2 + 50).contains(&lag), "{lag} for {waiting}");
            assert!(seconds_behind > 0 || lag == 0, "{lag}");
        }
    }

    #[test]
    fn frames_of_more_than_an_hour_ago_are_no_lag() {
        let (activity, _) = busy(60);
        assert_eq!(lag(&activity, after(60), |_| false), 300);
        assert_eq!(lag(&activity, after(60 + 3_600), |_| false), 0);
    }

    #[test]
    fn spans_of_two_processes_are_joined_in_any_order() {
        let (one, other) = (FrameSpan::of(FrameId::now(), after(0)), FrameSpan::of(FrameId::now(), after(3)));
        for (first, second) in [(one, other), (other, one)] {
            let mut activity = StreamActivity::default();
            activity.add(after(0), first);
            activity.add(after(0), second);
            let joined = FrameSpan { from: after(0), to: after(3), frames: 2, last: other.last };
            assert_eq!(activity.spans, [joined]);
        }
    }
}
