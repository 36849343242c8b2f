//! Settings of the camera program.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use reqwest::Url;
use settings::Secret;

use crate::api::Server;
use crate::source::{Cameras, SecretText, SourceConfig, read_file};

/// The sources, and the server that gets their frames.
#[derive(Debug, Clone, Args)]
#[group(id = "camera")]
pub struct Config {
    /// List of the cameras, YAML
    #[arg(long = "config", visible_alias = "cameras", env = "SIGHTLINE_CAMERAS", value_name = "FILE", global = true)]
    pub cameras: Option<PathBuf>,

    /// The server that gets the frames
    #[arg(long, env = "SIGHTLINE_SERVER", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub server: Url,

    /// API token with the scope frames:write
    #[arg(long, env = "SIGHTLINE_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<Secret>,

    /// Certificate authority to trust in addition to the system's, PEM
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,

    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<PathBuf>,

    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<PathBuf>,
}

impl Config {
    /// The server.
    ///
    /// # Errors
    /// When there is no token.
    pub fn server(&self) -> anyhow::Result<Server> {
        let token =
            settings::required(self.token.as_ref(), "SIGHTLINE_TOKEN", "an API token with the scope frames:write")?;
        let Self { server, cacert, cert, key, .. } = self.clone();
        Ok(Server { url: server.to_string(), token: SecretText::from(token.clone()), cacert, cert, key })
    }

    /// What is unsafe about the file of the list and about those of passwords.
    pub fn warnings(&self, cameras: &Cameras) -> Vec<String> {
        let has_secret = cameras.cameras.iter().any(SourceConfig::has_secret);
        let list = self.cameras.iter().filter(|_| has_secret);
        let files = list.chain(cameras.cameras.iter().filter_map(|source| source.password_file.as_ref()));
        files.filter_map(|path| warning(path)).collect()
    }

    /// The list of cameras.
    ///
    /// # Errors
    /// When it is not set, cannot be read, or is not valid; all that is wrong with it.
    pub fn cameras(&self) -> Result<Cameras, Vec<String>> {
        self.read(Cameras::read)
    }

    /// The list of cameras, whose recordings exist.
    ///
    /// # Errors
    /// As [`Self::cameras`], and when a recording is not there.
    pub fn cameras_with_files(&self) -> Result<Cameras, Vec<String>> {
        self.read(Cameras::read_with_files)
    }

    fn read(&self, read: fn(&str) -> Result<Cameras, Vec<String>>) -> Result<Cameras, Vec<String>> {
        let found = settings::required(self.cameras.as_deref(), "SIGHTLINE_CAMERAS", "cameras.yaml");
        let path: &Path = found.map_err(|error| vec![error.to_string()])?;
        let (shown, text) = (path.display(), read_file(path).and_then(|text| Ok(String::from_utf8(text)?)));
        let text = text.map_err(|error| vec![format!("{shown} cannot be read: {error:#}")])?;
        let named = |mistakes: Vec<String>| mistakes.iter().map(|mistake| format!("{shown}: {mistake}")).collect();
        read(&text).map_err(named)
    }
}

/// What is unsafe about a file with a password, if anything is.
fn warning(path: &Path) -> Option<String> {
    let (file, own) = (std::fs::metadata(path).ok()?, std::fs::metadata("/proc/self").ok()?);
    // In a container the file belongs to somebody else, who gives this user the right to read it.
    let is_open = file.is_file() && file.permissions().mode() & 0o077 != 0 && file.uid() == own.uid();
    let path = path.display();
    is_open.then(|| format!("{path} has a password, and others than its owner can read it: run chmod 600 {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_a_password_that_others_can_read_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cameras.yaml");
        let server = "http://127.0.0.1:8080".parse().unwrap();
        let config = Config { cameras: Some(path.clone()), server, token: None, cacert: None, cert: None, key: None };
        let warning = |source: &str, mode: u32| {
            std::fs::write(&path, format!("cameras: [{{stream: gate, {source}}}]")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            config.warnings(&config.cameras().unwrap()).pop()
        };
        for secret in [
            "url: 'rtsp://b/', user: ann, password: hidden",
            "url: 'rtsp://a:hidden@b/'",
            "url: 'http://b/live?token=hidden'",
        ] {
            let text = warning(secret, 0o640).unwrap();
            assert!(text.contains("chmod 600") && !text.contains("hidden"), "{text}");
            assert_eq!(warning(secret, 0o600), None);
        }
        assert_eq!(warning("url: 'rtsp://b/'", 0o644), None);
        let word = folder.path().join("word");
        std::fs::write(&word, "hidden").unwrap();
        let source = format!("url: 'rtsp://b/', user: ann, password_file: {}", word.display());
        std::fs::set_permissions(&word, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(warning(&source, 0o644).unwrap().starts_with(&word.display().to_string()));
        std::fs::set_permissions(&word, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(warning(&source, 0o644), None, "the list itself has no password");
    }
}
