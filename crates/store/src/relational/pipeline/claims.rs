//! Tasks that are to be published. A task that nobody reported on for a while is published again, later each time, so a lost message or a
//! worker that ended loses nothing, and a long queue is not filled with repeats.

use contracts::{BookId, MediaStep, MediaTask, whole_microseconds};
use jiff::{SignedDuration, Timestamp};

use super::{book, small, step};
use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, values};

/// Time until a task is published again for the first time.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(30);
/// How often that time is doubled, at most: a task is published again after 16 minutes or earlier.
const DOUBLINGS: u32 = 5;
/// Maximum number of tasks that one call returns.
const MAX_CLAIMED: u32 = 200;

/// Steps whose time has come.
const STEPS: &str =
    "SELECT book_id, generation, step, wake_at FROM pipelines WHERE wake_at <= $1 ORDER BY wake_at LIMIT $2";
/// Windows whose task or whose worker is lost.
const LOST: &str = "SELECT w.book_id, w.generation, w.number, w.published, w.wake_at FROM windows w \
                    WHERE w.state IN ('queued', 'running') AND w.wake_at <= $1 \
                    AND EXISTS (SELECT 1 FROM pipelines p WHERE p.book_id = w.book_id AND p.state <> 'failed') \
                    ORDER BY w.wake_at LIMIT $2";
/// Windows that were not published yet. By their number, so that books take turns and a new one does not wait for all windows of a long one.
const DUE: &str = "SELECT book_id, generation, number, published, wake_at FROM windows \
                   WHERE state = 'due' AND wake_at <= $1 ORDER BY number, wake_at LIMIT $2";
/// Windows that are under way. What is left of a failed book whose worker ended is not.
const IN_FLIGHT: &str = "SELECT count(*) AS windows FROM windows WHERE state IN ('queued', 'running') AND wake_at > $1";

/// A window that may be claimed.
struct Candidate {
    task: MediaTask,
    published: u32,
    wake_at: Timestamp,
}

impl Candidate {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let (book, generation, window) = (book(row)?, small(row, "generation")?, Some(small(row, "number")?));
        let task = MediaTask { book, generation, step: MediaStep::Transcribe, window };
        Ok(Self { task, published: small(row, "published")?, wake_at: row.get("wake_at")? })
    }

    /// When it is published again if nobody reports on it.
    fn next_at(&self, now: Timestamp) -> Timestamp {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.published.min(DOUBLINGS));
        now.checked_add(pause).unwrap_or(Timestamp::MAX)
    }
}

impl Relational {
    /// Claims the steps that are due, at most `limit`: each is returned to one caller, and again after 30 s if no worker has taken it.
    pub async fn claim_pipelines(&self, now: Timestamp, limit: u32) -> Result<Vec<MediaTask>, StoreError> {
        let now = whole_microseconds(now);
        let until = now.checked_add(FIRST_PAUSE).unwrap_or(Timestamp::MAX);
        let mut claimed = Vec::new();
        for row in self.rows(STEPS, values![now, i64::from(limit.min(MAX_CLAIMED))]).await? {
            let (book, seen): (BookId, Timestamp) = (book(&row)?, row.get("wake_at")?);
            // A worker that has not renewed its step in time has lost it: its next report finds another revision.
            let sql = "UPDATE pipelines SET wake_at = $3, crashes = crashes + CASE WHEN state = 'running' THEN 1 ELSE 0 END, \
                       revision = revision + CASE WHEN state = 'running' THEN 1 ELSE 0 END, \
                       state = CASE WHEN state = 'running' THEN 'due' ELSE state END WHERE book_id = $1 AND wake_at = $2";
            if self.execute(sql, values![book, seen, until]).await? == 1 {
                let (generation, step) = (small(&row, "generation")?, step(&row, "step")?);
                claimed.push(MediaTask { book, generation, step, window: None });
            }
        }
        Ok(claimed)
    }

    /// Claims windows that are due, as long as fewer than `in_flight` of all books are published and not done, and those whose task or worker
    /// is lost. Several callers at once may exceed the number.
    pub async fn claim_windows(&self, now: Timestamp, in_flight: u32) -> Result<Vec<MediaTask>, StoreError> {
        let now = whole_microseconds(now);
        let in_flight = in_flight.min(MAX_CLAIMED);
        let mut claimed = self.claim(LOST, now, in_flight).await?;
        let row = self.row(IN_FLIGHT, values![now]).await?;
        let queued: i64 = row.map_or(Ok(0), |row| row.get("windows"))?;
        let free = i64::from(in_flight).saturating_sub(queued);
        if let Ok(free @ 1..) = u32::try_from(free) {
            claimed.extend(self.claim(DUE, now, free).await?);
        }
        Ok(claimed)
    }

    /// Makes everything due now that waits for a time, such as the end of a cooldown. Returns the number of steps and windows.
    pub async fn wake_waiting(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now = whole_microseconds(now);
        let sql = "UPDATE pipelines SET wake_at = $1 WHERE wake_at > $1 AND state = 'waiting'";
        let steps = self.execute(sql, values![now]).await?;
        let sql = "UPDATE windows SET wake_at = $1 WHERE state = 'due' AND wake_at > $1";
        Ok(steps + self.execute(sql, values![now]).await?)
    }

    async fn claim(&self, candidates: &'static str, now: Timestamp, limit: u32) -> Result<Vec<MediaTask>, StoreError> {
        let mut claimed = Vec::new();
        for row in self.rows(candidates, values![now, i64::from(limit)]).await? {
            let candidate = Candidate::read(&row)?;
            // A worker that has not renewed its window in time loses it to the next one that takes it. What it reports before is taken.
            let sql = "UPDATE windows SET published = published + 1, \
                       crashes = crashes + CASE WHEN state = 'running' THEN 1 ELSE 0 END, state = 'queued', wake_at = $5 \
                       WHERE book_id = $1 AND generation = $2 AND number = $3 AND wake_at = $4 \
                       AND state IN ('due', 'queued', 'running')";
            let MediaTask { book, generation, window, .. } = candidate.task;
            let number = i64::from(window.unwrap_or_default());
            let arguments = values![book, i64::from(generation), number, candidate.wake_at, candidate.next_at(now)];
            // A statement for each window: a transaction over all of them could lock them in another order than other transactions do.
            if self.execute(sql, arguments).await? == 1 {
                claimed.push(candidate.task);
            }
        }
        Ok(claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_published_again_later_each_time() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let task = MediaTask { book: BookId::now(), generation: 1, step: MediaStep::Transcribe, window: Some(0) };
        let pause = |published| {
            let candidate = Candidate { task, published, wake_at: now };
            candidate.next_at(now).duration_since(now).as_secs()
        };
        assert_eq!([pause(0), pause(1), pause(2), pause(5), pause(900)], [30, 60, 120, 960, 960]);
    }
}
