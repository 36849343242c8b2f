//! Signing in with an OpenID provider: browsers use the code flow with PKCE, apps send the ID token that they got from the
//! provider. Both get the same tokens as from `/v1/token`.

use accounts::{IssuedTokens, Origin};
use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::{NoQuery, StrictQuery};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use contracts::api::Problem;
use http::header::{REFERRER_POLICY, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Uri};
use openid::{Flow, OidcError, Provider};
use platform::query::{Invalid, Parameters, Query};
use reqwest::Url;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::Routes;
use crate::http::accounts::oauth_error::NO_STORE;
use crate::http::accounts::tokens::TokenAnswer;
use crate::http::app::App;
use crate::http::client_origin::ClientOrigin;

/// Longest `state` of a page, in characters.
const MAX_STATE: usize = 512;
/// Longest URL of a page, in bytes.
const MAX_PAGE: usize = 2_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![login, callback, id_token]
}

/// The parameters of a sign-in.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LoginQuery {
    /// The page that receives the tokens, one of `SIGHTLINE_OIDC_RETURN_URLS`. Without it, the callback responds with JSON.
    #[param(max_length = 2000)]
    return_to: Option<String>,
    /// A value that is returned to the page, so that it recognises its own sign-in.
    #[param(min_length = 1, max_length = 512)]
    state: Option<String>,
}

impl Parameters for LoginQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let (return_to, state) = (query.text("return_to")?, query.text("state")?);
        if state.as_ref().is_some_and(|state| !(1..=MAX_STATE).contains(&state.chars().count())) {
            return Err(Invalid(format!("state must have 1 to {MAX_STATE} characters")));
        }
        Ok(Self { return_to: return_to.filter(|page| page.len() <= MAX_PAGE), state })
    }
}

/// Begins a sign-in: redirects the browser to the provider.
#[utoipa::path(
    get, path = "/v1/oidc/login", operation_id = "begin_oidc_login", tag = "tokens", params(LoginQuery),
    responses(
        (status = 303, description = "Redirect to the provider", headers(
            ("Location" = String, description = "The provider's page"),
            ("Set-Cookie" = String, description = "The state of the sign-in, which the browser sends to the callback"))),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_provider`: no OpenID provider is set"),
    )
)]
pub async fn login(State(app): State<App>, StrictQuery(query): StrictQuery<LoginQuery>) -> Result<Response, ApiError> {
    let provider = provider(&app)?;
    if query.return_to.as_ref().is_some_and(|page| provider.page(page).is_none()) {
        let known = "it must be exactly one of SIGHTLINE_OIDC_RETURN_URLS";
        return Err(RequestError::Invalid(format!("return_to: {known}")).into());
    }
    let flow = Flow::begin(query.return_to, query.state, app.users.now());
    let flow = flow.map_err(|error| ServiceError::Internal(anyhow::anyhow!("no random bytes: {error}")))?;
    let page = provider.login(&flow).await?;
    let cookie = flow.set_cookie(provider.is_secure());
    Ok(private(cookie, Redirect::to(page.as_str())))
}

/// The parameters of the callback. Other parameters of the provider are ignored.
#[derive(Debug, Default, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    /// The authorisation code, valid once.
    code: Option<String>,
    /// The `state` of the redirect.
    state: Option<String>,
    /// The error of the provider.
    error: Option<String>,
    /// The issuer identifier of the provider (RFC 9207).
    iss: Option<String>,
}

impl CallbackQuery {
    /// Refuses repeated parameters, because it is unknown which of two codes or states is valid.
    fn parse(uri: &Uri) -> Result<Self, RequestError> {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            let field = match &*name {
                "code" => &mut read.code,
                "state" => &mut read.state,
                "error" => &mut read.error,
                "iss" => &mut read.iss,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(RequestError::Invalid(format!("{name} is given twice; send it once")));
            }
        }
        Ok(read)
    }
}

/// Ends a sign-in: the provider redirects the browser here. It must be the browser that began the
/// sign-in, within ten minutes. Returns the tokens, or redirects to the page of the sign-in with
/// the tokens or an `error` in the fragment.
#[utoipa::path(
    get, path = "/v1/oidc/callback", operation_id = "end_oidc_login", tag = "tokens", params(CallbackQuery),
    responses(
        (status = 200, body = TokenAnswer, headers(
            ("Cache-Control" = String, description = "`no-store`"), ("Set-Cookie" = String, description = "Deletes the cookie"))),
        (status = 303, description = "Redirect to the page of the sign-in", headers(
            ("Location" = String, description = "The page, with `access_token`, `refresh_token`, `expires_in`, `token_type`, `scope` and `state` in the fragment; \
                or `error`, `error_description` and `state`"),
            ("Set-Cookie" = String, description = "Deletes the cookie"))),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`invalid_id_token`: the ID token is not valid",
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`sign_in_not_begun`: not by this browser, or more than ten minutes ago; `sign_in_refused`: by the provider; `not_registered`, `disabled`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_provider`: no OpenID provider is set"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`email_taken`: a user has the e-mail address and is not linked"),
    )
)]
pub async fn callback(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let provider = provider(&app)?;
    app.users.admit_sign_in(&origin).await?;
    let query = CallbackQuery::parse(&uri)?;
    let (secure, now) = (provider.is_secure(), app.users.now());
    let flow = query.state.as_deref().and_then(|state| Flow::find(&headers, state, secure, now));
    // Before this check, any page may have redirected the browser here. After it, it is certain that this browser began the flow.
    let flow = flow.ok_or(OidcError::NotBegun)?;
    let signed_in = finish(&app, provider, &flow, query, &origin).await;
    let forget = Flow::forget(secure);
    // The setting may have changed since the flow began.
    let Some(page) = flow.page().and_then(|page| provider.page(page)) else {
        let response = signed_in.map(|grant| Json(TokenAnswer::from(grant)));
        return Ok(private(forget, response.map_err(IntoResponse::into_response)));
    };
    let fields = match signed_in {
        Ok(grant) => TokenAnswer::from(grant).fields(),
        Err(error) => {
            error.log();
            vec![("error", error.code().to_owned()), ("error_description", error.to_string())]
        }
    };
    Ok(private(forget, Redirect::to(with_fragment(page, &fields, flow.page_state()).as_str())))
}

