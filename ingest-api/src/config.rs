//! The settings of this service. Those that services share are in `platform::config`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use contracts::DetectorName;
use platform::Common;
use platform::config::{AccountArgs, OpenIdArgs, Switch};
use reqwest::{Certificate, ClientBuilder, Identity};

/// Bytes that a multipart form may have besides the image.
pub const MULTIPART_OVERHEAD: usize = 64 << 10;

/// Settings of ingest-api.
#[derive(Debug, Clone, Args)]
#[group(id = "ingest-api")]
pub struct Config {
    /// Where alert-stream is, for the clients that ask here for alerts
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_URL", default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub alert_stream_url: reqwest::Url,

    /// TLS of the connection to alert-stream.
    #[command(flatten)]
    pub alert_stream_tls: AlertStreamTls,

    /// The paths and shapes that older clients know, at the root
    #[arg(long, env = "SIGHTLINE_COMPAT", default_value = "on", value_enum, value_name = "SWITCH")]
    pub compat: Switch,

    /// Groups of workers whose lag stops new frames, each its detectors joined by +; one of all detectors when not set
    #[arg(long, env = "SIGHTLINE_INGEST_WORKER_GROUPS", value_delimiter = ',', value_name = "GROUPS")]
    pub ingest_worker_groups: Vec<WorkerGroup>,

    /// Most bytes of request bodies held at one time; more are refused
    #[arg(long, env = "SIGHTLINE_INGEST_BYTES_IN_FLIGHT", default_value_t = 256 << 20, value_name = "BYTES")]
    pub ingest_bytes_in_flight: usize,

    /// Longest pause within an upload, in seconds
    #[arg(long, env = "SIGHTLINE_INGEST_IDLE_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub ingest_idle_seconds: u64,

    /// Longest upload, in seconds
    #[arg(long, env = "SIGHTLINE_INGEST_UPLOAD_SECONDS", default_value_t = 60, value_name = "SECONDS")]
    pub ingest_upload_seconds: u64,

    /// Longest time that `Prefer: wait` is granted, in seconds
    #[arg(long, env = "SIGHTLINE_INGEST_WAIT_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub ingest_wait_seconds: u64,

    /// Most requests that wait for results at one time; more are answered at once
    #[arg(long, env = "SIGHTLINE_INGEST_WAITING", default_value_t = 1000, value_name = "REQUESTS")]
    pub ingest_waiting: usize,

    /// Users and how they sign in
    #[command(flatten, next_help_heading = "Accounts")]
    pub accounts: AccountArgs,

    /// By whose word users may sign in besides
    #[command(flatten)]
    pub openid: OpenIdArgs,
}

/// TLS of the connection to alert-stream, for URLs that begin with https.
#[derive(Debug, Clone, Default, Args)]
pub struct AlertStreamTls {
    /// Authority that alert-stream's certificate comes from, besides the usual ones, PEM
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_CA", value_name = "FILE")]
    pub alert_stream_ca: Option<PathBuf>,

    /// Certificate to show to alert-stream, where it asks for one, PEM
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_CERT", value_name = "FILE")]
    pub alert_stream_cert: Option<PathBuf>,

    /// Key of that certificate, PEM
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_KEY", value_name = "FILE")]
    pub alert_stream_key: Option<PathBuf>,
}

impl AlertStreamTls {
    /// The client with these authorities and this certificate.
    ///
    /// # Errors
    /// When a file cannot be read or is invalid; the message names the setting.
    pub fn apply(&self, mut client: ClientBuilder) -> anyhow::Result<ClientBuilder> {
        const CERT: &str = "SIGHTLINE_ALERT_STREAM_CERT";
        const KEY: &str = "SIGHTLINE_ALERT_STREAM_KEY";
        if let Some(path) = &self.alert_stream_ca {
            client = trust(client, path, "SIGHTLINE_ALERT_STREAM_CA")?;
        }
        match (&self.alert_stream_cert, &self.alert_stream_key) {
            (None, None) => Ok(client),
            (Some(cert), Some(key)) => {
                let pem = [read(cert, CERT)?, b"\n".to_vec(), read(key, KEY)?].concat();
                // The cause is not shown: it might quote the key.
                let identity = Identity::from_pem(&pem).map_err(|_| {
                    anyhow::anyhow!(
                        "{CERT}, {KEY}: {} and {} hold no certificate and key",
                        cert.display(),
                        key.display()
                    )
                })?;
                Ok(client.identity(identity))
            }
            _ => anyhow::bail!("{CERT} and {KEY} belong together; set both or none"),
        }
    }
}

