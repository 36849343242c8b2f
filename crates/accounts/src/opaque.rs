//! Opaque sessions of older clients, which have a UUID instead of a signed token. They are stored in Redis, or in this process,
//! with an expiry.
//!
//! A session stores its user and the last revocation before it. So a revocation of all of a user's tokens ends the user's opaque
//! sessions too, without a list of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::UserId;
use redis::aio::ConnectionManager;
use store::ExpiringTexts;
use store::relational::{RevocationKind, UserRecord};
use uuid::Uuid;

use crate::error::AccountError;
use crate::redis_link::connect;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sign_in::Origin;
use crate::{AccessError, Accounts};

/// Time limit of one command of Redis.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// A cache of texts with an expiry. Shared as `Arc<dyn SessionCache>`.
#[async_trait]
pub trait SessionCache: Send + Sync {
    /// Stores a text for `life`.
    async fn put(&self, key: &str, value: &str, life: Duration) -> Result<(), String>;

    /// The text; `None` for an unknown or expired key.
    async fn get(&self, key: &str) -> Result<Option<String>, String>;

    /// Removes a key. An unknown key is no error.
    async fn remove(&self, key: &str) -> Result<(), String>;
}

/// Sessions in the memory of this process.
#[derive(Default)]
pub struct LocalSessions(Mutex<ExpiringTexts>);

#[async_trait]
impl SessionCache for LocalSessions {
    async fn put(&self, key: &str, value: &str, life: Duration) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, value, life);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<String>, String> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(str::to_owned))
    }

    async fn remove(&self, key: &str) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}

/// Sessions in Redis, which all instances share.
pub struct RedisSessions(ConnectionManager);

impl RedisSessions {
    /// Uses the Redis at this address. It need not be reachable yet.
    ///
    /// # Errors
    /// The address is not one of Redis.
    pub fn new(url: &str) -> Result<Self, String> {
        connect(url).map(Self)
    }

    async fn run<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, String> {
        let mut connection = self.0.clone();
        match tokio::time::timeout(REDIS_TIMEOUT, command.query_async(&mut connection)).await {
            Ok(answer) => answer.map_err(|error| format!("Redis cannot be used now: {error}; see SIGHTLINE_REDIS_URL")),
            Err(_) => Err("Redis does not answer; see SIGHTLINE_REDIS_URL".to_owned()),
        }
    }
}

fn redis_key(key: &str) -> String {
    format!("sightline:session:{key}")
}

#[async_trait]
impl SessionCache for RedisSessions {
    async fn put(&self, key: &str, value: &str, life: Duration) -> Result<(), String> {
        let seconds = life.as_secs().max(1);
        self.run(redis::cmd("SET").arg(redis_key(key)).arg(value).arg("EX").arg(seconds)).await
    }

    async fn get(&self, key: &str) -> Result<Option<String>, String> {
        self.run(redis::cmd("GET").arg(redis_key(key))).await
    }

    async fn remove(&self, key: &str) -> Result<(), String> {
        self.run(redis::cmd("DEL").arg(redis_key(key))).await
    }
}

impl AccountsService {
    /// Signs a user in by user name or e-mail address and password, for an opaque session.
    pub async fn open_opaque(
        &self,
        login: &str,
        password: &SecretText,
        origin: &Origin,
    ) -> Result<SecretText, AccountError> {
        // Read before the password is verified: a later revocation ends the session.
        let revocation_sequence = self.store.last_revocation().await?;
        let (user, _) = self.verify_password(login, password, origin).await?;
        if user.disabled {
            return Err(self.refuse_sign_in(Some(user.id), origin).await);
        }
        let session = SecretText::new(Uuid::new_v4().to_string());
        let value = format!("{} {revocation_sequence}", user.id);
        let put = self.opaque.put(&cache_key(&session), &value, self.settings.opaque_session_life).await;
        put.map_err(AccountError::Unavailable)?;
        let detail = Some("opaque session".to_owned());
        self.audit("signed_in", Some(user.id), &origin.actor(Some(user.id)), detail).await;
        Ok(session)
    }

    /// The user of an opaque session.
    pub async fn opaque_user(&self, session: &SecretText) -> Result<Arc<UserRecord>, AccessError> {
        let verifier = &self.verifier;
        verifier.check().await?;
        let value = self.opaque.get(&cache_key(session)).await.map_err(AccessError::Unavailable)?;
        let (user, revocation_sequence) = value.as_deref().and_then(parse).ok_or(AccessError::InvalidCredential)?;
        if verifier.revocations.has_since(RevocationKind::User, user.uuid(), revocation_sequence) {
            return Err(AccessError::InvalidCredential);
        }
        verifier.active_user(user).await
    }

    /// Ends an opaque session.
    pub async fn end_opaque(&self, session: &SecretText) -> Result<(), AccountError> {
        self.opaque.remove(&cache_key(session)).await.map_err(AccountError::Unavailable)
    }
}

/// A hash, so that reading the cache reveals no session token.
fn cache_key(session: &SecretText) -> String {
    URL_SAFE_NO_PAD.encode(session.hash().0)
}

/// User and revocation_sequence of a stored session.
fn parse(value: &str) -> Option<(UserId, i64)> {
    let (user, revocation_sequence) = value.split_once(' ')?;
    Some((user.parse().ok()?, revocation_sequence.parse().ok()?))
}
