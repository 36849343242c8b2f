//! The provider: redirects browsers to it, exchanges their codes, and verifies ID tokens.

use accounts::FederatedIdentity;
use anyhow::Context;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, StandardErrorResponse, SubjectIdentifier, TokenResponse,
};
use reqwest::Url;
use settings::SettingErrors;

use crate::args::{OpenIdArgs, issuer_url};
use crate::client::{HttpError, ProviderClient};
use crate::discovery::{Discovery, FAILURE_CACHE_TIME, Metadata};
use crate::error::OpenIdError;
use crate::flow::Flow;
use crate::id_token::{IdTokenError, IdTokenVerifier, ProviderUser, TokenBinding};

/// The OAuth client. The authorisation endpoint is known; token and userinfo endpoint may be missing.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// The OpenID provider of the service.
pub struct Provider {
    issuer: String,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    scopes: Vec<Scope>,
    callback: RedirectUrl,
    returns: Vec<Url>,
    verifier: IdTokenVerifier,
    discovery: Discovery,
}

impl Provider {
    /// The provider of the settings, if they name one. `public_url` is that of this system.
    ///
    /// # Errors
    /// When settings are invalid or incomplete; the message names them.
    pub fn new(settings: &OpenIdArgs, public_url: &str) -> anyhow::Result<Option<Self>> {
        SettingErrors::result_of(|errors| settings.check(public_url, errors))?;
        let (Some(issuer), Some(client_id)) = (&settings.oidc_issuer, &settings.oidc_client_id) else {
            return Ok(None);
        };
        let scopes = settings.oidc_scopes.split_ascii_whitespace().filter(|scope| *scope != "openid");
        let audiences = settings.oidc_audiences.iter().filter(|audience| !audience.is_empty());
        Ok(Some(Self {
            issuer: issuer.trim().to_owned(),
            client_id: ClientId::new(client_id.clone()),
            client_secret: settings.oidc_client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().into())),
            scopes: scopes.map(|scope| Scope::new(scope.to_owned())).collect(),
            callback: RedirectUrl::new(settings.callback_url(public_url)).context("SIGHTLINE_OIDC_CALLBACK_URL")?,
            returns: settings.return_urls().collect::<Result<_, _>>()?,
            verifier: IdTokenVerifier::new(client_id, audiences.cloned()),
            discovery: Discovery::new(
                IssuerUrl::new(issuer.trim().to_owned())?,
                ProviderClient::new(&issuer_url(issuer)?, settings)?,
                FAILURE_CACHE_TIME,
            ),
        }))
    }

    /// The issuer identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether browsers reach this system over TLS.
    pub fn is_secure(&self) -> bool {
        self.callback.url().scheme() == "https"
    }

    /// The page with this URL, if the settings allow tokens to be sent to it.
    pub fn page(&self, address: &str) -> Option<&Url> {
        let url: Url = address.parse().ok()?;
        self.returns.iter().find(|page| **page == url)
    }

    /// The URL of the provider to which the browser is redirected.
    ///
    /// # Errors
    /// `Unavailable` when the provider cannot be used.
    pub async fn login(&self, flow: &Flow) -> Result<Url, OpenIdError> {
        let client = self.client(&*self.discovery.metadata().await?);
        let (state, nonce) = (flow.state(), flow.nonce());
        let verifier = PkceCodeVerifier::new(flow.verifier());
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        Ok(request.add_scopes(self.scopes.iter().cloned()).url().0)
    }

    /// The identity for which the provider issued the code, in the flow that this browser began.
    ///
    /// # Errors
    /// When the provider cannot be used, issues no tokens for the code, or issues an ID token that is not valid.
    pub async fn finish(&self, flow: &Flow, code: String) -> Result<FederatedIdentity, OpenIdError> {
        let client = self.client(&*self.discovery.metadata().await?);
        let request = client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|_| OpenIdError::Unavailable("it names no token endpoint".to_owned()))?;
        let verifier = PkceCodeVerifier::new(flow.verifier());
        let answered = request.set_pkce_verifier(verifier).request_async(self.discovery.client()).await;
        let tokens = answered.map_err(exchange_error)?;
        let id_token = tokens.id_token().ok_or(IdTokenError::Malformed)?.to_string();
        let nonce = flow.nonce();
        let binding = TokenBinding { nonce: Some(&nonce), access_token: Some(tokens.access_token()) };
        let user = self.verified(&id_token, &binding, &self.verifier.for_own_client()).await?;
        let user = match user.email {
            Some(_) => user,
            None => self.with_user_info(&client, user, tokens.access_token()).await?,
        };
        Ok(self.identity(user))
    }

    /// Adds e-mail address and name from the userinfo endpoint: some providers leave them out of the ID token.
    async fn with_user_info(
        &self,
        client: &Client,
        user: ProviderUser,
        access_token: &AccessToken,
    ) -> Result<ProviderUser, OpenIdError> {
        let subject = SubjectIdentifier::new(user.subject.clone());
        let Ok(request) = client.user_info(access_token.clone(), Some(subject)) else { return Ok(user) };
        let info: CoreUserInfoClaims = request
            .request_async(self.discovery.client())
            .await
            .map_err(|_| OpenIdError::Unavailable("its userinfo endpoint failed".to_owned()))?;
        Ok(user.with_claims(info.email(), info.email_verified(), info.name()))
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let (id, secret) = (self.client_id.clone(), self.client_secret.clone());
        CoreClient::from_provider_metadata(metadata.clone(), id, secret)
            .set_redirect_uri(self.callback.clone())
            .set_auth_type(client_authentication(metadata))
    }

    /// The identity of an ID token that a client got from the provider. Without a `nonce` that of the token is not checked.
    ///
    /// # Errors
    /// When the token is not valid, or the provider's keys cannot be read.
    pub async fn verify_id_token(&self, id_token: &str, nonce: Option<&str>) -> Result<FederatedIdentity, OpenIdError> {
        let binding = TokenBinding { nonce, access_token: None };
        let user = self.verified(id_token, &binding, &self.verifier).await?;
        Ok(self.identity(user))
    }

    fn identity(&self, user: ProviderUser) -> FederatedIdentity {
        FederatedIdentity::new(self.issuer.clone(), user.subject, user.email, user.full_name)
    }

    /// Verifies with the cached keys; refreshes them when the token names an unknown one.
    async fn verified(
        &self,
        id_token: &str,
        binding: &TokenBinding<'_>,
        verifier: &IdTokenVerifier,
    ) -> Result<ProviderUser, OpenIdError> {
        let metadata = self.discovery.metadata().await?;
        match verifier.verify(id_token, binding, &metadata) {
            Err(IdTokenError::UnknownKey) => {}
            verified => return Ok(verified?),
        }
        let newer = self.discovery.refreshed_since(&metadata).await?.ok_or(IdTokenError::UnknownKey)?;
        Ok(verifier.verify(id_token, binding, &newer)?)
    }
}

