//! `auth.v1`: the cases of the reference system, and what it gets wrong.

use std::time::Duration;

use accounts::Accounts;
use prost_types::Timestamp;
use shop_api::proto::auth_v1::{
    AuthProvider, AuthResponse, GoogleSignInRequest, RefreshTokenRequest, RequestPasswordResetRequest,
    ResetPasswordRequest, RevokeTokenRequest, Role, SignInRequest, SignUpRequest, TokenPair, User,
    ValidateTokenRequest, ValidateTokenResponse,
};
use shop_api::proto::time;
use testing::openid_provider::TestProvider;
use tonic::{Code, Response, Status};

use crate::test_service::{PASSWORD, TestShop, assert_refused, email, with_token};

const OTHER_PASSWORD: &str = "pepper violin anchor";

async fn sign_up(shop: &TestShop, name: &str, password: &str) -> Result<Response<AuthResponse>, Status> {
    let request = SignUpRequest { email: email(name), password: password.to_owned() };
    shop.auth_client().sign_up(request).await
}

async fn sign_in(shop: &TestShop, name: &str, password: &str) -> Result<Response<AuthResponse>, Status> {
    let request = SignInRequest { email: email(name), password: password.to_owned() };
    shop.auth_client().sign_in(request).await
}

async fn refresh(shop: &TestShop, token: &str) -> Result<Response<AuthResponse>, Status> {
    shop.auth_client().refresh_token(RefreshTokenRequest { refresh_token: token.to_owned() }).await
}

/// What is said about `token`, with `bearer` as the credential.
async fn validate(shop: &TestShop, token: &str, bearer: &str) -> ValidateTokenResponse {
    let request = with_token(ValidateTokenRequest { access_token: token.to_owned() }, bearer);
    shop.auth_client().validate_token(request).await.unwrap().into_inner()
}

async fn reset(shop: &TestShop, token: &str, password: &str) -> Result<(), Status> {
    let request = ResetPasswordRequest { reset_token: token.to_owned(), new_password: password.to_owned() };
    let response = shop.auth_client().reset_password(request).await?;
    assert!(response.into_inner().ok);
    Ok(())
}

async fn request_reset(shop: &TestShop, address: &str) {
    let request = RequestPasswordResetRequest { email: address.to_owned() };
    assert!(shop.auth_client().request_password_reset(request).await.unwrap().into_inner().ok);
}

fn parts(response: Result<Response<AuthResponse>, Status>) -> (User, TokenPair) {
    let AuthResponse { user, tokens } = response.unwrap().into_inner();
    (user.unwrap(), tokens.unwrap())
}

fn is_future(shop: &TestShop, end: Option<&Timestamp>) -> bool {
    end.and_then(time).is_some_and(|end| end > shop.clock.now())
}

#[tokio::test]
async fn sign_up_then_sign_in() {
    let shop = TestShop::start().await;
    for response in [sign_up(&shop, "ann", PASSWORD).await, sign_in(&shop, "ann", PASSWORD).await] {
        let (user, tokens) = parts(response);
        assert_eq!((user.email.as_str(), user.role()), ("ann@example.org", Role::User));
        assert_eq!((user.provider(), user.email_verified), (AuthProvider::Custom, false));
        assert!(user.created_at.is_some() && user.updated_at.is_some());
        assert!(!tokens.access_token.is_empty() && !tokens.refresh_token.is_empty());
        assert_eq!(tokens.token_type, "Bearer");
        assert!(is_future(&shop, tokens.access_token_expires_at.as_ref()));
        assert!(is_future(&shop, tokens.refresh_token_expires_at.as_ref()));
    }
}

