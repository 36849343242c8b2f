//! Handler arguments for those who act in the shop. Each authenticates the request and counts it against the caller's rate limit, so a
//! handler takes exactly one of them. The rules are those of gRPC ([`access`](crate::app::access)).

use accounts::Scope;
use api_kit::auth::{CALLER_ERRORS, authenticate};
use api_kit::client_origin::origin;
use api_kit::describe::{Argument, ErrorResponse, Requirements, requires};
use api_kit::error::ApiError;
use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::Viewer;
use crate::app::App;
use crate::app::access::{check_admin, check_user};

/// The refusals of a credential that is valid.
const NO_USER: ErrorResponse = ErrorResponse::new(
    "403",
    "`forbidden`: the token has fewer scopes than a sign-in, or is an API token; `no_user`: the credential belongs to no user",
);

/// A user who signed in with all scopes, or an admin.
pub struct ShopUser(pub Viewer);

/// A caller with the scope `admin`.
pub struct ShopAdmin(pub Viewer);

impl Argument for ShopUser {
    fn describe(requirements: &mut Requirements) {
        requirements.security = None;
        requirements.full_session = true;
        requirements.errors.extend(CALLER_ERRORS);
        requirements.errors.push(NO_USER);
    }
}

impl Argument for ShopAdmin {
    fn describe(requirements: &mut Requirements) {
        requirements.security = Some(requires(Scope::Admin).into());
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl FromRequestParts<App> for ShopUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let viewer = viewer(parts, app).await?;
        check_user(&viewer.caller)?;
        Ok(Self(viewer))
    }
}

impl FromRequestParts<App> for ShopAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let viewer = viewer(parts, app).await?;
        check_admin(&viewer.caller)?;
        Ok(Self(viewer))
    }
}

async fn viewer(parts: &Parts, app: &App) -> Result<Viewer, ApiError> {
    let caller = authenticate(parts, app).await?;
    Ok(Viewer::new(caller, origin(&parts.headers, &parts.extensions, &app.trusted_proxies)))
}
