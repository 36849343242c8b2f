//! Runs the requests of the `object_store` crate on `reqwest`, the HTTP client of the whole program, so that there is one TLS stack
//! and one set of root certificates.

use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions};

/// Creates a `reqwest` client for the `object_store` crate.
#[derive(Debug)]
pub(crate) struct ReqwestConnector;

impl HttpConnector for ReqwestConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let plain = options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|allowed| allowed == "true");
        let client = client(plain, Duration::from_secs(30))
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })?;
        Ok(HttpClient::new(ReqwestClient(client)))
    }
}

/// A client that waits for this silence of a server, and speaks without TLS only if that is allowed.
pub(crate) fn client(plain: bool, read_timeout: Duration) -> reqwest::Result<reqwest::Client> {
    let client = reqwest::Client::builder().https_only(!plain).connect_timeout(Duration::from_secs(5));
    client.read_timeout(read_timeout).build()
}

#[derive(Debug)]
struct ReqwestClient(reqwest::Client);

#[async_trait]
impl HttpService for ReqwestClient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let length = body.content_length();
        let content = body.collect().await?.to_bytes();
        let mut sent = http::Request::from_parts(head, reqwest::Body::from(content));
        if length == 0 && sent.method() == http::Method::PUT {
            sent.headers_mut().entry(http::header::CONTENT_LENGTH).or_insert_with(|| 0.into());
        }
        let sent = reqwest::Request::try_from(sent).map_err(failed)?;
        let response: http::Response<reqwest::Body> = self.0.execute(sent).await.map_err(failed)?.into();
        let (head, body) = response.into_parts();
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(body.map_err(failed))))
    }
}

/// Maps an error to its kind; `object_store` decides by the kind whether to retry.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else if error.is_request() || error.is_body() {
        HttpErrorKind::Request
    } else {
        HttpErrorKind::Unknown
    };
    HttpError::new(kind, error.without_url())
}
