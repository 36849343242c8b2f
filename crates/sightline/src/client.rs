//! A client of a running Sightline: server, credential, certificates.

mod error_response;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use platform::root_cause;
use reqwest::{Certificate, ClientBuilder, Identity, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use settings::Secret;

pub use self::error_response::{ErrorResponse, Refusal, read_error};
use crate::data_dir::{DataDir, token_file};

/// Arguments that name the server and the credential.
#[derive(Debug, Clone, Args)]
pub struct ClientArgs {
    /// The server, with the path under which a reverse proxy has it, if any
    // A secret, because an address that is refused may contain a password, and Clap repeats a value that it refuses.
    #[arg(
        long,
        env = "SIGHTLINE_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL",
        hide_env_values = true
    )]
    server: Secret,

    /// API token [default: the admin token of the data folder, for servers on this machine only]
    #[arg(long, env = "SIGHTLINE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<Secret>,

    /// Certificate authority to trust in addition to the system's, PEM
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,

    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    #[command(flatten)]
    data_dir: DataDir,
}

/// Why an address with a user or a password is refused.
const CREDENTIALS: &str = "it must not contain a user or a password; give the token with --token";

/// Time limit for a request that finds out which scheme a server speaks.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client with its credential. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Secret,
}

impl ClientArgs {
    fn server(&self) -> anyhow::Result<Url> {
        server_url(self.server.expose()).map_err(|fault| anyhow::anyhow!("--server (SIGHTLINE_SERVER): {fault}"))
    }

    /// The client that these arguments describe.
    pub fn client(&self) -> anyhow::Result<Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sightline/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10));
        if let Some(path) = &self.cacert {
            builder = authorities(path)?.into_iter().fold(builder, ClientBuilder::add_root_certificate);
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            builder = builder.identity(identity(cert, key)?);
        }
        let http = builder.build().context("the certificates and keys of --cacert, --cert and --key cannot be used")?;
        let server = self.server()?;
        Ok(Client { http, token: self.token(&server)?, server })
    }

    /// The server for the camera program, as its task has it.
    ///
    /// # Errors
    /// When there is no token.
    pub fn for_camera(&self) -> anyhow::Result<serde_json::Value> {
        let Self { cacert, cert, key, .. } = self;
        let server = self.server()?;
        let token = self.token(&server)?;
        Ok(
            serde_json::json!({"url": server.as_str(), "token": token.expose(), "cacert": cacert, "cert": cert, "key": key}),
        )
    }

    fn token(&self, server: &Url) -> anyhow::Result<Secret> {
        if let Some(token) = &self.token {
            let usable = settings::check_token(token.expose());
            usable.map_err(|error| anyhow::anyhow!("--token or SIGHTLINE_TOKEN: {error}"))?;
            return Ok(token.clone());
        }
        // The admin token of the local server must not be sent to another server.
        if !is_loopback(server) {
            bail!("no token for {server}; give one with --token or SIGHTLINE_TOKEN");
        }
        let path = token_file(&self.data_dir.path()?);
        let token = std::fs::read_to_string(&path).with_context(|| {
            format!("no token: {} cannot be read; start `sightline up`, or give --token or --data-dir", path.display())
        })?;
        let token: Secret = token.parse()?;
        settings::check_token(token.expose()).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        Ok(token)
    }
}

