//! Signing in by the word of an OpenID provider (OpenID Connect Core 1.0): Google, or any other.
//!
//! ```text
//! browser ──▶ /v1/oidc/login ──▶ provider's pages ──▶ /v1/oidc/callback ──▶ code for tokens ─┐
//!                  └ flow: cookie, state, nonce, PKCE ───────┘                               ├▶ ID token ──▶ who it is
//! mobile app ──▶ /v1/oidc/id-token ──────────────────────────────────────────────────────────┘   └ discovery: its keys
//! ```
//!
//! In: the settings, a browser's way to the provider and back, ID tokens. Out: who somebody is by the provider's word; which
//! user that is, `accounts` decides. Promised: an ID token counts only if the provider signed it for us and its time is not
//! over; nothing of it is looked at before. The provider is asked when somebody wants to sign in and not before, so that the
//! service starts while it is away; what it publishes is kept for an hour. Whatever it answers, this process neither waits
//! for long nor reads without end.

mod client;
mod discovery;
mod flow;
mod token;

use anyhow::{Context, ensure};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreUserInfoClaims,
};
use openidconnect::{
    AccessToken, AuthType, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, IssuerUrl, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, StandardErrorResponse, SubjectIdentifier, TokenResponse,
};
use platform::config::OpenIdArgs;
use reqwest::Url;

use discovery::{Discovery, Metadata};
use token::Judge;

pub use flow::Flow;
pub use token::{Person, Rejected};