#[tokio::test]
async fn an_address_is_registered_once() {
    let shop = TestShop::start().await;
    sign_up(&shop, "ann", PASSWORD).await.unwrap();
    assert_refused(sign_up(&shop, "ann", OTHER_PASSWORD).await, Code::AlreadyExists, "email_taken");
    sign_in(&shop, "ann", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn a_bad_registration_names_the_broken_rule() {
    let shop = TestShop::start().await;
    let refused = sign_up(&shop, "ann", "short").await;
    assert!(refused.as_ref().unwrap_err().message().contains("password"), "{refused:?}");
    assert_refused(refused, Code::InvalidArgument, "invalid");
    let request = SignUpRequest { email: "nobody".to_owned(), password: PASSWORD.to_owned() };
    assert_refused(shop.auth_client().sign_up(request).await, Code::InvalidArgument, "invalid");
    assert_refused(shop.auth_client().sign_up(SignUpRequest::default()).await, Code::InvalidArgument, "invalid");
}

#[tokio::test]
async fn a_wrong_password_signs_nobody_in() {
    let shop = TestShop::start().await;
    sign_up(&shop, "ann", PASSWORD).await.unwrap();
    let (wrong, stranger) = (sign_in(&shop, "ann", OTHER_PASSWORD).await, sign_in(&shop, "bob", PASSWORD).await);
    let messages = [&wrong, &stranger].map(|refused| refused.as_ref().unwrap_err().message().to_owned());
    assert_eq!(messages[0], messages[1], "a stranger learns nothing");
    assert_refused(wrong, Code::Unauthenticated, "wrong_password");
    assert_refused(stranger, Code::Unauthenticated, "wrong_password");
}

#[tokio::test]
async fn a_spent_refresh_token_is_refused() {
    let shop = TestShop::start().await;
    let (_, first) = parts(sign_up(&shop, "ann", PASSWORD).await);
    let (_, second) = parts(refresh(&shop, &first.refresh_token).await);
    assert_ne!(first.refresh_token, second.refresh_token);
    assert_refused(refresh(&shop, &first.refresh_token).await, Code::Unauthenticated, "invalid_token");
    refresh(&shop, &second.refresh_token).await.unwrap();
    assert_refused(refresh(&shop, "junk").await, Code::Unauthenticated, "invalid_token");
}

#[tokio::test]
async fn validation_tells_good_from_bad() {
    let shop = TestShop::start().await;
    let (user, tokens) = parts(sign_up(&shop, "ann", PASSWORD).await);
    let good = validate(&shop, &tokens.access_token, &tokens.access_token).await;
    assert!(good.valid && is_future(&shop, good.expires_at.as_ref()));
    assert_eq!(good.user.map(|found| found.id), Some(user.id));

    let other_shop = TestShop::start().await;
    let (_, foreign) = parts(sign_up(&other_shop, "ann", PASSWORD).await);
    let revoked = shop.revoked_user("bob").await.access_token;
    for bad in ["", "junk", "a.b.c", &tokens.refresh_token, &foreign.access_token, &revoked] {
        let answer = validate(&shop, bad, &tokens.access_token).await;
        assert_eq!(answer, ValidateTokenResponse::default(), "{bad}");
    }
    // The bearer may be the token that is asked about.
    assert!(!validate(&shop, &revoked, &revoked).await.valid);
    shop.clock.advance(Duration::from_secs(3600));
    assert!(!validate(&shop, &tokens.access_token, &tokens.access_token).await.valid, "expired");
    let without = shop.auth_client().validate_token(ValidateTokenRequest::default()).await;
    assert_refused(without, Code::Unauthenticated, "unauthorized");
}

#[tokio::test]
async fn a_reset_token_works_once() {
    let shop = TestShop::start().await;
    let (_, tokens) = parts(sign_up(&shop, "ann", PASSWORD).await);
    assert_refused(reset(&shop, "abcABC", OTHER_PASSWORD).await, Code::PermissionDenied, "invalid_reset_token");
    request_reset(&shop, &email("ann")).await;
    let token = shop.mails.reset_token(1).await;
    reset(&shop, &token, OTHER_PASSWORD).await.unwrap();
    assert_refused(reset(&shop, &token, PASSWORD).await, Code::PermissionDenied, "invalid_reset_token");

    let (user, _) = parts(sign_in(&shop, "ann", OTHER_PASSWORD).await);
    assert!(user.email_verified, "the mail has reached its address");
    assert_refused(sign_in(&shop, "ann", PASSWORD).await, Code::Unauthenticated, "wrong_password");
    assert_refused(refresh(&shop, &tokens.refresh_token).await, Code::Unauthenticated, "invalid_token");
}

#[tokio::test]
async fn a_stranger_gets_the_same_answer_to_a_reset_and_no_mail() {
    let shop = TestShop::start().await;
    sign_up(&shop, "ann", PASSWORD).await.unwrap();
    request_reset(&shop, "stranger@example.org").await;
    request_reset(&shop, &email("ann")).await;
    // Requests are answered in their order, so the stranger's would have been there before.
    shop.mails.reset_token(1).await;
    assert_eq!(shop.mails.count(), 1);
}

#[tokio::test]
async fn revoking_twice_is_the_same() {
    let shop = TestShop::start().await;
    let (_, tokens) = parts(sign_up(&shop, "ann", PASSWORD).await);
    for round in ["first", "second"] {
        let request = RevokeTokenRequest { refresh_token: tokens.refresh_token.clone() };
        let response = shop.auth_client().revoke_token(with_token(request, &tokens.access_token)).await;
        assert!(response.unwrap().into_inner().ok, "{round}");
    }
    assert_refused(refresh(&shop, &tokens.refresh_token).await, Code::Unauthenticated, "invalid_token");
    assert!(shop.accounts.authenticate(&tokens.access_token).await.is_err());
}

#[tokio::test]
async fn a_provider_signs_in_a_new_user_and_takes_over_no_account() {
    let provider = TestProvider::start().await;
    let flags = provider.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let shop = TestShop::with(&flags).await;
    let id_token = provider.key.token(&provider.claims());
    let google = async |id_token: &str| {
        shop.auth_client().google_sign_in(GoogleSignInRequest { id_token: id_token.to_owned() }).await
    };
    let (user, _) = parts(google(&id_token).await);
    assert_eq!((user.provider(), user.email_verified), (AuthProvider::Google, true));
    let (again, _) = parts(google(&id_token).await);
    assert_eq!(user.id, again.id);
    assert_refused(google("junk").await, Code::Unauthenticated, "invalid_id_token");

    let mut claims = provider.claims();
    claims["sub"] = "bob-at-the-provider".into();
    claims["email"] = email("bob").into();
    sign_up(&shop, "bob", PASSWORD).await.unwrap();
    let refused = google(&provider.key.token(&claims)).await;
    assert!(refused.as_ref().unwrap_err().message().contains("link"), "{refused:?}");
    assert_refused(refused, Code::AlreadyExists, "email_taken");
    sign_in(&shop, "bob", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn without_a_provider_its_sign_in_is_not_there() {
    let shop = TestShop::start().await;
    let outcome = shop.auth_client().google_sign_in(GoogleSignInRequest::default()).await;
    assert_refused(outcome, Code::Unimplemented, "no_provider");
}
