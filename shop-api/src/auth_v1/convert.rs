//! Users and tokens as messages.

use accounts::{IssuedTokens, ValidToken};
use store::relational::{Role as UserRole, UserRecord};

use crate::proto::auth_v1::{AuthProvider, AuthResponse, Role, TokenPair, User, ValidateTokenResponse};
use crate::proto::timestamp;

/// A sign-in.
pub fn auth_response(tokens: &IssuedTokens) -> AuthResponse {
    let pair = TokenPair {
        access_token: tokens.access_token.expose().to_owned(),
        refresh_token: tokens.refresh_token.expose().to_owned(),
        access_token_expires_at: Some(timestamp(tokens.expires_at)),
        refresh_token_expires_at: Some(timestamp(tokens.refresh_expires_at)),
        token_type: "Bearer".to_owned(),
    };
    AuthResponse { user: Some(user(&tokens.user)), tokens: Some(pair) }
}

/// What a token is; `None` is a bad one.
pub fn validation(valid: Option<&ValidToken>) -> ValidateTokenResponse {
    let Some(valid) = valid else { return ValidateTokenResponse::default() };
    ValidateTokenResponse { valid: true, user: Some(user(&valid.user)), expires_at: valid.expires_at.map(timestamp) }
}

fn user(user: &UserRecord) -> User {
    let provider = if user.is_federated { AuthProvider::Google } else { AuthProvider::Custom };
    let role = match user.role {
        UserRole::User => Role::User,
        UserRole::Admin => Role::Admin,
    };
    User {
        id: user.id.to_string(),
        email: user.email.clone().unwrap_or_default(),
        provider: provider.into(),
        email_verified: user.email_verified,
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(user.updated_at)),
        role: role.into(),
    }
}
