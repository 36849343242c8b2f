//! Accounts in a database: who stands behind a credential, and what each may still do.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use contracts::{ApiTokenId, FrameId, UserId};
use jiff::Timestamp;
use moka::sync::Cache;
use serde_json::Value;
use store::Relational;
use store::relational::{ApiTokenOwner, AuditEntry, Charge, Charged, RevocationKind, Role, TokenHash, UserRecord};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::access_tokens::{self, Claims};
use crate::api_tokens;
use crate::caller::{Caller, Right};
use crate::clock::Clock;
use crate::feed::Feed;
use crate::keyring::{self, Keyring};
use crate::limits::{Decision, Rate, RateLimits};
use crate::mail::Mailer;
use crate::opaque::SessionCache;
use crate::passwords::Hasher;
use crate::quota::QuotaState;
use crate::resets::Asked;
use crate::secret;
use crate::settings::Settings;
use crate::throttle::Attempts;
use crate::{AccessError, Accounts};

/// How long something may be kept in memory that has not changed as far as anybody knows.
pub(crate) const CACHED: Duration = Duration::from_secs(60);
/// How many of each.
const MOST_CACHED: u64 = 50_000;

/// Accounts in PostgreSQL or SQLite. Shared as an `Arc`; [`Self::run`] must run beside its use.
pub struct StoredAccounts {
    pub(crate) store: Relational,
    pub(crate) settings: Settings,
    pub(crate) clock: Clock,
    pub(crate) keys: Keyring,
    pub(crate) feed: Feed,
    pub(crate) hasher: Hasher,
    pub(crate) attempts: Attempts,
    pub(crate) mailer: Arc<dyn Mailer>,
    pub(crate) opaque: Arc<dyn SessionCache>,
    pub(crate) resets: mpsc::Sender<Asked>,
    pub(crate) asked: tokio::sync::Mutex<mpsc::Receiver<Asked>>,
    /// API tokens that were used since that was last written down.
    pub(crate) used: Mutex<HashMap<ApiTokenId, Timestamp>>,
    users: Cache<UserId, Kept<UserRecord>>,
    tokens: Cache<TokenHash, Kept<ApiTokenOwner>>,
}

/// Something in memory, and up to which number revocations had been read before it was loaded.
#[derive(Clone)]
struct Kept<T> {
    value: Arc<T>,
    number: i64,
}

/// What accounts need besides their database.
pub struct Deps {
    /// How often requests and sign-ins may happen.
    pub limits: Arc<dyn RateLimits>,
    /// What holds opaque sessions.
    pub sessions: Arc<dyn SessionCache>,
    /// What delivers mail.
    pub mailer: Arc<dyn Mailer>,
    /// What tells the time.
    pub clock: Clock,
}

impl StoredAccounts {
    /// Accounts in a database whose tables are there already; makes the first signing key.
    ///
    /// # Errors
    /// Says what cannot be used or reached.
    pub async fn open(store: Relational, settings: Settings, deps: Deps) -> Result<Self, String> {
        let Deps { limits, sessions, mailer, clock } = deps;
        let hasher = Hasher::start(settings.hashing)?;
        let (resets, asked) = mpsc::channel(crate::resets::WAITING);
        let attempts = Attempts { limits, rates: settings.throttle, store: store.clone() };
        let accounts = Self {
            store,
            settings,
            clock,
            keys: Keyring::default(),
            feed: Feed::default(),
            hasher,
            attempts,
            mailer,
            opaque: sessions,
            resets,
            asked: tokio::sync::Mutex::new(asked),
            used: Mutex::default(),
            users: Cache::builder().max_capacity(MOST_CACHED).time_to_live(CACHED).build(),
            tokens: Cache::builder().max_capacity(MOST_CACHED).time_to_live(CACHED).build(),
        };
        accounts.change_keys().await.map_err(|error| error.to_string())?;
        accounts.poll().await.map_err(|error| error.to_string())?;
        Ok(accounts)
    }

    /// Adds a signing key when it is time for one, and takes in those there are.
    pub(crate) async fn change_keys(&self) -> Result<(), store::StoreError> {
        let now = self.clock.now();
        let decide = |keys: &[_]| keyring::due(keys, &self.settings, now);
        let records = self.store.change_signing_keys(decide, self.settings.all_over(now)).await?;
        self.keys.replace(&records).map_err(store::StoreError::Fatal)
    }

    /// Reads what was taken back since the last time.
    pub(crate) async fn poll(&self) -> Result<(), store::StoreError> {
        self.feed.catch_up(&self.store, &self.keys, self.clock.now()).await
    }

