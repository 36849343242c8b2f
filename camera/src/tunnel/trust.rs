//! Which certificates of cameras are accepted.

use std::sync::Arc;

use anyhow::Context;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::source::Tls;

/// Accepts what an authority has signed, and a certificate that the operator has named itself. Cameras make their own, which are
/// authority and server in one: the usual check refuses those.
#[derive(Debug)]
pub struct Trust {
    named: Vec<CertificateDer<'static>>,
    /// `None` without an authority.
    by_authority: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    /// The trust of a source.
    ///
    /// # Errors
    /// When the file of the certificates cannot be read.
    pub fn new(tls: &Tls, provider: &Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let (mut named, mut authorities) = (Vec::new(), RootCertStore::empty());
        if let Some(path) = &tls.ca_file {
            let unreadable = || format!("tls_ca_file: {} cannot be read", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(unreadable)? {
                named.push(certificate.with_context(unreadable)?);
            }
            // One that cannot be an authority can still be the camera's own.
            authorities.add_parsable_certificates(named.iter().cloned());
        } else {
            // One that cannot be used is no reason to trust none.
            authorities.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let by_authority = if authorities.is_empty() {
            None
        } else {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
            Some(builder.build().context("tls_ca_file")?)
        };
        Ok(Self { named, by_authority, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Byte for byte: neither its name nor its time says more. That the camera has its key is checked by the signatures below.
        if self.named.iter().any(|named| named == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.by_authority {
            Some(verifier) => verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now),
            None => Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
