//! API tokens: the credentials of programs.

use contracts::{ApiTokenId, SessionId, UserId};
use jiff::Timestamp;

use super::database::Relational;
use super::passwords::TokenHash;
use super::user_records::{UserRecord, user_columns};
use super::values::{Row, values};
use crate::StoreError;

/// Maximum number of API tokens of a user.
pub const MAX_API_TOKENS: u32 = 100;

/// An API token to add.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    /// The id.
    pub id: ApiTokenId,
    /// The owner.
    pub user: UserId,
    /// The name that its owner gave it.
    pub name: String,
    /// The hash of the token.
    pub token: TokenHash,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// End of its validity; `None` without an end.
    pub expires_at: Option<Timestamp>,
    /// The session that creates it; `None` for another credential.
    pub by_session: Option<SessionId>,
}

/// The outcome of adding an API token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiTokenWriteOutcome {
    /// Stored.
    Stored,
    /// The owner has [`MAX_API_TOKENS`].
    TooMany,
    /// The owner is disabled or deleted, or the session has ended.
    SignedOut,
}

/// An API token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenRecord {
    /// The id.
    pub id: ApiTokenId,
    /// The name that its owner gave it.
    pub name: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// Time of creation.
    pub created_at: Timestamp,
    /// End of its validity; `None` without an end.
    pub expires_at: Option<Timestamp>,
    /// Time of the last use, to about a minute.
    pub last_used_at: Option<Timestamp>,
}

/// An API token with its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTokenOwner {
    /// The API token.
    pub token: ApiTokenRecord,
    /// The owner.
    pub user: UserRecord,
}

impl ApiTokenRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ApiTokenId::from_uuid(row.get("token_id")?),
            name: row.get("name")?,
            scopes: row.get("scopes")?,
            created_at: row.get("token_created_at")?,
            expires_at: row.get("expires_at")?,
            last_used_at: row.get("last_used_at")?,
        })
    }
}

/// The columns of an API token in every statement that reads one.
macro_rules! token_columns {
    () => {
        "api_tokens.id AS token_id, api_tokens.name, api_tokens.scopes, api_tokens.created_at AS token_created_at, \
         api_tokens.expires_at, api_tokens.last_used_at"
    };
}

impl Relational {
    /// Adds an API token, unless the session has ended or the owner is disabled: a revoked credential must not create one.
    pub async fn add_api_token(&self, new: &NewApiToken, now: Timestamp) -> Result<ApiTokenWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        // Transactions that end sessions or disable the user lock the user too.
        transaction.lock_user(new.user).await?;
        let sql = "SELECT id FROM users WHERE id = $1 AND NOT disabled \
                   AND ($2 IS NULL OR EXISTS (SELECT 1 FROM sessions WHERE sessions.id = $2 AND ended_at IS NULL))";
        if transaction.row(sql, values![new.user, new.by_session]).await?.is_none() {
            return Ok(ApiTokenWriteOutcome::SignedOut);
        }
        let counted = transaction.row("SELECT count(*) AS known FROM api_tokens WHERE user_id = $1", values![new.user]);
        let known: i64 = counted.await?.map_or(Ok(0), |row| row.get("known"))?;
        if known >= i64::from(MAX_API_TOKENS) {
            return Ok(ApiTokenWriteOutcome::TooMany);
        }
        let sql = "INSERT INTO api_tokens (id, user_id, name, hash, scopes, created_at, expires_at) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let row = values![new.id, new.user, &new.name, &new.token, &new.scopes, now, new.expires_at];
        transaction.execute(sql, row).await?;
        transaction.commit().await?;
        Ok(ApiTokenWriteOutcome::Stored)
    }

    /// The token with this hash and its owner, even after its expiry.
    pub async fn api_token(&self, token: &TokenHash) -> Result<Option<ApiTokenOwner>, StoreError> {
        let sql = concat!(
            "SELECT ",
            token_columns!(),
            ", ",
            user_columns!(),
            " FROM api_tokens JOIN users ON users.id = api_tokens.user_id WHERE hash = $1"
        );
        let Some(row) = self.row(sql, values![token]).await? else { return Ok(None) };
        Ok(Some(ApiTokenOwner { token: ApiTokenRecord::read(&row)?, user: UserRecord::read(&row)? }))
    }

    /// A user's API tokens, newest first.
    pub async fn api_tokens(&self, user: UserId) -> Result<Vec<ApiTokenRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            token_columns!(),
            " FROM api_tokens WHERE user_id = $1 ORDER BY created_at DESC, id DESC"
        );
        self.rows(sql, values![user]).await?.iter().map(ApiTokenRecord::read).collect()
    }

    /// Deletes an API token of a user and revokes it. `false` when the user has no such token.
    pub async fn delete_api_token(&self, user: UserId, id: ApiTokenId, until: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "DELETE FROM api_tokens WHERE id = $1 AND user_id = $2";
        if transaction.execute(sql, values![id, user]).await? == 0 {
            return Ok(false);
        }
        transaction.revoke_api_token(id, until).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Records the last use of API tokens. A time before the recorded one changes nothing.
    pub async fn record_token_use(&self, used: &[(ApiTokenId, Timestamp)]) -> Result<(), StoreError> {
        if used.is_empty() {
            return Ok(());
        }
        // Sorted, because two instances that record the same tokens in different orders could deadlock.
        let mut used = used.to_vec();
        used.sort_unstable_by_key(|(id, _)| *id);
        let mut transaction = self.begin().await?;
        for (id, at) in used {
            let sql = "UPDATE api_tokens SET last_used_at = $2 WHERE id = $1 \
                       AND (last_used_at IS NULL OR last_used_at < $2)";
            transaction.execute(sql, values![id, at]).await?;
        }
        transaction.commit().await
    }
}
