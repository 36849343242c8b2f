//! A password that was lost: a token for a new one by mail.

use accounts::Secret;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::docs::OpenBodyProblems;
use crate::http::extract::NoQuery;
use crate::http::json::JsonBody;
use crate::http::who::Whence;
use crate::http::{ApiError, Routes};

/// Longest address that mail can be sent to, in bytes.
const MAX_EMAIL: usize = 254;

/// The routes of this file.
pub fn routes() -> Routes {
    vec![("/v1/password/forgot", post(forgot)), ("/v1/password/reset", post(reset))]
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
    post, path = "/v1/password/forgot", operation_id = "forgot_password", tag = "users", security(()), request_body = Forgot,
    responses((status = 202, description = "If there is a user of this address, a mail is on its way"), OpenBodyProblems)
)]
pub async fn forgot(
    State(app): State<App>,
    Whence(origin): Whence,
    _: NoQuery,
    JsonBody(Forgot { email }): JsonBody<Forgot>,
) -> Result<StatusCode, ApiError> {
    if !email.contains('@') || email.len() > MAX_EMAIL || email.chars().any(char::is_control) {
        return Err(ApiError::Invalid("email: an e-mail address reads name@example.org".to_owned()));
    }
    app.directory.users.ask_for_reset(&email, &origin).await?;
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
    post, path = "/v1/password/reset", operation_id = "reset_password", tag = "users", security(()), request_body = Reset,
    responses((status = 204, description = "It is set"), OpenBodyProblems)
)]
pub async fn reset(
    State(app): State<App>,
    Whence(origin): Whence,
    _: NoQuery,
    JsonBody(Reset { token, password }): JsonBody<Reset>,
) -> Result<StatusCode, ApiError> {
    app.directory.users.reset_password(&Secret::new(token), &Secret::new(password), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