/// The client, which also trusts the certificate authorities in the PEM file at `path`; `key` is the setting that names it.
///
/// # Errors
/// When the file cannot be read or holds no certificate; the message names the setting.
pub fn trust(client: ClientBuilder, path: &Path, key: &str) -> anyhow::Result<ClientBuilder> {
    let authorities = authorities(path, key)?;
    Ok(authorities.into_iter().fold(client, ClientBuilder::add_root_certificate))
}

fn authorities(path: &Path, key: &str) -> anyhow::Result<Vec<Certificate>> {
    let authorities = Certificate::from_pem_bundle(&read(path, key)?)
        .map_err(|error| anyhow::anyhow!("{key}: {} is no PEM file: {error}", path.display()))?;
    anyhow::ensure!(!authorities.is_empty(), "{key}: {} holds no certificate in PEM form", path.display());
    Ok(authorities)
}

fn read(path: &Path, key: &str) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow::anyhow!("{key}: cannot read {}: {error}", path.display()))
}

/// The detectors of one group of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroup(pub Vec<DetectorName>);

impl std::str::FromStr for WorkerGroup {
    type Err = contracts::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split('+').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the invalid setting and its valid values.
    pub fn check(&self, common: &Common) -> anyhow::Result<()> {
        let least = common.max_frame_bytes.saturating_add(MULTIPART_OVERHEAD);
        anyhow::ensure!(
            self.ingest_bytes_in_flight >= least,
            "SIGHTLINE_INGEST_BYTES_IN_FLIGHT must be at least {least}, so that the largest frame fits in"
        );
        for (key, seconds) in [
            ("SIGHTLINE_INGEST_IDLE_SECONDS", self.ingest_idle_seconds),
            ("SIGHTLINE_INGEST_UPLOAD_SECONDS", self.ingest_upload_seconds),
        ] {
            anyhow::ensure!((1..=3600).contains(&seconds), "{key} must be 1 to 3600");
        }
        anyhow::ensure!(self.ingest_wait_seconds <= 3600, "SIGHTLINE_INGEST_WAIT_SECONDS must be 0 to 3600");
        anyhow::ensure!(
            ["http", "https"].contains(&self.alert_stream_url.scheme()),
            "SIGHTLINE_ALERT_STREAM_URL must begin with http:// or https://"
        );
        anyhow::ensure!(
            self.accounts.reset_url.parse::<reqwest::Url>().is_ok_and(|url| url.fragment().is_none()),
            "SIGHTLINE_RESET_URL must be an address such as https://sightline.example.org/reset, without a #"
        );
        Ok(())
    }

    /// The consumer groups of workers whose lag counts.
    pub fn worker_groups(&self, common: &Common) -> Vec<String> {
        if self.ingest_worker_groups.is_empty() {
            return vec![contracts::groups::detector_worker(&common.detectors)];
        }
        self.ingest_worker_groups.iter().map(|group| contracts::groups::detector_worker(&group.0)).collect()
    }

    /// Longest pause within an upload.
    pub const fn idle(&self) -> Duration {
        Duration::from_secs(self.ingest_idle_seconds)
    }

    /// Longest upload.
    pub const fn upload(&self) -> Duration {
        Duration::from_secs(self.ingest_upload_seconds)
    }

    /// Longest wait for results that is granted.
    pub const fn longest_wait(&self) -> Duration {
        Duration::from_secs(self.ingest_wait_seconds)
    }
}
