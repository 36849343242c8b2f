//! Fuzz targets of this crate: each function takes any bytes and panics where a guarantee is broken. `scripts/fuzz` runs them
//! on generated inputs, the tests below on the inputs in `fuzz/corpus`. Compiled only for fuzzing and tests.

use std::sync::LazyLock;

use serde_json::json;

use crate::discovery::Metadata;
use crate::id_token::{IdTokenVerifier, ProviderUser, TokenBinding};

/// The only client.
const CLIENT_ID: &str = "sightline-web";
/// The first key of RFC 8032, section 7.1: it is public, and no provider uses it.
const PUBLIC_KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
/// Shortest token that an error must not repeat; an error may contain the text of a shorter one by chance.
const RECOGNISABLE: usize = 40;

static PROVIDER: LazyLock<Metadata> = LazyLock::new(|| {
    let url = "https://accounts.example";
    let metadata = json!({
        "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "jwks_uri": format!("{url}/jwks"),
        "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    let key = json!({"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "one", "x": PUBLIC_KEY});
    let metadata: Metadata = serde_json::from_value(metadata).expect("metadata of a provider");
    metadata.set_jwks(serde_json::from_value(json!({"keys": [key]})).expect("a set of keys"))
});

/// An ID token as a client sends it. The corpus has a token that the provider signed for this client (`good`), tokens that it signed
/// with claims that are not acceptable, and forgeries. The private key is not here, so no generated input has another valid signature.
///
/// Guarantees: only the claims of `good` are ever returned; an error does not repeat the token.
pub fn id_token(data: &[u8]) {
    is_accepted(data);
}

/// Verifies the token and checks the guarantees. Returns whether it is accepted.
fn is_accepted(data: &[u8]) -> bool {
    let Ok(token) = std::str::from_utf8(data) else { return false };
    let binding = TokenBinding { nonce: None, access_token: None };
    match IdTokenVerifier::new(CLIENT_ID, []).verify(token, &binding, &PROVIDER) {
        Ok(user) => {
            let ann = ProviderUser {
                subject: "ann".to_owned(),
                email: Some("ann@example.org".to_owned()),
                full_name: Some("Ann Miller".to_owned()),
            };
            assert_eq!(user, ann, "the provider has not signed these claims: {token}");
            true
        }
        Err(error) => {
            let repeats = token.len() >= RECOGNISABLE && error.to_string().contains(token);
            assert!(!repeats, "the error repeats the token: {error}");
            false
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn only_a_token_that_the_provider_signed_is_accepted() {
        replay("id_token", super::id_token);
    }

    #[test]
    fn the_token_that_the_forgeries_vary_is_accepted() {
        assert!(super::is_accepted(include_bytes!("../../../fuzz/corpus/id_token/good")));
        for refused in [
            &include_bytes!("../../../fuzz/corpus/id_token/other_claims")[..],
            include_bytes!("../../../fuzz/corpus/id_token/expired"),
            include_bytes!("../../../fuzz/corpus/id_token/foreign_issuer"),
            include_bytes!("../../../fuzz/corpus/id_token/foreign_audience"),
            include_bytes!("../../../fuzz/corpus/id_token/two_audiences"),
            include_bytes!("../../../fuzz/corpus/id_token/issued_later"),
        ] {
            assert!(!super::is_accepted(refused));
        }
    }
}
