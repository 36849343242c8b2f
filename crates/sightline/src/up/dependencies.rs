//! Chooses an implementation for each dependency: a server if its address is set, else the embedded part in the data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use accounts::{Accounts, AccountsService, AdminToken, Clock, Scope, SharedState, WithAdminToken, generate_token};
use anyhow::Context;
use bus::embedded::{BusSync, FolderLock, Options};
use bus::{Bus, EmbeddedBus};
use clap::Args;
use faces::uploads::{UploadFolder, Uploads};
use gallery::Galleries;
use media::Pipelines;
use openid::Provider;
use platform::traces::{TraceExporter, Traces};
use settings::Secret;
use shop::{MockPayments, Shop, ShopDeps};
use shop_api::Audio;
use store::{
    Blobs, DatabaseArgs, Documents, FilesInUse, Media, Migrated, MongoArgs, MongoDocuments, ObjectBlobs, Relational,
    SqliteDocuments, TenantEraser, media_folder, open_media,
};
use text::Embeddings;

use super::Up;
use crate::{data_dir, topics};

/// The file of the accounts in the data folder.
pub const ACCOUNTS_FILE: &str = "accounts.sqlite";
/// The file of the documents in the data folder.
pub const DOCUMENTS_FILE: &str = "documents.sqlite";
/// The folder of the images in the data folder.
pub const BLOBS_FOLDER: &str = "blobs";
/// The folder of the shop's files in the data folder.
pub const MEDIA_FOLDER: &str = "media";
/// The finished files in that folder.
pub const MEDIA_OBJECTS: &str = "media/objects";
/// The embedded log in the data folder.
pub const LOG_FOLDER: &str = "log";

/// Settings of the embedded parts.
#[derive(Debug, Clone, Args)]
pub struct EmbeddedArgs {
    /// What an acknowledged message of the embedded log survives: `process` (kill -9) or `full` (also a power failure)
    #[arg(long, env = "SIGHTLINE_BUS_SYNC", default_value = "process", value_name = "SYNC")]
    bus_sync: BusSync,

    /// Maximum size of the embedded log on disk, in bytes; close to it, new frames are refused
    #[arg(long, env = "SIGHTLINE_BUS_DISK_LIMIT", default_value = "10GiB", value_name = "BYTES",
        value_parser = settings::bytes::<u64>(1 << 20..=1 << 60))]
    bus_disk_limit: u64,
}

/// The dependencies of the services.
pub struct Dependencies {
    pub bus: Arc<dyn Bus>,
    pub documents: Arc<dyn Documents>,
    pub blobs: Arc<dyn Blobs>,
    pub accounts: Arc<dyn Accounts>,
    /// Accounts and enrolled faces.
    pub database: Relational,
    /// The galleries of enrolled faces in this process.
    pub galleries: Galleries,
    /// The photographs that verify users, if a folder for them is set.
    pub uploads: Option<Uploads>,
    /// The users.
    pub accounts_service: Arc<AccountsService>,
    /// Recordings, previews and covers of the shop.
    pub media: Arc<dyn Media>,
    /// The shop.
    pub shop: Shop,
    /// The work on recordings as the shop sees it, if it is on.
    pub audio: Option<Audio>,
    /// The dependencies of its worker, which also carry its readiness.
    pub audio_worker: Option<audio_worker::Deps>,
    /// The OpenID provider, if one is set.
    pub openid: Option<Arc<Provider>>,
    /// A token for the camera program, which may only send frames.
    pub camera_token: Secret,
    /// Where rate limits, sessions and cached answers are stored, for the startup message.
    pub limits: String,
    /// The worker's dependencies, which also carry its readiness.
    pub worker: detector_worker::Deps,
    /// The data folder.
    pub folder: PathBuf,
    /// The data folder and the files of the embedded parts in it; none if there are only servers.
    pub files_in_use: FilesInUse,
    /// The file with the admin token, if this program created the token.
    pub token_file: Option<PathBuf>,
    /// The spans of the services; those of the worker are in its dependencies.
    pub traces: ServiceTraces,
}

