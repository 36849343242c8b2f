//! Sessions: one sign-in and its refresh tokens.
//!
//! A session has one unspent refresh token. Spending it creates the next one. The database decides which of several concurrent
//! attempts is first.

use contracts::{SessionId, UserId};
use jiff::{SignedDuration, Timestamp};

use super::database::Relational;
use super::passwords::{PasswordHash, TokenHash};
use super::revocations::RevocationKind;
use super::transaction::Transaction;
use super::user_records::{UserRecord, user_columns};
use super::values::{Row, values};
use crate::StoreError;

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// The id.
    pub id: SessionId,
    /// The user.
    pub user: UserId,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// Whether the scopes are fewer than every user may have.
    pub narrowed: bool,
    /// The program that signs in, for the owner to recognise the session.
    pub client: Option<String>,
    /// Address of the client.
    pub address: Option<String>,
    /// The first refresh token.
    pub token: TokenHash,
    /// Expiry, unless it is renewed.
    pub expires_at: Timestamp,
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The id.
    pub id: SessionId,
    /// The user.
    pub user: UserId,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// Whether the scopes were fewer than every user might have at the sign-in; `None` if an older program opened the session.
    pub narrowed: Option<bool>,
    /// The program that signed in.
    pub client: Option<String>,
    /// Address of the client.
    pub address: Option<String>,
    /// Time of the sign-in.
    pub created_at: Timestamp,
    /// Time of the last renewal.
    pub last_used_at: Timestamp,
    /// Expiry, unless it is renewed.
    pub expires_at: Timestamp,
}

impl SessionRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId::from_uuid(row.get("session_id")?),
            user: UserId::from_uuid(row.get("session_user")?),
            scopes: row.get("scopes")?,
            narrowed: row.get("narrowed")?,
            client: row.get("client")?,
            address: row.get("address")?,
            created_at: row.get("session_created_at")?,
            last_used_at: row.get("last_used_at")?,
            expires_at: row.get("expires_at")?,
        })
    }
}

/// The columns of a session in every statement that reads one.
macro_rules! session_columns {
    () => {
        "sessions.id AS session_id, sessions.user_id AS session_user, sessions.scopes, sessions.narrowed, sessions.client, \
         sessions.address, sessions.created_at AS session_created_at, sessions.last_used_at, sessions.expires_at"
    };
}

/// The outcome of spending a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotationOutcome {
    /// It is spent, and the next one is stored.
    Rotated {
        /// The session.
        session: Box<SessionRecord>,
        /// The user.
        user: Box<UserRecord>,
        /// The last revocation, which does not concern an access token that is issued now.
        revocation_sequence: i64,
    },
    /// It was spent within the grace period, as by two tabs or after a lost response. The session continues.
    Spent,
    /// It was spent earlier, so another party has a copy. The session is ended.
    Reused {
        /// The session that ended.
        session: SessionId,
        /// The user.
        user: UserId,
    },
    /// It is unknown or expired, its session ended, or its user is disabled.
    Unknown,
}

impl Relational {
    /// Opens a session, if the user is not disabled and its password is still the `verified` one. Returns the last revocation, which
    /// does not concern an access token that is issued now; `None` without a session.
    pub async fn open_session(
        &self,
        new: &NewSession,
        verified: Option<&PasswordHash>,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the user: a concurrent disabling or change of the password ends this session, or prevents it here.
        let sql = "UPDATE users SET last_sign_in_at = $2 WHERE id = $1 AND NOT disabled \
                   AND ($3 IS NULL OR password_hash = $3)";
        if transaction.execute(sql, values![new.user, now, verified.map(PasswordHash::expose)]).await? == 0 {
            return Ok(None);
        }
        let sql = "INSERT INTO sessions (id, user_id, scopes, narrowed, client, address, created_at, last_used_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8)";
        let row = values![new.id, new.user, &new.scopes, new.narrowed, &new.client, &new.address, now, new.expires_at];
        transaction.execute(sql, row).await?;
        transaction.add_refresh_token(new.id, &new.token, new.expires_at).await?;
        let revocation_sequence = transaction.last_revocation().await?;
        transaction.commit().await?;
        Ok(Some(revocation_sequence))
    }

