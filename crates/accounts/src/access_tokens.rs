//! Access tokens: JSON Web Tokens by RFC 9068, signed with Ed25519, that anybody can verify by the published keys.

use std::time::Duration;

use contracts::{SessionId, TenantId, UserId};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use store::relational::{Role, UserRecord};
use uuid::Uuid;

use crate::caller::Right;
use crate::error::AccountError;
use crate::keyring::Keyring;
use crate::secret::Secret;
use crate::settings::Settings;

/// How far the clocks of two instances may be apart.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);
/// Longest that is looked at: ours have some 600 characters.
const MAX_LENGTH: usize = 4_096;
/// By this header a token of another kind that the same keys sign, such as an ID token, is told from an access token.
const TYPE: &str = "at+jwt";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    pub sub: UserId,
    client_id: String,
    pub sid: SessionId,
    pub jti: Uuid,
    pub iat: i64,
    nbf: i64,
    pub exp: i64,
    scope: String,
    pub tenant: TenantId,
    role: String,
    /// The last revocation before it was issued: a later one that takes back all of a user's tokens means this one too. Times
    /// could not tell, because they are whole seconds and clocks differ.
    pub rev: i64,
}

impl Claims {
    /// What it allows.
    pub(crate) fn rights(&self) -> Vec<Right> {
        Right::known_in(&self.scope)
    }

    /// When it ends.
    pub(crate) fn ends(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MIN)
    }
}

/// What a token is issued about.
pub(crate) struct Issue<'a> {
    pub user: &'a UserRecord,
    pub session: SessionId,
    pub rights: &'a [Right],
    pub revision: i64,
}

/// Issues a token.
pub(crate) fn issue(
    keys: &Keyring,
    settings: &Settings,
    about: &Issue<'_>,
    now: Timestamp,
) -> Result<Secret, AccountError> {
    let iat = now.as_second();
    let claims = Claims {
        iss: settings.issuer.clone(),
        aud: settings.audience.clone(),
        sub: about.user.id,
        client_id: settings.audience.clone(),
        sid: about.session,
        jti: Uuid::new_v4(),
        iat,
        nbf: iat,
        exp: (now + settings.access_token_life).as_second(),
        scope: Right::list(about.rights),
        tenant: about.user.tenant.clone(),
        role: Role::name(about.user.role).to_owned(),
        rev: about.revision,
    };
    let keys = keys.now();
    let key = keys.signing(now).ok_or_else(|| AccountError::Unavailable("there is no key to sign with".to_owned()))?;
    let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims, &key.private);
    token.map(Secret::new).map_err(|error| AccountError::Internal(format!("no token can be signed: {error}")))
}

/// What a token says, if it is one of ours and its time is not over. Whether it was taken back is another matter.
pub(crate) fn verify(keys: &Keyring, settings: &Settings, token: &str, now: Timestamp) -> Option<Claims> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let is_ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE);
    let keys = keys.now();
    // The key is one of ours by its name; whatever else the header says about keys is not looked at.
    let key = keys.verifying(header.kid.as_deref().filter(|_| is_ours)?, now)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &key.public, &validation(settings)).ok()?.claims;
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
    let now = now.as_second();
    (claims.exp > now && claims.nbf <= now + leeway && claims.iat <= now + leeway).then_some(claims)
}

