//! `auth.v1.AuthenticationService`: accounts over gRPC.
//!
//! In: calls of clients that sign users up and in. Out: users and tokens of the crate `accounts`, in the reference system's messages.
//!
//! Guarantees: nothing is decided here, so the rules, the limits and the audit log are those of the REST routes. Passwords and tokens are
//! in no log.

mod convert;

use std::sync::Arc;

use accounts::{AccountError, AccountsService, IssuedTokens, Origin, SecretText};
use api_kit::error::{ApiError, ServiceError};
use openid::{OidcError, Provider};
use tonic::{Request, Response, Status};

use crate::Deps;
use crate::grpc::status_of;
use crate::proto::auth_v1::authentication_service_server::AuthenticationService;
use crate::proto::auth_v1::{
    AuthResponse, GoogleSignInRequest, RefreshTokenRequest, RequestPasswordResetRequest, RequestPasswordResetResponse,
    ResetPasswordRequest, ResetPasswordResponse, RevokeTokenRequest, RevokeTokenResponse, SignInRequest, SignUpRequest,
    ValidateTokenRequest, ValidateTokenResponse,
};

/// The service.
pub struct AuthGrpc {
    accounts: Arc<AccountsService>,
    openid: Option<Arc<Provider>>,
}

impl AuthGrpc {
    /// With the accounts of the process.
    pub fn new(deps: &Deps) -> Self {
        Self { accounts: Arc::clone(&deps.accounts_service), openid: deps.openid.clone() }
    }

    /// The response to a sign-in.
    async fn signed_in(&self, tokens: Result<IssuedTokens, ApiError>) -> Result<Response<AuthResponse>, Status> {
        let tokens = tokens.map_err(status_of)?;
        let state = self.accounts.user_state(tokens.user.id).await.map_err(status_of)?;
        Ok(Response::new(convert::auth_response(&tokens, &state)))
    }

    async fn sign_in_with_provider(&self, id_token: &str, origin: &Origin) -> Result<IssuedTokens, ApiError> {
        let provider = self.openid.as_deref().ok_or(OidcError::NoProvider)?;
        self.accounts.admit_sign_in(origin).await?;
        let identity = provider.verify_id_token(id_token, None).await?;
        Ok(self.accounts.sign_in_by_identity(&identity, origin).await?)
    }
}

/// The message and the client of a call.
fn open<T>(request: Request<T>) -> Result<(T, Origin), Status> {
    let origin = request.extensions().get::<Origin>().cloned();
    let missing = || status_of(ServiceError::Internal(anyhow::anyhow!("the call has no origin")));
    Ok((request.into_inner(), origin.ok_or_else(missing)?))
}

#[tonic::async_trait]
impl AuthenticationService for AuthGrpc {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<AuthResponse>, Status> {
        let (SignUpRequest { email, password }, origin) = open(request)?;
        let tokens = self.accounts.sign_up(&email, &SecretText::new(password), &origin).await;
        self.signed_in(tokens.map_err(ApiError::from)).await
    }

    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<AuthResponse>, Status> {
        let (SignInRequest { email, password }, origin) = open(request)?;
        let tokens = self.accounts.sign_in(&email, &SecretText::new(password), None, &origin).await;
        self.signed_in(tokens.map_err(ApiError::from)).await
    }

    async fn google_sign_in(&self, request: Request<GoogleSignInRequest>) -> Result<Response<AuthResponse>, Status> {
        let (GoogleSignInRequest { id_token }, origin) = open(request)?;
        let tokens = self.sign_in_with_provider(&id_token, &origin).await;
        self.signed_in(tokens).await
    }

    async fn refresh_token(&self, request: Request<RefreshTokenRequest>) -> Result<Response<AuthResponse>, Status> {
        let (RefreshTokenRequest { refresh_token }, origin) = open(request)?;
        let tokens = self.accounts.refresh(&SecretText::new(refresh_token), &origin).await;
        self.signed_in(tokens.map_err(ApiError::from)).await
    }

    async fn validate_token(
        &self,
        request: Request<ValidateTokenRequest>,
    ) -> Result<Response<ValidateTokenResponse>, Status> {
        let (ValidateTokenRequest { access_token }, _) = open(request)?;
        let Some(valid) = self.accounts.validate(&access_token).await.map_err(status_of)? else {
            return Ok(Response::new(ValidateTokenResponse::default()));
        };
        match self.accounts.user_state(valid.user.id).await {
            Ok(state) => Ok(Response::new(convert::validation(&valid, &state))),
            // The user was deleted in this moment.
            Err(AccountError::NotFound(_)) => Ok(Response::new(ValidateTokenResponse::default())),
            Err(error) => Err(status_of(error)),
        }
    }

    async fn request_password_reset(
        &self,
        request: Request<RequestPasswordResetRequest>,
    ) -> Result<Response<RequestPasswordResetResponse>, Status> {
        let (RequestPasswordResetRequest { email }, origin) = open(request)?;
        self.accounts.request_reset(&email, &origin).await.map_err(status_of)?;
        Ok(Response::new(RequestPasswordResetResponse { ok: true }))
    }

    async fn reset_password(
        &self,
        request: Request<ResetPasswordRequest>,
    ) -> Result<Response<ResetPasswordResponse>, Status> {
        let (ResetPasswordRequest { reset_token, new_password }, origin) = open(request)?;
        let (token, password) = (SecretText::new(reset_token), SecretText::new(new_password));
        self.accounts.reset_password(&token, &password, &origin).await.map_err(status_of)?;
        Ok(Response::new(ResetPasswordResponse { ok: true }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let (RevokeTokenRequest { refresh_token }, origin) = open(request)?;
        self.accounts.revoke(&SecretText::new(refresh_token), &origin).await.map_err(status_of)?;
        Ok(Response::new(RevokeTokenResponse { ok: true }))
    }
}
