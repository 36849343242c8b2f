//! Whether the workers keep up. In: how far each group of workers has come, and how old the oldest frame is that it has
//! still to do. Out: a flag that stops new frames while the log might drop them before a group looks at them: while a new one
//! would have to wait for half of the retention at the group's pace, or the group stands still and its oldest has.
//!
//! The age alone comes too late, and goes too late: under ten times what the workers can do, the first of the frames that no
//! worker will reach in time is taken long before the oldest is old; and while they catch up, the oldest is still old when a
//! new one will not have to wait for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bus::{Bus, BusError, Progress};
use contracts::TopicRole;
use futures::future::try_join_all;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// How often it is asked how far the groups have come: what is taken between two looks is taken unseen.
const PERIOD: Duration = Duration::from_millis(500);
/// How often it is asked how old the oldest frame is, for which frames have to be read.
const AGE_PERIOD: Duration = Duration::from_secs(3);
/// How long a group is watched to tell how fast it is, or that it stands still.
const WATCHED: Duration = Duration::from_secs(5);
/// What is left of a group's pace with every look at which it is slower: a stop and a start are no change of pace.
const KEPT: f64 = 0.99;
/// How long new frames must have been taken before an overload is called over: while it lasts they are refused and taken in
/// turns of seconds, which is one event to whoever reads the log.
const CALM: Duration = Duration::from_secs(30);

/// The flag. Reading it costs nothing.
#[derive(Default)]
pub struct Backlog {
    behind: AtomicBool,
}

/// One group of workers.
struct Group {
    name: String,
    /// Milliseconds that its oldest frame had waited when it was last asked.
    oldest: AtomicU64,
}

/// What is said of overloads.
#[derive(Default)]
struct Overload {
    /// When new frames were last refused, while it is not over.
    last: Option<Instant>,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Began,
    Ended,
}

/// How fast a group is when it has enough to do.
#[derive(Default)]
struct Pace {
    looks: VecDeque<(Instant, Progress)>,
    per_second: Option<f64>,
    /// When it was first seen to have finished as much as it has.
    moved: Option<(Instant, u64)>,
}

/// What can be said of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outlook {
    /// How long a frame that is taken now will wait, as far as can be said.
    wait: Option<Duration>,
    /// It has something to do and has finished nothing for a while.
    stands_still: bool,
}

impl Pace {
    fn look(&mut self, now: Instant, progress: Progress) -> Outlook {
        if self.moved.is_none_or(|(_, finished)| finished != progress.finished) {
            self.moved = Some((now, progress.finished));
        }
        self.learn(now, progress);
        let wait = |rate| Duration::try_from_secs_f64(progress.waiting as f64 / rate).unwrap_or(Duration::MAX);
        Outlook {
            wait: self.per_second.map(wait),
            stands_still: progress.waiting > 0
                && self.moved.is_some_and(|(since, _)| now.duration_since(since) >= WATCHED),
        }
    }

    fn learn(&mut self, now: Instant, progress: Progress) {
        // Who is only about to begin is watched from its beginning.
        if self.per_second.is_none() && self.looks.front().is_none_or(|(_, first)| first.finished == progress.finished)
        {
            self.looks.clear();
        }
        self.looks.push_back((now, progress));
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WATCHED) {
            self.looks.pop_front();
        }
        let Some((begun, then)) = self.looks.front() else { return };
        let (watched, done) = (now.duration_since(*begun), progress.finished.saturating_sub(then.finished));
        // Who at any time had less before it than it did in all may have been idle for a while, and tells nothing; neither
        // does who does nothing.
        if watched >= WATCHED && done > 0 && self.looks.iter().all(|(_, look)| look.waiting >= done) {
            let pace = done as f64 / watched.as_secs_f64();
            self.per_second = Some(self.per_second.map_or(pace, |known| pace.max(known * KEPT)));
        }
    }
}

impl Overload {
    fn look(&mut self, now: Instant, behind: bool) -> Option<Said> {
        if behind {
            return self.last.replace(now).is_none().then_some(Said::Began);
        }
        self.last.take_if(|last| now.duration_since(*last) >= CALM).map(|_| Said::Ended)
    }
}

impl Backlog {
    /// Whether new frames must wait.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Keeps the flag true to the groups until `stop`, for a longest wait of `limit`. What cannot be found out changes nothing.
    pub async fn watch(
        self: Arc<Self>,
        bus: Arc<dyn Bus>,
        groups: Vec<String>,
        limit: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let group = |name| Group { name, oldest: AtomicU64::new(0) };
        let groups: Vec<Group> = groups.into_iter().map(group).collect();
        // Apart, because reading frames takes its time, above all when there are many.
        let watching = async { tokio::join!(self.look(&*bus, &groups, limit), age(&*bus, &groups)) };
        stop.run_until_cancelled(watching).await;
        Ok(())
    }

