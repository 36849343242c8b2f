//! The keys that access tokens are signed with.

use std::fmt;

use jiff::Timestamp;

use super::database::Relational;
use super::revocations::RevocationKind;
use super::values::{Row, values};
use crate::StoreError;

/// An Ed25519 key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// Its name in tokens.
    pub kid: String,
    /// The half that everybody may know.
    pub public: Vec<u8>,
    /// The half that signs.
    pub private: Vec<u8>,
    /// From when on it signs; known to everybody before that, so that no token is signed with a key that is news.
    pub signs_from: Timestamp,
    /// From when on nothing signed with it is taken, once that is decided.
    pub verifies_until: Option<Timestamp>,
}

impl fmt::Debug for SigningKeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kid, signs_from, verifies_until, .. } = self;
        f.debug_struct("SigningKeyRecord")
            .field("kid", kid)
            .field("private", &"***")
            .field("signs_from", signs_from)
            .field("verifies_until", verifies_until)
            .finish_non_exhaustive()
    }
}

impl SigningKeyRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            kid: row.get("kid")?,
            public: row.get("public_key")?,
            private: row.get("private_key")?,
            signs_from: row.get("signs_from")?,
            verifies_until: row.get("verifies_until")?,
        })
    }
}

/// What to do about the keys that there are.
#[derive(Debug, Clone)]
pub struct KeyChange {
    /// The key to add.
    pub add: SigningKeyRecord,
    /// From when on nothing is taken that was signed with the others.
    pub others_until: Timestamp,
}

const ALL: &str =
    "SELECT kid, public_key, private_key, signs_from, verifies_until FROM signing_keys ORDER BY signs_from, kid";

impl Relational {
    /// All keys, the one that signs first before the one that signs next.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        self.rows(ALL, values![]).await?.iter().map(SigningKeyRecord::read).collect()
    }

    /// Has `decide` look at the keys and carries out what it says, with no other instance deciding meanwhile; returns the keys
    /// that there are then. `until` is when every instance has looked for new keys by itself.
    pub async fn change_signing_keys<D>(&self, decide: D, until: Timestamp) -> Result<Vec<SigningKeyRecord>, StoreError>
    where
        D: FnOnce(&[SigningKeyRecord]) -> Option<KeyChange> + Send,
    {
        let mut transaction = self.begin().await?;
        transaction.lock_sequence().await?;
        let rows = transaction.rows(ALL, values![]).await?;
        let keys = rows.iter().map(SigningKeyRecord::read).collect::<Result<Vec<_>, _>>()?;
        let Some(KeyChange { add, others_until }) = decide(&keys) else { return Ok(keys) };
        let sql = "UPDATE signing_keys SET verifies_until = $1 WHERE verifies_until IS NULL OR verifies_until > $1";
        transaction.execute(sql, values![others_until]).await?;
        let sql = "INSERT INTO signing_keys (kid, public_key, private_key, signs_from) VALUES ($1, $2, $3, $4)";
        transaction.execute(sql, values![&add.kid, &add.public[..], &add.private[..], add.signs_from]).await?;
        let rows = transaction.rows(ALL, values![]).await?;
        transaction.revoke(RevocationKind::SigningKeys, uuid::Uuid::nil(), until).await?;
        transaction.commit().await?;
        rows.iter().map(SigningKeyRecord::read).collect()
    }
}
