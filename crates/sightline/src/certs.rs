//! `sightline certs dev`: certificates from a development authority, to try TLS with.
//!
//! The first run creates the authority. Every run issues a new certificate for the server and one for a client, so a second run
//! shows how a running server reloads its certificate; with `--keep` it does so only when they must be renewed. Not for production: the authority's key is unprotected, and there is no
//! revocation.

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use jiff::{Span, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;

use crate::out;

/// Creates certificates
#[derive(Debug, Args)]
pub struct Certs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a development authority and certificates for a server and a client; not for production
    Dev(Dev),
}

#[derive(Debug, Args)]
struct Dev {
    /// Folder for the files; created if it does not exist
    #[arg(long, default_value = "certs", value_name = "DIR")]
    out: PathBuf,

    /// Names and addresses of the server, comma-separated
    #[arg(long, default_value = "localhost,127.0.0.1,::1", value_delimiter = ',', value_name = "NAMES")]
    host: Vec<String>,

    /// Validity of the certificates in days
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u16).range(1..=825))]
    days: u16,

    /// Change nothing while the certificates are valid for another week and name the same hosts; for a job that runs at every start
    #[arg(long)]
    keep: bool,
}

/// Remaining validity below which `--keep` issues new certificates, in days.
const KEEP_DAYS: i64 = 7;
/// Validity of the authority in days.
const AUTHORITY_DAYS: u16 = 3650;
const AUTHORITY: &str = "Sightline development CA";

/// A certificate and its key, both PEM.
struct Pair {
    cert: String,
    key: String,
}

impl Certs {
    /// Creates the files and prints how to use them.
    pub fn run(self) -> anyhow::Result<()> {
        let Action::Dev(dev) = self.action;
        std::fs::create_dir_all(&dev.out).with_context(|| format!("--out: {} cannot be created", dev.out.display()))?;
        if dev.keep && dev.is_current() {
            return out::line(format_args!(
                "{} has certificates for these hosts; nothing was changed",
                dev.out.display()
            ));
        }
        let (issuer, authority) = authority(&dev.out)?;
        let server = pair(&dev.host, "Sightline server", ExtendedKeyUsagePurpose::ServerAuth, dev.days, &issuer)?;
        let client = pair(&[], "Sightline client", ExtendedKeyUsagePurpose::ClientAuth, dev.days, &issuer)?;
        if let Some(authority) = authority {
            authority.write(&dev.out, "ca")?;
        }
        server.write(&dev.out, "server")?;
        client.write(&dev.out, "client")?;
        dev.print()
    }
}

impl Dev {
    /// Whether the folder has all files, with certificates that need not be issued again yet.
    fn is_current(&self) -> bool {
        let has_keys = ["ca", "server", "client"].iter().all(|name| self.out.join(format!("{name}.key")).exists());
        let is_current = |name: &str, hosts: &[String]| {
            let pem = std::fs::read(self.out.join(format!("{name}.pem"))).unwrap_or_default();
            is_current(&pem, hosts).unwrap_or(false)
        };
        has_keys && is_current("ca", &[]) && is_current("server", &self.host) && is_current("client", &[])
    }

    fn print(&self) -> anyhow::Result<()> {
        let out = self.out.display();
        out::line(format_args!(
            "{out} has an authority (ca), a server certificate for {} and a client certificate, valid for {} days; try:",
            self.host.join(", "),
            self.days
        ))?;
        out::line(format_args!("  sightline up --tls-cert {out}/server.pem --tls-key {out}/server.key"))?;
        out::line(format_args!("  sightline watch --server https://localhost:8080 --cacert {out}/ca.pem"))?;
        out::line(format_args!(
            "with --tls-client-ca {out}/ca.pem, `up` accepts only clients with \
             --cert {out}/client.pem --key {out}/client.key"
        ))?;
        out::line(format_args!(
            "to trust the authority on this machine: curl and `sightline` take --cacert {out}/ca.pem; a browser imports it in its \
             settings; for all programs on Debian:"
        ))?;
        out::line(format_args!(
            "  sudo cp {out}/ca.pem /usr/local/share/ca-certificates/sightline-dev.crt && sudo update-ca-certificates"
        ))
    }
}

/// Whether a certificate, PEM, names these hosts and is valid for [`KEEP_DAYS`] more; `None` if it cannot be read.
fn is_current(pem: &[u8], hosts: &[String]) -> Option<bool> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let names: Vec<String> =
        names.into_iter().flat_map(|names| &names.value.general_names).filter_map(host_name).collect();
    let is_named = |host: &String| names.contains(&host.to_ascii_lowercase());
    let ends_in = certificate.validity().not_after.timestamp() - Zoned::now().timestamp().as_second();
    Some(hosts.iter().all(is_named) && ends_in > KEEP_DAYS * 24 * 60 * 60)
}

/// A DNS name or an address as text.
fn host_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(octets) => Some(IpAddr::from(octets).to_string()),
            Err(_) => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    }
}