fn validation(settings: &Settings) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // By our own clock, above.
    validation.validate_exp = false;
    validation
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};
    use store::relational::{Allowance, SigningKeyRecord};

    use super::*;
    use crate::keyring;

    struct Site {
        keys: Keyring,
        record: SigningKeyRecord,
        settings: Settings,
        user: UserRecord,
        now: Timestamp,
    }

    fn site() -> Site {
        let now = Timestamp::now();
        let record = keyring::new_key(now);
        let user = UserRecord {
            id: UserId::now(),
            tenant: TenantId::from_uuid(Uuid::new_v4()),
            username: Some("ann".to_owned()),
            email: None,
            full_name: None,
            role: Role::User,
            quota: Allowance::Configured,
            rate_limit: Allowance::Configured,
            disabled: false,
            created_at: now,
            last_sign_in_at: None,
        };
        let keys = Keyring::default();
        keys.replace(std::slice::from_ref(&record)).unwrap();
        Site { keys, record, settings: Settings::default(), user, now }
    }

    impl Site {
        fn issue(&self) -> String {
            let rights = [Right::FramesWrite, Right::AlertsRead];
            let about = Issue { user: &self.user, session: SessionId::now(), rights: &rights, revision: 7 };
            issue(&self.keys, &self.settings, &about, self.now).unwrap().expose().to_owned()
        }

        fn verify(&self, token: &str) -> Option<Claims> {
            verify(&self.keys, &self.settings, token, self.now)
        }

        /// A token of ours with another header and other claims, signed with our very key.
        fn signed(&self, header: &Value, claims: &Value) -> String {
            let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let message = format!("{}.{}", part(header), part(claims));
            let key = EncodingKey::from_ed_der(&self.record.private);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::EdDSA).unwrap();
            format!("{message}.{signature}")
        }

        fn parts(&self) -> (Value, Value) {
            let token = self.issue();
            let mut parts = token.split('.').map(|part| {
                serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).unwrap_or_default()
            });
            (parts.next().unwrap(), parts.next().unwrap())
        }
    }

    fn with(value: &Value, key: &str, new: Value) -> Value {
        let mut value = value.clone();
        value[key] = new;
        value
    }

    fn without(value: &Value, key: &str) -> Value {
        let mut value = value.clone();
        value.as_object_mut().unwrap().remove(key);
        value
    }

    #[test]
    fn a_token_says_who_it_is_about_and_what_it_allows() {
        let site = site();
        let claims = site.verify(&site.issue()).unwrap();
        assert_eq!((claims.sub, &claims.tenant, claims.rev), (site.user.id, &site.user.tenant, 7));
        assert_eq!(claims.rights(), [Right::FramesWrite, Right::AlertsRead]);
        assert_eq!(claims.exp - claims.iat, 900);
        let (header, claims) = site.parts();
        assert_eq!(header["kid"], site.record.kid);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("http://127.0.0.1:8080"), &json!("sightline")));
        assert!(site.verify(&site.signed(&header, &claims)).is_some(), "what the forgeries below are made of");
    }

    #[test]
    fn every_forged_token_is_refused() {
        let site = site();
        let (header, claims) = site.parts();
        for (kind, token) in forgeries(&site, &header, &claims) {
            assert_eq!(site.verify(&token), None, "{kind}: {token}");
        }
    }

    #[test]
    fn a_token_of_another_key_pair_is_refused_under_our_keys_name() {
        let stolen = Site { record: keyring::new_key(Timestamp::now()), ..site() };
        let site = site();
        let (header, claims) = site.parts();
        let x = URL_SAFE_NO_PAD.encode(&stolen.record.public);
        let embedded = with(&header, "jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": site.record.kid}));
        for header in [&header, &embedded, &with(&header, "jku", json!("https://thief/jwks.json"))] {
            assert_eq!(site.verify(&stolen.signed(header, &claims)), None, "{header}");
        }
    }

    fn forgeries(site: &Site, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = site.issue();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut forged = vec![
            ("empty", String::new()),
            ("no signature", message.to_owned()),
            ("an empty signature", format!("{message}.")),
            ("half a signature", format!("{message}.{}", &signature[..43])),
            ("a fourth part", format!("{token}.{signature}")),
            ("truncated", token[..token.len() - 1].to_owned()),
            ("an end", format!("{token}=")),
            ("white space", format!(" {token}")),
            ("too long", format!("{token}{}", "A".repeat(10_000))),
            (
                "swapped claims",
                format!("{}.{}.{signature}", part(header), part(&with(claims, "sub", json!(Uuid::new_v4())))),
            ),
            ("a signature of zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ];
        for alg in ["none", "None", "NONE", "HS256", "HS512", "RS256", "PS256", "ES256", "", "eddsa"] {
            let header = with(header, "alg", json!(alg));
            forged.push(("another algorithm, unsigned", format!("{}.{}.", part(&header), part(claims))));
            forged.push(("another algorithm, our signature", site.signed(&header, claims)));
        }
        forged.extend(confused(site, header, claims));
        for kid in [json!("other"), json!(""), json!("../../dev/null"), json!("' OR 1=1 --"), json!(1), Value::Null] {
            forged.push(("another kid", site.signed(&with(header, "kid", kid), claims)));
        }
        for typ in [json!("JWT"), json!("id+jwt"), json!("dpop+jwt"), json!(""), Value::Null] {
            forged.push(("another type", site.signed(&with(header, "typ", typ), claims)));
        }
        let now = site.now.as_second();
        for (key, new) in [
            ("aud", json!("another")),
            ("aud", json!([])),
            ("aud", Value::Null),
            ("iss", json!("https://thief")),
            ("iss", json!("http://127.0.0.1:8080/")),
            ("exp", json!(now)),
            ("exp", json!(now - 3600)),
            ("exp", json!("tomorrow")),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("nbf", json!(now + 60)),
            ("iat", json!(now + 60)),
            ("sub", json!("ann")),
            ("sid", json!(7)),
            ("tenant", json!("NOT A TENANT")),
        ] {
            forged.push((key, site.signed(header, &with(claims, key, new))));
        }
        for key in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "scope", "tenant", "rev"] {
            forged.push(("a claim missing", site.signed(header, &without(claims, key))));
        }
        for key in ["alg", "typ", "kid"] {
            forged.push(("a header missing", site.signed(&without(header, key), claims)));
        }
        forged
    }

    /// Our public key, which everybody knows, taken for the secret of a symmetric algorithm.
    fn confused(site: &Site, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
        let jwks = site.keys.now().jwks(site.now).to_string();
        let x = URL_SAFE_NO_PAD.encode(&site.record.public);
        let secrets = [site.record.public.clone(), x.into_bytes(), jwks.into_bytes()];
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let sign = |secret: &Vec<u8>| {
            let message = format!("{}.{}", part(&with(header, "alg", json!("HS256"))), part(claims));
            let key = EncodingKey::from_secret(secret);
            let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
            ("HS256 with the public key", format!("{message}.{signature}"))
        };
        secrets.iter().map(sign).collect()
    }
}