    /// Reads what was taken back just now, so that at least this instance knows at once. What cannot be read now is read soon:
    /// it is no reason to call what was done a failure.
    pub(crate) async fn hear(&self) {
        if let Err(error) = self.poll().await {
            tracing::debug!(error = error.to_string(), "what was taken back is heard a little later");
        }
    }

    /// The time, as accounts have it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The published keys, as a JSON Web Key Set.
    pub fn jwks(&self) -> Value {
        self.keys.now().jwks(self.clock.now())
    }

    /// What an access token says, if nothing speaks against it.
    pub(crate) fn claims(&self, token: &str) -> Result<Claims, AccessError> {
        let claims = access_tokens::verify(&self.keys, &self.settings, token, self.clock.now());
        let claims = claims.ok_or(AccessError::InvalidCredential)?;
        self.feed.check(self.settings.closed_after)?;
        if self.is_taken_back(&claims) { Err(AccessError::InvalidCredential) } else { Ok(claims) }
    }

    /// Whether an access token, its session or all of its user's were taken back, as far as that was read.
    pub(crate) fn is_taken_back(&self, claims: &Claims) -> bool {
        self.feed.has_since(RevocationKind::AccessToken, claims.jti, 0)
            || self.feed.has_since(RevocationKind::Session, claims.sid.uuid(), 0)
            || self.feed.has_since(RevocationKind::User, claims.sub.uuid(), claims.rev)
    }

    /// A user as it is now, as far as revocations have been read.
    pub(crate) async fn user_now(&self, id: UserId) -> Result<Option<Arc<UserRecord>>, AccessError> {
        if let Some(kept) = self.users.get(&id).filter(|kept| !self.user_changed(id, kept.number)) {
            return Ok(Some(kept.value));
        }
        let number = self.feed.read();
        let Some(user) = self.store.user(id).await.map_err(unavailable)? else { return Ok(None) };
        let value = Arc::new(user);
        self.users.insert(id, Kept { value: Arc::clone(&value), number });
        Ok(Some(value))
    }

    /// An API token that nothing speaks against, with its owner.
    pub(crate) async fn api_token_now(&self, token: &str) -> Result<Arc<ApiTokenOwner>, AccessError> {
        self.feed.check(self.settings.closed_after)?;
        if !token.starts_with(api_tokens::PREFIX) {
            // None of ours: what strangers make up is not asked of the database.
            return Err(AccessError::InvalidCredential);
        }
        let hash = secret::hash(token);
        let owner = match self.tokens.get(&hash).filter(|kept| !self.token_changed(kept)) {
            Some(kept) => kept.value,
            None => {
                let number = self.feed.read();
                let found = self.store.api_token(&hash).await.map_err(unavailable)?;
                let value = Arc::new(found.ok_or(AccessError::InvalidCredential)?);
                self.tokens.insert(hash, Kept { value: Arc::clone(&value), number });
                value
            }
        };
        let now = self.clock.now();
        let is_over = owner.token.expires_at.is_some_and(|end| end <= now);
        if is_over || owner.user.disabled { Err(AccessError::InvalidCredential) } else { Ok(owner) }
    }

    fn user_changed(&self, id: UserId, number: i64) -> bool {
        [RevocationKind::User, RevocationKind::UserChanged]
            .into_iter()
            .any(|kind| self.feed.has_since(kind, id.uuid(), number))
    }

    fn token_changed(&self, kept: &Kept<ApiTokenOwner>) -> bool {
        let owner = &kept.value;
        self.feed.has_since(RevocationKind::ApiToken, owner.token.id.uuid(), kept.number)
            || self.user_changed(owner.user.id, kept.number)
    }

    async fn caller_by_access_token(&self, token: &str) -> Result<Caller, AccessError> {
        let claims = self.claims(token)?;
        let user = self.user_now(claims.sub).await?.filter(|user| !user.disabled);
        let user = user.ok_or(AccessError::InvalidCredential)?;
        let session = Some(claims.sid);
        Ok(Caller { session, ..self.caller(&user, &claims.rights(), Some(claims.ends())) })
    }

    async fn caller_by_api_token(&self, token: &str) -> Result<Caller, AccessError> {
        let owner = self.api_token_now(token).await?;
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(owner.token.id, self.clock.now());
        Ok(self.caller(&owner.user, &Right::known_in(&owner.token.scopes), owner.token.expires_at))
    }

