//! `sightline up`: the services in one process, on embedded parts or on the servers that are set. Cameras run beside it, in
//! processes of their own.
//!
//! It calls the same `run` functions as the programs of the services. The embedded parts are in one locked folder. The address
//! of a server in the settings replaces the embedded part.

mod cameras;
mod client_commands;
mod data_folder;
pub mod dependencies;
mod startup_message;

use std::path::PathBuf;
use std::sync::Arc;

use accounts::{AccountsService, AdminTokenArgs, RedisArgs, TokenArgs};
use anyhow::Context;
use api_kit::describe::Routes;
use bus::{KafkaArgs, TopicArgs};
use clap::Args;
use contracts::{FaceArgs, FrameArgs, Topics};
use faces::{Faces, ModelNote};
use platform::Health;
use platform::config::{HttpArgs, OperatorArgs};
use platform::http::{Listener, OperatorPorts};
use platform::traces::TraceExporter;
use rules::BuiltInRuleSettings;
use settings::{Check, SettingErrors};
use shop::Shop;
use shop_api::ShopApi;
use store::{BlobArgs, DatabaseArgs, GalleryArgs, MediaArgs, MongoArgs};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::data_dir::{DataDir, create_private_files};
use dependencies::Dependencies;

/// Runs everything in this process
#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten)]
    operator: OperatorArgs,

    #[command(flatten)]
    topics: TopicArgs,

    #[command(flatten)]
    frames: FrameArgs,

    #[command(flatten)]
    built_ins: BuiltInRuleSettings,

    /// List of cameras, YAML: runs the camera program, which sends their frames
    #[arg(long, env = "SIGHTLINE_CAMERAS", value_name = "FILE")]
    cameras: Option<PathBuf>,

    #[command(flatten, next_help_heading = "Storage")]
    data_dir: DataDir,

    #[command(flatten)]
    embedded: dependencies::EmbeddedArgs,

    #[command(flatten, next_help_heading = "Servers instead of embedded parts")]
    kafka: KafkaArgs,

    #[command(flatten)]
    mongo: MongoArgs,

    #[command(flatten)]
    blobs: BlobArgs,

    #[command(flatten)]
    media: MediaArgs,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    redis: RedisArgs,

    #[command(flatten)]
    admin_token: AdminTokenArgs,

    #[command(flatten, next_help_heading = "Tokens and limits")]
    tokens: TokenArgs,

    #[command(flatten, next_help_heading = "ingest-api")]
    ingest: ingest_api::Config,

    #[command(flatten, next_help_heading = "detector-worker")]
    worker: detector_worker::Config,

    #[command(flatten, next_help_heading = "indexer")]
    indexer: indexer::Config,

    #[command(flatten, next_help_heading = "alert-stream")]
    alerts: alert_stream::Config,

    #[command(flatten, next_help_heading = "faces")]
    faces: faces::Config,

    #[command(flatten)]
    face_uses: FaceArgs,

    #[command(flatten)]
    galleries: GalleryArgs,

    #[command(flatten, next_help_heading = "shop-api")]
    shop: shop_api::Config,

    #[command(flatten, next_help_heading = "audio-worker")]
    audio: audio_worker::Config,
}

impl Check for Up {
    fn check(&self, errors: &mut SettingErrors) {
        self.http.check(errors);
        self.operator.check(errors);
        self.kafka.check(errors);
        self.admin_token.check(errors);
        self.worker.check_with(&self.frames.detectors, &self.face_uses, errors);
        let (topics, frames, rules) = (self.topics.clone(), self.frames.clone(), self.built_ins.clone());
        self.ingest.openid.check(&self.tokens.token_issuer, errors);
        self.ingest.check(&ingest_api::SharedArgs { topics, frames, rules }, errors);
        if self.topics.audio {
            self.audio.check(errors);
        }
    }
}

/// What runs in this process.
type Parts = JoinSet<anyhow::Result<()>>;

