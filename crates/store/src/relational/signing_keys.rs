//! Signing keys of access tokens.

use std::fmt;

use jiff::Timestamp;

use super::database::Relational;
use super::revocations::RevocationKind;
use super::values::{Row, values};
use crate::StoreError;

/// An Ed25519 key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// The key id (`kid`) in tokens.
    pub kid: String,
    /// The public key, 32 bytes.
    pub public: Vec<u8>,
    /// The private key, PKCS #8 in DER.
    pub private: Vec<u8>,
    /// The time from which on it signs. It is published earlier, so that every client has it by then.
    pub signs_from: Timestamp,
    /// The time from which on its signatures are refused; `None` while it is not decided.
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
    /// The public key.
    pub fn verifying(&self) -> VerifyingKeyRecord {
        let Self { kid, public, verifies_until, .. } = self;
        VerifyingKeyRecord { kid: kid.clone(), public: public.clone(), verifies_until: *verifies_until }
    }

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

/// A public key, without its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKeyRecord {
    /// The key id (`kid`) in tokens.
    pub kid: String,
    /// The public key, 32 bytes.
    pub public: Vec<u8>,
    /// The time from which on its signatures are refused; `None` while it is not decided.
    pub verifies_until: Option<Timestamp>,
}

impl VerifyingKeyRecord {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self { kid: row.get("kid")?, public: row.get("public_key")?, verifies_until: row.get("verifies_until")? })
    }
}

/// A rotation.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    /// The key to add.
    pub add: SigningKeyRecord,
    /// The time from which on signatures of the other keys are refused.
    pub old_keys_verify_until: Timestamp,
}

const KEY_PAIRS: &str =
    "SELECT kid, public_key, private_key, signs_from, verifies_until FROM signing_keys ORDER BY signs_from, kid";
const PUBLIC_KEYS: &str = "SELECT kid, public_key, verifies_until FROM signing_keys ORDER BY signs_from, kid";

impl Relational {
    /// All public keys, by `signs_from`. Needs no right to read the private keys.
    pub async fn verifying_keys(&self) -> Result<Vec<VerifyingKeyRecord>, StoreError> {
        self.rows(PUBLIC_KEYS, values![]).await?.iter().map(VerifyingKeyRecord::read).collect()
    }

    /// All key pairs, by `signs_from`.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKeyRecord>, StoreError> {
        self.rows(KEY_PAIRS, values![]).await?.iter().map(SigningKeyRecord::read).collect()
    }

    /// Carries out the rotation that `decide` returns for the stored keys. Only one instance decides at a time. Returns the keys
    /// afterwards. `until` is the expiry of the revocation that announces the new key.
    pub async fn rotate_signing_keys<D>(&self, decide: D, until: Timestamp) -> Result<Vec<SigningKeyRecord>, StoreError>
    where
        D: FnOnce(&[SigningKeyRecord]) -> Option<KeyRotation> + Send,
    {
        let mut transaction = self.begin().await?;
        transaction.lock_sequence().await?;
        let rows = transaction.rows(KEY_PAIRS, values![]).await?;
        let keys = rows.iter().map(SigningKeyRecord::read).collect::<Result<Vec<_>, _>>()?;
        let Some(KeyRotation { add, old_keys_verify_until }) = decide(&keys) else { return Ok(keys) };
        let sql = "UPDATE signing_keys SET verifies_until = $1 WHERE verifies_until IS NULL OR verifies_until > $1";
        transaction.execute(sql, values![old_keys_verify_until]).await?;
        let sql = "INSERT INTO signing_keys (kid, public_key, private_key, signs_from) VALUES ($1, $2, $3, $4)";
        transaction.execute(sql, values![&add.kid, &add.public[..], &add.private[..], add.signs_from]).await?;
        let rows = transaction.rows(KEY_PAIRS, values![]).await?;
        transaction.revoke(RevocationKind::SigningKeys, uuid::Uuid::nil(), until).await?;
        transaction.commit().await?;
        rows.iter().map(SigningKeyRecord::read).collect()
    }
}