/// Starts the spans of each service, under its own name.
pub struct ServiceTraces {
    pub ingest: Traces,
    pub indexer: Traces,
    pub alerts: Traces,
    pub faces: Traces,
    pub shop: Traces,
}

impl ServiceTraces {
    fn of(exporter: &TraceExporter) -> Self {
        Self {
            ingest: exporter.service("ingest-api"),
            indexer: exporter.service("indexer"),
            alerts: exporter.service("alert-stream"),
            faces: exporter.service("faces"),
            shop: exporter.service("shop-api"),
        }
    }
}

impl Dependencies {
    /// Opens all of them. `lock` is that of the embedded log; `None` means Kafka.
    pub async fn open(
        up: &Up,
        folder: PathBuf,
        lock: Option<FolderLock>,
        exporter: &TraceExporter,
    ) -> anyhow::Result<Self> {
        let lock_file = lock.as_ref().map(FolderLock::file);
        let (shared, mut database) = (shared_state(up)?, database(&up.database, &folder).await?);
        // Another process that uses PostgreSQL too would not reach answers in the memory of this one.
        if up.database.database_url.is_none() || up.redis.redis_url.is_some() {
            database = database.with_answers(shared.answers());
        }
        // Before anything is migrated, so that data of a later version is refused as a whole.
        database.check_can_migrate().await?;
        let (documents, _) = documents(&up.mongo, &folder).await?;
        let bus = bus(up, lock).await?;
        let (blobs, media) = (blobs(up, &folder)?, media(up, &folder)?);
        let (admin_token, token_file) = admin_token(up, &folder)?;
        let uploads_folder = UploadFolder::configured(&up.faces, &up.frames)?;
        let erasers = faces::tenant_erasers(&documents, &blobs, &database, uploads_folder.as_ref());
        let uploads = uploads_folder.map(|folder| Uploads::new(Arc::clone(&bus), folder));
        let accounts_service = accounts_service(up, database.clone(), shared, erasers).await?;
        let (accounts, camera_token) = with_tokens(&accounts_service, &admin_token)?;
        let audio = audio(up, &bus, &database);
        let shop = shop(up, &database, &media, &accounts_service, audio.as_ref());
        let audio_worker = audio.as_ref().map(|audio| {
            let mut deps = audio_worker::Deps::new(Arc::clone(&audio.bus), database.clone(), Arc::clone(&media));
            deps.traces = exporter.service("audio-worker");
            deps
        });
        let openid = Provider::new(&up.ingest.openid, &accounts_service.settings().issuer)?.map(Arc::new);
        database.log_face_search().await;
        let galleries = up.galleries.galleries(&database);
        let mut worker = detector_worker::Deps::new(Arc::clone(&bus), Arc::clone(&blobs));
        worker.traces = exporter.service("detector-worker");
        worker.galleries = Some(galleries.clone());
        let files_in_use = files_in_use(up, &folder, lock_file)?;
        Ok(Self {
            bus,
            documents,
            blobs,
            accounts,
            database,
            galleries,
            uploads,
            accounts_service,
            media,
            shop,
            audio,
            audio_worker,
            openid,
            camera_token,
            limits: up.redis.redis_url.as_ref().map_or("in this process", |_| "Redis").to_owned(),
            worker,
            folder,
            files_in_use,
            token_file,
            traces: ServiceTraces::of(exporter),
        })
    }
}

/// The operator's token, and the file that it is in if this program created it.
fn admin_token(up: &Up, folder: &Path) -> anyhow::Result<(Secret, Option<PathBuf>)> {
    Ok(match &up.admin_token.admin_token {
        Some(token) => (token.clone(), None),
        None => (data_dir::admin_token(folder)?.parse()?, Some(data_dir::token_file(folder))),
    })
}