/// The open ports of the services.
struct Listeners {
    /// For clients.
    public: Listener,
    /// Of alert-stream, for ingest-api.
    inner: Listener,
    /// For gRPC, unless it is off.
    grpc: Option<Listener>,
}

impl Up {
    /// Settings that are valid but probably a mistake.
    pub fn warnings(&self) -> Vec<String> {
        platform::telemetry::log_filter_warning(&self.operator.log).into_iter().collect()
    }

    /// Runs until a signal, or until a part fails.
    pub async fn run(self) -> anyhow::Result<()> {
        platform::telemetry::init(&self.operator.log, self.operator.log_format)?;
        platform::telemetry::start_metrics();
        let announced = platform::shutdown::on_signal()?;
        create_private_files();
        // Locks the folder first: a second `up` has both the folder and the port of the first, and the lock names the process.
        let folder = self.data_dir.create()?;
        let lock = dependencies::lock(&self, &folder)?;
        // Binds the port next: a port in use is the most common mistake, and the check is cheap.
        let mut public = platform::http::listen(&self.http).await?;
        let grpc = shop_api::listen(&self.shop, &self.http).await?;
        self.check_cameras().await?;
        let stop = public.leave(announced);
        let traces = TraceExporter::start(&self.operator.traces)?;
        let dependencies = Dependencies::open(&self, folder, lock, &traces).await?;
        let inner =
            TcpListener::bind("127.0.0.1:0").await.context("no port for alert-stream on the loopback interface")?;
        let grace = self.operator.stop_grace;
        // Requests to this port come through the public one, which logs them.
        let listeners = Listeners { public, inner: Listener::from(inner).unlogged(), grpc };
        let serving = Box::pin(self.serve(listeners, dependencies, stop.clone()));
        let ended = platform::shutdown::within(grace, stop, serving).await;
        traces.close().await;
        ended
    }

    async fn serve(
        mut self,
        listeners: Listeners,
        dependencies: Dependencies,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        // The journal must survive a crash, so it is in the data folder and not in the system's temporary folder.
        self.worker.worker_state_dir.get_or_insert(dependencies.folder.join("worker"));
        self.ingest.alert_stream_url = format!("http://{}", listeners.inner.local_addr()?).parse()?;
        // This process has the routes of the shop itself.
        self.ingest.shop_api.shop_api_url = None;
        let face_models = self.face_models(&dependencies);
        let mut health = self.health(&dependencies);
        if let Some(note) = &face_models {
            health = note.shown_by(health);
        }
        let health = health.until(listeners.public.leaving());
        let extra = crate::dlq::admin::router(dependencies.bus.clone());
        let ports = OperatorPorts::open(&self.operator, &health, extra).await?;
        let face_models = match face_models {
            Some(note) => Some(note.text().await),
            None => None,
        };
        let startup_message = self.startup_message(&listeners, ports.admin_addr(), &dependencies, face_models)?;
        let cameras = self.camera_program(&listeners.public, &dependencies)?;

        faces::check_consents(&self.faces, &dependencies.database).await?;

        let mut parts = JoinSet::new();
        let services = cameras::start(cameras, &mut parts, &health, &stop, self.operator.stop_grace);
        self.start_services(&mut parts, listeners, &dependencies, &health, &services)?;
        let files = dependencies.files_in_use.clone();
        parts.spawn(data_folder::watch(files.clone(), services.clone()));
        parts.spawn(ports.serve(services));
        parts.spawn(startup_message.when_ready(health, stop.clone()));

        let outcome = all_ended(parts, &stop).await;
        let closed = dependencies.bus.close().await.map_err(anyhow::Error::from);
        // Whatever failed first, lost files are the cause.
        data_folder::check(&files).and(outcome).and(closed)
    }

