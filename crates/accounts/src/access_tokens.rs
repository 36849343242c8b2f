//! Access tokens: JSON Web Tokens (RFC 9068), signed with Ed25519. The published keys verify them.

use std::time::Duration;

use contracts::{SessionId, TenantId, UserId};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation};
use serde::{Deserialize, Serialize};
use store::relational::{Role, UserRecord};
use uuid::Uuid;

use crate::caller::Scope;
use crate::secret_text::SecretText;
use crate::error::AccountError;
use crate::settings::{Settings, VerifierSettings};
use crate::signing_keys::SigningKeyring;
use crate::verifying_keys::VerifyingKeyring;

/// Maximum clock skew between instances.
pub(crate) const LEEWAY: Duration = Duration::from_secs(5);
/// Longest token that is parsed, in bytes. An issued one has about 600.
const MAX_LENGTH: usize = 4_096;
/// Header `typ` of an access token (RFC 9068, 2.1). Other tokens that the same keys might sign, such as ID tokens, have another.
const TYPE: &str = "at+jwt";

/// The claims of an access token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    pub sub: UserId,
    /// RFC 9068 requires the claim. There are no registered clients, so it repeats the audience.
    client_id: String,
    pub sid: SessionId,
    pub jti: Uuid,
    pub iat: i64,
    nbf: i64,
    pub exp: i64,
    scope: String,
    pub tenant: TenantId,
    role: String,
    /// Sequence number of the last revocation that the issuer had read. A revocation of all of a user's tokens with a higher
    /// number revokes this one. A time would not be exact enough: claims have whole seconds, and clocks differ.
    #[serde(rename = "rev")]
    pub revocation_sequence: i64,
}

impl Claims {
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        Scope::parse_known(&self.scope)
    }

    /// `exp`; the earliest time when it is out of range.
    pub(crate) fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.exp).unwrap_or(Timestamp::MIN)
    }
}

/// User, session and scopes of a new access token.
pub(crate) struct TokenSubject<'a> {
    pub user: &'a UserRecord,
    pub session: SessionId,
    pub scopes: &'a [Scope],
    pub revocation_sequence: i64,
}

/// Signs an access token.
pub(crate) fn issue(
    keys: &SigningKeyring,
    settings: &Settings,
    about: &TokenSubject<'_>,
    now: Timestamp,
) -> Result<SecretText, AccountError> {
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
        scope: Scope::list(about.scopes),
        tenant: about.user.tenant.clone(),
        role: Role::name(about.user.role).to_owned(),
        revocation_sequence: about.revocation_sequence,
    };
    let keys = keys.now();
    let key = keys.at(now).ok_or_else(|| AccountError::Unavailable("there is no key to sign with".to_owned()))?;
    let header = Header { typ: Some(TYPE.to_owned()), kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
    let token = jsonwebtoken::encode(&header, &claims, &key.key);
    token.map(SecretText::new).map_err(|error| AccountError::Internal(format!("no token can be signed: {error}")))
}

/// The claims of a token that is signed by one of our keys and has not expired. Revocations are not checked here.
pub(crate) fn verify(
    keys: &VerifyingKeyring,
    settings: &VerifierSettings,
    token: &str,
    now: Timestamp,
) -> Option<Claims> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let header = jsonwebtoken::decode_header(token).ok()?;
    let is_ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE);
    let keys = keys.now();
    // The key is found by its id alone. Other header fields about keys, such as `jwk` or `jku`, are ignored.
    let key = keys.find(header.kid.as_deref().filter(|_| is_ours)?, now)?;
    let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation(settings)).ok()?.claims;
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or_default();
    let now = now.as_second();
    (claims.exp > now && claims.nbf <= now + leeway && claims.iat <= now + leeway).then_some(claims)
}

