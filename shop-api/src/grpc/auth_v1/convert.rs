//! Users and tokens as messages.

use accounts::{IssuedTokens, ValidToken};
use store::relational::{Role as UserRole, UserRecord, UserState};

use crate::proto::auth_v1::{AuthProvider, AuthResponse, Role, TokenPair, User, ValidateTokenResponse};
use crate::proto::timestamp;

/// A sign-in.
pub fn auth_response(tokens: &IssuedTokens, state: &UserState) -> AuthResponse {
    let pair = TokenPair {
        access_token: tokens.access_token.expose().to_owned(),
        refresh_token: tokens.refresh_token.expose().to_owned(),
        access_token_expires_at: Some(timestamp(tokens.expires_at)),
        refresh_token_expires_at: Some(timestamp(tokens.refresh_expires_at)),
        token_type: "Bearer".to_owned(),
    };
    AuthResponse { user: Some(user(&tokens.user, state)), tokens: Some(pair) }
}

/// What a valid token is.
pub fn validation(valid: &ValidToken, state: &UserState) -> ValidateTokenResponse {
    let expires_at = valid.expires_at.map(timestamp);
    ValidateTokenResponse { valid: true, user: Some(user(&valid.user, state)), expires_at }
}

fn user(user: &UserRecord, state: &UserState) -> User {
    let provider = if state.is_federated { AuthProvider::Google } else { AuthProvider::Custom };
    let role = match user.role {
        UserRole::User => Role::User,
        UserRole::Admin => Role::Admin,
    };
    User {
        id: user.id.to_string(),
        email: user.email.clone().unwrap_or_default(),
        provider: provider.into(),
        email_verified: state.email_verified,
        created_at: Some(timestamp(user.created_at)),
        updated_at: Some(timestamp(state.updated_at)),
        role: role.into(),
    }
}
