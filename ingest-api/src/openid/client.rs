//! How the provider is asked: within a time, without following it elsewhere, and no longer an answer than makes sense.

use std::pin::Pin;
use std::time::Duration;

use anyhow::Context;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use platform::config::OpenIdArgs;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};

/// Longest wait for one answer: four, as many as a sign-in may need, fit into the time that a request of a client's is given.
const ANSWER: Duration = Duration::from_millis(4_500);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest answer: keys with long chains of certificates have some 50 KiB.
const MAX_BYTES: usize = 512 << 10;

/// Asks the provider.
pub struct Http(Client);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or none that holds.
    #[error("{}", root(.0))]
    Failed(#[from] reqwest::Error),
    /// It says too much.
    #[error("its answer has more than {MAX_BYTES} bytes")]
    TooLong,
    /// It says what is no HTTP.
    #[error("its answer does not read")]
    Unreadable(#[from] http::Error),
}

/// What a chain of errors comes from: the rest of it repeats the address.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

impl Http {
    /// Asks the provider of this address.
    ///
    /// # Errors
    /// When the certificate of its authority cannot be read.
    pub fn new(issuer: &Url, settings: &OpenIdArgs) -> anyhow::Result<Self> {
        let mut client = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT).timeout(ANSWER);
        if issuer.scheme() == "https" {
            // What it says of its other addresses must not lead around TLS.
            client = client.https_only(true);
        } else {
            // It runs on this machine, where no proxy leads.
            client = client.no_proxy();
        }
        if let Some(path) = &settings.oidc_ca {
            let about = || format!("SIGHTLINE_OIDC_CA: {} cannot be read as PEM", path.display());
            let authorities = Certificate::from_pem_bundle(&std::fs::read(path).with_context(about)?);
            for authority in authorities.with_context(about)? {
                client = client.add_root_certificate(authority);
            }
        }
        Ok(Self(client.build().context("no client of the OpenID provider can be made")?))
    }

    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut response = self.0.execute(request.try_into()?).await?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(whole(&mut response).await?)?)
    }
}

async fn whole(response: &mut Response) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(HttpError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}
