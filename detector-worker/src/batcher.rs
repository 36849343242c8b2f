//! Groups pictures for one call of a detector: by count or by age, whichever comes first.
//!
//! In: jobs one by one, from any thread. Out: batches of 1 to `max`, none held back longer than `wait` after its first job
//! was taken. Where a detector can use no more than one picture at once nothing waits at all.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

/// Takes batches from a channel. Clones take from the same one; of two, only one gathers at a time, so that a batch is not
/// split between them.
#[derive(Debug)]
pub struct Batcher<T> {
    jobs: Receiver<T>,
    gathering: Arc<Mutex<()>>,
    max: usize,
    wait: Duration,
}

impl<T> Clone for Batcher<T> {
    fn clone(&self) -> Self {
        let (jobs, gathering) = (self.jobs.clone(), self.gathering.clone());
        Self { jobs, gathering, max: self.max, wait: self.wait }
    }
}

impl<T> Batcher<T> {
    /// Batches of at most `max`, at least 1, whose first job waits at most `wait` for others.
    pub fn new(jobs: Receiver<T>, max: usize, wait: Duration) -> Self {
        Self { jobs, gathering: Arc::default(), max: max.max(1), wait }
    }

    /// The next batch, never empty; nothing once the channel is closed and empty. Blocks.
    pub fn next(&self) -> Option<Vec<T>> {
        if self.max == 1 {
            return self.jobs.recv().ok().map(|job| vec![job]);
        }
        let _gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batch = vec![self.jobs.recv().ok()?];
        let deadline = Instant::now() + self.wait;
        while batch.len() < self.max {
            match self.jobs.recv_deadline(deadline) {
                Ok(job) => batch.push(job),
                Err(_) => break,
            }
        }
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_batch_goes_at_once_and_an_old_one_as_it_is() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        (0..5).for_each(|job| sender.send(job).unwrap());
        let patient = Batcher::new(jobs.clone(), 3, Duration::from_secs(3600));
        assert_eq!(patient.next(), Some(vec![0, 1, 2]));
        let hurried = Batcher::new(jobs, 3, Duration::ZERO);
        assert_eq!(hurried.next(), Some(vec![3, 4]));
    }

    #[test]
    fn what_was_sent_before_the_end_still_comes() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        sender.send(1).unwrap();
        drop(sender);
        let batcher = Batcher::new(jobs, 2, Duration::from_secs(3600));
        assert_eq!(batcher.clone().next(), Some(vec![1]));
        assert_eq!(batcher.next(), None);
    }

    #[test]
    fn two_threads_do_not_split_a_batch() {
        let (sender, jobs) = crossbeam_channel::unbounded();
        let batcher = Batcher::new(jobs, 4, Duration::from_secs(3600));
        let threads = [(); 2].map(|()| {
            let batcher = batcher.clone();
            std::thread::spawn(move || {
                std::iter::from_fn(|| batcher.next()).map(|batch| batch.len()).collect::<Vec<_>>()
            })
        });
        (0..8).for_each(|job| sender.send(job).unwrap());
        drop(sender);
        let sizes = threads.map(|thread| thread.join().unwrap()).concat();
        assert_eq!(sizes, [4, 4]);
    }
}
