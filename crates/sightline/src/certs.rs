//! `sightline certs dev`: certificates from a development authority, to try TLS with.
//!
//! The first run creates the authority. Every run issues a new certificate for the server and one for a client, so a second run
//! shows how a running server reloads its certificate. Not for production: the authority's key is unprotected, and there is no
//! revocation.

use std::io::{ErrorKind, Write};
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
}

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
        ))
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

    fn make(folder: &Path) -> anyhow::Result<()> {
        let dev = Dev { out: folder.to_owned(), host: vec!["localhost".to_owned()], days: 1 };
        Certs { action: Action::Dev(dev) }.run()
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
