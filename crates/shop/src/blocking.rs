//! Reading files for their content, on threads that may block, and few of them at a time.

use std::time::Duration;

use sound::{Limits, Preview, Refusal, Sound, SoundError};
use store::MediaKey;

use crate::{Shop, ShopError};

/// Length of a preview.
const PREVIEW: Duration = Duration::from_secs(60);

/// Why a file was not read.
pub(crate) enum FileFailure {
    /// The file itself is refused. Another try would be refused too.
    Refused(Refusal),
    /// It could not be read now.
    Unreadable(String),
}

impl From<SoundError> for FileFailure {
    fn from(error: SoundError) -> Self {
        match error {
            SoundError::Refused(refusal) => Self::Refused(refusal),
            SoundError::Source(cause) => Self::Unreadable(cause.to_string()),
        }
    }
}

/// What a client is told. The text of a refusal says what to do.
impl From<FileFailure> for ShopError {
    fn from(failure: FileFailure) -> Self {
        match failure {
            FileFailure::Refused(refusal) => Self::Sound { code: refusal.code(), text: refusal.to_string() },
            FileFailure::Unreadable(cause) => Self::Unavailable(cause),
        }
    }
}

impl Shop {
    /// What a file is.
    pub(crate) async fn probe(&self, key: &MediaKey, bytes: u64) -> Result<Sound, FileFailure> {
        let source = self.source(key, bytes);
        self.blocking(move || sound::probe(source, bytes, &Limits::default())).await
    }

    /// The first minute of a file.
    pub(crate) async fn first_minute(&self, key: &MediaKey, bytes: u64) -> Result<Preview, FileFailure> {
        let (probed, cut) = (self.source(key, bytes), self.source(key, bytes));
        self.blocking(move || {
            let found = sound::probe(probed, bytes, &Limits::default())?;
            sound::preview(cut, bytes, &found, Duration::ZERO, PREVIEW)
        })
        .await
    }

    /// Waits for a permit, so that memory and threads are bounded, then works on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, SoundError> + Send + 'static,
    ) -> Result<T, FileFailure> {
        let permit = self.0.probes.clone().acquire_owned().await;
        let permit = permit.map_err(|_| FileFailure::Unreadable("the shop stops".to_owned()))?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            // Held by the thread: the caller may go away before it ends.
            drop(permit);
            done
        });
        let done =
            done.await.map_err(|error| FileFailure::Unreadable(format!("the reading of a file ended: {error}")))?;
        Ok(done?)
    }
}