/// The accounts with the operator's token and a new one for the camera program, which is returned too.
fn with_tokens(service: &Arc<AccountsService>, admin_token: &Secret) -> anyhow::Result<(Arc<dyn Accounts>, Secret)> {
    let accounts = service.with_admin_token(admin_token.expose()).map_err(anyhow::Error::msg)?;
    let camera_token = generate_token();
    let may_send = AdminToken::limited(&camera_token, &[Scope::FramesWrite]);
    Ok((Arc::new(WithAdminToken::new(may_send, accounts)), camera_token.parse()?))
}

/// Locks the folder of the embedded log; `None` with Kafka.
pub fn lock(up: &Up, folder: &Path) -> anyhow::Result<Option<FolderLock>> {
    let embedded = up.kafka.kafka_brokers.is_none();
    Ok(embedded.then(|| FolderLock::take(&folder.join(LOG_FOLDER))).transpose()?)
}

/// The files whose loss means that acknowledged data is lost.
fn files_in_use(up: &Up, folder: &Path, lock_file: Option<PathBuf>) -> anyhow::Result<FilesInUse> {
    let embedded = |server_is_set: bool, name: &str| (!server_is_set).then(|| folder.join(name));
    let log_is_embedded = lock_file.is_some();
    let files = [
        lock_file,
        embedded(up.mongo.mongodb_uri.is_some(), DOCUMENTS_FILE),
        embedded(up.database.database_url.is_some(), ACCOUNTS_FILE),
        embedded(up.blobs.blob_url.is_some(), BLOBS_FOLDER),
        embedded(up.media.media_url.is_some(), MEDIA_FOLDER),
    ];
    let topics = if log_is_embedded { topic_folders(&folder.join(LOG_FOLDER)) } else { Ok(Vec::new()) };
    let topics = topics.context("SIGHTLINE_DATA_DIR")?;
    FilesInUse::at(files.into_iter().flatten().chain(topics)).context("SIGHTLINE_DATA_DIR")
}

/// The folders of the embedded log, one for each topic.
fn topic_folders(log: &Path) -> std::io::Result<Vec<PathBuf>> {
    let paths = std::fs::read_dir(log)?.map(|entry| entry.map(|entry| entry.path()));
    Ok(paths.collect::<std::io::Result<Vec<_>>>()?.into_iter().filter(|path| path.is_dir()).collect())
}

async fn bus(up: &Up, lock: Option<FolderLock>) -> anyhow::Result<Arc<dyn Bus>> {
    let topics = up.topics.load()?;
    let Some(lock) = lock else {
        return Ok(Arc::new(topics::kafka(&up.kafka, &topics).await?));
    };
    let options = Options { sync: up.embedded.bus_sync, disk_limit: up.embedded.bus_disk_limit, ..Options::default() };
    // Opening may recover from a crash, which reads files and must not block the async threads.
    let opened = tokio::task::spawn_blocking(move || EmbeddedBus::open_locked(lock, &topics, options)).await?;
    let bus = opened?;
    // Retention waits for every group that ever joined. The group of detectors that are no longer configured would keep frames for ever.
    let workers = contracts::groups::detector_worker(&up.frames.detectors);
    for group in bus.replace_groups(contracts::TopicRole::Frames, &workers).await? {
        tracing::info!(group, "the consumer group of the detectors continues where that of other detectors stood");
    }
    Ok(Arc::new(bus))
}

/// Opens and migrates the documents: MongoDB if its address is set, else a file in the data folder. Also returns what the migration did.
pub async fn documents(mongo: &MongoArgs, folder: &Path) -> anyhow::Result<(Arc<dyn Documents>, Migrated)> {
    if let Some(uri) = &mongo.mongodb_uri {
        let documents = MongoDocuments::connect(uri.expose(), mongo.mongodb_database.as_deref()).await?;
        let migrated = documents.migrated();
        return Ok((Arc::new(documents), migrated));
    }
    let file = folder.join(DOCUMENTS_FILE);
    let documents = tokio::task::spawn_blocking(move || SqliteDocuments::open(file)).await??;
    let migrated = documents.migrated();
    Ok((Arc::new(documents), migrated))
}