/// What asks the provider: where people sign in is known, where tokens and descriptions are had may not be.
type Client =
    CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointMaybeSet, EndpointMaybeSet>;

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum OpenIdError {
    /// The provider cannot be asked now, or is set up otherwise than we are told.
    #[error("the OpenID provider cannot be used now: {0}")]
    Away(String),
    /// The provider does not give tokens for the code.
    #[error("the provider does not take this sign-in any more; begin again")]
    Refused,
    /// The ID token does not count.
    #[error(transparent)]
    Token(#[from] Rejected),
}

/// The provider that is set. One is kept for the whole service.
pub struct Provider {
    issuer: String,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    scopes: Vec<Scope>,
    callback: RedirectUrl,
    returns: Vec<Url>,
    judge: Judge,
    discovery: Discovery,
}

impl Provider {
    /// The provider that the settings name, if they do. `own` is the address under which clients know this system.
    ///
    /// # Errors
    /// When settings make no sense; the message names them.
    pub fn new(settings: &OpenIdArgs, own: &str) -> anyhow::Result<Option<Self>> {
        let (issuer, client_id) = match (&settings.oidc_issuer, &settings.oidc_client_id) {
            (Some(issuer), Some(client_id)) => (issuer.trim(), client_id),
            (None, None) => {
                let rest = settings.oidc_client_secret.is_none();
                ensure!(
                    rest,
                    "SIGHTLINE_OIDC_CLIENT_SECRET is set but not SIGHTLINE_OIDC_ISSUER; set it too, or neither"
                );
                return Ok(None);
            }
            _ => anyhow::bail!("SIGHTLINE_OIDC_ISSUER and SIGHTLINE_OIDC_CLIENT_ID belong together; set both or none"),
        };
        let issuer_url = safe("SIGHTLINE_OIDC_ISSUER", issuer)?;
        ensure!(issuer_url.query().is_none(), "SIGHTLINE_OIDC_ISSUER must be without a ?");
        let callback = match &settings.oidc_callback_url {
            Some(url) => url.clone(),
            None => format!("{}/v1/oidc/callback", own.trim_end_matches('/')),
        };
        safe("SIGHTLINE_OIDC_CALLBACK_URL, or else SIGHTLINE_TOKEN_ISSUER,", &callback)?;
        let returns = settings
            .oidc_return_urls
            .iter()
            .filter(|url| !url.is_empty())
            .map(|url| safe("SIGHTLINE_OIDC_RETURN_URLS", url));
        let scopes = settings.oidc_scopes.split_ascii_whitespace().filter(|scope| *scope != "openid");
        let audiences = settings.oidc_audiences.iter().filter(|audience| !audience.is_empty());
        Ok(Some(Self {
            issuer: issuer.to_owned(),
            client_id: ClientId::new(client_id.clone()),
            client_secret: settings.oidc_client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().into())),
            scopes: scopes.map(|scope| Scope::new(scope.to_owned())).collect(),
            callback: RedirectUrl::new(callback).context("SIGHTLINE_OIDC_CALLBACK_URL")?,
            returns: returns.collect::<Result<_, _>>()?,
            judge: Judge::new(client_id, audiences.cloned()),
            discovery: Discovery::new(IssuerUrl::new(issuer.to_owned())?, client::Http::new(&issuer_url, settings)?),
        }))
    }

    /// Whose word it is, as it calls itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Whether browsers come here by TLS.
    pub fn is_secure(&self) -> bool {
        self.callback.url().scheme() == "https"
    }

    /// The page of this address, if it may be given tokens.
    pub fn page(&self, address: &str) -> Option<&Url> {
        let asked: Url = address.parse().ok()?;
        self.returns.iter().find(|page| **page == asked)
    }

    /// Where the browser goes that begins this flow.
    pub async fn login(&self, flow: &Flow) -> Result<Url, OpenIdError> {
        let client = self.client(&*self.discovery.metadata().await?);
        let (state, nonce) = (flow.state(), flow.nonce());
        let verifier = PkceCodeVerifier::new(flow.verifier());
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        Ok(request.add_scopes(self.scopes.iter().cloned()).url().0)
    }

    /// Who came back from the provider with a code, in the flow that this browser began.
    pub async fn finish(&self, flow: &Flow, code: String) -> Result<Person, OpenIdError> {
        let client = self.client(&*self.discovery.metadata().await?);
        let request = client.exchange_code(AuthorizationCode::new(code));
        let request = request.map_err(|_| OpenIdError::Away("it names no token endpoint".to_owned()))?;
        let verifier = PkceCodeVerifier::new(flow.verifier());
        let answered = request.set_pkce_verifier(verifier).request_async(self.discovery.http()).await;
        let tokens = answered.map_err(not_exchanged)?;
        let id_token = tokens.id_token().ok_or(Rejected::NotAToken)?.to_string();
        let nonce = flow.nonce();
        let proof = token::Proof { nonce: Some(&nonce), access_token: Some(tokens.access_token()) };
        let person = self.judged(&id_token, &proof, &self.judge.of_our_own()).await?;
        if person.email.is_some() { Ok(person) } else { self.described(&client, person, tokens.access_token()).await }
    }

    /// Some providers tell addresses and names only to who asks for them with the access token, as the standard has it.
    async fn described(
        &self,
        client: &Client,
        person: Person,
        access_token: &AccessToken,
    ) -> Result<Person, OpenIdError> {
        let subject = SubjectIdentifier::new(person.subject.clone());
        let Ok(request) = client.user_info(access_token.clone(), Some(subject)) else { return Ok(person) };
        let told: CoreUserInfoClaims = request
            .request_async(self.discovery.http())
            .await
            .map_err(|_| OpenIdError::Away("it does not tell who signed in".to_owned()))?;
        Ok(person.described(told.email(), told.email_verified(), told.name()))
    }

    fn client(&self, metadata: &Metadata) -> Client {
        let (id, secret) = (self.client_id.clone(), self.client_secret.clone());
        CoreClient::from_provider_metadata(metadata.clone(), id, secret)
            .set_redirect_uri(self.callback.clone())
            .set_auth_type(how_to_prove(metadata))
    }

    /// Who an ID token is about, that an app had from the provider.
    pub async fn person(&self, id_token: &str, nonce: Option<&str>) -> Result<Person, OpenIdError> {
        let proof = token::Proof { nonce, access_token: None };
        self.judged(id_token, &proof, &self.judge).await
    }

    /// Judges by the keys that are known, and by newer ones where the token names a key that is not.
    async fn judged(&self, id_token: &str, proof: &token::Proof<'_>, judge: &Judge) -> Result<Person, OpenIdError> {
        let metadata = self.discovery.metadata().await?;
        match judge.person(id_token, proof, &metadata) {
            Err(Rejected::UnknownKey) => {}
            judged => return Ok(judged?),
        }
        let newer = self.discovery.newer_than(&metadata).await?.ok_or(Rejected::UnknownKey)?;
        Ok(judge.person(id_token, proof, &newer)?)
    }
}

/// An address that nobody on the way can read or change; one of this machine needs no TLS for that.
fn safe(key: &str, address: &str) -> anyhow::Result<Url> {
    let wrong =
        || format!("{key} must be an address that begins with https:// (http:// on this machine only), without a #");
    let url: Url = address.trim().parse().with_context(wrong)?;
    let here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let is_safe = url.scheme() == "https" || (url.scheme() == "http" && here);
    ensure!(is_safe && url.fragment().is_none(), wrong());
    Ok(url)
}

