//! What is known of secrets: their hashes, which print as `***`.

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
    /// A hash that was made before.
    pub const fn new(phc: String) -> Self {
        Self(phc)
    }

    /// The hash as text.
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

impl Relational {
    /// A user's password hash; none where the user has no password or is none.
    pub async fn password(&self, user: UserId) -> Result<Option<PasswordHash>, StoreError> {
        let row = self.row("SELECT password_hash FROM users WHERE id = $1", values![user]).await?;
        let hash = row.map(|row| row.get::<Option<String>>("password_hash")).transpose()?.flatten();
        Ok(hash.map(PasswordHash))
    }

    /// Replaces a hash by another of the same password; nothing happens where the password was changed meanwhile.
    pub async fn rehash(&self, user: UserId, old: &PasswordHash, new: &PasswordHash) -> Result<(), StoreError> {
        let sql = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
        self.execute(sql, values![user, old.expose(), new.expose()]).await?;
        Ok(())
    }

    /// Keeps the hash of a token that lets its bearer set a new password once, and that will be mailed to this address. False
    /// when the user has another address by now, is shut out or gone.
    pub async fn add_reset(
        &self,
        user: UserId,
        mailed_to: &str,
        token: &TokenHash,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // Whoever changes the address locks the user too, and then drops what was mailed to the one before.
        transaction.lock_user(user).await?;
        let sql = "INSERT INTO password_resets (hash, user_id, expires_at) \
                   SELECT $1, id, $3 FROM users WHERE id = $2 AND email = $4 AND NOT disabled";
        let added = transaction.execute(sql, values![token, user, expires_at, mailed_to]).await? == 1;
        transaction.commit().await?;
        Ok(added)
    }

    /// Spends a reset token: sets the password, ends every session, drops the user's other reset tokens and by whose word it
    /// signs in: who owns the address must not share the account with whoever had it before. None when the token is unknown,
    /// spent or past its time. `until` is when no access token of now is valid any more.
    pub async fn reset_password(
        &self,
        token: &TokenHash,
        new: &PasswordHash,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<UserId>, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "SELECT user_id FROM password_resets WHERE hash = $1";
        let Some(row) = transaction.row(sql, values![token]).await? else { return Ok(None) };
        let user = UserId::from_uuid(row.get("user_id")?);
        // The user before its tokens, as everybody takes them; the other way round two could wait for each other.
        transaction.lock_user(user).await?;
        let sql = "DELETE FROM password_resets WHERE hash = $1 AND expires_at > $2";
        if transaction.execute(sql, values![token, now]).await? == 0 {
            return Ok(None);
        }
        transaction.set_password(user, new).await?;
        transaction.unlink(user).await?;
        transaction.end_sessions(user, None, now, until).await?;
        transaction.commit().await?;
        Ok(Some(user))
    }

    /// Sets a password in place of the one whose hash was `old`, ends every session but `keep`, and drops reset tokens. False
    /// when the password was changed meanwhile or the user is gone.
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
        transaction.set_password(user, new).await?;
        transaction.end_sessions(user, keep, now, until).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl super::database::Transaction {
    async fn set_password(&mut self, user: UserId, new: &PasswordHash) -> Result<(), StoreError> {
        self.execute("UPDATE users SET password_hash = $2 WHERE id = $1", values![user, new.expose()]).await?;
        self.drop_resets(user).await
    }

    pub(super) async fn drop_resets(&mut self, user: UserId) -> Result<(), StoreError> {
        self.execute("DELETE FROM password_resets WHERE user_id = $1", values![user]).await.map(drop)
    }
}