fn blobs(up: &Up, folder: &Path) -> anyhow::Result<Arc<dyn Blobs>> {
    let opened = match &up.blobs.blob_url {
        Some(url) => ObjectBlobs::open(url).context("SIGHTLINE_BLOB_URL"),
        None => ObjectBlobs::folder(folder.join(BLOBS_FOLDER)).context("SIGHTLINE_DATA_DIR"),
    };
    Ok(Arc::new(opened?))
}

/// The files of the shop: the store of the settings, else a folder in the data folder.
fn media(up: &Up, folder: &Path) -> anyhow::Result<Arc<dyn Media>> {
    match &up.media.media_url {
        Some(_) => open_media(&up.media).context("SIGHTLINE_MEDIA_URL"),
        None => media_folder(folder.join(MEDIA_FOLDER)).context("SIGHTLINE_DATA_DIR"),
    }
}

/// The work on recordings, if it is on.
fn audio(up: &Up, bus: &Arc<dyn Bus>, database: &Relational) -> Option<Audio> {
    let models = &up.worker.models;
    up.topics.audio.then(|| Audio {
        pipelines: Pipelines::new(database.clone(), media::Clock::system()),
        bus: Arc::clone(bus),
        embeddings: Embeddings::new(models.folder.clone(), models.onnx.options(models.dir(), 1)),
    })
}

/// The shop. Its payments are those of the mock, which always pays.
fn shop(
    up: &Up,
    database: &Relational,
    media: &Arc<dyn Media>,
    accounts: &Arc<AccountsService>,
    audio: Option<&Audio>,
) -> Shop {
    let clock = Clock::default();
    let deps = ShopDeps {
        database: database.clone(),
        media: Arc::clone(media),
        payments: Arc::new(MockPayments::new(database.clone(), clock.clone())),
        accounts: Arc::clone(accounts),
        pipelines: audio.map(|audio| audio.pipelines.clone()),
        clock,
    };
    Shop::new(deps, &up.shop.shop)
}

/// Rate limits, sessions and cached answers: in Redis if its address is set, else in this process.
fn shared_state(up: &Up) -> anyhow::Result<SharedState> {
    match &up.redis.redis_url {
        Some(url) => SharedState::redis(url.expose()).map_err(anyhow::Error::msg),
        None => Ok(SharedState::in_process()),
    }
}

/// Migrates the tables of the accounts, and creates the operator's user.
async fn accounts_service(
    up: &Up,
    database: Relational,
    shared: SharedState,
    erasers: Vec<Arc<dyn TenantEraser>>,
) -> anyhow::Result<Arc<AccountsService>> {
    let migrated = database.migrate().await?;
    if migrated.is_changed() {
        tracing::info!("{}: {migrated}", database.describe());
    }
    let settings = up.ingest.accounts.settings(&up.tokens);
    let mailer = up.ingest.accounts.mailer()?;
    let deps = accounts::Deps { shared, mailer, clock: Clock::default(), erasers };
    let accounts_service = AccountsService::open(database, settings, deps).await.map_err(anyhow::Error::msg)?;
    accounts_service.operator().await.context("the operator's own user cannot be created")?;
    Ok(accounts_service)
}

/// The database of accounts: PostgreSQL if its address is set, else a file in the data folder.
pub async fn database(arguments: &DatabaseArgs, folder: &Path) -> anyhow::Result<Relational> {
    Ok(match &arguments.database_url {
        Some(url) => Relational::postgres(url.expose(), arguments.database_connections).await?,
        None => Relational::sqlite(folder.join(ACCOUNTS_FILE)).await?,
    })
}
