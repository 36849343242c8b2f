//! TLS on a port: certificate, key and, for mutual TLS, the authorities of clients' certificates.
//!
//! The files are read again every two seconds ([`super::Limits::tls_reload`]). Changed files apply to new connections; open connections continue. Invalid
//! files stop the start. Invalid files while the service runs are logged, and the previous certificate stays in use.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::for_clients::ForClients;
use crate::config::HttpArgs;

const CERT: &str = "SIGHTLINE_TLS_CERT";
const KEY: &str = "SIGHTLINE_TLS_KEY";
const CLIENT_CA: &str = "SIGHTLINE_TLS_CLIENT_CA";

/// Name of HTTP/1.1 in the handshake (ALPN, RFC 7301).
pub const HTTP_1: &[u8] = b"http/1.1";
/// That of HTTP/2.
pub const HTTP_2: &[u8] = b"h2";

/// Interval between warnings about a certificate that expires soon.
const WARN_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Remaining validity from which on a certificate expires soon.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Paths of the files, and the protocol that their configuration offers.
#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    protocol: &'static [u8],
}

/// Contents of the files.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// The server's TLS configuration and its source files. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    /// Contents at the start.
    first: Arc<Contents>,
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the files that the settings name, for a port of `protocol`; `None` when they name no certificate.
    ///
    /// # Errors
    /// When certificate or key is missing, a file cannot be read or is invalid, or the key belongs to another certificate. The
    /// message names the setting.
    pub fn from_settings(settings: &HttpArgs, protocol: &'static [u8]) -> anyhow::Result<Option<Self>> {
        let Some(files) = Files::from_settings(settings, protocol)? else { return Ok(None) };
        let first = Arc::new(files.read()?);
        let current = Arc::new(RwLock::new(Arc::new(files.server_config(&first)?)));
        Ok(Some(Self { files, first, current }))
    }

    /// How a client on this machine reaches the port at this address, with the certificate of the start.
    pub fn for_clients(&self, listening: SocketAddr) -> ForClients {
        // `sightline certs dev` writes the authority next to the certificate; a chain may have its own root.
        let beside = self.files.cert.with_file_name("ca.pem");
        let candidates: Vec<PathBuf> =
            [Some(beside), self.files.client_ca.clone(), Some(self.files.cert.clone())].into_iter().flatten().collect();
        ForClients::encrypted(listening, &self.first.cert, &candidates)
    }

    /// An acceptor with the current certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Reads the files every `period` and applies changed ones, without end.
    pub async fn reload_changes(self, period: Duration) {
        let mut seen = Ok(self.first.clone());
        let mut since_warning = Duration::ZERO;
        loop {
            tokio::time::sleep(period).await;
            since_warning += period;
            let now = self.read().await;
            if now != seen {
                self.apply(&now);
                seen = now;
            } else if since_warning >= WARN_AGAIN {
                since_warning = Duration::ZERO;
                if let Ok(contents) = &seen {
                    self.files.warn_of_expiry(contents);
                }
            }
        }
    }

    async fn read(&self) -> Result<Arc<Contents>, String> {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(read) => read.map(Arc::new).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn apply(&self, contents: &Result<Arc<Contents>, String>) {
        let config = match contents {
            Ok(contents) => self.files.server_config(contents),
            Err(error) => Err(anyhow::anyhow!("{error}")),
        };
        match config {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the TLS files have changed; new connections use them");
            }
            // This also happens between the writes of a certificate and its key; the next read finds the matching pair.
            Err(error) => {
                tracing::warn!(
                    "{error:#}; the TLS files have changed but are invalid; the previous certificate stays in use"
                );
            }
        }
    }
}

impl Files {
    fn from_settings(settings: &HttpArgs, protocol: &'static [u8]) -> anyhow::Result<Option<Self>> {
        let HttpArgs { tls_cert, tls_key, tls_client_ca, .. } = settings;
        match (tls_cert, tls_key, tls_client_ca) {
            (Some(cert), Some(key), client_ca) => {
                Ok(Some(Self { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone(), protocol }))
            }
            (None, None, None) => Ok(None),
            (None, None, Some(_)) => anyhow::bail!("{CLIENT_CA} is set without {CERT} and {KEY}; set them too"),
            (Some(_), None, _) => {
                anyhow::bail!("{KEY} is not set, but {CERT} is; set it to the file with the certificate's key")
            }
            (None, Some(_), _) => {
                anyhow::bail!("{CERT} is not set, but {KEY} is; set it to the file with the key's certificate")
            }
        }
    }