fn validation(settings: &VerifierSettings) -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[&settings.issuer]);
    validation.set_audience(&[&settings.audience]);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // Checked by the accounts' own clock, in `verify`.
    validation.validate_exp = false;
    validation
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};
    use store::relational::{SigningKeyRecord, UserLimit};

    use super::*;
    use crate::signing_keys::new_key;

    struct Fixture {
        signing: SigningKeyring,
        verifying: VerifyingKeyring,
        record: SigningKeyRecord,
        settings: Settings,
        user: UserRecord,
        now: Timestamp,
    }

    fn fixture() -> Fixture {
        let now = Timestamp::now();
        let record = new_key(now);
        let user = UserRecord {
            id: UserId::now(),
            tenant: TenantId::from_uuid(Uuid::new_v4()),
            username: Some("ann".to_owned()),
            email: None,
            full_name: None,
            role: Role::User,
            quota: UserLimit::Configured,
            rate_limit: UserLimit::Configured,
            disabled: false,
            created_at: now,
            last_sign_in_at: None,
        };
        let (signing, verifying) = (SigningKeyring::default(), VerifyingKeyring::default());
        signing.replace(std::slice::from_ref(&record));
        verifying.replace(vec![record.verifying()]).unwrap();
        Fixture { signing, verifying, record, settings: Settings::default(), user, now }
    }

    impl Fixture {
        fn issue(&self) -> String {
            let scopes = [Scope::FramesWrite, Scope::AlertsRead];
            let about = TokenSubject { user: &self.user, session: SessionId::now(), scopes: &scopes, revocation_sequence: 7 };
            issue(&self.signing, &self.settings, &about, self.now).unwrap().expose().to_owned()
        }

        fn verify(&self, token: &str) -> Option<Claims> {
            verify(&self.verifying, &self.settings.verifier(), token, self.now)
        }

        /// A token with this header and these claims, signed with the fixture's key.
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
    fn a_token_carries_user_tenant_and_scopes() {
        let fixture = fixture();
        let claims = fixture.verify(&fixture.issue()).unwrap();
        assert_eq!((claims.sub, &claims.tenant, claims.revocation_sequence), (fixture.user.id, &fixture.user.tenant, 7));
        assert_eq!(claims.scopes(), [Scope::FramesWrite, Scope::AlertsRead]);
        assert_eq!(claims.exp - claims.iat, 900);
        let (header, claims) = fixture.parts();
        assert_eq!(header["kid"], fixture.record.kid);
        assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!("http://127.0.0.1:8080"), &json!("sightline")));
        assert!(fixture.verify(&fixture.signed(&header, &claims)).is_some(), "the forgeries below start from this");
    }

    #[test]
    fn every_forged_token_is_refused() {
        let fixture = fixture();
        let (header, claims) = fixture.parts();
        for (kind, token) in forgeries(&fixture, &header, &claims) {
            assert_eq!(fixture.verify(&token), None, "{kind}: {token}");
        }
    }

    #[test]
    fn another_key_pair_under_our_key_id_is_refused() {
        let stolen = Fixture { record: new_key(Timestamp::now()), ..fixture() };
        let fixture = fixture();
        let (header, claims) = fixture.parts();
        let x = URL_SAFE_NO_PAD.encode(&stolen.record.public);
        let embedded = with(&header, "jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": fixture.record.kid}));
        for header in [&header, &embedded, &with(&header, "jku", json!("https://thief/jwks.json"))] {
            assert_eq!(fixture.verify(&stolen.signed(header, &claims)), None, "{header}");
        }
    }

    fn forgeries(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let token = fixture.issue();
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
            forged.push(("another algorithm, our signature", fixture.signed(&header, claims)));
        }
        forged.extend(confused(fixture, header, claims));
        for kid in [json!("other"), json!(""), json!("../../dev/null"), json!("' OR 1=1 --"), json!(1), Value::Null] {
            forged.push(("another kid", fixture.signed(&with(header, "kid", kid), claims)));
        }
        for typ in [json!("JWT"), json!("id+jwt"), json!("dpop+jwt"), json!(""), Value::Null] {
            forged.push(("another type", fixture.signed(&with(header, "typ", typ), claims)));
        }
        let now = fixture.now.as_second();
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
            forged.push((key, fixture.signed(header, &with(claims, key, new))));
        }
        for key in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "scope", "tenant", "rev"] {
            forged.push(("a claim missing", fixture.signed(header, &without(claims, key))));
        }
        for key in ["alg", "typ", "kid"] {
            forged.push(("a header missing", fixture.signed(&without(header, key), claims)));
        }
        forged
    }

    /// Our public key, which everybody knows, taken for the secret of a symmetric algorithm.
    fn confused(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
        let jwks = fixture.verifying.now().jwks(fixture.now).to_string();
        let x = URL_SAFE_NO_PAD.encode(&fixture.record.public);
        let secrets = [fixture.record.public.clone(), x.into_bytes(), jwks.into_bytes()];
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
