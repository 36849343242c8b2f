//! Two instances of accounts on one database, like two processes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use accounts::{
    AccessError, AccountError, Accounts, AccountsService, Actor, Caller, Clock, Deps, Hashing, IssuedTokens,
    LocalLimits, LocalSessions, Mail, Mailer, Origin, RateLimits, Registration, Scope, SecretText, SessionCache,
    Settings, SharedState, UserAccess,
};
use async_trait::async_trait;
use store::relational::{UserLimit, UserRecord};
use store::{Relational, TenantEraser};
use testing::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "lamp ostrich kettle";
/// Time within which every instance refuses a revoked credential.
pub const SECOND: Duration = Duration::from_secs(1);

/// Two instances that share a database, the opaque sessions and the clock.
pub struct TestAccounts {
    pub one: Arc<AccountsService>,
    pub other: Arc<AccountsService>,
    pub store: Relational,
    pub clock: Clock,
    pub mails: Arc<Mails>,
    /// Stops the background work of the instances.
    pub stop: CancellationToken,
    running: Vec<JoinHandle<()>>,
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
    /// The mails so far, once there are at least `many`.
    pub async fn after(&self, many: usize) -> Vec<Mail> {
        eventually("the mail is sent", async || self.0.lock().unwrap().len() >= many).await;
        self.0.lock().unwrap().clone()
    }
}

/// Settings with cheap hashing and frequent reads of revocations.
pub fn settings() -> Settings {
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1000 };
    Settings {
        hashing,
        revocation_poll: Duration::from_millis(50),
        revocations_stale_after: Duration::from_secs(5),
        ..Settings::default()
    }
}

impl TestAccounts {
    pub async fn on(stores: [Relational; 2]) -> Self {
        Self::with(stores, settings(), || Arc::new(LocalLimits::default())).await
    }

    pub async fn with(stores: [Relational; 2], settings: Settings, limits: impl Fn() -> Arc<dyn RateLimits>) -> Self {
        let (clock, mails, stop) = (Clock::default(), Arc::new(Mails::default()), CancellationToken::new());
        let sessions: Arc<dyn SessionCache> = Arc::new(LocalSessions::default());
        let open = async |store: &Relational| {
            let shared = SharedState::new(limits(), Arc::clone(&sessions));
            let deps = Deps { shared, mailer: mails.clone(), clock: clock.clone(), erasers: Vec::new() };
            AccountsService::open(store.clone(), settings.clone(), deps).await.unwrap()
        };
        let (one, other) = (open(&stores[0]).await, open(&stores[1]).await);
        let running = [&one, &other].map(|accounts| tokio::spawn(Arc::clone(accounts).run(stop.clone())));
        let [store, _] = stores;
        Self { one, other, store, clock, mails, stop, running: running.into() }
    }

    /// Stops the background work of the instances, and waits for its end.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for running in self.running.drain(..) {
            running.await.unwrap();
        }
    }

    /// A further instance on the same database, which reads revocations only once, at its start.
    pub async fn open(&self, settings: Settings, erasers: Vec<Arc<dyn TenantEraser>>) -> Arc<AccountsService> {
        let (shared, mailer, clock) = (SharedState::in_process(), self.mails.clone(), self.clock.clone());
        let deps = Deps { shared, mailer, clock, erasers };
        AccountsService::open(self.store.clone(), settings, deps).await.unwrap()
    }

    /// Registers a user of this name with the usual password.
    pub async fn register(&self, name: &str) -> UserRecord {
        self.register_with(name, UserAccess::default()).await
    }

    pub async fn register_with(&self, name: &str, access: UserAccess) -> UserRecord {
        self.one.register(&registration(name), access, &Actor::default()).await.unwrap()
    }

    /// A user of this name with a quota.
    pub async fn register_with_quota(&self, name: &str, quota: UserLimit) -> UserRecord {
        self.register_with(name, UserAccess { quota, ..UserAccess::default() }).await
    }

    pub async fn sign_in(&self, name: &str) -> IssuedTokens {
        sign_in(&self.one, name, PASSWORD).await.unwrap()
    }

    /// The caller that signs in under this name.
    pub async fn caller(&self, name: &str) -> Caller {
        let tokens = self.sign_in(name).await;
        self.one.authenticate(tokens.access_token.expose()).await.unwrap()
    }

    /// An API token of this caller.
    pub async fn api_token(&self, caller: &Caller, scopes: &[Scope]) -> SecretText {
        let (_, token) = self.one.add_api_token(caller, "token", scopes, None, &Actor::default()).await.unwrap();
        token
    }

    /// Checks that both instances refuse a token within a second.
    pub async fn assert_refused_within_a_second(&self, token: &SecretText) {
        let started = tokio::time::Instant::now();
        for accounts in [&self.one, &self.other] {
            let refused = async || accounts.authenticate(token.expose()).await == Err(AccessError::InvalidCredential);
            eventually("the token is refused", refused).await;
        }
        assert!(started.elapsed() < SECOND, "{:?}", started.elapsed());
    }

    /// Checks that both instances accept a token.
    pub async fn assert_accepted(&self, token: &SecretText) {
        for accounts in [&self.one, &self.other] {
            accounts.authenticate(token.expose()).await.unwrap();
        }
    }
}

pub fn registration(name: &str) -> Registration {
    Registration {
        username: Some(name.to_owned()),
        email: Some(format!("{name}@example.org")),
        full_name: None,
        password: Some(SecretText::new(PASSWORD)),
        identity: None,
    }
}

pub fn origin_from(address: &str) -> Origin {
    Origin { address: address.parse::<IpAddr>().unwrap(), client: Some("curl/8.0".to_owned()) }
}

pub fn home_origin() -> Origin {
    origin_from("192.0.2.1")
}

pub async fn sign_in(accounts: &AccountsService, login: &str, password: &str) -> Result<IssuedTokens, AccountError> {
    accounts.sign_in(login, &SecretText::new(password), None, &home_origin()).await
}