fn authorities(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = read(path, "--cacert")?;
    let found = Certificate::from_pem_bundle(&pem).with_context(|| format!("--cacert: {}", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "--cacert: {} contains no certificate in PEM form", path.display());
    Ok(found)
}

fn identity(cert: &Path, key: &Path) -> anyhow::Result<Identity> {
    let pem = [read(cert, "--cert")?, b"\n".to_vec(), read(key, "--key")?].concat();
    // The cause is not shown, because it might quote the key.
    Identity::from_pem(&pem).map_err(|_| {
        let (cert, key) = (cert.display(), key.display());
        anyhow::anyhow!("--cert and --key: {cert} and {key} contain no certificate and key in PEM form")
    })
}

fn read(path: &Path, flag: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{flag}: {} cannot be read", path.display()))
}

/// The URL of a server. A missing scheme is named, because `localhost:8080` is a URL with the scheme `localhost`. The texts do
/// not repeat what may be a password.
fn server_url(text: &str) -> Result<Url, String> {
    let parse =
        |text: &str| text.parse().ok().filter(|url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if let Some(url) = parse(text) {
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it must end with a host, a port or a path, without ? and #".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(CREDENTIALS.to_owned());
        }
        if let Some(server) = url.as_str().trim_end_matches('/').strip_suffix("/v1") {
            return Err(format!("write {server}: /v1 is added"));
        }
        return Ok(url);
    }
    if text.contains('@') {
        return Err(CREDENTIALS.to_owned());
    }
    let with_scheme = format!("http://{text}");
    if !text.contains("://") && parse(&with_scheme).is_some() {
        return Err(format!("the scheme is missing; write {with_scheme}"));
    }
    Err("it must be the URL of a server, such as http://127.0.0.1:8080".to_owned())
}

/// A path below the path of the server's URL, which a reverse proxy may need.
fn under(server: &Url, path: &str) -> Option<Url> {
    format!("{}{path}", server.as_str().trim_end_matches('/')).parse().ok()
}

/// Whether the host of a URL is this machine's loopback interface.
pub fn is_loopback(server: &Url) -> bool {
    let host = server.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Sends a request, and reads the body of its response.
///
/// # Errors
/// The server is out of reach, refuses, or is another one; the message says what to do.
pub async fn ask<T: DeserializeOwned>(request: RequestBuilder, client: &Client) -> anyhow::Result<T> {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => bail!(client.connection_error(&error).await?),
    };
    if response.status().is_success() {
        return response.json().await.context("the response is not from a Sightline server");
    }
    match read_error(response).await {
        ErrorResponse::RetryAfter(_, message) | ErrorResponse::Permanent(message) => bail!(message),
    }
}

impl Client {
    /// The server.
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// A GET of a path with its query, authorised.
    pub fn get(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.get(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// A HEAD of a path, authorised.
    pub fn head(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.head(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// A DELETE of a path, authorised.
    pub fn delete(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.delete(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// A PATCH of a path, authorised.
    pub fn patch(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.patch(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// A PUT to a path, authorised.
    pub fn put(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.put(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// A POST to a path with its query, authorised.
    pub fn post(&self, path: &str) -> anyhow::Result<RequestBuilder> {
        Ok(self.http.post(self.url(path)?).bearer_auth(self.token.expose()))
    }

    /// Explains why a request got no response and what to do about it.
    ///
    /// # Errors
    /// [`WrongServer`] when a retry cannot succeed, because one side does not trust the other's certificate, or the server speaks
    /// the other scheme.
    pub async fn connection_error(&self, error: &reqwest::Error) -> anyhow::Result<String> {
        let (cause, server) = (root_cause(error), &self.server);
        if cause.contains(UNTRUSTED) {
            bail!(WrongServer(format!(
                "{server} has a certificate that is not trusted here: {cause}; name its authority with --cacert"
            )));
        }
        if cause.contains(CERTIFICATE_REQUIRED) {
            bail!(WrongServer(format!(
                "{server} accepts only clients with a certificate; name one with --cert and --key"
            )));
        }
        if let Some(right) = self.right_scheme(error, &cause).await {
            let (wrong, speaks) = (server.scheme(), right.scheme());
            let right = right.as_str().trim_end_matches('/');
            bail!(WrongServer(format!("the server speaks {speaks}, not {wrong}: use {right}")));
        }
        if error.is_timeout() && !error.is_connect() {
            return Ok(format!("{server} did not answer in time"));
        }
        let advice = match is_loopback(server) {
            true => "start `sightline up`, or name another server with --server",
            false => "check the address given with --server",
        };
        Ok(format!("{server} cannot be reached: {cause}; {advice}"))
    }

    /// The URL of the server with the other scheme, if the server speaks that one. The request that finds this out has no credential.
    async fn right_scheme(&self, error: &reqwest::Error, cause: &str) -> Option<Url> {
        let is_encrypted = self.server.scheme() == "https";
        // Without TLS, a connection that opens and then fails; with TLS, a handshake that fails, unless the server's TLS refuses it.
        let may_be_wrong = if is_encrypted { !cause.contains("received fatal alert") } else { !error.is_connect() };
        if !may_be_wrong || error.is_timeout() {
            return None;
        }
        let mut other = self.server.clone();
        let port = self.server.port_or_known_default();
        other.set_scheme(if is_encrypted { "http" } else { "https" }).ok()?;
        other.set_port(port).ok()?;
        let speaks_it = match self.http.get(other.clone()).timeout(PROBE_TIMEOUT).send().await {
            Ok(_) => true,
            // Only TLS has certificates.
            Err(error) => [UNTRUSTED, CERTIFICATE_REQUIRED].iter().any(|text| root_cause(&error).contains(text)),
        };
        speaks_it.then_some(other)
    }

    fn url(&self, path: &str) -> anyhow::Result<Url> {
        under(&self.server, path).with_context(|| format!("{} is not the address of a server", self.server))
    }
}

/// What the TLS library says about a certificate without a trusted authority, and about a client without a certificate.
const UNTRUSTED: &str = "invalid peer certificate";
const CERTIFICATE_REQUIRED: &str = "received fatal alert: CertificateRequired";

/// No request to this server can succeed with these arguments.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongServer(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_scheme_is_refused_with_the_right_url() {
        for text in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "cameras.example.com"] {
            let error = server_url(text).unwrap_err();
            assert!(error.ends_with(&format!("write http://{text}")), "{error}");
        }
        for text in ["", "ftp://localhost", "http://", "http//localhost", "localhost:80801"] {
            assert!(server_url(text).is_err(), "{text}");
        }
        for text in ["http://localhost:8080/v1", "http://localhost:8080/v1/"] {
            assert_eq!(server_url(text).unwrap_err(), "write http://localhost:8080: /v1 is added", "{text}");
        }
        assert!(server_url("https://cameras.example.com").is_ok());
        for text in
            ["http://localhost/?a=b", "http://localhost/#a", "http://ann:secret@localhost", "http://ann@localhost"]
        {
            let error = server_url(text).unwrap_err();
            assert!(error.contains("without ? and #") || error.contains("--token"), "{text}: {error}");
        }
        for text in ["ann:hidden@localhost:8080", "http://ann:hidden@localhost/v1", "ftp://ann:hidden@localhost"] {
            assert_eq!(server_url(text).unwrap_err(), CREDENTIALS, "{text}");
        }
    }

    #[test]
    fn requests_go_below_the_path_of_the_server() {
        for (server, expected) in [
            ("http://localhost:8080", "http://localhost:8080/v1/frames?stream=gate"),
            ("http://localhost:8080/", "http://localhost:8080/v1/frames?stream=gate"),
            ("https://example.com/cameras", "https://example.com/cameras/v1/frames?stream=gate"),
            ("https://example.com/cameras/", "https://example.com/cameras/v1/frames?stream=gate"),
        ] {
            let server = server_url(server).unwrap();
            assert_eq!(under(&server, "/v1/frames?stream=gate").unwrap().as_str(), expected);
        }
    }

    #[test]
    fn the_local_token_is_sent_to_local_servers_only() {
        for (server, expected) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost", true),
            ("http://[::1]:1", true),
            ("http://127.0.0.1.example.com", false),
            ("https://cameras.example.com", false),
            ("http://0.0.0.0:8080", false),
        ] {
            assert_eq!(is_loopback(&server.parse().unwrap()), expected, "{server}");
        }
    }
}
