//! The providers of a worker on a database of its own, without Whisper and without models.

use std::sync::Arc;
use std::time::Duration;

use audio_worker::providers::{
    Outcome, ProviderDeps, ProviderFile, Providers, TranscribeJob, WindowAhead, WindowAnswer,
};
use audio_worker::speech::Engine;
use contracts::{BookId, MediaStep};
use media::{Cause, Clock, ProviderRegistry};
use store::Relational;
use store::relational::{CallFilter, CallRecord, ProviderStateRecord};
use tempfile::TempDir;

/// Samples in a second.
const RATE: usize = 16_000;

pub struct TestWorker {
    pub providers: Providers,
    pub registry: ProviderRegistry,
    pub database: Relational,
    pub clock: Clock,
    pub book: BookId,
    folder: Arc<TempDir>,
    file: String,
    engine: Result<Engine, String>,
}

/// An entry of the list `transcribe`; `more` are further fields, each with a comma before it.
pub fn entry(name: &str, url: &str, more: &str) -> String {
    format!("  - {{name: {name}, group: local, kind: openai, base_url: \"{url}\", model: m{more}}}\n")
}

/// A file with these entries of audio.
pub fn audio(entries: &[String]) -> String {
    format!("transcribe:\n{}describe:\n  - {{name: extract, group: local, kind: extract}}\n", entries.concat())
}

impl TestWorker {
    /// A worker with this file of providers.
    pub async fn new(file: &str) -> Self {
        Self::with_engine(file, Err("this test has no models".to_owned())).await
    }

    /// The same with Whisper.
    pub async fn with_engine(file: &str, engine: Result<Engine, String>) -> Self {
        let folder = Arc::new(TempDir::new().unwrap());
        let database = Relational::sqlite(&folder.path().join("test.sqlite")).await.unwrap();
        database.migrate().await.unwrap();
        Self::on(file, database, Clock::default(), folder, BookId::now(), engine)
    }

    fn on(
        file: &str,
        database: Relational,
        clock: Clock,
        folder: Arc<TempDir>,
        book: BookId,
        engine: Result<Engine, String>,
    ) -> Self {
        let registry = ProviderRegistry::new(database.clone(), clock.clone());
        let deps = ProviderDeps {
            file: ProviderFile::parse(file).unwrap(),
            registry: registry.clone(),
            clock: clock.clone(),
            engine: engine.clone(),
        };
        let providers = Providers::new(deps).unwrap();
        Self { providers, registry, database, clock, book, folder, file: file.to_owned(), engine }
    }

    /// Another worker on the same database, as after a restart.
    pub fn other(&self) -> Self {
        let (database, clock) = (self.database.clone(), self.clock.clone());
        Self::on(&self.file, database, clock, Arc::clone(&self.folder), self.book, self.engine.clone())
    }

    /// A window of this many seconds, whose sound is that of its number only.
    pub fn window(&self, number: u32, seconds: f64) -> TranscribeJob<'static> {
        let samples = (seconds * RATE as f64) as usize;
        let sound = |at: usize| ((at as f32) * (0.01 + number as f32 / 1000.0)).sin() / 2.0;
        TranscribeJob {
            book: self.book,
            generation: 1,
            window: number,
            samples: (0..samples).map(sound).collect(),
            language: Some("en"),
            group: None,
            budget_micro: None,
        }
    }

    /// What becomes of a window of ten seconds.
    pub async fn transcribe(&self, number: u32) -> Outcome<WindowAnswer> {
        self.providers.transcribe(&self.window(number, 10.0)).await.unwrap()
    }

    /// The answer of a window that must end.
    pub async fn done(&self, number: u32) -> WindowAnswer {
        done(self.transcribe(number).await)
    }

    /// The cause for which a window must wait, and the seconds until it is tried again.
    pub async fn waits(&self, number: u32) -> (String, String, i64) {
        let outcome = self.transcribe(number).await;
        let is_waiting = matches!(outcome, Outcome::Wait { .. });
        assert!(is_waiting, "{outcome:?}");
        match outcome {
            Outcome::Wait { until, cause } => {
                (cause.code, cause.detail, until.duration_since(self.clock.now()).as_secs())
            }
            _ => Default::default(),
        }
    }

    /// The cause for which a window of ten seconds that is not decoded yet must wait; `None`: it is worth decoding.
    pub async fn obstacle(&self, budget_micro: Option<i64>) -> Option<Cause> {
        let ahead = WindowAhead { book: self.book, length_ms: 10_000, group: None, budget_micro };
        match self.providers.obstacle(&ahead).await.unwrap()? {
            Outcome::Wait { cause, .. } | Outcome::Failed { cause } => Some(cause),
            Outcome::Done(_) => None,
        }
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The calls in the ledger, the first one first.
    pub async fn calls(&self) -> Vec<CallRecord> {
        let mut calls = self.database.provider_calls(&CallFilter::default(), None, 200).await.unwrap();
        calls.reverse();
        calls
    }

    /// What is spent on the book, in millionths.
    pub async fn spent(&self) -> i64 {
        self.database.spent_on_book(self.book).await.unwrap().iter().map(|spent| spent.micro).sum()
    }

    pub async fn state(&self, name: &str) -> Option<ProviderStateRecord> {
        let states = self.database.provider_states(MediaStep::Transcribe).await.unwrap();
        states.into_iter().find(|state| state.name == name)
    }
}

/// The cause of a job that must fail.
pub fn failed<T: std::fmt::Debug>(outcome: Outcome<T>) -> Cause {
    let cause = match outcome {
        Outcome::Failed { cause } => Ok(cause),
        other => Err(format!("{other:?}")),
    };
    cause.unwrap()
}

/// The answer of a job that must end.
pub fn done<T: std::fmt::Debug>(outcome: Outcome<T>) -> T {
    let answer = match outcome {
        Outcome::Done(answer) => Ok(answer),
        other => Err(format!("{other:?}")),
    };
    answer.unwrap()
}
