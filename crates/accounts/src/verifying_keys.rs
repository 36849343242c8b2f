//! Public keys, which verify access tokens and are published. The private keys are in
//! [`crate::signing_keys`]; only an issuing service loads them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::DecodingKey;
use serde_json::{Value, json};
use store::relational::VerifyingKeyRecord;
use tokio::sync::watch;

/// A public key, ready to verify.
pub(crate) struct VerifyingKey {
    kid: String,
    pub key: DecodingKey,
    /// The key in base64url, as it is published.
    x: String,
    verifies_until: Option<Timestamp>,
}

/// A snapshot of the public keys.
#[derive(Default)]
pub(crate) struct VerifyingKeys(Vec<VerifyingKey>);

/// The current public keys. Readers take a snapshot.
#[derive(Default)]
pub(crate) struct VerifyingKeyring(watch::Sender<Arc<VerifyingKeys>>);

impl VerifyingKeyring {
    /// A snapshot of the current keys.
    pub(crate) fn now(&self) -> Arc<VerifyingKeys> {
        Arc::clone(&self.0.borrow())
    }

    /// Replaces the keys by stored ones.
    pub(crate) fn replace(&self, records: Vec<VerifyingKeyRecord>) -> Result<(), String> {
        let keys = records.into_iter().map(VerifyingKey::read).collect::<Result<_, _>>()?;
        self.0.send_replace(Arc::new(VerifyingKeys(keys)));
        Ok(())
    }

    /// Notifies of each later replacement.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<VerifyingKeys>> {
        self.0.subscribe()
    }
}

impl VerifyingKeys {
    /// The key with this id, while it verifies.
    pub(crate) fn find(&self, kid: &str, now: Timestamp) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| key.kid == kid && key.verifies(now))
    }

    /// The published keys, as a JSON Web Key Set.
    pub(crate) fn jwks(&self, now: Timestamp) -> Value {
        let published = self.0.iter().filter(|key| key.verifies(now)).map(
            |key| json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": key.x}),
        );
        json!({"keys": published.collect::<Vec<_>>()})
    }
}

impl VerifyingKey {
    fn read(record: VerifyingKeyRecord) -> Result<Self, String> {
        let VerifyingKeyRecord { kid, public, verifies_until } = record;
        let x = URL_SAFE_NO_PAD.encode(&public);
        let complete = public.len() == ed25519_dalek::PUBLIC_KEY_LENGTH;
        let key = DecodingKey::from_ed_components(&x).ok().filter(|_| complete);
        let key = key.ok_or_else(|| format!("the public key {kid} cannot be read"))?;
        Ok(Self { kid, key, x, verifies_until })
    }

    fn verifies(&self, now: Timestamp) -> bool {
        self.verifies_until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_keys::new_key;

    #[test]
    fn published_keys_have_no_private_part() {
        let (keys, now) = (VerifyingKeyring::default(), Timestamp::now());
        keys.replace(vec![new_key(now).verifying()]).unwrap();
        let published = &keys.now().jwks(now)["keys"][0];
        let mut fields: Vec<_> = published.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["alg", "crv", "kid", "kty", "use", "x"]);
    }
}