    /// Starts the services, which end with `stop`. The public port has the routes of all, and its `/readyz` answers for all.
    fn start_services(
        self,
        parts: &mut Parts,
        listeners: Listeners,
        dependencies: &Dependencies,
        health: &Health,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { topics, frames, built_ins, ingest, worker, indexer, alerts, faces, face_uses, shop, audio, .. } =
            self;
        let audio_shared = audio_worker::SharedArgs {
            topics: topics.clone(),
            folder: worker.models.folder.clone(),
            onnx: worker.models.onnx.clone(),
        };
        let worker_shared = detector_worker::SharedArgs {
            topics: topics.clone(),
            frames: frames.clone(),
            faces: face_uses.clone(),
            strangers: indexer.strangers.clone(),
        };
        let faces_shared = faces::SharedArgs {
            frames: frames.clone(),
            models: worker.models.clone(),
            inference: worker.inference.clone(),
            uses: face_uses,
        };
        let faces_deps = dependencies.faces(topics.load()?);
        let faces = Faces::new(&faces, &faces_shared, &faces_deps);
        let shop = dependencies.shop_api(shop, &ingest)?;
        let other_routes = faces.routes().merge(shop.routes());
        let ingest_deps = ingest_api::Deps { other_services: health.clone(), other_routes, ..dependencies.ingest() };
        let shared = ingest_api::SharedArgs { topics, frames, rules: built_ins.clone() };
        parts.spawn(follow_progress(shop.clone(), stop.clone()));
        parts.spawn(serve_grpc(shop, listeners.grpc, health.clone(), listeners.public.leaving(), stop.clone()));
        parts.spawn(work_in_shop(dependencies.shop.clone(), stop.clone()));
        if let Some(deps) = &dependencies.audio_worker {
            parts.spawn(audio_worker::run(audio, audio_shared, deps.clone(), stop.clone()));
        }
        parts.spawn(ingest_api::run(ingest, shared, ingest_deps, listeners.public, stop.clone()));
        parts.spawn(detector_worker::run(worker, worker_shared, dependencies.worker(), stop.clone()));
        parts.spawn(indexer::run(indexer, built_ins, dependencies.indexer(), stop.clone()));
        parts.spawn(alert_stream::run(alerts, dependencies.alerts(), listeners.inner, stop.clone()));
        parts.spawn(maintain(dependencies.accounts_service.clone(), stop.clone()));
        parts.spawn(verify_uploads(faces.clone(), stop.clone()));
        parts.spawn(faces_in_background(faces, faces_deps, stop.clone()));
        Ok(())
    }

    /// Says which model compares faces, where faces are detected.
    fn face_models(&self, dependencies: &Dependencies) -> Option<ModelNote> {
        let detects_faces = self.frames.detectors.iter().any(|detector| detector.as_str() == faces::DETECTOR);
        detects_faces.then(|| ModelNote::new(&dependencies.database, &self.worker.models))
    }

    fn health(&self, dependencies: &Dependencies) -> Health {
        let health = ingest_api::health(&self.ingest, &dependencies.ingest())
            .and(detector_worker::health(&self.worker, &dependencies.worker()))
            .and(indexer::health(&self.indexer, &dependencies.indexer()))
            .and(alert_stream::health(&self.alerts, &dependencies.alerts()))
            .and(shop_api::health(&dependencies.shop()));
        let health = match &dependencies.audio_worker {
            Some(deps) => health.and(audio_worker::health(deps)),
            None => health,
        };
        match &dependencies.uploads {
            Some(uploads) => uploads.shown_by(health),
            None => health,
        }
    }
}

/// Serves gRPC until `stop`, unless it is off.
async fn serve_grpc(
    shop: ShopApi,
    listener: Option<Listener>,
    health: Health,
    leaving: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    match listener {
        Some(listener) => shop.serve_grpc(listener, &health, leaving, stop).await,
        None => Ok(()),
    }
}

/// Follows the progress of books until `stop`, for those who wait for it.
async fn follow_progress(shop: ShopApi, stop: CancellationToken) -> anyhow::Result<()> {
    shop.follow_progress(stop).await;
    Ok(())
}

