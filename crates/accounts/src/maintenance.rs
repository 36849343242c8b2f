//! Background work of the service that issues tokens: reset mails, key rotation, deletion of expired rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::AccountError;
use crate::interval::{every, tick};
use crate::resets::ResetRequest;
use crate::service::AccountsService;

/// Period of the check whether keys must be rotated, and of the deletion of expired rows.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10 * 60);
/// Pause after a failed read of the signing keys.
const RETRY_KEYS_AFTER: Duration = Duration::from_secs(1);
/// Time after a stop in which the mails of accepted requests are still sent.
const LAST_MAILS_TIMEOUT: Duration = Duration::from_secs(5);

impl AccountsService {
    /// Runs the verifier and the maintenance until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(
            self.verifier.run(stop.clone()),
            self.follow_key_changes(&stop),
            self.send_reset_mails(&stop),
            self.maintain(&stop)
        );
    }

    /// Loads the signing keys whenever the verifier has read other public keys: another instance added a key, or the database was
    /// restored to an earlier state.
    async fn follow_key_changes(&self, stop: &CancellationToken) {
        let mut changes = self.verifier.keys.changes();
        while let Some(Ok(())) = stop.run_until_cancelled(changes.changed()).await {
            while let Err(error) = self.load_signing_keys().await {
                tracing::warn!(
                    error = error.to_string(),
                    "the signing keys could not be read; reading them is retried"
                );
                if stop.run_until_cancelled(tokio::time::sleep(RETRY_KEYS_AFTER)).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Sends reset mails until `stop`, then those that were requested before.
    async fn send_reset_mails(&self, stop: &CancellationToken) {
        let mut requests = self.reset_requests.lock().await;
        let send = |request: ResetRequest| async move {
            if let Err(error) = self.send_reset_mail(&request).await {
                tracing::error!(error = error.to_string(), "a request for a new password failed");
            }
        };
        let unsent = drain(&mut requests, stop, LAST_MAILS_TIMEOUT, send).await;
        if unsent > 0 {
            tracing::error!(unsent, "stopped before all password-reset mails were sent");
        }
    }

    async fn maintain(&self, stop: &CancellationToken) {
        let mut interval = every(MAINTAIN_EVERY);
        while tick(&mut interval, stop).await {
            if let Err(error) = self.maintain_once().await {
                tracing::warn!(error = error.to_string(), "the maintenance of accounts failed and is retried");
            }
        }
    }

    /// Adds a signing key when one is due, and deletes expired rows, also when the key cannot be added.
    ///
    /// # Errors
    /// The first failure.
    pub async fn maintain_once(&self) -> Result<(), AccountError> {
        let rotated = self.rotate_keys().await;
        let result = self.store.sweep(self.clock.now()).await;
        rotated?;
        result?;
        Ok(())
    }
}

/// Handles requests one after the other until `stop`, then those that are queued, for at most
/// `limit` after `stop`. Returns the number of accepted requests that were not handled, including
/// the one that the limit interrupted.
async fn drain<T, F: Future<Output = ()>>(
    requests: &mut mpsc::Receiver<T>,
    stop: &CancellationToken,
    limit: Duration,
    handle: impl Fn(T) -> F,
) -> usize {
    let handling = AtomicBool::new(false);
    let all = async {
        loop {
            let next = match stop.run_until_cancelled(requests.recv()).await {
                Some(next) => next,
                None => {
                    requests.close();
                    requests.recv().await
                }
            };
            let Some(request) = next else { return };
            handling.store(true, Ordering::Relaxed);
            handle(request).await;
            handling.store(false, Ordering::Relaxed);
        }
    };
    let time_limit = async {
        stop.cancelled().await;
        tokio::time::sleep(limit).await;
    };
    tokio::select! {
        () = all => 0,
        () = time_limit => requests.len() + usize::from(handling.load(Ordering::Relaxed)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(200);

    /// Three requests, of which the second and every later one is handled in `time`.
    async fn drained(time: Duration) -> (usize, Duration) {
        let (sender, mut requests) = mpsc::channel(3);
        (0..3).for_each(|number| sender.try_send(number).unwrap());
        let stop = CancellationToken::new();
        let handle = |number| {
            let stop = stop.clone();
            async move {
                if number > 0 {
                    stop.cancel();
                    tokio::time::sleep(time).await;
                }
            }
        };
        let started = Instant::now();
        (drain(&mut requests, &stop, LIMIT, handle).await, started.elapsed())
    }

    #[tokio::test]
    async fn a_stop_waits_for_requests_up_to_a_limit_and_counts_the_rest() {
        assert_eq!(drained(Duration::ZERO).await.0, 0, "all are handled");
        let (unsent, time) = drained(Duration::from_secs(3600)).await;
        assert_eq!(unsent, 2, "the one that is interrupted and the one that waits");
        assert!(time >= LIMIT && time < Duration::from_secs(60), "{time:?}");
    }
}
