//! Handler arguments for users who act on accounts.
//!
//! Each type here is an argument of a handler. It authenticates the request and counts it against the caller's rate limit,
//! so a handler takes exactly one of them, or [`Authorized`].

use accounts::{Actor, Caller, Origin, Scope};
use api_kit::auth::{AuthError, Authorized, CALLER_ERRORS, authenticate};
use api_kit::describe::{Argument, Requirements, requires};
use api_kit::error::ApiError;
use api_kit::scope;
use axum::extract::FromRequestParts;
use contracts::UserId;
use http::header::AUTHORIZATION;
use http::request::Parts;
use utoipa::openapi::security::SecurityRequirement;

use crate::http::app::App;

/// A user with any kind of credential. The operator's own token authenticates the operator's user.
pub struct CurrentUser {
    /// The user's id.
    pub id: UserId,
    /// The caller with its scopes; `user` is always set.
    pub caller: Caller,
}

/// A user who may change the account: signed in without narrower scopes, or the operator by its own
/// token. An API token must not allow its holder to create other tokens, or to take over the
/// account with another e-mail address.
pub struct FullSession(pub CurrentUser);

/// A caller with the scope `admin`; `user` is always set.
pub struct Admin(pub Caller);

/// A caller with the scope `admin`; `None` for a request without a credential or without that scope.
pub struct OptionalAdmin(pub Option<Caller>);

impl FullSession {
    /// The actor, for the audit log.
    pub fn by(&self, origin: &Origin) -> Actor {
        Actor { user: Some(self.0.id), address: Some(origin.address) }
    }
}

impl Admin {
    /// The actor, for the audit log.
    pub fn by(&self, origin: &Origin) -> Actor {
        Actor { user: self.0.user, address: Some(origin.address) }
    }
}

impl Argument for Admin {
    fn describe(requirements: &mut Requirements) {
        Authorized::<scope::Admin>::describe(requirements);
    }
}

impl Argument for CurrentUser {
    fn describe(requirements: &mut Requirements) {
        requirements.security = None;
        requirements.errors.extend(CALLER_ERRORS);
    }
}

impl Argument for FullSession {
    fn describe(requirements: &mut Requirements) {
        CurrentUser::describe(requirements);
        requirements.full_session = true;
    }
}

impl Argument for OptionalAdmin {
    fn describe(requirements: &mut Requirements) {
        let none = SecurityRequirement::default();
        requirements.security = Some([none].into_iter().chain(requires(Scope::Admin)).collect());
    }
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::of(authenticate(parts, app).await?, app).await
    }
}

impl FromRequestParts<App> for FullSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = authenticate(parts, app).await?;
        // The operator's own token. That of `up --cameras` has no user either, and may only send frames.
        let is_operator = caller.user.is_none() && caller.may(Scope::Admin);
        if !(is_operator || caller.full_session) {
            return Err(AuthError::NotFullSession.into());
        }
        CurrentUser::of(caller, app).await.map(Self)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let admin = Authorized::<scope::Admin>::from_request_parts(parts, app).await?;
        Ok(Self(CurrentUser::of(admin.caller, app).await?.caller))
    }
}

impl FromRequestParts<App> for OptionalAdmin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if !parts.headers.contains_key(AUTHORIZATION) {
            return Ok(Self(None));
        }
        let caller = authenticate(parts, app).await?;
        if !caller.may(Scope::Admin) {
            return Ok(Self(None));
        }
        Ok(Self(Some(CurrentUser::of(caller, app).await?.caller)))
    }
}

impl CurrentUser {
    /// The user of a caller; the operator's user for the operator's own token.
    async fn of(caller: Caller, app: &App) -> Result<Self, ApiError> {
        let id = match caller.user {
            Some(id) => id,
            None if !caller.may(Scope::Admin) => return Err(AuthError::MissingScope(Scope::Admin).into()),
            None => app.users.operator().await?.id,
        };
        Ok(Self { id, caller: Caller { user: Some(id), ..caller } })
    }
}

#[cfg(test)]
mod tests {
    use api_kit::routes;

    use super::*;
    use crate::http::Routes;

    #[utoipa::path(get, path = "/any")]
    async fn any(_: CurrentUser) -> Result<(), ApiError> {
        Ok(())
    }

    #[utoipa::path(get, path = "/full")]
    async fn full(_: FullSession) -> Result<(), ApiError> {
        Ok(())
    }

    #[test]
    fn an_operation_says_whether_it_needs_a_full_session() {
        let routes: Routes = routes![any, full];
        let document = serde_json::to_value(routes.into_openapi()).unwrap();
        let operation = |path: &str| document["paths"][path]["get"].clone();
        assert_eq!(operation("/any").get("security"), None, "any credential, as for all operations");
        assert_eq!(["/any", "/full"].map(|path| operation(path)["x-full-session"] == true), [false, true]);
        assert!(operation("/any")["responses"]["401"]["headers"]["WWW-Authenticate"].is_object());
    }
}
