//! Whether the workers keep up. In: how far each group of workers has come, and how old the oldest frame is that it has
//! still to do. Out: a flag that stops new frames while a group is so far behind that the log might drop frames before they
//! are looked at: when the oldest has waited half of the retention, or a new one would have to.
//!
//! The age alone comes too late: under ten times what the workers can do, the first of the frames that no worker will reach
//! in time is taken long before the oldest is old.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bus::{Bus, BusError, Progress};
use contracts::Role;
use tokio_util::sync::CancellationToken;

/// How often it is asked how far the groups have come: what is taken between two looks is taken unseen.
const PERIOD: Duration = Duration::from_millis(500);
/// Every so many looks it is asked how old the oldest frame is, for which frames have to be read.
const AGE_EVERY: u32 = 6;
/// How long a group is watched to tell how fast it is.
const WATCHED: Duration = Duration::from_secs(5);
/// What is left of a group's pace with every look at which it is slower: a stop and a start are no change of pace.
const KEPT: f64 = 0.99;

/// The flag. Reading it costs nothing.
#[derive(Default)]
pub struct Backlog {
    behind: AtomicBool,
}

/// One group of workers.
struct Group {
    name: String,
    pace: Pace,
    oldest: Duration,
}

/// How fast a group is when it has enough to do.
#[derive(Default)]
struct Pace {
    looks: VecDeque<(Instant, Progress)>,
    per_second: Option<f64>,
}

impl Pace {
    /// How long a frame that is taken now will wait, as far as can be said.
    fn wait(&mut self, now: Instant, progress: Progress) -> Option<Duration> {
        // Who is only about to begin is watched from its beginning.
        if self.per_second.is_none() && self.looks.front().is_none_or(|(_, first)| first.finished == progress.finished)
        {
            self.looks.clear();
        }
        self.looks.push_back((now, progress));
        while self.looks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WATCHED) {
            self.looks.pop_front();
        }
        if let Some((begun, then)) = self.looks.front()
            && now.duration_since(*begun) >= WATCHED
        {
            let done = progress.finished.saturating_sub(then.finished);
            // Who at any time had less before it than it did in all may have been idle for a while, and tells nothing; neither
            // does who does nothing.
            if done > 0 && self.looks.iter().all(|(_, look)| look.waiting >= done) {
                let pace = done as f64 / now.duration_since(*begun).as_secs_f64();
                self.per_second = Some(self.per_second.map_or(pace, |known| pace.max(known * KEPT)));
            }
        }
        self.per_second.map(|rate| Duration::try_from_secs_f64(progress.waiting as f64 / rate).unwrap_or(Duration::MAX))
    }
}

impl Backlog {
    /// Whether new frames must wait.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Keeps the flag true to the groups until `stop`: it is up while a frame of one has waited longer than `limit`, or will.
    /// What cannot be found out changes nothing.
    pub async fn watch(
        self: Arc<Self>,
        bus: Arc<dyn Bus>,
        groups: Vec<String>,
        limit: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let (age, wait) = (
            metrics::gauge!("sightline_ingest_backlog_seconds"),
            metrics::gauge!("sightline_ingest_backlog_wait_seconds"),
        );
        let group = |name| Group { name, pace: Pace::default(), oldest: Duration::ZERO };
        let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 0_u32.. {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            match ask(&*bus, &mut groups, look.is_multiple_of(AGE_EVERY)).await {
                Ok((waited, will_wait)) => {
                    age.set(waited.as_secs_f64());
                    wait.set(will_wait.as_secs_f64());
                    self.set(waited > limit || will_wait > limit, waited, will_wait);
                }
                Err(error) => tracing::debug!(%error, "how far the workers have come could not be found out"),
            }
        }
        Ok(())
    }

    fn set(&self, behind: bool, waited: Duration, will_wait: Duration) {
        if self.behind.swap(behind, Ordering::Relaxed) == behind {
            return;
        }
        if behind {
            tracing::warn!(
                "the oldest frame has waited {waited:.0?} and a new one would wait {will_wait:.0?}; new frames are refused \
                 until the workers catch up"
            );
        } else {
            tracing::info!("workers caught up; new frames are taken again");
        }
    }
}

/// How long the oldest frame that a group has still to do has waited, and how long a new one will; of the groups, the longest.
async fn ask(bus: &dyn Bus, groups: &mut [Group], age_too: bool) -> Result<(Duration, Duration), BusError> {
    let (mut waited, mut will_wait) = (Duration::ZERO, Duration::ZERO);
    for Group { name, pace, oldest } in groups {
        let progress = bus.progress(Role::Frames, name).await?;
        will_wait = will_wait.max(pace.wait(Instant::now(), progress).unwrap_or_default());
        if age_too {
            let taken = bus.oldest_unconsumed(Role::Frames, name).await?;
            // A clock that went back makes a frame of the future: it is new.
            let age = |taken| SystemTime::now().duration_since(taken).unwrap_or_default();
            *oldest = taken.map(age).unwrap_or_default();
        }
        waited = waited.max(*oldest);
    }
    Ok((waited, will_wait))
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
            pace.wait(begun + Duration::from_secs(second), progress)
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
            told = pace.wait(begun + PERIOD * look, progress);
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
    fn the_pace_is_remembered_while_the_group_is_away() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        for second in 0..10 {
            pace.wait(at(second), Progress { finished: 10 * second, waiting: 1000 });
        }
        for second in 10..60 {
            let wait = pace.wait(at(second), Progress { finished: 90, waiting: 1000 });
            assert!(wait.is_some_and(|wait| (100..130).contains(&wait.as_secs())), "{wait:?}");
        }
    }
}
