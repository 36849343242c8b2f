//! A book with a recording, and a worker on it.

use std::sync::Arc;

use audio_worker::{Config, Deps, SharedArgs};
use bus::embedded::Options;
use bus::{Bus, EmbeddedBus};
use bytes::Bytes;
use clap::Parser;
use contracts::{AssetKind, BookId, BookStatus, Currency, MediaStep, MediaTask, Money, PipelineState, Topics};
use media::{Clock, Pipelines, Window};
use sha2::{Digest, Sha256};
use store::relational::{
    AssetRecord, AssetWriteOutcome, BookWriteOutcome, NewBook, PipelineExtras, PipelineRecord, Relational, WindowRecord,
};
use store::{Media, MediaKey, media_folder};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::providers::fake_server::FakeServer;
use crate::sounds;

/// Samples in a millisecond.
const SAMPLES_A_MS: u64 = 16;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    shared: SharedArgs,
}

/// A price.
pub fn euros(euros: i64) -> Option<Money> {
    Some(Money { minor: euros * 100, currency: Currency::EUR })
}

pub struct TestPipeline {
    pub id: BookId,
    pub pipelines: Pipelines,
    pub clock: Clock,
    bus: Arc<EmbeddedBus>,
    media: Arc<dyn Media>,
    source: [u8; 32],
    folder: TempDir,
}

/// A worker that runs.
pub struct Running {
    task: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
}

impl Running {
    /// Stops it as a signal does.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it in the middle of its work.
    pub async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }
}

impl TestPipeline {
    /// A book in work, with a recording of a minute.
    pub async fn new(price: Option<Money>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        database.migrate().await.unwrap();
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap().with_audio(true);
        let bus = Arc::new(EmbeddedBus::open(&folder.path().join("log"), &topics, Options::default()).unwrap());
        let media = media_folder(folder.path().join("media")).unwrap();
        let (id, clock) = (BookId::now(), Clock::system());
        let new = NewBook {
            id,
            title: "Emma".to_owned(),
            author: "Jane Austen".to_owned(),
            language: Some("en".to_owned()),
            price,
            description: None,
            categories: Vec::new(),
            status: BookStatus::Processing,
        };
        let made = database.create_book(&new, None, clock.now()).await.unwrap();
        assert!(matches!(made, BookWriteOutcome::Stored(_)), "{made:?}");
        let pipelines = Pipelines::new(database, clock.clone());
        let sound = sounds::wav(&sounds::tones(60, &[220.0, 330.0]));
        let source = Sha256::digest(&sound).into();
        let book = Self { id, pipelines, clock, bus, media, source, folder };
        book.put_master(&sound).await;
        book
    }

    pub fn log(&self) -> &dyn Bus {
        &*self.bus
    }

    pub async fn put_master(&self, content: &[u8]) {
        self.put(AssetKind::Master, content).await;
    }

    pub async fn put_preview(&self) {
        self.put(AssetKind::Preview, b"a minute").await;
    }

    async fn put(&self, kind: AssetKind, content: &[u8]) {
        let key = MediaKey::new(self.id, kind);
        self.media.put(&key, "audio/wav", Bytes::copy_from_slice(content)).await.unwrap();
        let asset = AssetRecord {
            book: self.id,
            kind,
            key,
            bytes: content.len() as u64,
            sha256: Sha256::digest(content).into(),
            content_type: "audio/wav".to_owned(),
            file_name: format!("{kind}.wav"),
            duration: None,
            stored_at: self.clock.now(),
        };
        let stored = self.pipelines.database().put_asset(&asset, self.clock.now()).await.unwrap();
        assert!(matches!(stored, AssetWriteOutcome::Stored { .. }), "{stored:?}");
    }

    /// Begins the transcription with these windows, as a worker does that has found the speech in them.
    pub async fn planned(&self, windows: &[(u64, u64)]) {
        let begun = self.pipelines.start(self.id, Some(self.source), None).await.unwrap();
        let task = MediaTask { book: self.id, generation: begun.generation, step: begun.step, window: None };
        let held = self.pipelines.take_step(&task).await.unwrap().unwrap();
        let samples = |(start, end): &(u64, u64)| Window { start: start * SAMPLES_A_MS, end: end * SAMPLES_A_MS };
        let windows: Vec<Window> = windows.iter().map(samples).collect();
        self.pipelines.plan(&held, &windows).await.unwrap().unwrap();
    }

    /// Brings the book to a step that is due.
    pub async fn at(&self, step: MediaStep) {
        let now = self.clock.now();
        let record = PipelineRecord {
            book: self.id,
            generation: 1,
            step,
            state: PipelineState::Due,
            cause: None,
            detail: None,
            group: None,
            budget_micro: None,
            source: Some(self.source),
            windows_total: Some(0),
            windows_done: 0,
            transcript: Some(1),
            texts: Some(1),
            crashes: 0,
            revision: 0,
            wake_at: Some(now),
            started_at: now,
            updated_at: now,
        };
        let stored = self.pipelines.database().put_pipeline(&record, None, &PipelineExtras::default(), now).await;
        assert!(stored.unwrap().is_some());
    }

    /// Removes all files, so that whoever reads one fails.
    pub fn lose_files(&self) {
        std::fs::remove_dir_all(self.folder.path().join("media")).unwrap();
    }

    /// The windows, in their order.
    pub async fn windows(&self) -> Vec<WindowRecord> {
        self.pipelines.database().windows(self.id, 1, 0, 100).await.unwrap()
    }

    pub async fn record(&self) -> PipelineRecord {
        self.pipelines.database().pipeline(self.id).await.unwrap().unwrap()
    }

    pub async fn status(&self) -> BookStatus {
        self.pipelines.database().book(self.id).await.unwrap().unwrap().status
    }

    pub async fn set_status(&self, status: BookStatus) {
        let (from, now) = ([BookStatus::Processing], self.clock.now());
        let set = self.pipelines.database().set_book_status(self.id, &from, status, None, now).await.unwrap();
        assert!(matches!(set, BookWriteOutcome::Stored(_)), "{set:?}");
    }

    /// A worker whose only provider is the server. It has no models.
    pub fn worker(&self, server: &FakeServer) -> Running {
        let file = self.folder.path().join("providers.yaml");
        let scripted = format!(
            "transcribe:\n  - {{name: scripted, group: local, kind: openai, base_url: \"{}\", model: m}}\n\
             describe:\n  - {{name: extract, group: local, kind: extract}}\n",
            server.url()
        );
        std::fs::write(&file, scripted).unwrap();
        let (file, models) = (file.display().to_string(), self.folder.path().join("no-models").display().to_string());
        let arguments = ["test", "--providers-file", &file, "--models-dir", &models, "--audio", "on"];
        let Settings { config, shared } = Settings::parse_from(arguments);
        let database = self.pipelines.database().clone();
        let mut deps = Deps::new(self.bus.clone(), database, Arc::clone(&self.media));
        deps.clock = self.clock.clone();
        let stop = CancellationToken::new();
        let running = audio_worker::run(config, shared, deps, stop.clone());
        Running { task: tokio::spawn(running), stop }
    }
}
