//! How a client on this machine reaches a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// What a client on this machine needs to know about a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForClients {
    /// URL of the port. Its host is one that the port's certificate names, as far as it names any.
    pub url: String,
    /// File with the authority of the port's certificate. `None` without TLS, and if no file of the settings has it.
    pub authority: Option<PathBuf>,
}

impl ForClients {
    /// Of a port without TLS.
    pub(super) fn plain(listening: SocketAddr) -> Self {
        Self { url: format!("http://{}", reachable(listening)), authority: None }
    }

    /// Of a port with this certificate chain, PEM. `candidates` are files that may have its authority.
    pub(super) fn encrypted(listening: SocketAddr, chain: &[u8], candidates: &[PathBuf]) -> Self {
        let chain = certificates(chain);
        let address = reachable(listening);
        let host = chain.first().and_then(parsed).and_then(|first| host(&first, address));
        let url =
            host.map_or_else(|| format!("https://{address}"), |name| format!("https://{name}:{}", address.port()));
        let issuer = chain.last().and_then(parsed).map(|last| last.issuer().as_raw().to_vec());
        let authority = issuer.and_then(|issuer| candidates.iter().find(|file| has_subject(file, &issuer)).cloned());
        Self { url, authority }
    }
}

/// The address at which a client on this machine reaches a port: the loopback address in place of "all addresses".
pub const fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

/// A name of the certificate to use in place of the address; `None` if it names the address itself, or nothing better.
fn host(certificate: &X509Certificate<'_>, address: SocketAddr) -> Option<String> {
    let names = &certificate.subject_alternative_name().ok()??.value.general_names;
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    if names.iter().any(|name| matches!(name, GeneralName::IPAddress(bytes) if *bytes == octets)) {
        return None;
    }
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) if !name.starts_with('*') => Some((*name).to_owned()),
        _ => None,
    };
    let named: Vec<String> = names.iter().filter_map(dns).collect();
    let local = named.iter().find(|name| *name == "localhost" && address.ip().is_loopback());
    local.or_else(|| named.first()).cloned()
}

fn has_subject(file: &Path, subject: &[u8]) -> bool {
    let pem = std::fs::read(file).unwrap_or_default();
    certificates(&pem).iter().filter_map(parsed).any(|found| found.subject().as_raw() == subject)
}