/// HTTP Basic, which every provider must support, unless its metadata says that it does not.
fn client_authentication(metadata: &Metadata) -> AuthType {
    let auth_methods = metadata.token_endpoint_auth_methods_supported();
    let takes = |way| auth_methods.is_none_or(|auth_methods| auth_methods.contains(&way));
    if takes(CoreClientAuthMethod::ClientSecretBasic) { AuthType::BasicAuth } else { AuthType::RequestBody }
}

type ExchangeError = RequestTokenError<HttpError, StandardErrorResponse<CoreErrorResponseType>>;

/// The message never quotes the provider's response, which may contain tokens.
fn exchange_error(error: ExchangeError) -> OpenIdError {
    use CoreErrorResponseType::{InvalidClient, UnauthorizedClient};
    match error {
        RequestTokenError::ServerResponse(refusal) => match refusal.error() {
            InvalidClient | UnauthorizedClient => OpenIdError::Unavailable(
                "it refuses this client or its secret; check SIGHTLINE_OIDC_CLIENT_ID and _SECRET".to_owned(),
            ),
            code => {
                tracing::info!(code = code.as_ref(), "the OpenID provider issued no tokens for a code");
                OpenIdError::Refused
            }
        },
        RequestTokenError::Request(error) => OpenIdError::Unavailable(error.to_string()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            OpenIdError::Unavailable("its token response cannot be parsed".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testing::openid_provider::{SigningKey, TestProvider};

    use super::*;

    const PUBLIC_URL: &str = "https://sightline.example.org/";

    fn google() -> OpenIdArgs {
        OpenIdArgs {
            oidc_issuer: Some("https://accounts.google.com".to_owned()),
            oidc_client_id: Some("web".to_owned()),
            oidc_scopes: "openid email".to_owned(),
            ..OpenIdArgs::default()
        }
    }

    fn refused(settings: &OpenIdArgs) -> String {
        Provider::new(settings, PUBLIC_URL).err().expect("it is refused").to_string()
    }

    #[test]
    fn a_provider_needs_all_of_its_settings() {
        assert!(Provider::new(&OpenIdArgs::default(), PUBLIC_URL).unwrap().is_none());
        let provider = Provider::new(&google(), PUBLIC_URL).unwrap().unwrap();
        assert_eq!(provider.callback.as_str(), "https://sightline.example.org/v1/oidc/callback");
        assert!(provider.is_secure());
        for half in [
            OpenIdArgs { oidc_client_id: None, ..google() },
            OpenIdArgs { oidc_issuer: None, ..google() },
            OpenIdArgs { oidc_client_secret: Some("secret".parse().unwrap()), ..OpenIdArgs::default() },
        ] {
            let message = refused(&half);
            assert!(message.contains("SIGHTLINE_OIDC_ISSUER") && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn urls_without_tls_are_refused_by_the_name_of_the_setting() {
        for address in ["http://accounts.example", "accounts.example", "https://a.example/#b", "ftp://a.example"] {
            let text = || Some(address.to_owned());
            for (key, settings) in [
                ("SIGHTLINE_OIDC_ISSUER", OpenIdArgs { oidc_issuer: text(), ..google() }),
                ("SIGHTLINE_OIDC_CALLBACK_URL", OpenIdArgs { oidc_callback_url: text(), ..google() }),
                ("SIGHTLINE_OIDC_RETURN_URLS", OpenIdArgs { oidc_return_urls: vec![address.to_owned()], ..google() }),
            ] {
                assert!(refused(&settings).contains(key), "{key} {address}");
            }
        }
        let here = OpenIdArgs { oidc_issuer: Some("http://127.0.0.1:8081/realms/a".to_owned()), ..google() };
        assert!(Provider::new(&here, "http://localhost:8080").unwrap().is_some_and(|provider| !provider.is_secure()));
        let missing = OpenIdArgs { oidc_ca: Some("/nowhere.pem".into()), ..google() };
        assert!(refused(&missing).contains("SIGHTLINE_OIDC_CA"));
    }

    #[test]
    fn an_authority_file_without_a_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        for content in ["", "not a certificate"] {
            std::fs::write(&path, content).unwrap();
            let message = refused(&OpenIdArgs { oidc_ca: Some(path.clone()), ..google() });
            assert!(message.contains("SIGHTLINE_OIDC_CA") && message.contains("ca.pem"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_key_that_the_provider_added_is_fetched() {
        let provider = TestProvider::start().await;
        let settings = OpenIdArgs {
            oidc_issuer: Some(provider.url.clone()),
            oidc_client_id: Some(testing::openid_provider::CLIENT_ID.to_owned()),
            ..OpenIdArgs::default()
        };
        let mut client = Provider::new(&settings, PUBLIC_URL).unwrap().unwrap();
        client.verify_id_token(&provider.key.token(&provider.claims()), None).await.unwrap();
        let new = SigningKey::new("two");
        provider.publish(&new);
        let token = new.token(&provider.claims());
        let early = client.verify_id_token(&token, None).await;
        assert!(matches!(early, Err(OpenIdError::Token(IdTokenError::UnknownKey))), "{early:?}");
        client.discovery.set_min_refresh_interval(Duration::ZERO);
        client.verify_id_token(&token, None).await.unwrap();
        client.verify_id_token(&provider.key.token(&provider.claims()), None).await.unwrap();
        assert_eq!(provider.key_fetches(), 2, "the keys are cached again");
    }

    #[test]
    fn only_pages_of_the_settings_get_tokens() {
        let returns = vec!["https://app.example/in".to_owned()];
        let provider =
            Provider::new(&OpenIdArgs { oidc_return_urls: returns, ..google() }, PUBLIC_URL).unwrap().unwrap();
        assert!(provider.page("https://app.example/in").is_some());
        for other in
            ["https://app.example/in/", "https://app.example/in?a=b", "https://app.example/in#a", "https://app.example"]
        {
            assert!(provider.page(other).is_none(), "{other}");
        }
    }
}
