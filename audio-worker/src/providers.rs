//! Providers: who transcribes windows and describes books, in which order, at what price, and what happens when one fails.
//!
//! ```text
//!  window ─▶ checkpoint? ─▶ choose a provider ─▶ reserve ─▶ call ─▶ settle ─▶ gate ─▶ segments
//!                             ▲  cools, is off, refused it │           │        │
//!                             └──────────────── failed ◀───┴───────────┘        └─ doubtful: again, then the next provider,
//!                                                                                  then kept with a flag
//! ```
//!
//! In: the operator's [`ProviderFile`], windows of speech, the sentences of a book. Out: words with times, a description, or an
//! [`Outcome`] that says until when the job waits and why.
//!
//! Guarantees:
//! - A provider that asks for a pause gets it from every worker; its state is in the database. A job for which everybody cools waits and
//!   does not fail.
//! - No call is made without a reservation in the ledger, and none that is settled differs from what the provider says it charges.
//! - A key is in no message, no log and no answer. Addresses come from the operator's file only.
//! - A job that is dropped cancels its call. What was answered before is not asked again: it is a checkpoint.
//!
//! The states, the order and the ledger are those of `crates/media`; calls, what answers mean, and the gates for texts are here.

mod ahead;
mod calls;
mod classify;
mod describe;
mod file;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod key_file;
mod language;
mod listed;
mod map_reduce;
mod openai;
mod outcome;
mod pieces;
mod probe;
mod prompts;
mod provider;
mod selection;
mod text_gate;
mod transcribe;
mod wav;

use std::sync::Arc;

use anyhow::Context;
use contracts::MediaStep;
use jiff::{SignedDuration, Timestamp};
use media::{Clock, ProviderRegistry};
use store::relational::CallCaps;

pub use ahead::WindowAhead;
pub use describe::DescribeJob;
pub use file::{Entry, Kind, OpenAi, ProviderArgs, ProviderFile, TimeLimit};
pub use key_file::KeyFile;
pub use listed::Listed;
pub use outcome::{Description, Outcome, WindowAnswer};
pub use probe::Probe;
pub use text_gate::TextFault;
pub use transcribe::TranscribeJob;

use crate::speech::Engine;
use http::ProviderClient;
use provider::Provider;

/// What the providers need.
pub struct ProviderDeps {
    /// The operator's file.
    pub file: ProviderFile,
    /// The states of providers, the ledger and the checkpoints.
    pub registry: ProviderRegistry,
    /// The clock of the same.
    pub clock: Clock,
    /// Whisper in this process, or why it cannot run here. It is used only if the file names it.
    pub engine: Result<Engine, String>,
}

/// The providers of a worker. A clone is the same providers.
#[derive(Clone)]
pub struct Providers(Arc<Inner>);

struct Inner {
    transcribe: Vec<Provider>,
    describe: Vec<Provider>,
    caps: Option<CallCaps>,
    registry: ProviderRegistry,
    clock: Clock,
    client: ProviderClient,
}

impl Providers {
    /// The providers of a file. No server is called. A provider that cannot run here does no work; [`Self::missing`] says what it lacks.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(deps: ProviderDeps) -> anyhow::Result<Self> {
        let ProviderDeps { file, registry, clock, engine } = deps;
        let ProviderFile { transcribe, describe, caps } = file;
        let client = ProviderClient::new().context("no HTTP client for the providers can be made")?;
        let of = |entries: Vec<Entry>| -> Vec<Provider> {
            entries.into_iter().map(|entry| Provider::new(entry, &engine)).collect()
        };
        let (transcribe, describe) = (of(transcribe), of(describe));
        Ok(Self(Arc::new(Inner { transcribe, describe, caps, registry, clock, client })))
    }

    /// What this process lacks to do the work of its file, and what to do about it.
    pub fn missing(&self) -> Option<String> {
        let missing = self.all().filter_map(|(_, provider)| {
            Some(format!("provider {}: {}", provider.name(), provider.engine.as_ref().err()?))
        });
        let missing: Vec<String> = missing.collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    /// All providers with their steps.
    fn all(&self) -> impl Iterator<Item = (MediaStep, &Provider)> {
        let transcribe = self.0.transcribe.iter().map(|provider| (MediaStep::Transcribe, provider));
        transcribe.chain(self.0.describe.iter().map(|provider| (MediaStep::Summarise, provider)))
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn in_a_while(&self, pause: SignedDuration) -> Timestamp {
        self.now().checked_add(pause).unwrap_or(Timestamp::MAX)
    }
}
