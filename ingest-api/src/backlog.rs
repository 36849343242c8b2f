//! Measures whether the workers keep up.
//!
//! In: for each consumer group of workers, its number of finished frames and the age of its oldest unfinished frame. Out: a
//! flag that refuses new frames while retention might delete them before a group processes them. It is set while a new frame
//! would wait longer than half of the retention at the group's throughput, or while the group has stopped and its oldest frame
//! has waited that long. Where a partition has a limit of bytes, the flag is also set while the frames that wait in one partition may
//! take half of it.
//!
//! The age of the oldest frame alone is not enough. At ten times the throughput of the workers, frames that cannot be
//! processed in time arrive long before the oldest frame is old. While the workers catch up, the oldest frame is old although
//! a new one would not wait long.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bus::{Bus, BusError, Progress};
use contracts::{Topic, TopicRole};
use futures::future::try_join_all;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Time between two measurements of progress.
const PERIOD: Duration = Duration::from_millis(500);
/// Time between two measurements of the oldest frame, which read frames from the bus.
const AGE_PERIOD: Duration = Duration::from_secs(3);
/// Time span over which throughput is measured, and after which a group without progress is considered stopped.
const WINDOW: Duration = Duration::from_secs(5);
/// Factor by which the throughput decays with each slower sample, so that a short stop hardly lowers it.
const DECAY: f64 = 0.99;
/// Time without refusals after which an overload has ended. During an overload, frames are alternately
/// refused and accepted for seconds, but the log reports one event.
const RECOVERY_TIME: Duration = Duration::from_secs(30);

/// The flag that refuses new frames.
#[derive(Default)]
pub struct Backlog {
    behind: AtomicBool,
    /// Bytes of a large frame among those that arrived lately.
    frame_bytes: AtomicU64,
}

/// Limits of the backlog, above which new frames are refused.
#[derive(Debug, Clone, Copy)]
pub struct BacklogLimits {
    /// Maximum wait of a frame.
    wait: Duration,
    /// Maximum bytes of the frames that wait in a partition.
    partition_bytes: Option<u64>,
}

impl fmt::Display for BacklogLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0?}", self.wait)?;
        self.partition_bytes.map_or(Ok(()), |bytes| write!(f, " or {bytes} bytes in a partition"))
    }
}

impl BacklogLimits {
    /// Half of the retention of a topic.
    pub fn of(topic: &Topic) -> Self {
        Self { wait: topic.retention / 2, partition_bytes: topic.retention_bytes.map(|bytes| bytes / 2) }
    }

    fn are_exceeded(&self, wait: Duration, waiting_in_partition: u64, frame_bytes: u64) -> bool {
        let bytes = waiting_in_partition.saturating_mul(frame_bytes);
        wait > self.wait || self.partition_bytes.is_some_and(|limit| bytes > limit)
    }
}

/// A consumer group of workers.
struct Group {
    name: String,
    /// Milliseconds that its oldest frame had waited at the last measurement.
    oldest: AtomicU64,
}

/// Turns refusals into two log lines for each overload.
#[derive(Default)]
struct Overload {
    /// The last refusal of the current overload.
    last_refusal: Option<Instant>,
}

/// An event for the log.
#[derive(Debug, PartialEq, Eq)]
enum OverloadEvent {
    Began,
    Ended,
}

/// Estimates the throughput of a group while it is busy.
#[derive(Default)]
struct Throughput {
    samples: VecDeque<(Instant, Progress)>,
    /// Frames per second.
    per_second: Option<f64>,
    /// When the current number of finished frames was first measured, and that number.
    last_progress: Option<(Instant, u64)>,
}

/// The state of a consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupStatus {
    /// How long a frame that is accepted now will wait, if the throughput is known.
    wait: Option<Duration>,
    /// Whether it has frames to process and has finished none for [`WINDOW`].
    stopped: bool,
}

impl Throughput {
    fn update(&mut self, now: Instant, progress: Progress) -> GroupStatus {
        if self.last_progress.is_none_or(|(_, finished)| finished != progress.finished) {
            self.last_progress = Some((now, progress.finished));
        }
        self.estimate(now, progress);
        let wait = |rate| Duration::try_from_secs_f64(progress.waiting as f64 / rate).unwrap_or(Duration::MAX);
        GroupStatus {
            wait: self.per_second.map(wait),
            stopped: progress.waiting > 0
                && self.last_progress.is_some_and(|(since, _)| now.duration_since(since) >= WINDOW),
        }
    }

