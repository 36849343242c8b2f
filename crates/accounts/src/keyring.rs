//! Signing keys of access tokens, and their rotation.
//!
//! A new key is published for some time before it signs. An old key verifies until the last token that it signed has expired. So
//! no token is refused because of a rotation, neither here nor by a client that caches the published keys.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jiff::Timestamp;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::{Value, json};
use store::relational::{KeyChange, SigningKeyRecord};

use crate::access_tokens::LEEWAY;
use crate::credential::random;
use crate::settings::Settings;

/// One parsed key pair.
pub(crate) struct Key {
    pub kid: String,
    pub private: EncodingKey,
    pub public: DecodingKey,
    /// The public key in base64url, as it is published.
    x: String,
    signs_from: Timestamp,
    verifies_until: Option<Timestamp>,
}

/// A snapshot of the keys.
#[derive(Default)]
pub(crate) struct Keys(Vec<Key>);

/// The current keys. Readers take a snapshot.
#[derive(Default)]
pub(crate) struct Keyring(RwLock<Arc<Keys>>);

impl Keyring {
    /// A snapshot of the current keys.
    pub(crate) fn now(&self) -> Arc<Keys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys by stored ones.
    pub(crate) fn replace(&self, records: &[SigningKeyRecord]) -> Result<(), String> {
        let keys = records.iter().map(Key::read).collect::<Result<_, _>>()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys(keys));
        Ok(())
    }
}

impl Keys {
    /// The key that signs at this time: the newest with `signs_from` in the past.
    pub(crate) fn signing(&self, now: Timestamp) -> Option<&Key> {
        self.0.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from)
    }

    /// The key with this id, while it verifies.
    pub(crate) fn verifying(&self, kid: &str, now: Timestamp) -> Option<&Key> {
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

impl Key {
    fn read(record: &SigningKeyRecord) -> Result<Self, String> {
        let x = URL_SAFE_NO_PAD.encode(&record.public);
        let readable = record.public.len() == ed25519_dalek::PUBLIC_KEY_LENGTH;
        let public = DecodingKey::from_ed_components(&x).ok().filter(|_| readable);
        Ok(Self {
            kid: record.kid.clone(),
            private: EncodingKey::from_ed_der(&record.private),
            public: public.ok_or_else(|| format!("the signing key {} cannot be read", record.kid))?,
            x,
            signs_from: record.signs_from,
            verifies_until: record.verifies_until,
        })
    }

    fn verifies(&self, now: Timestamp) -> bool {
        self.verifies_until.is_none_or(|until| now < until)
    }
}

/// A random Ed25519 key pair.
pub(crate) fn new_key(signs_from: Timestamp) -> SigningKeyRecord {
    let key = SigningKey::from_bytes(&random::<32>());
    SigningKeyRecord {
        kid: URL_SAFE_NO_PAD.encode(random::<12>()),
        public: key.verifying_key().to_bytes().to_vec(),
        private: key.to_pkcs8_der().expect("an Ed25519 key can be encoded").as_bytes().to_vec(),
        signs_from,
        verifies_until: None,
    }
}

/// The rotation that is due: a new key when the newest one has less than the lead time left to sign, otherwise `None`.
pub(crate) fn due(keys: &[SigningKeyRecord], settings: &Settings, now: Timestamp) -> Option<KeyChange> {
    let Some(newest) = keys.iter().max_by_key(|key| key.signs_from) else {
        return Some(KeyChange { add: new_key(now), others_until: now });
    };
    if newest.signs_from + settings.signing_key_life > now + settings.signing_key_lead {
        return None;
    }
    let signs_from = (newest.signs_from + settings.signing_key_life).max(now + settings.signing_key_lead);
    // Twice the leeway: an instance whose clock is behind still signs with the old key.
    let others_until = signs_from + settings.access_token_life + 2 * LEEWAY;
    Some(KeyChange { add: new_key(signs_from), others_until })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn change(keys: &mut Vec<SigningKeyRecord>, settings: &Settings, now: Timestamp) -> bool {
        let Some(KeyChange { add, others_until }) = due(keys, settings, now) else { return false };
        for key in keys.iter_mut().filter(|key| key.verifies_until.is_none_or(|until| until > others_until)) {
            key.verifies_until = Some(others_until);
        }
        keys.push(add);
        true
    }

    #[test]
    fn a_rotation_refuses_no_token_and_publishes_keys_early() {
        let settings = Settings::default();
        let (mut keys, mut now, ring) = (Vec::new(), Timestamp::now(), Keyring::default());
        assert!(change(&mut keys, &settings, now), "the first key signs at once");
        let mut signed: Vec<(Timestamp, String)> = Vec::new();
        let mut published_at =
            std::collections::HashMap::from([(keys[0].kid.clone(), now - settings.signing_key_lead)]);
        // Three months in steps of ten minutes.
        for _ in 0..(90 * 24 * 6) {
            if change(&mut keys, &settings, now) {
                published_at.insert(keys.last().unwrap().kid.clone(), now);
            }
            ring.replace(&keys).unwrap();
            let present = ring.now();
            let signing = present.signing(now).unwrap();
            assert!(
                published_at[&signing.kid] + settings.signing_key_lead <= now,
                "it signs before clients can know it"
            );
            signed.push((now, signing.kid.clone()));
            signed.retain(|(at, _)| *at + settings.access_token_life > now);
            for (_, kid) in &signed {
                assert!(present.verifying(kid, now).is_some(), "a token in use was refused");
            }
            now += Duration::from_secs(600);
        }
        assert_eq!(keys.len(), 4, "one key a month, and the next one");
        assert_eq!(ring.now().jwks(now)["keys"].as_array().unwrap().len(), 2, "the signing key and the one before it");
        assert!(ring.now().verifying(&keys[0].kid, now).is_none(), "an old key expires");
    }

    #[test]
    fn published_keys_have_no_private_part() {
        let (ring, now) = (Keyring::default(), Timestamp::now());
        ring.replace(&[new_key(now)]).unwrap();
        let published = &ring.now().jwks(now)["keys"][0];
        let mut fields: Vec<_> = published.as_object().unwrap().keys().map(String::as_str).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["alg", "crv", "kid", "kty", "use", "x"]);
    }
}
