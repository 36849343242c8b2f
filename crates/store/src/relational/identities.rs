//! Federated identities: links between accounts at OpenID Connect providers and users.

use contracts::UserId;
use jiff::Timestamp;

use super::database::Relational;
use super::transaction::Transaction;
use super::user_records::{UserRecord, user_columns};
use super::values::{Row, values};
use crate::StoreError;

/// An account at an OpenID Connect provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's issuer URL.
    pub issuer: String,
    /// The provider's id of the account. Unlike an e-mail address, it is never given to another person.
    pub subject: String,
}

/// A federated identity that is linked to a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkedIdentity {
    /// Issuer and subject.
    pub identity: Identity,
    /// Time of the link.
    pub linked_at: Timestamp,
}

impl Relational {
    /// The user that an identity is linked to.
    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<UserRecord>, StoreError> {
        let sql = concat!(
            "SELECT ",
            user_columns!(),
            " FROM identities JOIN users ON users.id = identities.user_id WHERE issuer = $1 AND subject = $2"
        );
        self.row(sql, values![&identity.issuer, &identity.subject]).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// Records that the user's e-mail address is proven, if it is still this one.
    pub async fn verify_email(&self, user: UserId, email: &str) -> Result<(), StoreError> {
        let sql = "UPDATE users SET verified_email = email WHERE id = $1 AND email = $2 \
                   AND (verified_email IS NULL OR verified_email <> email)";
        self.execute(sql, values![user, email]).await.map(drop)
    }

    /// Links an identity to a user. `false` when it is linked to another user, or the user is unknown.
    pub async fn link_identity(&self, user: UserId, identity: &Identity, now: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.lock_user(user).await? || !transaction.link(user, identity, now).await? {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The identities of a user, oldest link first.
    pub async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, StoreError> {
        let sql =
            "SELECT issuer, subject, linked_at FROM identities WHERE user_id = $1 ORDER BY linked_at, issuer, subject";
        let read = |row: &Row| {
            let identity = Identity { issuer: row.get("issuer")?, subject: row.get("subject")? };
            Ok(LinkedIdentity { identity, linked_at: row.get("linked_at")? })
        };
        self.rows(sql, values![user]).await?.iter().map(read).collect()
    }

    /// Unlinks every identity of a user. Returns `false` without a change when the user has no
    /// password, because it could no longer sign in.
    pub async fn unlink_identities(&self, user: UserId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE users SET password_hash = password_hash WHERE id = $1 AND password_hash IS NOT NULL";
        if transaction.execute(sql, values![user]).await? == 0 {
            return Ok(false);
        }
        transaction.unlink(user).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl Transaction {
    pub(super) async fn link(&mut self, user: UserId, identity: &Identity, now: Timestamp) -> Result<bool, StoreError> {
        let sql = "INSERT INTO identities (issuer, subject, user_id, linked_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (issuer, subject) DO UPDATE SET linked_at = identities.linked_at \
                   WHERE identities.user_id = excluded.user_id";
        Ok(self.execute(sql, values![&identity.issuer, &identity.subject, user, now]).await? == 1)
    }

    pub(super) async fn unlink(&mut self, user: UserId) -> Result<(), StoreError> {
        self.execute("DELETE FROM identities WHERE user_id = $1", values![user]).await.map(drop)
    }
}
