//! Resetting a lost password by a token that comes by mail.

use accounts::Secret;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::app::App;
use crate::http::client_origin::ClientOrigin;
use crate::http::describe::{Routes, routes};
use crate::http::error::{ApiError, RequestError};
use crate::http::extract::NoQuery;
use crate::http::extract::json::JsonBody;

/// Longest e-mail address, in bytes (RFC 5321).
const MAX_EMAIL: usize = 254;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![forgot, reset]
}

/// Whoever lost its password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    /// The address that it registered with.
    #[schema(max_length = 254, pattern = "@", example = "ann@example.org")]
    email: String,
}

/// Asks for a mail with a token for a new password. The answer, and its time, are the same whether or not there is such a user.
#[utoipa::path(
    post, path = "/v1/password/forgot", operation_id = "forgot_password", tag = "users", request_body = Forgot,
    responses((status = 202, description = "If there is a user of this address, a mail is on its way"))
)]
pub async fn forgot(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(Forgot { email }): JsonBody<Forgot>,
) -> Result<StatusCode, ApiError> {
    if !email.contains('@') || email.len() > MAX_EMAIL || email.chars().any(char::is_control) {
        let reason = "email: an e-mail address reads name@example.org".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    app.users.ask_for_reset(&email, &origin).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// What was mailed.
    token: String,
    /// The password from now on.
    #[schema(max_length = 128, format = Password)]
    password: String,
}

/// Sets a new password with a mailed token, once. Every session ends.
#[utoipa::path(
    post, path = "/v1/password/reset", operation_id = "reset_password", tag = "users", request_body = Reset,
    responses((status = 204, description = "It is set"))
)]
pub async fn reset(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(Reset { token, password }): JsonBody<Reset>,
) -> Result<StatusCode, ApiError> {
    app.users.reset_password(&Secret::new(token), &Secret::new(password), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
