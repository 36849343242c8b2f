//! PEM files that settings name.

use std::path::Path;

use reqwest::{Certificate, ClientBuilder};

/// The client, which also trusts the certificate authorities in the PEM file at `path`; `key` is the setting that names it.
///
/// # Errors
/// When the file cannot be read or contains no certificate; the message names the setting.
pub fn trust(client: ClientBuilder, path: &Path, key: &str) -> anyhow::Result<ClientBuilder> {
    let authorities = authorities(path, key)?;
    Ok(authorities.into_iter().fold(client, ClientBuilder::add_root_certificate))
}

fn authorities(path: &Path, key: &str) -> anyhow::Result<Vec<Certificate>> {
    let authorities = Certificate::from_pem_bundle(&read(path, key)?)
        .map_err(|error| anyhow::anyhow!("{key}: {} is not a PEM file: {error}", path.display()))?;
    anyhow::ensure!(!authorities.is_empty(), "{key}: {} contains no certificate in PEM form", path.display());
    Ok(authorities)
}

/// Reads a file that the setting `key` names.
///
/// # Errors
/// When it cannot be read. The message names the setting.
pub fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow::anyhow!("{key}: cannot read {}: {error}", path.display()))
}
