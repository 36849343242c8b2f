//! The service with its dependencies, on free ports.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accounts::{
    Accounts, AccountsService, Actor, Clock, Hashing, IssuedTokens, Mail, Mailer, Origin, Registration, Scope,
    SecretText, SharedState, UserAccess,
};
use async_trait::async_trait;
use bus::EmbeddedBus;
use bus::embedded::Options;
use clap::Parser;
use contracts::{Topics, UserId};
use media::Pipelines;
use models::FolderArgs;
use onnx::SessionOptions;
use openid::{OpenIdArgs, Provider};
use platform::http::Listener;
use platform::traces::Traces;
use prost::Message;
use shop::{MockPayments, Shop, ShopDeps};
use shop_api::proto::auth_v1::authentication_service_client::AuthenticationServiceClient;
use shop_api::proto::shop_v1::shop_service_client::ShopServiceClient;
use shop_api::{Audio, Config, Deps, Ports};
use store::relational::Role;
use store::{Relational, media_folder};
use tempfile::TempDir;
use testing::eventually;
use text::Embeddings;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// The password of every user.
pub const PASSWORD: &str = "lamp ostrich kettle";
/// The operator's own token.
pub const ADMIN_TOKEN: &str = "an-operator-token-for-the-tests-of-the-shop";

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    openid: OpenIdArgs,
}

/// Collects mails instead of sending them.
#[derive(Default)]
pub struct Mails(Mutex<Vec<Mail>>);