    fn estimate(&mut self, now: Instant, progress: Progress) {
        // The window of a group starts with its first progress.
        if self.per_second.is_none()
            && self.samples.front().is_none_or(|(_, first)| first.finished == progress.finished)
        {
            self.samples.clear();
        }
        self.samples.push_back((now, progress));
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let Some((started, then)) = self.samples.front() else { return };
        let (watched, done) = (now.duration_since(*started), progress.finished.saturating_sub(then.finished));
        // If fewer frames were waiting than the group finished in the window, the group may have been idle, so there is no estimate.
        if watched >= WINDOW && done > 0 && self.samples.iter().all(|(_, sample)| sample.waiting >= done) {
            let rate = done as f64 / watched.as_secs_f64();
            self.per_second = Some(self.per_second.map_or(rate, |known| rate.max(known * DECAY)));
        }
    }
}

impl Overload {
    fn update(&mut self, now: Instant, behind: bool) -> Option<OverloadEvent> {
        if behind {
            return self.last_refusal.replace(now).is_none().then_some(OverloadEvent::Began);
        }
        self.last_refusal.take_if(|last| now.duration_since(*last) >= RECOVERY_TIME).map(|_| OverloadEvent::Ended)
    }
}

impl Backlog {
    /// Whether new frames are refused.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Counts the bytes of a frame on the log. The largest frame counts for the next thousand.
    pub fn observe(&self, bytes: usize) {
        let before = self.frame_bytes.load(Ordering::Relaxed);
        let decayed = before - before / 1000;
        // A concurrent change may be lost: it is an estimate.
        self.frame_bytes.store(decayed.max(bytes as u64), Ordering::Relaxed);
    }

    /// Updates the flag until `stop`. A failed measurement changes nothing.
    pub async fn watch(
        self: Arc<Self>,
        bus: Arc<dyn Bus>,
        groups: Vec<String>,
        limits: BacklogLimits,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let group = |name| Group { name, oldest: AtomicU64::new(0) };
        let groups: Vec<Group> = groups.into_iter().map(group).collect();
        // Concurrently, because measuring the oldest frame reads frames, which may take long.
        let watching = async { tokio::join!(self.measure(&*bus, &groups, limits), measure_age(&*bus, &groups)) };
        stop.run_until_cancelled(watching).await;
        Ok(())
    }