/// By a header, as every provider must take it, unless it says that it takes the secret in the form alone.
fn how_to_prove(metadata: &Metadata) -> AuthType {
    let ways = metadata.token_endpoint_auth_methods_supported();
    let takes = |way| ways.is_none_or(|ways| ways.contains(&way));
    if takes(CoreClientAuthMethod::ClientSecretBasic) { AuthType::BasicAuth } else { AuthType::RequestBody }
}

type NotExchanged = RequestTokenError<client::HttpError, StandardErrorResponse<CoreErrorResponseType>>;

/// What is told of it never quotes the provider's answer, which may hold tokens.
fn not_exchanged(error: NotExchanged) -> OpenIdError {
    use CoreErrorResponseType::{InvalidClient, UnauthorizedClient};
    match error {
        RequestTokenError::ServerResponse(refusal) => match refusal.error() {
            InvalidClient | UnauthorizedClient => OpenIdError::Away(
                "it does not know this client or its secret; look at SIGHTLINE_OIDC_CLIENT_ID and _SECRET".to_owned(),
            ),
            code => {
                tracing::info!(code = code.as_ref(), "the OpenID provider gave no tokens for a code");
                OpenIdError::Refused
            }
        },
        RequestTokenError::Request(error) => OpenIdError::Away(error.to_string()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            OpenIdError::Away("its answer to a code does not read".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "https://sightline.example.org/";

    fn usual() -> OpenIdArgs {
        OpenIdArgs {
            oidc_issuer: Some("https://accounts.google.com".to_owned()),
            oidc_client_id: Some("web".to_owned()),
            oidc_scopes: "openid email".to_owned(),
            ..OpenIdArgs::default()
        }
    }

    fn refused(settings: &OpenIdArgs) -> String {
        Provider::new(settings, OWN).err().expect("it is refused").to_string()
    }

    #[test]
    fn a_provider_is_set_whole_or_not_at_all() {
        assert!(Provider::new(&OpenIdArgs::default(), OWN).unwrap().is_none());
        let provider = Provider::new(&usual(), OWN).unwrap().unwrap();
        assert_eq!(provider.callback.as_str(), "https://sightline.example.org/v1/oidc/callback");
        assert!(provider.is_secure());
        for half in [
            OpenIdArgs { oidc_client_id: None, ..usual() },
            OpenIdArgs { oidc_issuer: None, ..usual() },
            OpenIdArgs { oidc_client_secret: Some("secret".parse().unwrap()), ..OpenIdArgs::default() },
        ] {
            let said = refused(&half);
            assert!(said.contains("SIGHTLINE_OIDC_ISSUER") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn what_strangers_could_read_on_the_way_is_refused_by_its_name() {
        for address in ["http://accounts.example", "accounts.example", "https://a.example/#b", "ftp://a.example"] {
            let text = || Some(address.to_owned());
            for (key, settings) in [
                ("SIGHTLINE_OIDC_ISSUER", OpenIdArgs { oidc_issuer: text(), ..usual() }),
                ("SIGHTLINE_OIDC_CALLBACK_URL", OpenIdArgs { oidc_callback_url: text(), ..usual() }),
                ("SIGHTLINE_OIDC_RETURN_URLS", OpenIdArgs { oidc_return_urls: vec![address.to_owned()], ..usual() }),
            ] {
                assert!(refused(&settings).contains(key), "{key} {address}");
            }
        }
        let here = OpenIdArgs { oidc_issuer: Some("http://127.0.0.1:8081/realms/a".to_owned()), ..usual() };
        assert!(Provider::new(&here, "http://localhost:8080").unwrap().is_some_and(|provider| !provider.is_secure()));
        let missing = OpenIdArgs { oidc_ca: Some("/nowhere.pem".into()), ..usual() };
        assert!(refused(&missing).contains("SIGHTLINE_OIDC_CA"));
    }

    #[test]
    fn only_a_page_that_is_named_is_one() {
        let returns = vec!["https://app.example/in".to_owned()];
        let provider = Provider::new(&OpenIdArgs { oidc_return_urls: returns, ..usual() }, OWN).unwrap().unwrap();
        assert!(provider.page("https://app.example/in").is_some());
        for other in
            ["https://app.example/in/", "https://app.example/in?a=b", "https://app.example/in#a", "https://app.example"]
        {
            assert!(provider.page(other).is_none(), "{other}");
        }
    }
}
