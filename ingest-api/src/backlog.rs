//! Whether the workers keep up. In: how old the oldest frame is that a group of workers has not processed. Out: a flag that
//! stops new frames while a group is so far behind that the log might drop frames before they are looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use bus::{Bus, BusError};
use contracts::Role;
use tokio_util::sync::CancellationToken;

/// How often the groups are asked after.
const PERIOD: Duration = Duration::from_secs(3);

/// The flag. Reading it costs nothing.
#[derive(Default)]
pub struct Backlog {
    behind: AtomicBool,
}

impl Backlog {
    /// Whether new frames must wait.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    /// Keeps the flag true to the groups until `stop`: it is up while one has a frame older than `limit` to do. What cannot
    /// be found out changes nothing.
    pub async fn watch(
        self: Arc<Self>,
        bus: Arc<dyn Bus>,
        groups: Vec<String>,
        limit: Duration,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let age = metrics::gauge!("sightline_ingest_backlog_seconds");
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = ticks.tick() => {}
            }
            match oldest(&*bus, &groups).await {
                Ok(oldest) => {
                    age.set(oldest.as_secs_f64());
                    self.set(oldest > limit, oldest);
                }
                Err(error) => tracing::debug!(%error, "how far the workers have come could not be found out"),
            }
        }
    }

    fn set(&self, behind: bool, oldest: Duration) {
        if self.behind.swap(behind, Ordering::Relaxed) == behind {
            return;
        }
        if behind {
            tracing::warn!("workers are {oldest:?} behind; new frames are refused until they catch up");
        } else {
            tracing::info!("workers caught up; new frames are taken again");
        }
    }
}

/// The age of the oldest frame that one of the groups has still to do.
async fn oldest(bus: &dyn Bus, groups: &[String]) -> Result<Duration, BusError> {
    let mut longest = Duration::ZERO;
    for group in groups {
        if let Some(taken) = bus.oldest_unconsumed(Role::Frames, group).await? {
            // A clock that went back makes a frame of the future: it is new.
            longest = longest.max(SystemTime::now().duration_since(taken).unwrap_or_default());
        }
    }
    Ok(longest)
}
