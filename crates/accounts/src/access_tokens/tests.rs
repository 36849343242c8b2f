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
        let about = TokenSubject {
            user: &self.user,
            session: SessionId::now(),
            scopes: &scopes,
            narrowed: false,
            revocation_sequence: 7,
        };
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
    assert!(fixture.verify(&fixture.signed(&header, &claims)).is_some(), "forged tokens are made from this one");
}

#[test]
fn a_token_of_an_older_version_is_narrowed_by_its_scopes() {
    let fixture = fixture();
    let (header, claims) = fixture.parts();
    assert!(!fixture.verify(&fixture.issue()).unwrap().is_narrowed(), "as the sign-in decided");
    let is_narrowed = |scopes: &[Scope]| {
        let older = with(&without(&claims, "narrowed"), "scope", json!(Scope::list(scopes)));
        fixture.verify(&fixture.signed(&header, &older)).unwrap().is_narrowed()
    };
    assert!(is_narrowed(&[Scope::FramesWrite]));
    assert!(!is_narrowed(Scope::allowed_for(Role::User)));
}

#[test]
fn every_forged_token_is_refused() {
    let fixture = fixture();
    let (header, claims) = fixture.parts();
    for (kind, token) in forged_tokens(&fixture, &header, &claims) {
        assert_eq!(fixture.verify(&token), None, "{kind}: {token}");
    }
}

#[test]
fn another_key_pair_with_our_key_id_is_refused() {
    let attacker = Fixture { record: new_key(Timestamp::now()), ..fixture() };
    let fixture = fixture();
    let (header, claims) = fixture.parts();
    let x = URL_SAFE_NO_PAD.encode(&attacker.record.public);
    let embedded = with(&header, "jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": fixture.record.kid}));
    for header in [&header, &embedded, &with(&header, "jku", json!("https://attacker/jwks.json"))] {
        assert_eq!(fixture.verify(&attacker.signed(header, &claims)), None, "{header}");
    }
}

fn forged_tokens(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let mut forged = malformed(fixture, header, claims);
    forged.extend(with_other_algorithms(fixture, header, claims));
    forged.extend(signed_with_the_public_key(fixture, header, claims));
    forged.extend(with_other_headers(fixture, header, claims));
    forged.extend(with_other_claims(fixture, header, claims));
    forged
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

/// A valid token, changed after it was signed.
fn malformed(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let token = fixture.issue();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let other_user = with(claims, "sub", json!(Uuid::new_v4()));
    vec![
        ("empty", String::new()),
        ("no signature", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", &signature[..43])),
        ("a fourth part", format!("{token}.{signature}")),
        ("truncated", token[..token.len() - 1].to_owned()),
        ("padding", format!("{token}=")),
        ("white space", format!(" {token}")),
        ("too long", format!("{token}{}", "A".repeat(10_000))),
        ("other claims", format!("{}.{}.{signature}", encoded(header), encoded(&other_user))),
        ("a signature of zeros", format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
    ]
}

fn with_other_algorithms(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let mut forged = Vec::new();
    for alg in ["none", "None", "NONE", "HS256", "HS512", "RS256", "PS256", "ES256", "", "eddsa"] {
        let header = with(header, "alg", json!(alg));
        forged.push(("another algorithm, unsigned", format!("{}.{}.", encoded(&header), encoded(claims))));
        forged.push(("another algorithm, our signature", fixture.signed(&header, claims)));
    }
    forged
}

fn with_other_headers(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let mut forged = Vec::new();
    for kid in [json!("other"), json!(""), json!("../../dev/null"), json!("' OR 1=1 --"), json!(1), Value::Null] {
        forged.push(("another kid", fixture.signed(&with(header, "kid", kid), claims)));
    }
    for typ in [json!("JWT"), json!("id+jwt"), json!("dpop+jwt"), json!(""), Value::Null] {
        forged.push(("another type", fixture.signed(&with(header, "typ", typ), claims)));
    }
    for key in ["alg", "typ", "kid"] {
        forged.push(("a header missing", fixture.signed(&without(header, key), claims)));
    }
    forged
}

fn with_other_claims(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let now = fixture.now.as_second();
    let mut forged = Vec::new();
    for (key, new) in [
        ("aud", json!("another")),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("iss", json!("https://attacker")),
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
    forged
}

/// Algorithm confusion: the public key, which everyone can read, used as the secret of HS256.
fn signed_with_the_public_key(fixture: &Fixture, header: &Value, claims: &Value) -> Vec<(&'static str, String)> {
    let jwks = fixture.verifying.now().jwks(fixture.now).to_string();
    let x = URL_SAFE_NO_PAD.encode(&fixture.record.public);
    let secrets = [fixture.record.public.clone(), x.into_bytes(), jwks.into_bytes()];
    let sign = |secret: &Vec<u8>| {
        let message = format!("{}.{}", encoded(&with(header, "alg", json!("HS256"))), encoded(claims));
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        ("HS256 with the public key", format!("{message}.{signature}"))
    };
    secrets.iter().map(sign).collect()
}