    fn caller(&self, user: &UserRecord, named: &[Right], ends: Option<Timestamp>) -> Caller {
        // A credential never allows more than its owner may now.
        let rights: Vec<Right> = Right::of(user.role).iter().copied().filter(|right| named.contains(right)).collect();
        Caller {
            tenant: user.tenant.clone(),
            user: Some(user.id),
            session: None,
            sees_all: user.role == Role::Admin && rights.contains(&Right::Admin),
            rights,
            rate_limit: user.rate_limit.in_force(self.settings.rate_limit),
            valid_until: ends.map(SystemTime::from),
        }
    }

    /// What is left of a caller's quota.
    pub async fn quota(&self, caller: &Caller) -> Result<QuotaState, AccessError> {
        let (now, period) = (self.clock.now(), self.settings.quota_period);
        let unlimited = QuotaState { limit: None, used: 0, resets_at: None };
        let Some((user, limit)) = self.limit_of(caller).await? else { return Ok(unlimited) };
        let used = self.store.used(user, &period.name(now)).await.map_err(unavailable)?;
        Ok(QuotaState { limit: Some(limit), used, resets_at: period.ends(now) })
    }

    /// Whose quota is charged and how large it is; none for a caller that has no quota.
    async fn limit_of(&self, caller: &Caller) -> Result<Option<(UserId, u32)>, AccessError> {
        let Some(id) = caller.user else { return Ok(None) };
        // Shut out, it may have been while a frame was on its way in.
        let user = self.user_now(id).await?.filter(|user| !user.disabled).ok_or(AccessError::InvalidCredential)?;
        Ok(user.quota.in_force(self.settings.quota).map(|limit| (id, limit)))
    }

    /// Notes what happened. What cannot be noted is logged, and stops nobody.
    pub(crate) async fn note(&self, action: &str, user: Option<UserId>, by: &By, detail: Option<String>) {
        let entry = AuditEntry {
            id: Uuid::now_v7(),
            at: self.clock.now(),
            action: action.to_owned(),
            user,
            actor: by.user,
            address: by.address.map(|address| address.to_string()),
            detail,
        };
        if let Err(error) = self.store.note(&entry).await {
            tracing::warn!(error = error.to_string(), action, "the audit log could not be written");
        }
    }
}

/// Who does something to an account, for the audit log.
#[derive(Debug, Clone, Copy, Default)]
pub struct By {
    /// The user who is signed in, if any.
    pub user: Option<UserId>,
    /// From which address, if it comes over the network.
    pub address: Option<IpAddr>,
}

/// Whatever the reason, the caller cannot be told from a stranger now. A defect is logged, since nobody sees it otherwise.
pub(crate) fn unavailable(error: store::StoreError) -> AccessError {
    match error {
        store::StoreError::Unavailable(cause) => AccessError::Unavailable(cause),
        store::StoreError::Fatal(cause) => {
            tracing::error!(error = cause, "accounts cannot be read");
            AccessError::Unavailable(cause)
        }
    }
}

#[async_trait]
impl Accounts for StoredAccounts {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        // A JSON Web Token has dots, an API token of ours has none.
        if token.contains('.') {
            self.caller_by_access_token(token).await
        } else {
            self.caller_by_api_token(token).await
        }
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<Decision>, AccessError> {
        let (Some(user), Some(limit)) = (caller.user, caller.rate_limit) else { return Ok(None) };
        let decision = self.attempts.limits.take(&format!("requests:{user}"), Rate::per_second(limit)).await;
        if decision.allowed {
            return Ok(Some(decision));
        }
        Err(AccessError::RateLimited { limit, retry_after: decision.retry_after.max(Duration::from_millis(1)) })
    }

    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        let Some((user, limit)) = self.limit_of(caller).await? else { return Ok(()) };
        let (now, period) = (self.clock.now(), self.settings.quota_period);
        let charge = Charge { user, frame, period: &period.name(now), limit };
        match self.store.charge(&charge, now).await.map_err(unavailable)? {
            Charged::Admitted { .. } => Ok(()),
            Charged::Refused => Err(AccessError::QuotaExceeded { resets_at: period.ends(now) }),
            Charged::UnknownUser => Err(AccessError::InvalidCredential),
        }
    }

    async fn refund(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        let Some((user, _)) = self.limit_of(caller).await? else { return Ok(()) };
        self.store.refund(user, frame, self.clock.now()).await.map_err(unavailable)
    }

    async fn check(&self) -> Result<(), AccessError> {
        self.feed.check(self.settings.closed_after)
    }
}
