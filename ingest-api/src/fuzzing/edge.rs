//! The HTTP service of this process, without a socket: requests in; responses and published messages out.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use accounts::{AccountsService, Clock, Hashing, LogMailer, Settings as AccountSettings, SharedState, Throttle};
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use clap::Parser;
use contracts::{Message, TenantId};
use http::header::{AUTHORIZATION, AsHeaderName};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use platform::Health;
use store::{Documents, FilesInUse, ObjectBlobs, Relational, SqliteDocuments};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::fakes::{AcceptAll, WriteOnlyLog, indexed_frames};
use crate::http::App;
use crate::{Config, Deps, SharedArgs};

/// Largest image in pixels.
pub const MAX_PIXELS: u64 = 1_000_000;
/// Nothing listens on the port of alert-stream, and requests do not wait for results.
const FLAGS: [&str; 6] = [
    "ingest-api",
    "--alert-stream-url=http://127.0.0.1:1",
    "--ingest-wait-seconds=0",
    "--max-frame-bytes=65536",
    "--max-frame-pixels=1000000",
    "--ingest-bytes-in-flight=1048576",
];

/// The response to a request, and the messages that it published.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub published: Vec<Message>,
}

impl Answer {
    /// A header's value; `None` if it is not text.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: SharedArgs,
}

/// The HTTP service.
pub struct Edge {
    runtime: Runtime,
    router: Router,
    documents: Arc<dyn Documents>,
    log: Arc<WriteOnlyLog>,
    /// Locked for each request, so that the messages published in the meantime belong to it.
    one_request: Mutex<()>,
    _folder: TempDir,
}

impl Edge {
    /// The service for all targets that need no OpenID provider.
    pub fn get() -> &'static Self {
        static EDGE: OnceLock<Edge> = OnceLock::new();
        EDGE.get_or_init(|| Self::start(|_| Ok(Vec::new())))
    }

    /// A service with the flags that `flags` returns; it may start tasks on the service's runtime.
    ///
    /// # Panics
    /// When the service does not start.
    pub fn start(flags: impl FnOnce(&Runtime) -> anyhow::Result<Vec<String>>) -> Self {
        Self::try_start(flags).unwrap_or_else(|error| unreachable!("the service does not start: {error:#}"))
    }

    fn try_start(flags: impl FnOnce(&Runtime) -> anyhow::Result<Vec<String>>) -> anyhow::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let flags = FLAGS.map(str::to_owned).into_iter().chain(flags(&runtime)?);
        let Settings { config, common } = Settings::try_parse_from(flags)?;
        let (folder, log) = (tempfile::tempdir()?, Arc::new(WriteOnlyLog::default()));
        let documents: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(folder.path().join("documents.db"))?);
        runtime.block_on(documents.put(&indexed_frames()?))?;
        let (database, accounts_service) = runtime.block_on(open_accounts(&folder))?;
        runtime.spawn(accounts_service.clone().run(CancellationToken::new()));
        let deps = Deps {
            bus: log.clone(),
            documents: documents.clone(),
            blobs: Arc::new(ObjectBlobs::folder(folder.path().join("blobs"))?),
            accounts: Arc::new(AcceptAll),
            accounts_service,
            subjects: database,
            files_in_use: FilesInUse::default(),
            other_services: Health::default(),
            other_routes: api_kit::describe::Routes::default(),
            traces: platform::traces::Traces::off(),
        };
        let health = crate::health(&config, &deps);
        let app = App::new(config, &common, &deps, CancellationToken::new())?;
        let router = crate::http::router(app, &health, deps.other_routes);
        Ok(Self { runtime, router, documents, log, one_request: Mutex::default(), _folder: folder })
    }

    /// The response to a request, with a token of every scope.
    pub fn ask(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer anything"));
        self.ask_anonymously(request)
    }

    /// The response to a request without a credential.
    pub fn ask_anonymously(&self, request: Request<Body>) -> Answer {
        let _one_request = self.one_request.lock().unwrap_or_else(PoisonError::into_inner);
        self.runtime.block_on(async {
            let Ok(response) = self.router.clone().oneshot(request).await;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            self.delete_documents().await;
            Answer { status: parts.status, headers: parts.headers, body, published: self.log.take() }
        })
    }

    /// Deletes the rules and streams that a request created, so that every request starts from the same state.
    async fn delete_documents(&self) {
        for rule in self.documents.rules(&TenantId::admin()).await.unwrap_or_default() {
            drop(self.documents.delete_rule(&TenantId::admin(), rule.id).await);
        }
        for stream in self.documents.streams(&TenantId::admin(), None, 100).await.unwrap_or_default() {
            drop(self.documents.delete_stream(&TenantId::admin(), &stream.name).await);
        }
    }
}

/// Accounts with a cheap password hash, and without limits on sign-ins.
async fn open_accounts(folder: &TempDir) -> anyhow::Result<(Relational, Arc<AccountsService>)> {
    let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await?;
    database.migrate().await?;
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 64 };
    let throttle = Throttle { address: None, ..Throttle::default() };
    let settings = AccountSettings { hashing, throttle, ..AccountSettings::default() };
    let (shared, mailer) = (SharedState::in_process(), Arc::new(LogMailer));
    let deps = accounts::Deps { shared, mailer, clock: Clock::default(), erasers: Vec::new() };
    let accounts = AccountsService::open(database.clone(), settings, deps).await.map_err(anyhow::Error::msg)?;
    Ok((database, accounts))
}