    async fn look(&self, bus: &dyn Bus, groups: &[Group], limit: Duration) {
        let gauge = metrics::gauge!("sightline_ingest_backlog_wait_seconds");
        let mut paces: Vec<Pace> = groups.iter().map(|_| Pace::default()).collect();
        let mut overload = Overload::default();
        let mut ticks = every(PERIOD);
        loop {
            ticks.tick().await;
            let asked = groups.iter().map(|group| bus.progress(TopicRole::Frames, &group.name));
            match try_join_all(asked).await {
                Ok(progress) => {
                    let now = Instant::now();
                    let waits = paces.iter_mut().zip(progress).zip(groups).map(|((pace, progress), group)| {
                        let Outlook { wait, stands_still } = pace.look(now, progress);
                        let oldest = Duration::from_millis(group.oldest.load(Ordering::Relaxed));
                        wait.unwrap_or_default().max(if stands_still { oldest } else { Duration::ZERO })
                    });
                    let longest = waits.max().unwrap_or_default();
                    gauge.set(longest.as_secs_f64());
                    let behind = longest > limit;
                    self.behind.store(behind, Ordering::Relaxed);
                    match overload.look(now, behind) {
                        Some(Said::Began) => tracing::warn!(
                            "a new frame would wait {longest:.0?} for a worker; new frames are refused whenever they would \
                             wait longer than {limit:.0?}"
                        ),
                        Some(Said::Ended) => {
                            tracing::info!("workers caught up; no new frame was refused for {CALM:?}");
                        }
                        None => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "how far the workers have come could not be found out"),
            }
        }
    }
}

/// Keeps it known how long each group's oldest frame has waited.
async fn age(bus: &dyn Bus, groups: &[Group]) {
    let gauge = metrics::gauge!("sightline_ingest_backlog_seconds");
    let mut ticks = every(AGE_PERIOD);
    loop {
        ticks.tick().await;
        match try_join_all(groups.iter().map(|group| oldest(bus, group))).await {
            Ok(ages) => gauge.set(ages.into_iter().max().unwrap_or_default().as_secs_f64()),
            Err(error) => tracing::debug!(%error, "how long frames have waited could not be found out"),
        }
    }
}

async fn oldest(bus: &dyn Bus, group: &Group) -> Result<Duration, BusError> {
    let taken = bus.oldest_unconsumed(TopicRole::Frames, &group.name).await?;
    // A clock that went back makes a frame of the future: it is new.
    let age = taken.map(|taken| SystemTime::now().duration_since(taken).unwrap_or_default()).unwrap_or_default();
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

    /// A look each second at a group that finishes `done` a second while `taken` come in.
    fn watched(looks: u64, done: u64, taken: u64) -> Vec<Option<Duration>> {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let look = |second: u64| {
            let finished = done * second;
            let progress = Progress { finished, waiting: (taken * second).saturating_sub(finished) };
            pace.look(begun + Duration::from_secs(second), progress).wait
        };
        (0..looks).map(look).collect()
    }

    #[test]
    fn under_overload_the_wait_of_a_new_frame_is_known_long_before_any_has_waited_so_long() {
        let waits = watched(12, 50, 500);
        assert_eq!(waits[4], None, "nobody was watched long enough");
        // 450 a second are left over, of which it does 50 a second.
        assert_eq!(waits[11], Some(Duration::from_secs(99)));
    }

    #[test]
    fn who_keeps_up_is_not_taken_for_slow() {
        assert_eq!(watched(60, 1, 1).last(), Some(&None));
    }

    /// A look each half second at a group that finishes up to 20 in that time from look `from` on, while `coming` come:
    /// whenever a wait is told it is about the true one, and in the end it is told.
    fn is_told_truly(from: u32, coming: impl Fn(u32) -> u64) {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let (mut told, mut progress) = (None, Progress { finished: 0, waiting: 0 });
        for look in 0_u32..80 {
            progress.waiting += coming(look);
            let done = if look < from { 0 } else { progress.waiting.min(20) };
            progress = Progress { finished: progress.finished + done, waiting: progress.waiting - done };
            told = pace.look(begun + PERIOD * look, progress).wait;
            let truly = Duration::from_secs_f64(progress.waiting as f64 / 40.0);
            assert!(told.is_none_or(|told| told <= truly.mul_f64(1.2)), "look {look}: {told:?}, truly {truly:?}");
        }
        assert!(told.is_some(), "nothing is told of a busy group");
    }

    #[test]
    fn pauses_before_a_burst_are_not_taken_for_a_slow_pace() {
        is_told_truly(0, |look| match look {
            0..40 if look % 20 == 0 => 100,
            0..40 => 0,
            _ => 75,
        });
    }

    #[test]
    fn a_group_that_comes_late_is_not_taken_for_a_slow_one() {
        is_told_truly(26, |_| 75);
    }

    #[test]
    fn an_overload_is_told_once_however_often_frames_are_refused_in_it() {
        let (mut overload, begun) = (Overload::default(), Instant::now());
        let said: Vec<_> = (0..200)
            .filter_map(|second| {
                let behind = (10..100).contains(&second) && second % 5 == 0 || second == 150;
                overload.look(begun + Duration::from_secs(second), behind).map(|said| (second, said))
            })
            .collect();
        assert_eq!(said, [(10, Said::Began), (125, Said::Ended), (150, Said::Began), (180, Said::Ended)]);
    }

    #[test]
    fn the_pace_is_remembered_while_the_group_is_away() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        for second in 0..10 {
            pace.look(at(second), Progress { finished: 10 * second, waiting: 1000 });
        }
        for second in 10..60 {
            let outlook = pace.look(at(second), Progress { finished: 90, waiting: 1000 });
            let wait = outlook.wait;
            assert!(wait.is_some_and(|wait| (100..130).contains(&wait.as_secs())), "{wait:?}");
            assert_eq!(outlook.stands_still, second >= 14, "at {second} s");
        }
    }
}
