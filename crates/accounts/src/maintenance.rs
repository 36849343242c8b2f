//! Work of an issuing service beside requests: reset mails, key rotation, deletion of expired rows.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::AccountError;
use crate::interval::{every, tick};
use crate::resets::ResetRequest;
use crate::service::AccountsService;

/// Period of key rotation and sweeps.
const MAINTAIN_EVERY: Duration = Duration::from_secs(10 * 60);
/// Pause after a failed read of the signing keys.
const RETRY_KEYS_AFTER: Duration = Duration::from_secs(1);
/// Time limit of a stop for the mails that were promised.
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

    async fn send_reset_mails(&self, stop: &CancellationToken) {
        let mut requests = self.reset_requests.lock().await;
        while let Some(Some(next)) = stop.run_until_cancelled(requests.recv()).await {
            self.send_reset_mail_or_log(&next).await;
        }
        // A client that was promised a mail gets it, unless the mail server takes too long.
        requests.close();
        let rest = async {
            while let Some(next) = requests.recv().await {
                self.send_reset_mail_or_log(&next).await;
            }
        };
        if tokio::time::timeout(LAST_MAILS_TIMEOUT, rest).await.is_err() {
            tracing::error!(waiting = requests.len(), "stopped before all mails for a new password were sent");
        }
    }

    async fn send_reset_mail_or_log(&self, request: &ResetRequest) {
        if let Err(error) = self.send_reset_mail(request).await {
            tracing::error!(error = error.to_string(), "a request for a new password failed");
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

    /// Adds a signing key when one is due, and deletes expired rows.
    pub async fn maintain_once(&self) -> Result<(), AccountError> {
        self.rotate_keys().await?;
        self.store.sweep(self.clock.now()).await?;
        Ok(())
    }
}