    async fn measure(&self, bus: &dyn Bus, groups: &[Group], limits: BacklogLimits) {
        let gauge = metrics::gauge!("sightline_ingest_backlog_wait_seconds");
        let mut throughputs: Vec<Throughput> = groups.iter().map(|_| Throughput::default()).collect();
        let mut overload = Overload::default();
        let mut ticks = every(PERIOD);
        loop {
            ticks.tick().await;
            let requests = groups.iter().map(|group| bus.progress(TopicRole::Frames, &group.name));
            match try_join_all(requests).await {
                Ok(progress) => {
                    let now = Instant::now();
                    let most_waiting = progress.iter().map(|progress| progress.most_waiting).max().unwrap_or_default();
                    let waits =
                        throughputs.iter_mut().zip(progress).zip(groups).map(|((throughput, progress), group)| {
                            let GroupStatus { wait, stopped } = throughput.update(now, progress);
                            let oldest = Duration::from_millis(group.oldest.load(Ordering::Relaxed));
                            wait.unwrap_or_default().max(if stopped { oldest } else { Duration::ZERO })
                        });
                    let longest = waits.max().unwrap_or_default();
                    gauge.set(longest.as_secs_f64());
                    let behind = limits.are_exceeded(longest, most_waiting, self.frame_bytes.load(Ordering::Relaxed));
                    self.behind.store(behind, Ordering::Relaxed);
                    match overload.update(now, behind) {
                        Some(OverloadEvent::Began) => tracing::warn!(
                            "a new frame would wait {longest:.0?} for a worker, and up to {most_waiting} frames wait in a \
                             partition; new frames are refused while they exceed {limits}"
                        ),
                        Some(OverloadEvent::Ended) => {
                            tracing::info!("workers caught up; no new frame was refused for {RECOVERY_TIME:?}");
                        }
                        None => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "the progress of the workers could not be measured"),
            }
        }
    }
}

/// Measures the age of each group's oldest frame periodically.
async fn measure_age(bus: &dyn Bus, groups: &[Group]) {
    let gauge = metrics::gauge!("sightline_ingest_backlog_seconds");
    let mut ticks = every(AGE_PERIOD);
    loop {
        ticks.tick().await;
        match try_join_all(groups.iter().map(|group| oldest(bus, group))).await {
            Ok(ages) => gauge.set(ages.into_iter().max().unwrap_or_default().as_secs_f64()),
            Err(error) => tracing::debug!(%error, "the age of the oldest frames could not be measured"),
        }
    }
}

async fn oldest(bus: &dyn Bus, group: &Group) -> Result<Duration, BusError> {
    let accepted = bus.oldest_unconsumed(TopicRole::Frames, &group.name).await?;
    // After a clock was set back, a frame's time may be in the future; its age is then 0.
    let age =
        accepted.map(|accepted| SystemTime::now().duration_since(accepted).unwrap_or_default()).unwrap_or_default();
    group.oldest.store(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(age)
}

fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples a group every second. It finishes `done` frames per second, while `accepted` arrive.
    fn sampled(samples: u64, done: u64, accepted: u64) -> Vec<Option<Duration>> {
        let (mut throughput, started) = (Throughput::default(), Instant::now());
        let sample = |second: u64| {
            let finished = done * second;
            let waiting = (accepted * second).saturating_sub(finished);
            let progress = Progress { finished, waiting, most_waiting: waiting };
            throughput.update(started + Duration::from_secs(second), progress).wait
        };
        (0..samples).map(sample).collect()
    }

    #[test]
    fn the_wait_is_estimated_before_a_frame_has_waited_as_long() {
        let waits = sampled(12, 50, 500);
        assert_eq!(waits[4], None, "the window is not full");
        // The backlog grows by 450 frames per second, and the group finishes 50 per second.
        assert_eq!(waits[11], Some(Duration::from_secs(99)));
    }

    #[test]
    fn frames_are_refused_before_the_size_of_a_partition_could_drop_them() {
        let (backlog, hour) = (Backlog::default(), Duration::from_secs(3600));
        let limits = BacklogLimits { wait: hour, partition_bytes: Some(1_000_000) };
        let is_behind = |limits: BacklogLimits, waiting| {
            limits.are_exceeded(Duration::ZERO, waiting, backlog.frame_bytes.load(Ordering::Relaxed))
        };
        assert!(!is_behind(limits, u64::MAX), "before the first frame nothing is known");
        backlog.observe(100_000);
        (0..500).for_each(|_| backlog.observe(1_000));
        assert!(is_behind(limits, 20), "the large frame still counts");
        (0..10_000).for_each(|_| backlog.observe(1_000));
        assert!(!is_behind(limits, 900) && is_behind(limits, 1_001));
        assert!(!is_behind(BacklogLimits { partition_bytes: None, ..limits }, u64::MAX));
        assert!(limits.are_exceeded(hour * 2, 0, 0));
    }

    #[test]
    fn a_group_that_keeps_up_is_not_slow() {
        assert_eq!(sampled(60, 1, 1).last(), Some(&None));
    }

    /// Samples a group every half second. From sample `from` on it finishes up to 20 frames per
    /// sample, while `coming` arrive. Checks that every estimated wait is about the true one, and
    /// that there is an estimate at the end.
    fn estimates_are_true(from: u32, coming: impl Fn(u32) -> u64) {
        let (mut throughput, started) = (Throughput::default(), Instant::now());
        let (mut estimate, mut progress) = (None, Progress::default());
        for sample in 0_u32..80 {
            progress.waiting += coming(sample);
            let done = if sample < from { 0 } else { progress.waiting.min(20) };
            progress = Progress {
                finished: progress.finished + done,
                waiting: progress.waiting - done,
                ..Progress::default()
            };
            estimate = throughput.update(started + PERIOD * sample, progress).wait;
            let actual = Duration::from_secs_f64(progress.waiting as f64 / 40.0);
            assert!(
                estimate.is_none_or(|wait| wait <= actual.mul_f64(1.2)),
                "sample {sample}: {estimate:?}, actual {actual:?}"
            );
        }
        assert!(estimate.is_some(), "a busy group has no estimate");
    }

    #[test]
    fn pauses_before_a_burst_do_not_lower_the_throughput() {
        estimates_are_true(0, |sample| match sample {
            0..40 if sample % 20 == 0 => 100,
            0..40 => 0,
            _ => 75,
        });
    }

    #[test]
    fn a_group_that_starts_late_is_not_slow() {
        estimates_are_true(26, |_| 75);
    }

    #[test]
    fn an_overload_with_many_refusals_is_logged_once() {
        let (mut overload, started) = (Overload::default(), Instant::now());
        let events: Vec<_> = (0..200)
            .filter_map(|second| {
                let behind = (10..100).contains(&second) && second % 5 == 0 || second == 150;
                overload.update(started + Duration::from_secs(second), behind).map(|event| (second, event))
            })
            .collect();
        assert_eq!(
            events,
            [
                (10, OverloadEvent::Began),
                (125, OverloadEvent::Ended),
                (150, OverloadEvent::Began),
                (180, OverloadEvent::Ended)
            ]
        );
    }

    #[test]
    fn the_throughput_is_kept_while_the_group_is_stopped() {
        let (mut throughput, started) = (Throughput::default(), Instant::now());
        let at = |second| started + Duration::from_secs(second);
        for second in 0..10 {
            throughput.update(at(second), Progress { finished: 10 * second, waiting: 1000, most_waiting: 1000 });
        }
        for second in 10..60 {
            let status = throughput.update(at(second), Progress { finished: 90, waiting: 1000, most_waiting: 1000 });
            let wait = status.wait;
            assert!(wait.is_some_and(|wait| (100..130).contains(&wait.as_secs())), "{wait:?}");
            assert_eq!(status.stopped, second >= 14, "at {second} s");
        }
    }
}
