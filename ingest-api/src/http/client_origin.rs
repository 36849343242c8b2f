//! The client of a request: its address, even behind proxies, and its program.

use std::convert::Infallible;

use accounts::Origin;
use api_kit::client_origin::origin;
use api_kit::describe::Argument;
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::http::app::App;

/// The client's address and program.
pub struct ClientOrigin(pub Origin);

impl Argument for ClientOrigin {}

impl FromRequestParts<App> for ClientOrigin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self(origin(&parts.headers, &parts.extensions, &app.config.trusted_proxies)))
    }
}