/// The authority of this folder; if there is none, a new one with its files.
fn authority(folder: &Path) -> anyhow::Result<(Issuer<'static, KeyPair>, Option<Pair>)> {
    let (cert, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if cert.exists() && key.exists() {
        let read =
            |path: &Path| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
        let usable = || {
            format!("{} and {} are not a certificate authority; choose another folder", cert.display(), key.display())
        };
        let (cert, key) = (read(&cert)?, KeyPair::from_pem(&read(&key)?).with_context(usable)?);
        return Ok((Issuer::from_ca_cert_pem(&cert, key).with_context(usable)?, None));
    }
    for name in ["ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key"] {
        if folder.join(name).exists() {
            bail!(
                "{} exists and was not created by this command; choose another folder with --out",
                folder.join(name).display()
            );
        }
    }
    let key = KeyPair::generate().context("no key can be generated")?;
    let mut params = params(AUTHORITY, &[], AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key).context("no authority can be created")?.pem();
    let pair = Pair { cert, key: key.serialize_pem() };
    Ok((Issuer::new(params, key), Some(pair)))
}

fn pair(
    hosts: &[String],
    name: &str,
    usage: ExtendedKeyUsagePurpose,
    days: u16,
    issuer: &Issuer<'_, KeyPair>,
) -> anyhow::Result<Pair> {
    let key = KeyPair::generate().context("no key can be generated")?;
    let mut params = params(name, hosts, days)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let cert = params.signed_by(&key, issuer).context("no certificate can be created")?.pem();
    Ok(Pair { cert, key: key.serialize_pem() })
}

fn params(name: &str, hosts: &[String], days: u16) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts).context("--host: not a host name or address")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Valid from yesterday, because clocks differ.
    (params.not_before, params.not_after) = (day(-1)?, day(i64::from(days))?);
    Ok(params)
}

/// Midnight, this many days from now.
fn day(from_now: i64) -> anyhow::Result<OffsetDateTime> {
    let date = Zoned::now().date().checked_add(Span::new().days(from_now)).context("no such day")?;
    let (month, day) = (u8::try_from(date.month())?, u8::try_from(date.day())?);
    Ok(date_time_ymd(i32::from(date.year()), month, day))
}

impl Pair {
    /// Writes the key first, readable by its owner only. A server that reads in between finds the matching pair on its next read.
    fn write(&self, folder: &Path, name: &str) -> anyhow::Result<()> {
        write(&folder.join(format!("{name}.key")), &self.key, 0o600)?;
        write(&folder.join(format!("{name}.pem")), &self.cert, 0o644)
    }
}

/// Writes a new file and renames it, so that readers never see a part of it and it does not keep the mode of an old file.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    let written = match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&temporary, path)),
    };
    written.with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn make_with(folder: &Path, hosts: &[&str], days: u16, keep: bool) -> anyhow::Result<()> {
        let host = hosts.iter().map(|&host| host.to_owned()).collect();
        Certs { action: Action::Dev(Dev { out: folder.to_owned(), host, days, keep }) }.run()
    }

    fn make(folder: &Path) -> anyhow::Result<()> {
        make_with(folder, &["localhost"], 1, false)
    }

    #[test]
    fn keep_renews_only_what_ends_soon_or_names_other_hosts() {
        let folder = tempfile::tempdir().unwrap();
        let server_after = |hosts: &[&str], days| {
            make_with(folder.path(), hosts, days, true).unwrap();
            std::fs::read_to_string(folder.path().join("server.pem")).unwrap()
        };
        let hosts = ["localhost", "127.0.0.1", "::1"];
        let ends_soon = server_after(&hosts, 5);
        let renewed = server_after(&hosts, 90);
        assert_ne!(ends_soon, renewed);
        assert_eq!(server_after(&hosts, 90), renewed);
        assert_eq!(server_after(&["Localhost"], 90), renewed, "it names more hosts than are asked for");
        let other = server_after(&["localhost", "gate.example"], 90);
        assert_ne!(other, renewed);
        std::fs::remove_file(folder.path().join("client.key")).unwrap();
        assert_ne!(server_after(&["localhost"], 90), other, "a file was missing");
    }

    #[test]
    fn keys_are_for_their_owner_alone_and_the_authority_stays() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        make(folder.path()).unwrap();
        let (authority, server) = (read("ca.pem"), read("server.pem"));
        make(folder.path()).unwrap();
        assert_eq!(read("ca.pem"), authority);
        assert_ne!(read("server.pem"), server);
        for key in ["ca.key", "server.key", "client.key"] {
            let mode = std::fs::metadata(folder.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn files_of_another_program_are_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.key"), "mine").unwrap();
        let error = make(folder.path()).unwrap_err().to_string();
        assert!(error.contains("server.key") && error.contains("--out"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.path().join("server.key")).unwrap(), "mine");
    }
}