    /// Spends a refresh token for the next one. A reuse within `grace` after that does not end the session. `until` is the time at
    /// which every access token of now has expired, `expires_at` the expiry of the next refresh token.
    pub async fn rotate(
        &self,
        spent: &TokenHash,
        next: &TokenHash,
        now: Timestamp,
        grace: SignedDuration,
        until: Timestamp,
        expires_at: Timestamp,
    ) -> Result<RotationOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        // The session before its token, as a deletion locks them: otherwise the two could deadlock.
        let sql = "UPDATE sessions SET last_used_at = $2, expires_at = $3 WHERE ended_at IS NULL \
                   AND id = (SELECT session_id FROM refresh_tokens WHERE hash = $1) RETURNING id";
        let Some(row) = transaction.row(sql, values![spent, now, expires_at]).await? else {
            return Ok(RotationOutcome::Unknown);
        };
        let id = SessionId::from_uuid(row.get("id")?);
        let sql = "UPDATE refresh_tokens SET spent_at = $2 WHERE hash = $1 AND spent_at IS NULL AND expires_at > $2";
        if transaction.execute(sql, values![spent, now]).await? == 0 {
            // Rolls back the use of the session.
            drop(transaction);
            return self.begin().await?.refuse_rotation(spent, now, grace, until).await;
        }
        let sql = concat!(
            "SELECT ",
            session_columns!(),
            ", ",
            user_columns!(),
            " FROM sessions JOIN users ON users.id = sessions.user_id WHERE sessions.id = $1 AND NOT disabled"
        );
        let Some(row) = transaction.row(sql, values![id]).await? else { return Ok(RotationOutcome::Unknown) };
        let (session, user) = (Box::new(SessionRecord::read(&row)?), Box::new(UserRecord::read(&row)?));
        transaction.add_refresh_token(id, next, expires_at).await?;
        let revocation_sequence = transaction.last_revocation().await?;
        transaction.commit().await?;
        Ok(RotationOutcome::Rotated { session, user, revocation_sequence })
    }

    /// The session of a refresh token that is neither spent nor expired.
    pub async fn session_by_token(
        &self,
        token: &TokenHash,
        now: Timestamp,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            session_columns!(),
            " FROM refresh_tokens JOIN sessions ON sessions.id = refresh_tokens.session_id WHERE hash = $1",
            " AND spent_at IS NULL AND refresh_tokens.expires_at > $2 AND ended_at IS NULL"
        );
        self.row(sql, values![token, now]).await?.as_ref().map(SessionRecord::read).transpose()
    }

    /// The session of a refresh token, even of a spent one, and its user; `None` when the session has ended.
    pub async fn session_of_token(&self, token: &TokenHash) -> Result<Option<(SessionId, UserId)>, StoreError> {
        let sql = "SELECT session_id, user_id FROM refresh_tokens JOIN sessions ON sessions.id = refresh_tokens.session_id \
                   WHERE hash = $1 AND ended_at IS NULL";
        let Some(row) = self.row(sql, values![token]).await? else { return Ok(None) };
        Ok(Some((SessionId::from_uuid(row.get("session_id")?), UserId::from_uuid(row.get("user_id")?))))
    }

    /// A user's open sessions, newest first, at most a thousand.
    pub async fn sessions(&self, user: UserId, now: Timestamp) -> Result<Vec<SessionRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            session_columns!(),
            " FROM sessions WHERE user_id = $1 AND ended_at IS NULL AND expires_at > $2",
            " ORDER BY created_at DESC, id DESC LIMIT 1000"
        );
        self.rows(sql, values![user, now]).await?.iter().map(SessionRecord::read).collect()
    }

    /// The addresses of a user's sessions that were used since a time; at most 200.
    pub async fn signed_in_from(&self, user: UserId, since: Timestamp) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT address FROM sessions WHERE user_id = $1 AND last_used_at > $2 AND address IS NOT NULL \
                   LIMIT 200";
        self.rows(sql, values![user, since]).await?.iter().map(|row| row.get("address")).collect()
    }

    /// Ends a session of a user and revokes its access tokens. `false` when the user has no such open session.
    pub async fn end_session(
        &self,
        user: UserId,
        id: SessionId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE sessions SET ended_at = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
        if transaction.execute(sql, values![id, user, now]).await? == 0 {
            return Ok(false);
        }
        transaction.revoke_session(id, until).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Ends every session of a user and revokes its access tokens. `false` for an unknown user.
    pub async fn end_all_sessions(&self, user: UserId, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.lock_user(user).await? {
            return Ok(false);
        }
        transaction.end_sessions(user, None, now, until).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl Transaction {
    async fn add_refresh_token(
        &mut self,
        session: SessionId,
        token: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO refresh_tokens (hash, session_id, expires_at) VALUES ($1, $2, $3)";
        self.execute(sql, values![token, session, expires_at]).await.map(drop)
    }

    /// The reason why a token could not be spent. Ends the session of a reused one.
    async fn refuse_rotation(
        mut self,
        token: &TokenHash,
        now: Timestamp,
        grace: SignedDuration,
        until: Timestamp,
    ) -> Result<RotationOutcome, StoreError> {
        let sql = "SELECT session_id, user_id, spent_at FROM refresh_tokens \
                   JOIN sessions ON sessions.id = refresh_tokens.session_id WHERE hash = $1 AND ended_at IS NULL";
        let Some(row) = self.row(sql, values![token]).await? else { return Ok(RotationOutcome::Unknown) };
        let Some(spent_at) = row.get::<Option<Timestamp>>("spent_at")? else { return Ok(RotationOutcome::Unknown) };
        if now.duration_since(spent_at) <= grace {
            return Ok(RotationOutcome::Spent);
        }
        let session = SessionId::from_uuid(row.get("session_id")?);
        let user = UserId::from_uuid(row.get("user_id")?);
        let sql = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
        if self.execute(sql, values![session, now]).await? == 1 {
            self.revoke_session(session, until).await?;
            self.commit().await?;
        }
        Ok(RotationOutcome::Reused { session, user })
    }

    /// Ends every session of a user but `keep`, and revokes all its access tokens.
    pub(super) async fn end_sessions(
        &mut self,
        user: UserId,
        keep: Option<SessionId>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE sessions SET ended_at = $2 WHERE user_id = $1 AND ended_at IS NULL AND id <> $3";
        // No session has the nil id.
        let keep = keep.map_or_else(uuid::Uuid::nil, |keep| keep.uuid());
        self.execute(sql, values![user, now, keep]).await?;
        self.revoke(RevocationKind::User, user.uuid(), until).await
    }
}
