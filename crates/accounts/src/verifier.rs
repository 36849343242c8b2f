//! Verifies credentials: the caller of an access token or API token, its rate limit and its quota.
//!
//! In: a token. Out: a [`Caller`], or the reason for a refusal. An access token is verified by its signature; an API token is
//! read from the store by its hash and cached for a minute. Guarantees: a revoked credential is refused within a second on every
//! instance; while revocations cannot be read, every credential is refused. A verifier reads no private key, creates no keys,
//! starts no threads, sends no mail and deletes nothing, so a service that only verifies needs nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{ApiTokenId, FrameId, UserId};
use jiff::Timestamp;
use moka::sync::Cache;
use store::relational::{ApiTokenOwner, RevocationKind, Role, TokenHash, UserRecord};
use store::{Relational, StoreError};
use tokio_util::sync::CancellationToken;

use crate::access_tokens::{self, Claims};
use crate::caller::{Caller, Scope};
use crate::clock::Clock;
use crate::interval::{every, tick};
use crate::limits::{Rate, RateLimitDecision, RateLimits};
use crate::revocation_cache::RevocationCache;
use crate::settings::VerifierSettings;
use crate::verifying_keys::VerifyingKeyring;
use crate::{AccessError, Accounts, api_tokens, secret_text};

/// How long an unchanged user or API token stays cached.
pub(crate) const CACHE_TTL: Duration = Duration::from_secs(60);
/// Maximum number of cached users, and of cached API tokens.
const CACHE_CAPACITY: u64 = 50_000;
/// Period of writing the last use of API tokens.
const RECORD_EVERY: Duration = Duration::from_secs(30);

/// Verifies credentials against PostgreSQL or SQLite. [`Self::run`] must run at the same time.
pub struct TokenVerifier {
    pub(crate) store: Relational,
    pub(crate) settings: VerifierSettings,
    pub(crate) clock: Clock,
    pub(crate) keys: VerifyingKeyring,
    pub(crate) revocations: RevocationCache,
    pub(crate) limits: Arc<dyn RateLimits>,
    /// Last use of API tokens, since it was last written to the store.
    used: Mutex<HashMap<ApiTokenId, Timestamp>>,
    users: Cache<UserId, Cached<UserRecord>>,
    tokens: Cache<TokenHash, Cached<ApiTokenOwner>>,
}

/// A cached value with the number of the last revocation that was read before it was loaded.
#[derive(Clone)]
struct Cached<T> {
    value: Arc<T>,
    revocation_sequence: i64,
}

