//! Issues credentials and manages users. It contains a [`TokenVerifier`], which verifies them.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::FrameId;
use jiff::Timestamp;
use serde_json::Value;
use store::relational::{AnswerCache, LocalAnswers, SigningKeyRecord};
use store::{Relational, StoreError, TenantEraser};
use tokio::sync::mpsc;

use crate::admin_token::AdminToken;
use crate::answers::RedisAnswers;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::limits::{LocalLimits, RateLimitDecision, RateLimits, RedisLimits};
use crate::mail::Mailer;
use crate::opaque::{LocalSessions, RedisSessions, SessionCache};
use crate::passwords::Hasher;
use crate::quota::QuotaState;
use crate::resets::{self, ResetRequest};
use crate::settings::Settings;
use crate::signing_keys::{self, SigningKeyring};
use crate::throttle::SignInThrottle;
use crate::verifier::TokenVerifier;
use crate::with_admin_token::WithAdminToken;
use crate::{AccessError, Accounts};

/// Accounts in PostgreSQL or SQLite. [`Self::run`] must run while it is used.
pub struct AccountsService {
    pub(crate) verifier: Arc<TokenVerifier>,
    pub(crate) store: Relational,
    pub(crate) settings: Settings,
    pub(crate) signing_keys: SigningKeyring,
    pub(crate) clock: Clock,
    pub(crate) hasher: Hasher,
    pub(crate) throttle: SignInThrottle,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) opaque: Arc<dyn SessionCache>,
    pub(crate) erasers: Vec<Arc<dyn TenantEraser>>,
    /// Requests for reset mails, which [`Self::run`] answers.
    pub(crate) resets: mpsc::Sender<ResetRequest>,
    pub(crate) reset_requests: tokio::sync::Mutex<mpsc::Receiver<ResetRequest>>,
}

/// Dependencies of accounts besides their database.
pub struct Deps {
    /// Rate limits and opaque sessions. The database has the cached answers already.
    pub shared: SharedState,
    /// Delivers mail.
    pub mailer: Arc<dyn Mailer>,
    /// The clock; a test may advance it.
    pub clock: Clock,
    /// The erasers of a tenant's data outside the accounts' database. They run in this order.
    pub erasers: Vec<Arc<dyn TenantEraser>>,
}

/// Rate limits, opaque sessions and cached answers: in Redis, shared by all instances, or in the memory of this process.
pub struct SharedState {
    limits: Arc<dyn RateLimits>,
    sessions: Arc<dyn SessionCache>,
    answers: Arc<dyn AnswerCache>,
}

impl SharedState {
    /// State in the memory of this process, for a single-process installation.
    pub fn in_process() -> Self {
        Self::new(Arc::new(LocalLimits::default()), Arc::new(LocalSessions::default()))
    }

    /// State in the Redis at this address. It need not be reachable yet.
    ///
    /// # Errors
    /// The address is not one of Redis.
    pub fn redis(url: &str) -> Result<Self, String> {
        let (limits, sessions) = (Arc::new(RedisLimits::new(url)?), Arc::new(RedisSessions::new(url)?));
        Ok(Self { answers: Arc::new(RedisAnswers::new(url)?), ..Self::new(limits, sessions) })
    }

    /// State in these two implementations, and cached answers in the memory of this process.
    pub fn new(limits: Arc<dyn RateLimits>, sessions: Arc<dyn SessionCache>) -> Self {
        Self { limits, sessions, answers: Arc::new(LocalAnswers::default()) }
    }

    /// The cached answers, for [`Relational::with_answers`].
    pub fn answers(&self) -> Arc<dyn AnswerCache> {
        Arc::clone(&self.answers)
    }
}

impl AccountsService {
    /// Accounts in a database whose tables exist. Creates the first signing key and starts the hashing threads.
    ///
    /// # Errors
    /// Names what cannot be used or reached.
    pub async fn open(store: Relational, settings: Settings, deps: Deps) -> Result<Arc<Self>, String> {
        let Deps { shared: SharedState { limits, sessions, .. }, mailer, clock, erasers } = deps;
        let hasher = Hasher::start(settings.hashing)?;
        let (resets, reset_requests) = mpsc::channel(resets::QUEUE);
        let throttle = SignInThrottle { limits: limits.clone(), rates: settings.throttle, store: store.clone() };
        let verifier = TokenVerifier::open(store.clone(), settings.verifier(), limits, clock.clone()).await;
        let accounts = Self {
            verifier: verifier.map_err(|error| error.to_string())?,
            store,
            settings,
            signing_keys: SigningKeyring::default(),
            clock,
            hasher,
            throttle,
            mailer,
            opaque: sessions,
            erasers,
            resets,
            reset_requests: tokio::sync::Mutex::new(reset_requests),
        };
        accounts.rotate_keys().await.map_err(|error| error.to_string())?;
        Ok(Arc::new(accounts))
    }

    /// Accepts the operator's own token besides the users' credentials.
    ///
    /// # Errors
    /// The token is too short to be safe.
    pub fn with_admin_token(self: &Arc<Self>, token: &str) -> Result<Arc<dyn Accounts>, String> {
        let admin_token = AdminToken::new(token).map_err(|error| format!("SIGHTLINE_ADMIN_TOKEN: {error}"))?;
        Ok(Arc::new(WithAdminToken::new(admin_token, self.clone())))
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The database for a start-up line, without secrets.
    pub fn describe_database(&self) -> String {
        self.store.describe()
    }

    /// Closes the connections to the database, after their running statements.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// The present time by the accounts' clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The published keys, as a JSON Web Key Set (RFC 7517).
    pub fn jwks(&self) -> Value {
        self.verifier.keys.now().jwks(self.clock.now())
    }

    /// The quota of a caller.
    pub async fn quota(&self, caller: &Caller) -> Result<QuotaState, AccessError> {
        self.verifier.quota(caller).await
    }

    /// Adds a signing key when one is due, and loads the keys.
    pub(crate) async fn rotate_keys(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let decide = |keys: &[_]| signing_keys::due_rotation(keys, &self.settings, now);
        let records = self.store.rotate_signing_keys(decide, self.settings.access_tokens_expired_by(now)).await?;
        // Public keys first: this instance never signs with a key that it does not verify.
        let public = records.iter().map(SigningKeyRecord::verifying).collect();
        self.verifier.keys.replace(public).map_err(StoreError::Fatal)?;
        self.signing_keys.replace(&records);
        Ok(())
    }

    /// Loads the signing keys.
    pub(crate) async fn load_signing_keys(&self) -> Result<(), StoreError> {
        self.signing_keys.replace(&self.store.signing_keys().await?);
        Ok(())
    }
}

#[async_trait]
impl Accounts for AccountsService {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        self.verifier.authenticate(token).await
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<RateLimitDecision>, AccessError> {
        self.verifier.admit(caller).await
    }

    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.verifier.charge(caller, frame).await
    }

    async fn refund(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.verifier.refund(caller, frame).await
    }

    async fn check(&self) -> Result<(), AccessError> {
        self.verifier.check().await
    }

    fn shared_limits(&self) -> Option<Arc<dyn RateLimits>> {
        self.verifier.shared_limits()
    }
}