    fn read(&self) -> anyhow::Result<Contents> {
        Ok(Contents {
            cert: read(&self.cert, CERT)?,
            key: read(&self.key, KEY)?,
            client_ca: self.client_ca.as_ref().map(|path| read(path, CLIENT_CA)).transpose()?,
        })
    }

    /// The TLS configuration of the server.
    fn server_config(&self, contents: &Contents) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&contents.cert, &self.cert, CERT)?;
        let key = private_key(&contents.key, &self.key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match (&contents.client_ca, &self.client_ca) {
            (Some(pem), Some(path)) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(pem, path)?), provider);
                let verifier = verifier.build().map_err(|error| anyhow::anyhow!("{CLIENT_CA}: {error}"))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.invalid_pair(&error))?;
        config.alpn_protocols = vec![self.protocol.to_vec()];
        self.warn_of_expiry(contents);
        Ok(config)
    }

    fn invalid_pair(&self, error: &Error) -> anyhow::Error {
        let (cert, key) = (self.cert.display(), self.key.display());
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
                "{KEY}: the key in {key} does not match the first certificate in {cert}; name a certificate and its own key"
            ),
            Error::InvalidCertificate(error) => anyhow::anyhow!("{CERT}: {cert} cannot be used: {error}"),
            error => anyhow::anyhow!("{KEY}: {key} cannot be used: {error}"),
        }
    }

    /// Warns of a certificate that is not valid now or soon. The service starts in any case: some
    /// clients may ignore it, and a new file is loaded later.
    fn warn_of_expiry(&self, contents: &Contents) {
        let first = CertificateDer::pem_slice_iter(&contents.cert).next();
        let Some(Ok(first)) = first else { return };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&first) else { return };
        let (begins, ends) = (parsed.validity().not_before, parsed.validity().not_after);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and seconds are far below 2^52")]
        metrics::gauge!("sightline_tls_certificate_ends_seconds").set(ends.timestamp() as f64);
        let path = self.cert.display();
        match validity(begins.timestamp(), ends.timestamp(), SystemTime::now()) {
            Validity::Valid => {}
            Validity::ExpiresSoon => tracing::warn!("{CERT}: the certificate in {path} expires at {ends}; renew it"),
            Validity::Expired => {
                tracing::warn!("{CERT}: the certificate in {path} expired at {ends}, and clients refuse it; renew it");
            }
            Validity::NotYetValid => {
                tracing::warn!(
                    "{CERT}: the certificate in {path} is valid from {begins} on; clients refuse it until then"
                );
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Validity {
    NotYetValid,
    Valid,
    ExpiresSoon,
    Expired,
}

fn validity(begins: i64, ends: i64, now: SystemTime) -> Validity {
    let seconds = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    };
    match seconds(now) {
        now if now < begins => Validity::NotYetValid,
        now if now > ends => Validity::Expired,
        _ if seconds(now + SOON) > ends => Validity::ExpiresSoon,
        _ => Validity::Valid,
    }
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow::anyhow!("{key}: cannot read {}: {error}", path.display()))
}

fn certificates(pem: &[u8], path: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let path = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| anyhow::anyhow!("{key}: {path} is not a PEM file: {error}"))?;
    anyhow::ensure!(
        !found.is_empty(),
        "{key}: {path} contains no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    );
    Ok(found)
}

fn private_key(pem: &[u8], path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let path = path.display();
    let encrypted = String::from_utf8_lossy(pem).contains("ENCRYPTED PRIVATE KEY");
    anyhow::ensure!(!encrypted, "{KEY}: {path} is encrypted; decrypt it with `openssl pkey -in {path} -out FILE`");
    // The cause is not shown: it might quote the file.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| anyhow::anyhow!("{KEY}: {path} contains no private key in PEM form (-----BEGIN PRIVATE KEY-----)"))
}

fn roots(pem: &[u8], path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path, CLIENT_CA)? {
        roots
            .add(certificate)
            .map_err(|error| anyhow::anyhow!("{CLIENT_CA}: {} cannot be used: {error}", path.display()))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_reported_before_it_expires() {
        let day = 24 * 3600;
        let now = UNIX_EPOCH + Duration::from_secs(1000 * 24 * 3600);
        for (begins, ends, expected) in [
            (900, 1100, Validity::Valid),
            (900, 1010, Validity::ExpiresSoon),
            (900, 999, Validity::Expired),
            (1001, 1100, Validity::NotYetValid),
        ] {
            assert_eq!(validity(begins * day, ends * day, now), expected, "{begins} to {ends}");
        }
    }
}
