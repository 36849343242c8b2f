//! Groups jobs into batches for one call of a detector: by number or age.
//!
//! In: jobs one by one, from any thread. Out: batches of 1 to `max` jobs; the first job of a batch waits at most `wait` for
//! others. With a `max` of 1 no job waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

/// Result of [`Batcher::next`].
#[derive(Debug, PartialEq, Eq)]
pub enum Next<T> {
    /// At least one job.
    Batch(Vec<T>),
    /// No job arrived in time.
    Idle,
    /// The channel is closed and empty.
    Closed,
}

/// Takes batches from a channel. Clones share the channel. Only one clone collects jobs at a time,
/// so that a batch is not split between two threads.
#[derive(Debug)]
pub struct Batcher<T> {
    jobs: Receiver<T>,
    collect_lock: Arc<Mutex<()>>,
    max: usize,
    wait: Duration,
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        let (jobs, collect_lock) = (self.jobs.clone(), self.collect_lock.clone());
        Self { jobs, collect_lock, max: self.max, wait: self.wait }
    }
}

impl<T> Batcher<T> {
    /// Batches of at most `max` jobs (0 counts as 1), whose first job waits at most `wait` for others.
    pub fn new(jobs: Receiver<T>, max: usize, wait: Duration) -> Self {
        Self { jobs, collect_lock: Arc::default(), max: max.max(1), wait }
    }

    /// The next batch, or [`Next::Idle`] after `idle` without a job; `None` waits for ever. Blocks.
    pub fn next(&self, idle: Option<Duration>) -> Next<T> {
        let receive = || match idle {
            Some(idle) => self.jobs.recv_timeout(idle),
            None => self.jobs.recv().map_err(RecvTimeoutError::from),
        };
        if self.max == 1 {
            return Next::of(receive().map(|job| vec![job]));
        }
        let _collecting = self.collect_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = match receive() {
            Ok(job) => vec![job],
            Err(error) => return Next::of(Err(error)),
        };
        let deadline = Instant::now() + self.wait;
        while batch.len() < self.max {
            match self.jobs.recv_deadline(deadline) {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        Next::Batch(batch)
    }
}

impl<T> Next<T> {
    fn of(received: Result<Vec<T>, RecvTimeoutError>) -> Self {
        match received {
            Ok(batch) => Self::Batch(batch),
            Err(RecvTimeoutError::Timeout) => Self::Idle,
            Err(RecvTimeoutError::Disconnected) => Self::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_returned_when_it_is_full_or_old() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        (0..5).for_each(|job| sender.send(job).unwrap());
        let slow = Batcher::new(jobs.clone(), 3, Duration::from_secs(3600));
        assert_eq!(slow.next(None), Next::Batch(vec![0, 1, 2]));
        let fast = Batcher::new(jobs, 3, Duration::ZERO);
        assert_eq!(fast.next(None), Next::Batch(vec![3, 4]));
    }

    #[test]
    fn jobs_sent_before_the_close_are_received() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        sender.send(1).unwrap();
        drop(sender);
        let batcher = Batcher::new(jobs, 2, Duration::from_secs(3600));
        assert_eq!(batcher.clone().next(None), Next::Batch(vec![1]));
        assert_eq!(batcher.next(None), Next::Closed);
    }

    #[test]
    fn a_batcher_without_jobs_is_idle_after_the_given_time() {
        let (_sender, jobs) = crossbeam_channel::unbounded::<u32>();
        for max in [1, 2] {
            let batcher = Batcher::new(jobs.clone(), max, Duration::ZERO);
            assert_eq!(batcher.next(Some(Duration::from_millis(1))), Next::Idle);
        }
    }

    #[test]
    fn two_threads_do_not_split_a_batch() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        let batcher = Batcher::new(jobs, 4, Duration::from_secs(3600));
        let threads = [(); 2].map(|()| {
            let batcher = batcher.clone();
            std::thread::spawn(move || {
                let next = || match batcher.next(None) {
                    Next::Batch(batch) => Some(batch.len()),
                    Next::Idle | Next::Closed => None,
                };
                std::iter::from_fn(next).collect::<Vec<_>>()
            })
        });
        (0..8).for_each(|job| sender.send(job).unwrap());
        drop(sender);
        let sizes = threads.map(|thread| thread.join().unwrap()).concat();
        assert_eq!(sizes, [4, 4]);
    }
}