#[async_trait]
impl Mailer for Mails {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        self.0.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

impl Mails {
    /// The token in the last of at least `many` mails.
    pub async fn reset_token(&self, many: usize) -> String {
        eventually("the mail is sent", async || self.0.lock().unwrap().len() >= many).await;
        let mails = self.0.lock().unwrap();
        let (_, rest) = mails.last().unwrap().text.split_once("#token=").unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A user who has signed in.
#[derive(Clone)]
pub struct TestUser {
    pub id: UserId,
    pub access_token: String,
    pub refresh_token: String,
}

impl TestUser {
    fn of(tokens: &IssuedTokens) -> Self {
        Self {
            id: tokens.user.id,
            access_token: tokens.access_token.expose().to_owned(),
            refresh_token: tokens.refresh_token.expose().to_owned(),
        }
    }
}

/// The running service. It stops when this is dropped.
pub struct TestShop {
    /// REST and grpc-web.
    pub url: String,
    /// gRPC.
    pub grpc: SocketAddr,
    pub clock: Clock,
    pub mails: Arc<Mails>,
    pub database: Relational,
    pub accounts: Arc<AccountsService>,
    channel: Channel,
    announced: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    folder: TempDir,
}

impl Drop for TestShop {
    fn drop(&mut self) {
        self.announced.cancel();
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// The audio pipeline on a log in this folder.
fn audio(folder: &Path, database: &Relational) -> Audio {
    let topics = Topics::parse(contracts::topics::DEFAULT).unwrap().with_audio(true);
    let bus = EmbeddedBus::open(&folder.join("log"), &topics, Options::default()).unwrap();
    let models = folder.join("no-models");
    let args = FolderArgs { models_dir: Some(models.clone()), models_file: None, allow_noncommercial: false };
    Audio {
        pipelines: Pipelines::new(database.clone(), media::Clock::system()),
        bus: Arc::new(bus),
        embeddings: Embeddings::new(args, SessionOptions::cpu(models)),
    }
}

impl TestShop {
    /// With the default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further flags.
    pub async fn with(flags: &[&str]) -> Self {
        Self::open(flags, |_, _| None).await
    }

    /// With the audio pipeline, but without a worker and without models.
    pub async fn with_audio() -> Self {
        Self::open(&[], |folder, database| Some(audio(folder, database))).await
    }

    async fn open(flags: &[&str], audio: impl FnOnce(&Path, &Relational) -> Option<Audio>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::parse_from(["test"].iter().chain(flags));
        let database = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        database.migrate().await.unwrap();
        let (clock, mails) = (Clock::default(), Arc::new(Mails::default()));
        let accounts = open_accounts(&database, &mails, &clock).await;
        let (rest, calls) = (bind().await, bind().await);
        let (url, grpc) = (format!("http://{}", rest.local_addr().unwrap()), calls.local_addr().unwrap());
        let config = Config { public_url: url.clone(), ..settings.config };
        let audio = audio(folder.path(), &database);
        let shop = ShopDeps {
            database: database.clone(),
            media: media_folder(folder.path().join("media")).unwrap(),
            payments: Arc::new(MockPayments::new(database.clone(), clock.clone())),
            accounts: Arc::clone(&accounts),
            pipelines: audio.as_ref().map(|audio| audio.pipelines.clone()),
            clock: clock.clone(),
        };
        let shop = Shop::new(shop, &config.shop);
        let deps = Deps {
            accounts: accounts.with_admin_token(ADMIN_TOKEN).unwrap(),
            accounts_service: Arc::clone(&accounts),
            openid: Provider::new(&settings.openid, &url).unwrap().map(Arc::new),
            shop,
            audio,
            traces: Traces::off(),
        };
        let announced = CancellationToken::new();
        let mut clients = Listener::from(rest);
        let stop = clients.leave(announced.clone());
        let (accounts_service, ports) = (Arc::clone(&accounts), Ports { clients, grpc: Some(calls.into()) });
        let running = tokio::spawn(async move {
            let serving = shop_api::run(config, deps, ports, stop.clone());
            let (served, ()) = tokio::join!(Box::pin(serving), accounts_service.run(stop));
            served
        });
        let channel = Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect_lazy();
        let running = Some(running);
        Self { url, grpc, clock, mails, database, accounts, channel, announced, running, folder }
    }

    /// A connection, which all clients of this test share.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Registers a user of this name and signs it in.
    pub async fn user(&self, name: &str) -> TestUser {
        self.user_with(name, UserAccess::default()).await
    }

    /// The same with the role admin.
    pub async fn admin(&self, name: &str) -> TestUser {
        self.user_with(name, UserAccess { role: Role::Admin, ..UserAccess::default() }).await
    }

    async fn user_with(&self, name: &str, access: UserAccess) -> TestUser {
        let new = Registration {
            email: Some(email(name)),
            password: Some(SecretText::new(PASSWORD)),
            ..Registration::default()
        };
        self.accounts.register(&new, access, &Actor::default()).await.unwrap();
        let password = SecretText::new(PASSWORD);
        TestUser::of(&self.accounts.sign_in(&email(name), &password, None, &origin()).await.unwrap())
    }

    /// A user whose access token has been revoked.
    pub async fn revoked_user(&self, name: &str) -> TestUser {
        let user = self.user(name).await;
        self.accounts.revoke(&SecretText::new(user.refresh_token.clone()), &origin()).await.unwrap();
        let token = user.access_token.clone();
        eventually("the token is refused", async || self.accounts.authenticate(&token).await.is_err()).await;
        user
    }

    /// An API token of a user with one scope.
    pub async fn api_token(&self, user: &TestUser, scope: Scope) -> String {
        let caller = self.accounts.authenticate(&user.access_token).await.unwrap();
        let added = self.accounts.add_api_token(&caller, "camera", &[scope], None, &Actor::default()).await;
        added.unwrap().1.expose().to_owned()
    }

    pub fn auth_client(&self) -> AuthenticationServiceClient<Channel> {
        AuthenticationServiceClient::new(self.channel())
    }

    pub fn shop_client(&self) -> ShopServiceClient<Channel> {
        ShopServiceClient::new(self.channel())
    }

    /// Calls a method with a message of any type; the answer is not read.
    pub async fn call<M: Message + Default + 'static>(&self, path: &str, request: Request<M>) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel());
        client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let codec = tonic_prost::ProstCodec::<M, ()>::default();
        client.unary(request, path.parse().unwrap(), codec).await.map(drop)
    }

    /// The files of unfinished uploads in the media store whose names begin so: `part-`, `tail-`.
    pub fn unfinished(&self, prefix: &str) -> Vec<String> {
        let uploads = std::fs::read_dir(self.folder.path().join("media/unfinished")).unwrap().flatten();
        // An upload may end meanwhile.
        let files = uploads.filter_map(|upload| std::fs::read_dir(upload.path()).ok()).flatten().flatten();
        files.filter_map(|file| file.file_name().into_string().ok()).filter(|name| name.starts_with(prefix)).collect()
    }

    /// Stops the service like a signal.
    pub async fn stop(mut self) {
        self.announced.cancel();
        self.running.take().unwrap().await.unwrap().unwrap();
    }
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Accounts with cheap hashing, without a limit of requests.
async fn open_accounts(database: &Relational, mails: &Arc<Mails>, clock: &Clock) -> Arc<AccountsService> {
    let settings = accounts::Settings {
        hashing: Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1000 },
        revocation_poll: Duration::from_millis(50),
        rate_limit: None,
        ..accounts::Settings::default()
    };
    let (shared, mailer) = (SharedState::in_process(), Arc::clone(mails));
    let deps = accounts::Deps { shared, mailer, clock: clock.clone(), erasers: Vec::new() };
    AccountsService::open(database.clone(), settings, deps).await.unwrap()
}

/// The address of a user.
pub fn email(name: &str) -> String {
    format!("{name}@example.org")
}

fn origin() -> Origin {
    Origin { address: Ipv4Addr::LOCALHOST.into(), client: None }
}

/// A call with a bearer token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

/// The stable code of a status.
pub fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Checks the code and the stable code of a refusal.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, expected: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
}