/// Finishes payments, previews and deletions of the shop until `stop`.
async fn work_in_shop(shop: Shop, stop: CancellationToken) -> anyhow::Result<()> {
    Box::pin(shop.work(stop)).await;
    Ok(())
}

/// Runs the maintenance of accounts until `stop`.
async fn maintain(accounts: Arc<AccountsService>, stop: CancellationToken) -> anyhow::Result<()> {
    accounts.run(stop).await;
    Ok(())
}

/// Handles photographs that verify users until `stop`.
async fn verify_uploads(faces: Faces, stop: CancellationToken) -> anyhow::Result<()> {
    faces.verify_uploads(stop).await
}

/// Forgets deleted subjects and changes the model of faces until `stop`. Both end at any point: what is left is done after the next start.
async fn faces_in_background(faces: Faces, deps: faces::Deps, stop: CancellationToken) -> anyhow::Result<()> {
    let both = async { tokio::join!(faces::forget_regularly(&deps), faces.reembed_regularly()) };
    stop.run_until_cancelled(both).await;
    Ok(())
}

/// Waits until all parts have ended. The first failure cancels `stop`, and is the cause: the others follow from it.
async fn all_ended(mut parts: Parts, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.context("a service panicked").and_then(|result| result);
        if let Err(error) = ended
            && outcome.is_ok()
        {
            outcome = Err(error);
            stop.cancel();
        }
    }
    outcome
}

impl Dependencies {
    fn ingest(&self) -> ingest_api::Deps {
        ingest_api::Deps {
            bus: Arc::clone(&self.bus),
            documents: Arc::clone(&self.documents),
            blobs: Arc::clone(&self.blobs),
            accounts: Arc::clone(&self.accounts),
            accounts_service: self.accounts_service.clone(),
            subjects: self.database.clone(),
            files_in_use: self.files_in_use.clone(),
            other_services: Health::default(),
            other_routes: Routes::default(),
            traces: self.traces.ingest.clone(),
        }
    }

    fn worker(&self) -> detector_worker::Deps {
        self.worker.clone()
    }

    fn indexer(&self) -> indexer::Deps {
        let documents = &self.documents;
        let (bus, traces) = (Arc::clone(&self.bus), self.traces.indexer.clone());
        indexer::Deps {
            bus,
            documents: documents.clone(),
            rules: documents.clone(),
            watchlists: documents.clone(),
            traces,
        }
    }

    fn faces(&self, topics: Topics) -> faces::Deps {
        faces::Deps {
            accounts: Arc::clone(&self.accounts),
            database: self.database.clone(),
            galleries: self.galleries.clone(),
            documents: Arc::clone(&self.documents),
            blobs: Arc::clone(&self.blobs),
            topics,
            uploads: self.uploads.clone(),
            traces: self.traces.faces.clone(),
        }
    }

    /// The shop's services, with what other services have in their settings.
    fn shop_api(&self, config: shop_api::Config, ingest: &ingest_api::Config) -> anyhow::Result<ShopApi> {
        let public_url = self.accounts_service.settings().issuer.clone();
        let trusted_proxies = ingest.trusted_proxies.clone();
        ShopApi::new(&shop_api::Config { public_url, trusted_proxies, ..config }, &self.shop())
    }

    fn shop(&self) -> shop_api::Deps {
        shop_api::Deps {
            accounts: Arc::clone(&self.accounts),
            accounts_service: self.accounts_service.clone(),
            openid: self.openid.clone(),
            shop: self.shop.clone(),
            audio: self.audio.clone(),
            traces: self.traces.shop.clone(),
        }
    }

    fn alerts(&self) -> alert_stream::Deps {
        let (bus, accounts) = (Arc::clone(&self.bus), Arc::clone(&self.accounts));
        alert_stream::Deps { bus, accounts, traces: self.traces.alerts.clone() }
    }
}
