//! Which ID tokens are accepted, and what they say about the user.

use accounts::FederatedIdentity;
use openid::{IdTokenError, OpenIdArgs, OpenIdError, Provider};
use serde_json::{Value, json};
use testing::openid_provider::{CLIENT_ID, CLIENT_SECRET, ProviderFault, SigningKey, TestProvider, with};

use crate::forgeries::forgeries;

const NONCE: &str = "of-this-sign-in";

/// A client of this provider that also accepts the tokens of these clients.
fn client_of(provider: &TestProvider, audiences: &[&str]) -> Provider {
    let settings = OpenIdArgs {
        oidc_issuer: Some(provider.url.clone()),
        oidc_client_id: Some(CLIENT_ID.to_owned()),
        oidc_client_secret: Some(CLIENT_SECRET.parse().unwrap()),
        oidc_audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
        oidc_scopes: "openid email".to_owned(),
        ..OpenIdArgs::default()
    };
    Provider::new(&settings, "http://127.0.0.1:8080").unwrap().unwrap()
}

#[tokio::test]
async fn a_valid_token_gives_the_identity_of_its_subject() {
    let provider = TestProvider::start().await;
    let client = client_of(&provider, &[]);
    let identity = client.verify_id_token(&provider.key.token(&provider.claims()), None).await.unwrap();
    let (subject, email, name) = ("ann-at-the-provider", Some("ann@example.org"), Some("Ann Miller"));
    let expected = |email: Option<&str>| {
        let (email, name) = (email.map(str::to_owned), name.map(str::to_owned));
        FederatedIdentity::new(provider.url.clone(), subject.to_owned(), email, name)
    };
    assert_eq!(identity, expected(email));
    for unproven in [json!(false), Value::Null, json!("false")] {
        let token = provider.key.token(&with(&provider.claims(), "email_verified", unproven));
        assert_eq!(client.verify_id_token(&token, None).await.unwrap(), expected(None));
    }
}

#[tokio::test]
async fn forged_id_tokens_are_refused() {
    let provider = TestProvider::start().await;
    let client = client_of(&provider, &[]);
    let claims = with(&provider.claims(), "nonce", json!(NONCE));
    for (kind, token) in forgeries(&provider, &claims) {
        let refused = client.verify_id_token(&token, Some(NONCE)).await;
        assert!(matches!(refused, Err(OpenIdError::Token(_))), "{kind}: {refused:?}: {token}");
    }
    for claims in [&claims, &with(&claims, "azp", json!(CLIENT_ID)), &with(&claims, "nbf", json!(0))] {
        let good = client.verify_id_token(&provider.key.token(claims), Some(NONCE)).await;
        assert!(good.is_ok(), "the forgeries vary a valid token: {claims}: {good:?}");
    }
    let token = provider.key.token(&claims);
    for wrong in ["another", ""] {
        let refused = client.verify_id_token(&token, Some(wrong)).await;
        assert!(matches!(refused, Err(OpenIdError::Token(IdTokenError::Nonce))), "{refused:?}");
    }
    assert!(client.verify_id_token(&token, None).await.is_ok(), "the nonce is optional");
}

#[tokio::test]
async fn configured_audiences_are_accepted() {
    let provider = TestProvider::start().await;
    let client = client_of(&provider, &["our-phones", "our-tablets"]);
    for (aud, azp, accepted) in [
        (json!("our-phones"), None, true),
        (json!(["our-tablets"]), None, true),
        (json!(CLIENT_ID), Some("our-phones"), true),
        (json!([CLIENT_ID, "our-phones"]), Some("our-phones"), true),
        (json!([CLIENT_ID, "our-phones"]), None, false),
        (json!([CLIENT_ID, "another"]), Some("our-phones"), false),
        (json!("our-phones"), Some("another"), false),
        (json!("our-phones,our-tablets"), None, false),
    ] {
        let claims = with(&with(&provider.claims(), "aud", aud), "azp", azp.map_or(Value::Null, Value::from));
        let verified = client.verify_id_token(&provider.key.token(&claims), None).await;
        assert_eq!(verified.is_ok(), accepted, "{claims}: {verified:?}");
    }
}

#[tokio::test]
async fn unknown_keys_cause_no_flood_of_requests() {
    let provider = TestProvider::start().await;
    let client = client_of(&provider, &[]);
    client.verify_id_token(&provider.key.token(&provider.claims()), None).await.unwrap();
    for number in 0..20 {
        let unknown = SigningKey::new(&format!("made-up-{number}")).token(&provider.claims());
        let refused = client.verify_id_token(&unknown, None).await;
        assert!(matches!(refused, Err(OpenIdError::Token(IdTokenError::UnknownKey))), "{refused:?}");
    }
    assert_eq!(provider.key_fetches(), 1, "the keys were fetched less than 30 s ago");
    let new = SigningKey::new("two");
    provider.publish(&new);
    let later = client_of(&provider, &[]);
    assert!(later.verify_id_token(&new.token(&provider.claims()), None).await.is_ok());
}

#[tokio::test]
async fn a_provider_that_fails_is_no_fault_of_the_token() {
    let provider = TestProvider::start().await;
    let token = provider.key.token(&provider.claims());
    for fault in
        [ProviderFault::ServerError, ProviderFault::OversizedBody, ProviderFault::Redirect, ProviderFault::WrongIssuer]
    {
        provider.set_fault(fault);
        let failed = client_of(&provider, &[]).verify_id_token(&token, None).await;
        assert!(matches!(failed, Err(OpenIdError::Unavailable(_))), "{failed:?}");
    }
    provider.set_fault(ProviderFault::None);
    assert!(client_of(&provider, &[]).verify_id_token(&token, None).await.is_ok());
}
