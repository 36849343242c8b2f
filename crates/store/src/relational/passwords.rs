//! Hashes of passwords and tokens, which print as `***`, and setting passwords.

use std::fmt;

use contracts::UserId;
use jiff::Timestamp;

use super::Relational;
use super::values::values;
use crate::StoreError;

/// A password's hash with its parameters and salt, in the PHC string format.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Wraps a hash.
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The hash as a PHC string.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a random token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The outcome of a password reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordReset {
    /// The user.
    pub user: UserId,
    /// Number of API tokens that were deleted.
    pub api_tokens: u64,
}

impl Relational {
    /// The hash of a user's password; `None` for an unknown user and one without a password.
    pub async fn password(&self, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
        let row = self.row("SELECT password_hash FROM users WHERE id = $1", values![user]).await?;
        let hash = row.map(|row| row.get::<Option<String>>("password_hash")).transpose()?.flatten();
        Ok(hash.map(PasswordHash))
    }

    /// Replaces a hash by another one of the same password, unless the password was changed in the meantime.
    pub async fn rehash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        self.execute(sql, values![user, old.expose(), new.expose()]).await?;
        Ok(())
    }

    /// Stores the hash of a reset token that is mailed to this address. `false` when the user has
    /// another address now, is disabled or deleted.
    pub async fn add_reset(
        &self,
        user: UserId,
        mailed_to: &str,
        token: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // A change of the address locks the user too, and deletes the tokens that were mailed to the previous address.
        transaction.lock_user(user).await?;
        let sql = "INSERT INTO password_resets (hash, user_id, expires_at) \
                   SELECT $1, id, $3 FROM users WHERE id = $2 AND email = $4 AND NOT disabled";
        let added = transaction.execute(sql, values![token, user, expires_at, mailed_to]).await? == 1;
        transaction.commit().await?;
        Ok(added)
    }

    /// Spends a reset token: sets the password, ends every session, deletes the user's API tokens, federated identities and other
    /// reset tokens. This removes the access of everyone who had access before. `None` when the
    /// token is unknown, spent or expired. `until` is the time at which all present credentials have expired.
    pub async fn reset_password(
        &self,
        token: &TokenHash,
        new: &PasswordHash,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<PasswordReset>, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT user_id FROM password_resets WHERE hash = $1";
        let Some(row) = transaction.row(sql, values![token]).await? else { return Ok(None) };
        let user = UserId::from_uuid(row.get("user_id")?);
        // Locks the user before its tokens, in the same order as every transaction; otherwise two could deadlock.
        transaction.lock_user(user).await?;
        let sql = "DELETE FROM password_resets WHERE hash = $1 AND expires_at > $2";
        if transaction.execute(sql, values![token, now]).await? == 0 {
            return Ok(None);
        }
        transaction.set_password(user, new, now).await?;
        // The token was mailed to the present address: a change of the address deletes the tokens.
        transaction.execute("UPDATE users SET verified_email = email WHERE id = $1", values![user]).await?;
        transaction.unlink(user).await?;
        let api_tokens = transaction.execute("DELETE FROM api_tokens WHERE user_id = $1", values![user]).await?;
        // The revocation of the user also removes cached API tokens.
        transaction.end_sessions(user, None, now, until).await?;
        transaction.commit().await?;
        Ok(Some(PasswordReset { user, api_tokens }))
    }

    /// Replaces the password with the hash `old`, ends every session except `keep`, and deletes
    /// reset tokens. `false` when the password was changed in the meantime or the user was deleted.
    pub async fn change_password(
        &self,
        user: UserId,
        old: Option<&PasswordHash>,
        new: &PasswordHash,
        keep: Option<contracts::SessionId>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.lock_user(user).await?;
        let row = transaction.row("SELECT password_hash FROM users WHERE id = $1", values![user]).await?;
        let Some(row) = row else { return Ok(false) };
        let present = row.get::<Option<String>>("password_hash")?;
        if present.as_deref() != old.map(PasswordHash::expose) {
            return Ok(false);
        }
        transaction.set_password(user, new, now).await?;
        transaction.end_sessions(user, keep, now, until).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl super::transaction::Transaction {
    async fn set_password(&mut self, user: UserId, new: &PasswordHash, now: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1";
        self.execute(sql, values![user, new.expose(), now]).await?;
        self.delete_reset_tokens(user).await
    }

    pub(super) async fn delete_reset_tokens(&mut self, user: UserId) -> Result<(), StoreError> {
        self.execute("DELETE FROM password_resets WHERE user_id = $1", values![user]).await.map(drop)
    }
}
