//! One provider of this process: its entry, its permits, and what runs behind it.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::file::{Entry, Kind};
use super::openai::LeftOut;
use crate::speech::{Engine, SpeechOptions};

/// How long Whisper may take for a window on the slowest machine.
const WHISPER_LIMIT: Duration = Duration::from_secs(600);
/// How long the sentences of a book may take.
const EXTRACT_LIMIT: Duration = Duration::from_secs(120);
/// Digits of a fingerprint.
const FINGERPRINT: usize = 16;

/// A provider of this process.
pub(super) struct Provider {
    /// What the file says.
    pub entry: Entry,
    /// What runs behind it, or why it cannot run here.
    pub engine: Result<Backend, String>,
    /// The fields that its server does not know.
    pub left_out: LeftOut,
    /// One permit for each call at the same time.
    permits: Semaphore,
}

/// What runs behind a provider.
pub(super) enum Backend {
    /// Whisper in this process.
    Whisper(Engine),
    /// A server.
    Server,
    /// The sentences of the book.
    Extract,
}

impl Provider {
    /// What runs behind an entry. `whisper` is the engine of this process, or why there is none.
    pub(super) fn new(entry: Entry, whisper: &Result<Engine, String>) -> Self {
        let (engine, calls) = match &entry.kind {
            Kind::Whisper { model } => {
                let engine = whisper.clone().and_then(|engine| knows(&engine, model).map(|()| engine));
                // More windows would wait in the engine.
                let sessions = engine.as_ref().map_or(1, Engine::sessions);
                (engine.map(Backend::Whisper), sessions)
            }
            Kind::OpenAi(server) => (Ok(Backend::Server), server.concurrency),
            Kind::Extract => (Ok(Backend::Extract), 1),
        };
        Self { entry, engine, left_out: LeftOut::default(), permits: Semaphore::new(calls) }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.entry.name
    }

    /// Its model, or its kind where it has none: for the ledger and checkpoints.
    pub(super) fn model(&self) -> &str {
        self.entry.model().unwrap_or(self.entry.kind.as_str())
    }

    /// A permit, if one is free.
    pub(super) fn free_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.try_acquire().ok()
    }

    /// Waits for a permit. The permits are never closed.
    pub(super) async fn permit(&self) -> Option<SemaphorePermit<'_>> {
        self.permits.acquire().await.ok()
    }

    /// How long a call may take for this length of audio.
    pub(super) fn limit(&self, audio: Duration) -> Duration {
        match &self.entry.kind {
            Kind::Whisper { .. } => WHISPER_LIMIT,
            Kind::Extract => EXTRACT_LIMIT,
            Kind::OpenAi(server) => server.timeout.of(audio),
        }
    }

    /// Digits that change with the entry and with the key: a provider that refused a key is off until then.
    pub(super) async fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{:?}", self.entry));
        if let Kind::OpenAi(server) = &self.entry.kind
            && let Some(file) = &server.api_key_file
        {
            // Without a key it is another provider than with one.
            if let Ok((key, _)) = file.header().await {
                hash.update(key.expose());
            }
        }
        let mut digits = String::new();
        for byte in hash.finalize() {
            // Writing to a text succeeds.
            let _ = write!(digits, "{byte:02x}");
        }
        digits.truncate(FINGERPRINT);
        digits
    }
}

/// Whether the engine has the model that the file names.
fn knows(engine: &Engine, model: &str) -> Result<(), String> {
    let options = SpeechOptions { model: Some(model.to_owned()), language: Some("en".to_owned()), words: true };
    engine.model(&options).map(|_| ()).map_err(|error| error.to_string())
}

/// The same length for the ledger.
pub(super) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
