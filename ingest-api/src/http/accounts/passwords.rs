//! Resets a lost password with a mailed token.

use accounts::SecretText;
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::NoQuery;
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::app::App;
use crate::http::client_origin::ClientOrigin;

/// Longest e-mail address, in bytes (RFC 5321).
const MAX_EMAIL: usize = 254;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![forgot, reset]
}

/// A request for a new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Forgot {
    /// The e-mail address of the user.
    #[schema(max_length = 254, pattern = "@", example = "ann@example.org")]
    email: String,
}

/// Sends a mail with a token for a new password. Response and response time do not reveal whether the user exists.
#[utoipa::path(
    post, path = "/v1/password/forgot", operation_id = "forgot_password", tag = "users", request_body = Forgot,
    responses((status = 202, description = "If a user has the address, a mail is sent"))
)]
pub async fn forgot(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(Forgot { email }): JsonBody<Forgot>,
) -> Result<StatusCode, ApiError> {
    if !email.contains('@') || email.len() > MAX_EMAIL || email.chars().any(char::is_control) {
        let reason = "email: must be an e-mail address such as name@example.org".to_owned();
        return Err(RequestError::Invalid(reason).into());
    }
    app.users.request_reset(&email, &origin).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The token of the mail.
    token: String,
    /// The new password.
    #[schema(max_length = 128, format = Password)]
    password: String,
}

/// Sets a new password with the token of a mail, which is valid once. All sessions end.
#[utoipa::path(
    post, path = "/v1/password/reset", operation_id = "reset_password", tag = "users", request_body = Reset,
    responses((status = 204, description = "The password is set"))
)]
pub async fn reset(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(Reset { token, password }): JsonBody<Reset>,
) -> Result<StatusCode, ApiError> {
    app.users.reset_password(&SecretText::new(token), &SecretText::new(password), &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}