async fn finish(
    app: &App,
    provider: &Provider,
    flow: &Flow,
    query: CallbackQuery,
    origin: &Origin,
) -> Result<IssuedTokens, ApiError> {
    if query.iss.is_some_and(|issuer| issuer != provider.issuer()) {
        return Err(OidcError::Refused("the response is from another provider; begin again".to_owned()).into());
    }
    if let Some(error) = query.error {
        // Only standard error names are shown, because an attacker may have sent any other text.
        let known = error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let error = if known { error.as_str() } else { "an error" };
        return Err(OidcError::Refused(format!("the provider refused the sign-in with {error}; begin again")).into());
    }
    let code = query.code.filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| OidcError::Refused("the provider sent no code; begin again".to_owned()))?;
    let identity = provider.finish(flow, code).await?;
    Ok(app.users.sign_in_by_identity(&identity, origin).await?)
}

/// An ID token that an app got from the provider.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IdToken {
    /// The token. Its audience must be `SIGHTLINE_OIDC_CLIENT_ID` or one of `SIGHTLINE_OIDC_AUDIENCES`.
    #[schema(max_length = 16384)]
    id_token: String,
    /// The nonce with which the app requested the token, if it used one.
    #[serde(default)]
    #[schema(max_length = 512)]
    nonce: Option<String>,
}

/// Signs in with an ID token, which mobile apps get from the provider.
#[utoipa::path(
    post, path = "/v1/oidc/id-token", operation_id = "sign_in_with_id_token", tag = "tokens", request_body = IdToken,
    responses(
        (status = 200, body = TokenAnswer, headers(("Cache-Control" = String, description = "`no-store`"))),
        (status = 401, body = Problem, content_type = "application/problem+json", description = "`invalid_id_token`: the token is not valid; the detail says why",
            headers(("WWW-Authenticate" = String, description = "`Bearer`"))),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "`not_registered`: only an admin adds users; `disabled`"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`no_provider`: no OpenID provider is set"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`email_taken`: a user has the e-mail address and is not linked"),
    )
)]
pub async fn id_token(
    State(app): State<App>,
    ClientOrigin(origin): ClientOrigin,
    _: NoQuery,
    JsonBody(body): JsonBody<IdToken>,
) -> Result<Response, ApiError> {
    let provider = provider(&app)?;
    app.users.admit_sign_in(&origin).await?;
    let identity = provider.verify_id_token(&body.id_token, body.nonce.as_deref()).await?;
    let grant = app.users.sign_in_by_identity(&identity, &origin).await?;
    Ok((NO_STORE, Json(TokenAnswer::from(grant))).into_response())
}

/// The OpenID provider.
///
/// # Errors
/// When none is set.
pub fn provider(app: &App) -> Result<&Provider, OidcError> {
    app.openid.as_ref().ok_or(OidcError::NoProvider)
}

/// A response that caches do not store. It hides its URL, which may contain a code, from other pages.
fn private(cookie: Option<HeaderValue>, answer: impl IntoResponse) -> Response {
    let mut response = (NO_STORE, answer).into_response();
    let headers = response.headers_mut();
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(cookie) = cookie {
        headers.append(SET_COOKIE, cookie);
    }
    response
}

/// The page with the fields in its fragment. Browsers do not send fragments to servers, so no log contains the tokens.
fn with_fragment(page: &Url, fields: &[(&str, String)], page_state: Option<&str>) -> Url {
    let mut written = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        written.append_pair(name, value);
    }
    if let Some(state) = page_state {
        written.append_pair("state", state);
    }
    let mut page = page.clone();
    page.set_fragment(Some(&written.finish()));
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_callback_parameter_is_refused() {
        let parse = |query: &str| CallbackQuery::parse(&format!("/v1/oidc/callback?{query}").parse().unwrap());
        let query = parse("state=a%20b&code=c&session_state=x&session_state=y").unwrap();
        assert_eq!((query.state.as_deref(), query.code.as_deref(), query.error), (Some("a b"), Some("c"), None));
        for twice in ["code=a&code=b", "state=a&state=a", "error=a&error=", "iss=a&iss=b"] {
            assert!(matches!(parse(twice), Err(RequestError::Invalid(_))), "{twice}");
        }
    }

    #[test]
    fn tokens_are_escaped_in_the_fragment() {
        let page: Url = "https://app.example/in?a=b".parse().unwrap();
        let fields = [("access_token", "a&b#c=d".to_owned())];
        let address = with_fragment(&page, &fields, Some("x y")).to_string();
        assert_eq!(address, "https://app.example/in?a=b#access_token=a%26b%23c%3Dd&state=x+y");
    }
}
