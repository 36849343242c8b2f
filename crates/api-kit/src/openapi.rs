//! The common parts of an OpenAPI document. The operations come from the handlers ([`describe`](crate::describe)).

use accounts::Scope;
use contracts::api::Problem;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityScheme,
};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "Sightline", description = "Frames in, alerts out. Errors are problems (RFC 9457) with a stable `code`; only a \
        request that is not HTTP/1.1, or whose head is too long, gets 400, 414 or 431 without a body, and its connection is \
        closed. A path that does not exist gets 404 `unknown_path`."),
    components(schemas(Problem)),
    modifiers(&Credentials),
    security(("oauth2" = []), ("bearer" = [])),
)]
struct Base;

/// The document without operations.
pub fn base() -> Document {
    Base::openapi()
}

/// Declares the kinds of credentials, and the scopes.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer);
        let scheme = scheme.description(Some("An access token of /v1/token, or an API token")).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
        let scopes = Scopes::from_iter(Scope::ALL.map(|right| (right.name(), right.meaning())));
        let flow = Flow::Password(Password::with_refresh_url("/v1/token", scopes, "/v1/token"));
        let about = "With name and password; the client needs no id and no secret";
        components.add_security_scheme("oauth2", SecurityScheme::OAuth2(OAuth2::with_description([flow], about)));
        let session = "The session of POST /login, with or without Bearer";
        let session = ApiKey::Header(ApiKeyValue::with_description("Authorization", session));
        components.add_security_scheme("session", SecurityScheme::ApiKey(session));
        let cookie = "The cookie of POST /v1/alerts/cookie, for the event streams only";
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description("sightline_alerts", cookie));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
    }
}
