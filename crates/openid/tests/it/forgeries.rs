//! Forgeries that differ from a valid ID token in one detail.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use testing::openid_provider::{CLIENT_SECRET, SigningKey, TestProvider, message, with};

/// The forgeries of a token with these claims, each with what differs.
pub fn forgeries(provider: &TestProvider, claims: &Value) -> Vec<(&'static str, String)> {
    let (key, header) = (&provider.key, provider.key.header());
    let good = key.token(claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let attacker = SigningKey::new(&key.kid);
    let now = Timestamp::now().as_second();
    let mut forged = vec![
        ("empty", String::new()),
        ("no signature", signed.to_owned()),
        ("an empty signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..43])),
        ("truncated", good[..good.len() - 2].to_owned()),
        ("a fourth part", format!("{good}.{signature}")),
        ("a signature of zeros", format!("{signed}.{}", URL_SAFE_NO_PAD.encode([0; 64]))),
        ("white space", format!(" {good}")),
        ("too long", key.token(&with(claims, "groups", json!("x".repeat(20_000))))),
        ("other claims", format!("{}.{signature}", message(&header, &with(claims, "sub", json!("bob"))))),
        ("another key under the same id", attacker.token(claims)),
        ("an embedded key", attacker.signed(&with(&header, "jwk", attacker.jwk()), claims)),
        ("a key URL", attacker.signed(&with(&header, "jku", json!("https://attacker.example/jwks")), claims)),
        ("an unpublished key", attacker.signed(&with(&header, "kid", json!("two")), claims)),
        ("an attacker's key without an id", attacker.signed(&with(&header, "kid", Value::Null), claims)),
        ("another type", key.signed(&with(&header, "typ", json!("at+jwt")), claims)),
        ("a critical header", key.signed(&with(&header, "crit", json!(["exp"])), claims)),
    ];
    for alg in ["none", "None", "", "HS256", "RS256", "ES384"] {
        let header = with(&header, "alg", json!(alg));
        forged.push(("another algorithm, unsigned", format!("{}.", message(&header, claims))));
        forged.push(("another algorithm, a valid signature", key.signed(&header, claims)));
    }
    forged.extend(confused(key, claims));
    for (kind, name, new) in [
        ("another issuer", "iss", json!("https://attacker.example")),
        ("almost the issuer", "iss", json!(format!("{}/", provider.url))),
        ("no issuer", "iss", Value::Null),
        ("another audience", "aud", json!("another")),
        ("two audiences, one ours", "aud", json!(["sightline-web", "another"])),
        ("our audience twice, no authorized party", "aud", json!(["sightline-web", "sightline-web"])),
        ("no audience", "aud", json!([])),
        ("no audience at all", "aud", Value::Null),
        ("another authorized party", "azp", json!("another")),
        ("expired", "exp", json!(now - 1)),
        ("no expiry", "exp", Value::Null),
        ("an expiry that is text", "exp", json!("tomorrow")),
        ("not yet valid", "nbf", json!(now + 3600)),
        ("issued tomorrow", "iat", json!(now + 86_400)),
        ("no time of issue", "iat", Value::Null),
        ("no subject", "sub", Value::Null),
        ("an empty subject", "sub", json!("")),
        ("a subject with a NUL", "sub", json!("a\0b")),
        ("a long subject", "sub", json!("x".repeat(300))),
        ("another nonce", "nonce", json!("of-another-sign-in")),
        ("no nonce", "nonce", Value::Null),
    ] {
        forged.push((kind, key.token(&with(claims, name, new))));
    }
    forged
}

/// Tokens signed with a symmetric algorithm whose secret is the provider's public key or our client secret.
fn confused(key: &SigningKey, claims: &Value) -> Vec<(&'static str, String)> {
    let jwk = key.jwk();
    let secrets = [
        key.public().to_vec(),
        key.pem().into_bytes(),
        jwk["x"].as_str().unwrap().into(),
        jwk.to_string().into_bytes(),
    ];
    let secrets = secrets.into_iter().chain([CLIENT_SECRET.into()]);
    let headers = [with(&key.header(), "alg", json!("HS256")), json!({"alg": "HS256", "typ": "JWT"})];
    let sign = |secret: Vec<u8>| {
        headers.clone().map(|header| {
            let message = message(&header, claims);
            let signature =
                jsonwebtoken::crypto::sign(message.as_bytes(), &EncodingKey::from_secret(&secret), Algorithm::HS256);
            ("HS256 with a known secret", format!("{message}.{}", signature.unwrap()))
        })
    };
    secrets.flat_map(sign).collect()
}
