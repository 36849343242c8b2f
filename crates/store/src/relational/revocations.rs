//! Revocations: changes that every instance must read soon, such as revoked credentials, changed users and new signing keys.
//!
//! Instances read them by number ([`Relational::revocations_after`]). A number is assigned while the one row of
//! `revocation_sequence` is locked, so numbers become visible in order: a reader that has read up to a number has missed none before it.

use contracts::{ApiTokenId, SessionId};
use jiff::Timestamp;
use uuid::Uuid;

use super::database::Relational;
use super::transaction::Transaction;
use super::values::{unreadable, values};
use crate::StoreError;

/// Maximum number of revocations that one read returns.
const PAGE: i64 = 1_000;

/// The kind of a revocation, and its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RevocationKind {
    /// One access token; the subject is its `jti`.
    AccessToken,
    /// A session and its access tokens; the subject is the session.
    Session,
    /// All access tokens of a user; the subject is the user.
    User,
    /// A change of a user whose tokens stay valid; the subject is the user.
    UserChanged,
    /// An API token; the subject is its id.
    ApiToken,
    /// A new signing key; the subject is nil.
    SigningKeys,
}

impl RevocationKind {
    const ALL: [Self; 6] =
        [Self::AccessToken, Self::Session, Self::User, Self::UserChanged, Self::ApiToken, Self::SigningKeys];

    const fn name(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::Session => "session",
            Self::User => "user",
            Self::UserChanged => "user_changed",
            Self::ApiToken => "api_token",
            Self::SigningKeys => "signing_keys",
        }
    }
}

/// One revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// The number; later revocations have higher ones.
    pub sequence: i64,
    /// The kind.
    pub kind: RevocationKind,
    /// The subject, by kind.
    pub subject: Uuid,
    /// The time from which on the subject has expired in any case.
    pub expires_at: Timestamp,
}

impl Relational {
    /// The number of the last revocation.
    pub async fn last_revocation(&self) -> Result<i64, StoreError> {
        let row = self.row("SELECT last FROM revocation_sequence WHERE id = 1", values![]).await?;
        row.map_or_else(|| Err(unreadable("revocation sequence", &"it is missing")), |row| row.get("last"))
    }

    /// The revocations after a number, in order, at most a thousand. Repeat until it returns none.
    pub async fn revocations_after(&self, sequence: i64) -> Result<Vec<Revocation>, StoreError> {
        let sql = "SELECT sequence, kind, subject, expires_at FROM revocations WHERE sequence > $1 ORDER BY sequence LIMIT $2";
        let rows = self.rows(sql, values![sequence, PAGE]).await?;
        let read = rows.iter().map(|row| {
            let kind: String = row.get("kind")?;
            let known = RevocationKind::ALL.into_iter().find(|known| known.name() == kind);
            Ok(Revocation {
                sequence: row.get("sequence")?,
                kind: known.ok_or_else(|| unreadable("kind of a revocation", &kind))?,
                subject: row.get("subject")?,
                expires_at: row.get("expires_at")?,
            })
        });
        read.collect()
    }

    /// Revokes one access token, which would be valid until `expires_at`.
    pub async fn revoke_access_token(&self, id: Uuid, expires_at: Timestamp) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.revoke(RevocationKind::AccessToken, id, expires_at).await?;
        transaction.commit().await
    }
}

impl Transaction {
    /// Acquires the lock for assigning numbers.
    pub(super) async fn lock_sequence(&mut self) -> Result<(), StoreError> {
        self.execute("UPDATE revocation_sequence SET last = last WHERE id = 1", values![]).await.map(drop)
    }

    /// Adds a revocation. The last statement of a transaction, because other revocations wait for its end.
    pub(super) async fn revoke(
        &mut self,
        kind: RevocationKind,
        subject: Uuid,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute("UPDATE revocation_sequence SET last = last + 1 WHERE id = 1", values![]).await?;
        let sql = "INSERT INTO revocations (sequence, kind, subject, expires_at) \
                   SELECT last, $1, $2, $3 FROM revocation_sequence WHERE id = 1";
        self.execute(sql, values![kind.name(), subject, expires_at]).await.map(drop)
    }

    pub(super) async fn revoke_session(&mut self, id: SessionId, until: Timestamp) -> Result<(), StoreError> {
        self.revoke(RevocationKind::Session, id.uuid(), until).await
    }

    pub(super) async fn revoke_api_token(&mut self, id: ApiTokenId, until: Timestamp) -> Result<(), StoreError> {
        self.revoke(RevocationKind::ApiToken, id.uuid(), until).await
    }

    /// The number of the last revocation. It does not apply to a token that is issued now.
    pub(super) async fn last_revocation(&mut self) -> Result<i64, StoreError> {
        let row = self.row("SELECT last FROM revocation_sequence WHERE id = 1", values![]).await?;
        row.map_or_else(|| Err(unreadable("revocation sequence", &"it is missing")), |row| row.get("last"))
    }
}
