//! Private keys of access tokens, and their rotation. Only an issuing service loads them.
//!
//! A new key is published for some time before it signs, and an old key verifies until the last token or link that it signed has expired.
//! So a rotation invalidates no token, even for a client that caches the published keys.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use jiff::Timestamp;
use jsonwebtoken::EncodingKey;
use store::relational::{KeyRotation, SigningKeyRecord};

use crate::access_tokens::LEEWAY;
use crate::links;
use crate::secret_text::random;
use crate::settings::Settings;

/// A private key, ready to sign.
pub(crate) struct SigningKey {
    pub kid: String,
    pub key: EncodingKey,
    signs_from: Timestamp,
}

/// A snapshot of the private keys.
#[derive(Default)]
pub(crate) struct SigningKeys(Vec<SigningKey>);

/// The current private keys. Readers take a snapshot.
#[derive(Default)]
pub(crate) struct SigningKeyring(RwLock<Arc<SigningKeys>>);

impl SigningKeyring {
    /// A snapshot of the current keys.
    pub(crate) fn now(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the keys by stored ones.
    pub(crate) fn replace(&self, records: &[SigningKeyRecord]) {
        let keys = SigningKeys(records.iter().map(SigningKey::read).collect());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }
}

impl SigningKeys {
    /// The key that signs at this time: the newest whose `signs_from` is not in the future.
    pub(crate) fn at(&self, now: Timestamp) -> Option<&SigningKey> {
        self.0.iter().filter(|key| key.signs_from <= now).max_by_key(|key| key.signs_from)
    }
}

impl SigningKey {
    fn read(record: &SigningKeyRecord) -> Self {
        Self { kid: record.kid.clone(), key: EncodingKey::from_ed_der(&record.private), signs_from: record.signs_from }
    }
}

/// A random Ed25519 key pair.
pub(crate) fn new_key(signs_from: Timestamp) -> SigningKeyRecord {
    let key = ed25519_dalek::SigningKey::from_bytes(&random::<32>());
    SigningKeyRecord {
        kid: URL_SAFE_NO_PAD.encode(random::<12>()),
        public: key.verifying_key().to_bytes().to_vec(),
        private: key.to_pkcs8_der().expect("an Ed25519 key can be encoded").as_bytes().to_vec(),
        signs_from,
        verifies_until: None,
    }
}

/// Returns a rotation when the newest key stops signing within the lead time, else `None`.
pub(crate) fn due_rotation(keys: &[SigningKeyRecord], settings: &Settings, now: Timestamp) -> Option<KeyRotation> {
    let Some(newest) = keys.iter().max_by_key(|key| key.signs_from) else {
        return Some(KeyRotation { add: new_key(now), old_keys_verify_until: now });
    };
    if newest.signs_from + settings.signing_key_life > now + settings.signing_key_lead {
        return None;
    }
    let signs_from = (newest.signs_from + settings.signing_key_life).max(now + settings.signing_key_lead);
    // Twice the leeway: an instance whose clock is behind still signs with the old key.
    let longest_life = settings.access_token_life.max(links::LONGEST_LIFE);
    let old_keys_verify_until = signs_from + longest_life + 2 * LEEWAY;
    Some(KeyRotation { add: new_key(signs_from), old_keys_verify_until })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::verifying_keys::VerifyingKeyring;

    fn change(keys: &mut Vec<SigningKeyRecord>, settings: &Settings, now: Timestamp) -> bool {
        let Some(KeyRotation { add, old_keys_verify_until }) = due_rotation(keys, settings, now) else { return false };
        for key in keys.iter_mut().filter(|key| key.verifies_until.is_none_or(|until| until > old_keys_verify_until)) {
            key.verifies_until = Some(old_keys_verify_until);
        }
        keys.push(add);
        true
    }

    #[test]
    fn a_rotation_refuses_no_token_and_publishes_keys_early() {
        let settings = Settings::default();
        let (mut keys, mut now) = (Vec::new(), Timestamp::now());
        let (private, public) = (SigningKeyring::default(), VerifyingKeyring::default());
        assert!(change(&mut keys, &settings, now), "the first key signs at once");
        let mut signed: Vec<(Timestamp, String)> = Vec::new();
        let mut published_at =
            std::collections::HashMap::from([(keys[0].kid.clone(), now - settings.signing_key_lead)]);
        // Three months in steps of ten minutes.
        for _ in 0..(90 * 24 * 6) {
            if change(&mut keys, &settings, now) {
                published_at.insert(keys.last().unwrap().kid.clone(), now);
            }
            private.replace(&keys);
            public.replace(keys.iter().map(SigningKeyRecord::verifying).collect()).unwrap();
            let signing = private.now().at(now).unwrap().kid.clone();
            assert!(
                published_at[&signing] + settings.signing_key_lead <= now,
                "the key signs before clients can have it"
            );
            signed.push((now, signing));
            signed.retain(|(at, _)| *at + settings.access_token_life > now);
            for (_, kid) in &signed {
                assert!(public.now().find(kid, now).is_some(), "a token in use was refused");
            }
            now += Duration::from_secs(600);
        }
        assert_eq!(keys.len(), 4, "one key per month, and the next one");
        assert_eq!(
            public.now().jwks(now)["keys"].as_array().unwrap().len(),
            2,
            "the signing key and the one before it"
        );
        assert!(public.now().find(&keys[0].kid, now).is_none(), "an old key expires");
    }
}
