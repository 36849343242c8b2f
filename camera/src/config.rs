//! Settings of the camera program.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use reqwest::Url;
use settings::Secret;

use crate::api::Server;
use crate::source::{Cameras, SecretText};

/// The sources, and the server that gets their frames.
#[derive(Debug, Clone, Args)]
#[group(id = "camera")]
pub struct Config {
    /// List of the cameras, YAML
    #[arg(long = "config", visible_alias = "cameras", env = "SIGHTLINE_CAMERAS", value_name = "FILE")]
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

    /// The list of cameras.
    ///
    /// # Errors
    /// When it is not set, cannot be read, or is not valid.
    pub fn cameras(&self) -> anyhow::Result<Cameras> {
        let path: &Path = settings::required(self.cameras.as_deref(), "SIGHTLINE_CAMERAS", "cameras.yaml")?;
        let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Cameras::parse(&text).with_context(|| path.display().to_string())
    }
}
