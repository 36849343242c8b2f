//! Pipelines and the registry of providers on a database: what workers and admins do, in the order in which it happens.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails, in its helpers too")]

mod pipelines;
mod registry;

use contracts::{BookId, BookStatus, MediaTask};
use media::{Clock, Pipelines, Window};
use store::Relational;
use store::relational::{BookWriteOutcome, NewBook, NewCheckpoint, PipelineRecord, WindowRecord, WindowResult};
use tempfile::TempDir;

/// A database with a clock that the test advances.
pub struct Fixture {
    /// What is tested.
    pub pipelines: Pipelines,
    /// The clock of the pipelines.
    pub clock: Clock,
    _folder: TempDir,
}

/// SHA-256 of a file, for tests.
pub const FILE: Option<[u8; 32]> = Some([1; 32]);

impl Fixture {
    /// With an empty database.
    pub async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        database.migrate().await.unwrap();
        let clock = Clock::system();
        Self { pipelines: Pipelines::new(database, clock.clone()), clock, _folder: folder }
    }

    /// The database of the pipelines.
    pub fn database(&self) -> &Relational {
        self.pipelines.database()
    }

    /// Adds a book without a recording.
    pub async fn add_book(&self) -> BookId {
        let new = NewBook {
            id: BookId::now(),
            title: "Emma".to_owned(),
            author: "Jane Austen".to_owned(),
            language: Some("en".to_owned()),
            price: None,
            description: None,
            categories: Vec::new(),
            status: BookStatus::Processing,
        };
        let outcome = self.database().create_book(&new, None, self.clock.now()).await.unwrap();
        assert!(matches!(outcome, BookWriteOutcome::Stored(_)), "{outcome:?}");
        new.id
    }

    /// The only task that is due.
    pub async fn one_due(&self) -> MediaTask {
        let tasks = self.pipelines.claim_due().await.unwrap();
        assert_eq!(tasks.len(), 1, "{tasks:?}");
        tasks[0]
    }

    /// Takes the step that is due.
    pub async fn take_due(&self) -> PipelineRecord {
        let task = self.one_due().await;
        self.pipelines.take_step(&task).await.unwrap().unwrap()
    }

    /// A book that waits for this many windows of a second each.
    pub async fn planned(&self, windows: u64) -> BookId {
        let book = self.add_book().await;
        self.pipelines.start(book, FILE, None).await.unwrap();
        let held = self.take_due().await;
        let windows: Vec<Window> =
            (0..windows).map(|n| Window { start: n * 16_000, end: n * 16_000 + 8_000 }).collect();
        self.pipelines.plan(&held, &windows).await.unwrap().unwrap();
        book
    }

    /// Ends a window with a text of its own.
    pub async fn finish(&self, window: &WindowRecord) -> Option<PipelineRecord> {
        let key = [u8::try_from(window.n).unwrap(); 32];
        let checkpoint = NewCheckpoint {
            key,
            kind: "window",
            provider: "here".to_owned(),
            model: "whisper-tiny.en".to_owned(),
            body: format!(r#"[{{"start_ms":0,"end_ms":400,"text":"window {}"}}]"#, window.n).into_bytes(),
        };
        let result =
            WindowResult { key, provider: "here", model: "whisper-tiny.en", flag: None, checkpoint: Some(&checkpoint) };
        self.pipelines.finish_window(window, &result).await.unwrap()
    }

    /// Does what is due until nothing is, as a worker that is never disturbed.
    pub async fn work(&self) {
        for _ in 0..1_000 {
            let tasks = self.pipelines.claim_due().await.unwrap();
            if tasks.is_empty() {
                return;
            }
            for task in tasks {
                self.do_task(&task).await;
            }
        }
        unreachable!("the work does not end");
    }

    /// Does one task without a fault.
    pub async fn do_task(&self, task: &MediaTask) {
        if task.window.is_some() {
            if let Some(window) = self.pipelines.take_window(task).await.unwrap() {
                self.finish(&window).await;
            }
            return;
        }
        let Some(held) = self.pipelines.take_step(task).await.unwrap() else { return };
        let is_to_plan = held.step == contracts::MediaStep::Transcribe && held.windows_total.is_none();
        if is_to_plan {
            let window = |n: u64| Window { start: n * 16_000, end: n * 16_000 + 8_000 };
            let windows: Vec<Window> = (0..5).map(window).collect();
            self.pipelines.plan(&held, &windows).await.unwrap().unwrap();
        } else {
            self.pipelines.finish_step(&held).await.unwrap().unwrap();
        }
    }
}
