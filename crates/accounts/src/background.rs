//! What goes on beside requests: hearing what was taken back, mailing resets, writing down what was used, changing keys.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::error::AccountError;
use crate::resets::Asked;
use crate::stored::StoredAccounts;

/// How often it is written down when API tokens were last used.
const USED_EVERY: Duration = Duration::from_secs(30);
/// How often keys are looked at and what is past its time is deleted.
const TIDY_EVERY: Duration = Duration::from_secs(10 * 60);
/// How long a stop waits for mails that were promised.
const LAST_MAILS: Duration = Duration::from_secs(5);

impl StoredAccounts {
    /// Does all of that until `stop`. Without it credentials are refused after a while, because nobody hears what was taken
    /// back.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        tokio::join!(self.listen(&stop), self.mail(&stop), self.write_down(&stop), self.tidy(&stop));
        self.write_used().await;
    }

    async fn listen(&self, stop: &CancellationToken) {
        let mut again = every(self.settings.poll);
        let mut away = false;
        while goes_on(&mut again, stop).await {
            match self.poll().await {
                Ok(()) if away => {
                    away = false;
                    tracing::info!("what was taken back is heard again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !away {
                        tracing::warn!(error = error.to_string(), "what was taken back cannot be heard");
                    }
                    away = true;
                }
            }
        }
    }

    async fn mail(&self, stop: &CancellationToken) {
        let mut asked = self.asked.lock().await;
        while let Some(Some(next)) = stop.run_until_cancelled(asked.recv()).await {
            self.mail_one(&next).await;
        }
        // Whoever was told that a mail will come gets it, unless the mail server takes too long.
        asked.close();
        let rest = async {
            while let Some(next) = asked.recv().await {
                self.mail_one(&next).await;
            }
        };
        if tokio::time::timeout(LAST_MAILS, rest).await.is_err() {
            tracing::error!(waiting = asked.len(), "stopped before all who asked for a new password were mailed");
        }
    }

    async fn mail_one(&self, asked: &Asked) {
        if let Err(error) = self.answer_reset(asked).await {
            tracing::error!(error = error.to_string(), "a request for a new password came to nothing");
        }
    }

    async fn write_down(&self, stop: &CancellationToken) {
        let mut again = every(USED_EVERY);
        while goes_on(&mut again, stop).await {
            self.write_used().await;
        }
    }

    /// Writes down when API tokens were last used. What cannot be written is tried again with what comes after it.
    pub(crate) async fn write_used(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let listed: Vec<_> = used.into_iter().collect();
        if let Err(error) = self.store.note_used(&listed).await {
            tracing::warn!(error = error.to_string(), "when API tokens were last used could not be written down");
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let since = std::mem::replace(&mut *used, listed.into_iter().collect::<HashMap<_, _>>());
            used.extend(since);
        }
    }

    async fn tidy(&self, stop: &CancellationToken) {
        let mut again = every(TIDY_EVERY);
        while goes_on(&mut again, stop).await {
            if let Err(error) = self.tidy_now().await {
                tracing::warn!(error = error.to_string(), "accounts could not be tidied; this is tried again");
            }
        }
    }

    /// Adds a signing key if it is time for one, and deletes what is past its time.
    pub async fn tidy_now(&self) -> Result<(), AccountError> {
        self.change_keys().await?;
        self.store.sweep(self.clock.now()).await?;
        Ok(())
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Waits for the next time; false when it is to stop.
async fn goes_on(interval: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = stop.cancelled() => false,
        _ = interval.tick() => true,
    }
}