impl TokenVerifier {
    /// Verifies against a database whose tables exist. Reads the public keys and the revocations.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open(
        store: Relational,
        settings: VerifierSettings,
        limits: Arc<dyn RateLimits>,
        clock: Clock,
    ) -> Result<Arc<Self>, StoreError> {
        let verifier = Self {
            store,
            settings,
            clock,
            keys: VerifyingKeyring::default(),
            revocations: RevocationCache::default(),
            limits,
            used: Mutex::default(),
            users: Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build(),
            tokens: Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(CACHE_TTL).build(),
        };
        // Keys first: if a key is added in between, the revocations that are read next report the change.
        let keys = verifier.store.verifying_keys().await?;
        verifier.keys.replace(keys).map_err(StoreError::Fatal)?;
        verifier.refresh().await?;
        Ok(Arc::new(verifier))
    }

    /// Reads revocations and writes the last use of API tokens, until `stop`. Without it, credentials are refused once the
    /// revocations are stale.
    pub async fn run(&self, stop: CancellationToken) {
        tokio::join!(self.poll_revocations(&stop), self.record_usage(&stop));
        self.record_usage_once().await;
    }

    /// Reads the revocations since the last read.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        self.revocations.refresh(&self.store, &self.keys, self.clock.now()).await
    }

    /// Reads the revocations at once, so that this instance applies its own change without delay. A
    /// failure is ignored: the change is stored, and the next poll reads it.
    pub(crate) async fn refresh_best_effort(&self) {
        if let Err(error) = self.refresh().await {
            tracing::debug!(error = error.to_string(), "revocations could not be read; the next poll reads them");
        }
    }

    async fn poll_revocations(&self, stop: &CancellationToken) {
        let mut interval = every(self.settings.revocation_poll);
        let mut failing = false;
        while tick(&mut interval, stop).await {
            match self.refresh().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("revocations can be read again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        tracing::warn!(error = error.to_string(), "revocations cannot be read");
                    }
                    failing = true;
                }
            }
        }
    }

    async fn record_usage(&self, stop: &CancellationToken) {
        let mut interval = every(RECORD_EVERY);
        while tick(&mut interval, stop).await {
            self.record_usage_once().await;
        }
    }

    /// Writes the last use of API tokens. After a failure the next call writes it again.
    pub(crate) async fn record_usage_once(&self) {
        let used = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        let listed: Vec<_> = used.into_iter().collect();
        if let Err(error) = self.store.record_token_use(&listed).await {
            tracing::warn!(error = error.to_string(), "the last use of API tokens could not be written");
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let since = std::mem::replace(&mut *used, listed.into_iter().collect::<HashMap<_, _>>());
            used.extend(since);
        }
    }

    /// The claims of an access token that is valid and not revoked.
    pub(crate) fn claims(&self, token: &str) -> Result<Claims, AccessError> {
        let claims = access_tokens::verify(&self.keys, &self.settings, token, self.clock.now());
        let claims = claims.ok_or(AccessError::InvalidCredential)?;
        self.revocations.check_fresh(self.settings.revocations_stale_after)?;
        if self.is_revoked(&claims) { Err(AccessError::InvalidCredential) } else { Ok(claims) }
    }

    /// Whether an access token, its session or all tokens of its user are revoked.
    pub(crate) fn is_revoked(&self, claims: &Claims) -> bool {
        self.revocations.has_since(RevocationKind::AccessToken, claims.jti, 0)
            || self.revocations.has_since(RevocationKind::Session, claims.sid.uuid(), 0)
            || self.revocations.has_since(RevocationKind::User, claims.sub.uuid(), claims.revocation_sequence)
    }

    /// A user, even a disabled one, as of the last revocation that was read.
    pub(crate) async fn cached_user(&self, id: UserId) -> Result<Option<Arc<UserRecord>>, AccessError> {
        if let Some(cached) = self.users.get(&id).filter(|cached| !self.user_changed(id, cached.revocation_sequence)) {
            return Ok(Some(cached.value));
        }
        let revocation_sequence = self.revocations.last_read();
        let Some(user) = self.store.user(id).await.map_err(unavailable)? else { return Ok(None) };
        let value = Arc::new(user);
        self.users.insert(id, Cached { value: Arc::clone(&value), revocation_sequence });
        Ok(Some(value))
    }

    /// A user that exists and is not disabled.
    pub(crate) async fn active_user(&self, id: UserId) -> Result<Arc<UserRecord>, AccessError> {
        let user = self.cached_user(id).await?.filter(|user| !user.disabled);
        user.ok_or(AccessError::InvalidCredential)
    }

    /// A valid API token with its owner, who is not disabled.
    pub(crate) async fn active_api_token(&self, token: &str) -> Result<Arc<ApiTokenOwner>, AccessError> {
        self.revocations.check_fresh(self.settings.revocations_stale_after)?;
        if !token.starts_with(api_tokens::PREFIX) {
            // No query for a text of another form.
            return Err(AccessError::InvalidCredential);
        }
        let hash = secret_text::hash(token);
        let owner = match self.tokens.get(&hash).filter(|cached| !self.token_changed(cached)) {
            Some(cached) => cached.value,
            None => self.load_api_token(hash).await?,
        };
        let now = self.clock.now();
        let expired = owner.token.expires_at.is_some_and(|end| end <= now);
        if expired || owner.user.disabled { Err(AccessError::InvalidCredential) } else { Ok(owner) }
    }

    async fn load_api_token(&self, hash: TokenHash) -> Result<Arc<ApiTokenOwner>, AccessError> {
        let revocation_sequence = self.revocations.last_read();
        let found = self.store.api_token(&hash).await.map_err(unavailable)?;
        let value = Arc::new(found.ok_or(AccessError::InvalidCredential)?);
        self.tokens.insert(hash, Cached { value: Arc::clone(&value), revocation_sequence });
        Ok(value)
    }

    fn user_changed(&self, id: UserId, revocation_sequence: i64) -> bool {
        [RevocationKind::User, RevocationKind::UserChanged]
            .into_iter()
            .any(|kind| self.revocations.has_since(kind, id.uuid(), revocation_sequence))
    }

    fn token_changed(&self, cached: &Cached<ApiTokenOwner>) -> bool {
        let owner = &cached.value;
        self.revocations.has_since(RevocationKind::ApiToken, owner.token.id.uuid(), cached.revocation_sequence)
            || self.user_changed(owner.user.id, cached.revocation_sequence)
    }

    async fn caller_by_access_token(&self, token: &str) -> Result<Caller, AccessError> {
        let claims = self.claims(token)?;
        let user = self.active_user(claims.sub).await?;
        let (session, full_session) = (Some(claims.sid), !claims.is_narrowed());
        Ok(Caller { session, full_session, ..self.caller(&user, &claims.scopes(), Some(claims.expires_at())) })
    }

    async fn caller_by_api_token(&self, token: &str) -> Result<Caller, AccessError> {
        let owner = self.active_api_token(token).await?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.token.id, self.clock.now());
        Ok(self.caller(&owner.user, &Scope::parse_known(&owner.token.scopes), owner.token.expires_at))
    }

    fn caller(&self, user: &UserRecord, named: &[Scope], expires_at: Option<Timestamp>) -> Caller {
        // A credential allows only what its owner may do now.
        let scopes = Scope::intersect(Scope::allowed_for(user.role), named);
        Caller {
            tenant: user.tenant.clone(),
            user: Some(user.id),
            session: None,
            full_session: false,
            reads_all_tenants: user.role == Role::Admin && scopes.contains(&Scope::Admin),
            scopes,
            rate_limit: user.rate_limit.in_force(self.settings.rate_limit),
            valid_until: expires_at.map(SystemTime::from),
        }
    }
}

