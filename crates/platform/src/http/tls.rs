//! TLS on a port: certificate, key and, if clients must show certificates too, the authority that they come from.
//!
//! In: paths. Out: what a handshake needs, always of the files as they are now: they are looked at every two seconds, and
//! new ones count for the connections that come next, while those that are open go on. Files that make no sense stop the
//! start; later they are told of in the log, and what was in force stays in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::HttpArgs;

const CERT: &str = "SIGHTLINE_TLS_CERT";
const KEY: &str = "SIGHTLINE_TLS_KEY";
const CLIENT_CA: &str = "SIGHTLINE_TLS_CLIENT_CA";

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often a certificate that ends soon is told of.
const REMIND: Duration = Duration::from_secs(24 * 3600);
/// What "soon" is.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// Where the files are.
#[derive(Debug, Clone)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

/// What is in them.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// A certificate in force, and where it comes from. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    files: Files,
    /// What was in the files at the start.
    first: Arc<Contents>,
    in_force: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// What the settings name; nothing when they name no certificate.
    ///
    /// # Errors
    /// When half of a pair is missing, a file cannot be read or is none, or the key is another certificate's. The message
    /// names the setting.
    pub fn of(settings: &HttpArgs) -> anyhow::Result<Option<Self>> {
        let Some(files) = Files::of(settings)? else { return Ok(None) };
        let first = Arc::new(files.read()?);
        let in_force = Arc::new(RwLock::new(Arc::new(files.understand(&first)?)));
        Ok(Some(Self { files, first, in_force }))
    }

    /// Shakes hands by the files as they are now.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Looks at the files for ever, and takes what is new.
    pub async fn keep_fresh(self) {
        let mut seen = Ok(self.first.clone());
        let mut since_reminder = Duration::ZERO;
        loop {
            tokio::time::sleep(LOOK).await;
            since_reminder += LOOK;
            let now = self.look().await;
            if now != seen {
                self.take(&now);
                seen = now;
            } else if since_reminder >= REMIND {
                since_reminder = Duration::ZERO;
                if let Ok(contents) = &seen {
                    self.files.tell_validity(contents);
                }
            }
        }
    }

    async fn look(&self) -> Result<Arc<Contents>, String> {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(read) => read.map(Arc::new).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn take(&self, contents: &Result<Arc<Contents>, String>) {
        let understood = match contents {
            Ok(contents) => self.files.understand(contents),
            Err(error) => Err(anyhow::anyhow!("{error}")),
        };
        match understood {
            Ok(config) => {
                *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!("the TLS files have changed and count from the next connection on");
            }
            // Also what is seen between the writing of one file and of the other: the next look finds both.
            Err(error) => {
                tracing::warn!("{error:#}; the TLS files have changed, and what was in force before stays in force");
            }
        }
    }
}

impl Files {
    fn of(settings: &HttpArgs) -> anyhow::Result<Option<Self>> {
        let HttpArgs { tls_cert, tls_key, tls_client_ca, .. } = settings;
        match (tls_cert, tls_key, tls_client_ca) {
            (Some(cert), Some(key), client_ca) => {
                Ok(Some(Self { cert: cert.clone(), key: key.clone(), client_ca: client_ca.clone() }))
            }
            (None, None, None) => Ok(None),
            (None, None, Some(_)) => anyhow::bail!(
                "{CLIENT_CA} is set without {CERT} and {KEY}; clients show certificates to a server that has one, so set them too"
            ),
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

    /// What a server with these contents says in a handshake.
    fn understand(&self, contents: &Contents) -> anyhow::Result<ServerConfig> {
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
        let mut config = builder.with_single_cert(chain, key).map_err(|error| self.misfit(&error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.tell_validity(contents);
        Ok(config)
    }

    fn misfit(&self, error: &Error) -> anyhow::Error {
        let (cert, key) = (self.cert.display(), self.key.display());
        match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
                "{KEY}: the key in {key} does not fit the first certificate in {cert}; give the two that were issued together"
            ),
            Error::InvalidCertificate(error) => anyhow::anyhow!("{CERT}: {cert} cannot be used: {error}"),
            error => anyhow::anyhow!("{KEY}: {key} cannot be used: {error}"),
        }
    }

    /// Warns of a certificate that does not count, or soon will not. Clients refuse it, but that is no reason not to start:
    /// without the server there would be nothing at all.
    fn tell_validity(&self, contents: &Contents) {
        let first = CertificateDer::pem_slice_iter(&contents.cert).next();
        let Some(Ok(first)) = first else { return };
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(&first) else { return };
        let (begins, ends) = (parsed.validity().not_before, parsed.validity().not_after);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and seconds are far below 2^52")]
        metrics::gauge!("sightline_tls_certificate_ends_seconds").set(ends.timestamp() as f64);
        let path = self.cert.display();
        match standing(begins.timestamp(), ends.timestamp(), SystemTime::now()) {
            Standing::Good => {}
            Standing::EndsSoon => tracing::warn!("{CERT}: the certificate in {path} ends at {ends}; renew it"),
            Standing::Ended => {
                tracing::warn!("{CERT}: the certificate in {path} expired at {ends}, and clients refuse it; renew it");
            }
            Standing::NotYet => {
                tracing::warn!(
                    "{CERT}: the certificate in {path} counts from {begins} on, and clients refuse it until then"
                );
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    NotYet,
    Good,
    EndsSoon,
    Ended,
}

fn standing(begins: i64, ends: i64, now: SystemTime) -> Standing {
    let seconds = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    };
    match seconds(now) {
        now if now < begins => Standing::NotYet,
        now if now > ends => Standing::Ended,
        _ if seconds(now + SOON) > ends => Standing::EndsSoon,
        _ => Standing::Good,
    }
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow::anyhow!("{key}: cannot read {}: {error}", path.display()))
}

fn certificates(pem: &[u8], path: &Path, key: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let path = path.display();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| anyhow::anyhow!("{key}: {path} is no PEM file: {error}"))?;
    anyhow::ensure!(!found.is_empty(), "{key}: {path} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)");
    Ok(found)
}

fn private_key(pem: &[u8], path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let path = path.display();
    let encrypted = String::from_utf8_lossy(pem).contains("ENCRYPTED PRIVATE KEY");
    anyhow::ensure!(
        !encrypted,
        "{KEY}: {path} is encrypted; write the key out with `openssl pkey -in {path} -out FILE`"
    );
    // What went wrong is not shown: it might quote the file.
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| anyhow::anyhow!("{KEY}: {path} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)"))
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
    fn a_certificate_is_told_of_before_it_ends() {
        let day = 24 * 3600;
        let now = UNIX_EPOCH + Duration::from_secs(1000 * 24 * 3600);
        for (begins, ends, expected) in [
            (900, 1100, Standing::Good),
            (900, 1010, Standing::EndsSoon),
            (900, 999, Standing::Ended),
            (1001, 1100, Standing::NotYet),
        ] {
            assert_eq!(standing(begins * day, ends * day, now), expected, "{begins} to {ends}");
        }
    }
}
