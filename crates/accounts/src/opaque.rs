//! Opaque sessions, for clients that hold a UUID in place of a token: kept with a lifetime in Redis, or in this process.
//!
//! What is kept says whose the session is and which revocation was the last before it: so whatever takes back all of a user's
//! tokens ends these sessions too, though nobody knows where they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::UserId;
use redis::aio::ConnectionManager;
use store::relational::{RevocationKind, UserRecord};
use tokio::time::Instant;
use uuid::Uuid;

use crate::AccessError;
use crate::error::AccountError;
use crate::limits;
use crate::secret::Secret;
use crate::sign_in::Origin;
use crate::stored::StoredAccounts;

/// How long Redis may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sessions after which those that are over are looked for.
const FEW: usize = 1_024;

/// The seam: texts under keys, with a lifetime. Cheap to share as `Arc<dyn SessionCache>`.
#[async_trait]
pub trait SessionCache: Send + Sync {
    /// Keeps a text for so long.
    async fn put(&self, key: &str, value: &str, life: Duration) -> Result<(), String>;

    /// The text, while it lives.
    async fn get(&self, key: &str) -> Result<Option<String>, String>;

    /// Ends it; one that is not there is no failure.
    async fn remove(&self, key: &str) -> Result<(), String>;
}

/// Sessions of this process, gone with it.
#[derive(Default)]
pub struct LocalSessions(Mutex<HashMap<String, (String, Instant)>>);

#[async_trait]
impl SessionCache for LocalSessions {
    async fn put(&self, key: &str, value: &str, life: Duration) -> Result<(), String> {
        let now = Instant::now();
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // At every power of two: so a session costs as much as one look, however many there are.
        if sessions.len() >= FEW && sessions.len().is_power_of_two() {
            sessions.retain(|_, (_, ends)| *ends > now);
        }
        sessions.insert(key.to_owned(), (value.to_owned(), now + life));
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<String>, String> {
        let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(sessions.get(key).filter(|(_, ends)| *ends > Instant::now()).map(|(value, _)| value.clone()))
    }

    async fn remove(&self, key: &str) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        Ok(())
    }
}

/// Sessions that all instances share.
pub struct RedisSessions(ConnectionManager);

impl RedisSessions {
    /// Uses the Redis at this address, whether or not it is there yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str) -> Result<Self, String> {
        limits::connect(url).map(Self)
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, String> {
        let mut connection = self.0.clone();
        match tokio::time::timeout(PATIENCE, command.query_async(&mut connection)).await {
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
        self.ask(redis::cmd("SET").arg(redis_key(key)).arg(value).arg("EX").arg(seconds)).await
    }

    async fn get(&self, key: &str) -> Result<Option<String>, String> {
        self.ask(redis::cmd("GET").arg(redis_key(key))).await
    }

    async fn remove(&self, key: &str) -> Result<(), String> {
        self.ask(redis::cmd("DEL").arg(redis_key(key))).await
    }
}

impl StoredAccounts {
    /// Signs somebody in by name or address and password, for an opaque session.
    pub async fn open_opaque(&self, login: &str, password: &Secret, origin: &Origin) -> Result<Secret, AccountError> {
        // Before the password is looked at: whatever is taken back from now on ends the session.
        let number = self.store.last_revocation().await?;
        let (user, _) = self.verified(login, password, origin).await?;
        if user.disabled {
            return Err(self.refused(Some(user.id), origin).await);
        }
        let session = Secret::new(Uuid::new_v4().to_string());
        let kept = format!("{} {number}", user.id);
        let put = self.opaque.put(&cache_key(&session), &kept, self.settings.opaque_session_life).await;
        put.map_err(AccountError::Unavailable)?;
        self.note("signed_in", Some(user.id), &origin.by(Some(user.id)), Some("opaque session".to_owned())).await;
        Ok(session)
    }

    /// Who stands behind an opaque session.
    pub async fn opaque_user(&self, session: &Secret) -> Result<Arc<UserRecord>, AccessError> {
        self.feed.check(self.settings.closed_after)?;
        let kept = self.opaque.get(&cache_key(session)).await.map_err(AccessError::Unavailable)?;
        let (user, number) = kept.as_deref().and_then(read).ok_or(AccessError::InvalidCredential)?;
        if self.feed.has_since(RevocationKind::User, user.uuid(), number) {
            return Err(AccessError::InvalidCredential);
        }
        let user = self.user_now(user).await?.filter(|user| !user.disabled);
        user.ok_or(AccessError::InvalidCredential)
    }

    /// Ends an opaque session.
    pub async fn end_opaque(&self, session: &Secret) -> Result<(), AccountError> {
        self.opaque.remove(&cache_key(session)).await.map_err(AccountError::Unavailable)
    }
}

/// What is kept is found by a hash: whoever reads the cache has no session.
fn cache_key(session: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(session.hash().0)
}

fn read(kept: &str) -> Option<(UserId, i64)> {
    let (user, number) = kept.split_once(' ')?;
    Some((user.parse().ok()?, number.parse().ok()?))
}
