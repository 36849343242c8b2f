//! The credential of a request: a bearer token, or, for browsers, the cookie that contains one.

use std::time::Duration;

use api_kit::auth::{AuthError, bearer_token};
use api_kit::error::ApiError;
use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::http::error::StreamError;

/// Name of the cookie.
const COOKIE_NAME: &str = "sightline_alerts";
/// Paths to which a browser sends the cookie: those of the streams.
const COOKIE_PATHS: [&str; 2] = ["/v1/alerts", "/alerts"];
/// Path of the cookie that earlier versions set. It is deleted.
const FORMER_PATH: &str = "/";

/// A token that was not verified yet.
pub struct Credential(String);

impl Credential {
    /// The token.
    pub fn token(&self) -> &str {
        &self.0
    }

    /// The bearer token of a request.
    pub fn from_bearer(headers: &HeaderMap) -> Result<Self, ApiError> {
        let token = bearer_token(headers).ok_or(StreamError::NoCredential)?;
        Ok(Self(token.to_owned()))
    }

    fn from_cookie(headers: &HeaderMap) -> Option<Self> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, token) = pairs.find(|(name, token)| *name == COOKIE_NAME && !token.is_empty())?;
        Some(Self(token.to_owned()))
    }

    /// The `Set-Cookie` values that give the credential to a browser until `left` is over: one for each path of a stream, and one
    /// that deletes the cookie of earlier versions. The deletion is not the last, because some clients ignore paths and keep
    /// only the last value of a name.
    ///
    /// # Errors
    /// When the token has a character that no cookie may have.
    pub fn as_cookies(&self, headers: &HeaderMap, left: Option<Duration>) -> Result<[HeaderValue; 3], ApiError> {
        // The characters of a bearer token (RFC 6750) are legal in a cookie; no token of ours has others.
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !self.0.bytes().all(legal) {
            return Err(AuthError::InvalidCredential.into());
        }
        let age = left.map(|left| format!("; Max-Age={}", left.as_secs())).unwrap_or_default();
        let encrypted =
            headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"https"));
        let secure = if encrypted { "; Secure" } else { "" };
        let cookie = |path: &str, token: &str, age: &str| {
            let cookie = format!("{COOKIE_NAME}={token}; Path={path}; HttpOnly; SameSite=Strict{age}{secure}");
            HeaderValue::from_str(&cookie).map_err(|_| ApiError::from(AuthError::InvalidCredential))
        };
        let [path, older_path] = COOKIE_PATHS;
        Ok([cookie(path, &self.0, &age)?, cookie(FORMER_PATH, "", "; Max-Age=0")?, cookie(older_path, &self.0, &age)?])
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Credential {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let headers = &parts.headers;
        if headers.contains_key(AUTHORIZATION) {
            return Self::from_bearer(headers);
        }
        Ok(Self::from_cookie(headers).ok_or(StreamError::NoCredential)?)
    }
}