/// Converts a failure of the store for a refused request. Logs a defect, because the client cannot report it.
pub(crate) fn unavailable(error: StoreError) -> AccessError {
    match error {
        StoreError::Unavailable(cause) => AccessError::Unavailable(cause),
        StoreError::DiskFull(cause) => AccessError::DiskFull(cause),
        StoreError::Misconfigured(cause) | StoreError::Fatal(cause) => {
            tracing::error!(error = cause, "accounts cannot be read");
            AccessError::Unavailable(cause)
        }
    }
}

#[async_trait]
impl Accounts for TokenVerifier {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        // A JSON Web Token contains dots, an API token contains none.
        if token.contains('.') {
            self.caller_by_access_token(token).await
        } else {
            self.caller_by_api_token(token).await
        }
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<RateLimitDecision>, AccessError> {
        let (Some(user), Some(limit)) = (caller.user, caller.rate_limit) else { return Ok(None) };
        let decision = self.limits.take(&format!("requests:{user}"), Rate::per_second(limit)).await;
        if decision.allowed {
            return Ok(Some(decision));
        }
        Err(AccessError::RateLimited { limit, retry_after: decision.retry_after.max(Duration::from_millis(1)) })
    }

    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.charge_quota(caller, frame).await
    }

    async fn refund(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.refund_quota(caller, frame).await
    }

    async fn check(&self) -> Result<(), AccessError> {
        self.revocations.check_fresh(self.settings.revocations_stale_after)
    }

    fn shared_limits(&self) -> Option<Arc<dyn RateLimits>> {
        self.limits.is_shared().then(|| Arc::clone(&self.limits))
    }
}
