//! The HTTP client for the provider: with a time limit, a size limit, and without redirects.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};

use crate::args::OpenIdArgs;

/// Time limit for one response. A sign-in needs up to four, which fit into the time limit of a route.
const ANSWER: Duration = Duration::from_millis(4_500);
/// Time limit for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Largest response, in bytes: keys with long certificate chains have some 50 KiB.
const MAX_BYTES: usize = 512 << 10;

/// Calls the provider.
pub struct ProviderClient(Client);

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or a broken one.
    #[error("{}", root(.0))]
    Failed(#[from] reqwest::Error),
    /// The response is too large.
    #[error("its response has more than {MAX_BYTES} bytes")]
    TooLong,
    /// The response is not valid HTTP.
    #[error("its response is invalid")]
    Unreadable(#[from] http::Error),
}

/// The innermost error: the outer ones repeat the URL.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl ProviderClient {
    /// A client for the provider with this issuer URL.
    ///
    /// # Errors
    /// When the certificate authority of the settings is invalid.
    pub fn new(issuer: &Url, settings: &OpenIdArgs) -> anyhow::Result<Self> {
        let mut client = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).timeout(ANSWER);
        if issuer.scheme() == "https" {
            // The metadata must not name endpoints without TLS.
            client = client.https_only(true);
        } else {
            // The provider runs on this machine, which a proxy cannot reach.
            client = client.no_proxy();
        }
        let client = settings.trust_authority(client)?;
        Ok(Self(client.build().context("no client of the OpenID provider can be made")?))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.0.execute(request.try_into()?).await?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(read_body(&mut response).await?)?)
    }
}

async fn read_body(response: &mut Response) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(HttpError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

impl<'c> AsyncHttpClient<'c> for ProviderClient {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
