//! The settings of this service: its own, and those that must be equal in other services.

use std::path::PathBuf;
use std::time::Duration;

use accounts::AccountArgs;
use api_kit::client_origin::ProxyNetwork;
use bus::TopicArgs;
use clap::{ArgAction, Args};
use contracts::{DetectorName, FrameArgs};
use openid::OpenIdArgs;
use platform::pem_files::{read, trust};
use reqwest::{ClientBuilder, Identity};
use rules::BuiltInRuleSettings;
use settings::{Check, SettingErrors};

/// Bytes that a multipart form may have in addition to the image.
pub const MULTIPART_OVERHEAD: usize = 64 << 10;

/// Settings that must have the same values in other services.
#[derive(Debug, Clone, Args)]
#[group(id = "ingest-api-shared")]
pub struct SharedArgs {
    /// Topics of the log.
    #[command(flatten)]
    pub topics: TopicArgs,

    /// Accepted frames and their detectors.
    #[command(flatten)]
    pub frames: FrameArgs,

    /// Built-in rules, which the indexer evaluates and `/v1/rules` lists.
    #[command(flatten)]
    pub rules: BuiltInRuleSettings,
}

/// Settings of ingest-api.
#[derive(Debug, Clone, Args)]
#[group(id = "ingest-api")]
pub struct Config {
    /// Address of alert-stream, to which this service forwards `/v1/alerts`
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_URL", default_value = "http://127.0.0.1:8081", value_name = "URL")]
    pub alert_stream_url: reqwest::Url,

    /// Where the shop is.
    #[command(flatten)]
    pub shop_api: ShopApiArgs,

    /// TLS settings of the connection to alert-stream.
    #[command(flatten)]
    pub alert_stream_tls: AlertStreamTls,

    /// Whether the compatibility routes at the root are served (`/detections`, `/token` and others)
    #[arg(long, env = "SIGHTLINE_COMPAT", default_value = "on", action = ArgAction::Set,
        value_parser = settings::on_off(), value_name = "ON_OFF")]
    pub compat: bool,

    /// The workers that process frames.
    #[command(flatten)]
    pub workers: WorkerGroupArgs,

    /// Maximum number of bytes of request bodies in memory; further requests get 503
    #[arg(long, env = "SIGHTLINE_INGEST_BYTES_IN_FLIGHT", default_value = "256MiB", value_name = "BYTES",
        value_parser = settings::bytes::<usize>(1..=1 << 40))]
    pub ingest_bytes_in_flight: usize,

    /// Maximum pause within an upload; a bare number is in seconds
    #[arg(long = "ingest-idle-seconds", env = "SIGHTLINE_INGEST_IDLE_SECONDS", default_value = "10s",
        value_name = "DURATION", value_parser = settings::seconds(1..=3600))]
    pub ingest_idle: Duration,

    /// Maximum duration of an upload; a bare number is in seconds
    #[arg(long = "ingest-upload-seconds", env = "SIGHTLINE_INGEST_UPLOAD_SECONDS", default_value = "60s",
        value_name = "DURATION", value_parser = settings::seconds(1..=3600))]
    pub ingest_upload: Duration,

    /// Maximum wait for a result with `Prefer: wait`; a bare number is in seconds
    #[arg(long = "ingest-wait-seconds", env = "SIGHTLINE_INGEST_WAIT_SECONDS", default_value = "30s",
        value_name = "DURATION", value_parser = settings::seconds(0..=3600))]
    pub ingest_wait: Duration,

    /// Maximum number of requests that wait for results at the same time; further ones get 202 at once
    #[arg(long, env = "SIGHTLINE_INGEST_WAITING", default_value_t = 1000, value_name = "REQUESTS")]
    pub ingest_waiting: usize,

    /// Addresses or networks of reverse proxies whose X-Forwarded-For is trusted, comma-separated
    #[arg(long, env = "SIGHTLINE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORKS")]
    pub trusted_proxies: Vec<ProxyNetwork>,

    /// Users and how they sign in
    #[command(flatten, next_help_heading = "Accounts")]
    pub accounts: AccountArgs,

    /// Sign-in through an OpenID provider.
    #[command(flatten)]
    pub openid: OpenIdArgs,
}

/// The address of shop-api. TLS settings are those of the connection to alert-stream.
#[derive(Debug, Clone, Default, Args)]
pub struct ShopApiArgs {
    /// Address of shop-api, to which this service forwards the routes of the shop and grpc-web; when not set, it does not have them
    #[arg(long, env = "SIGHTLINE_SHOP_API_URL", value_name = "URL")]
    pub shop_api_url: Option<reqwest::Url>,
}

/// TLS settings of the connection to alert-stream, for an address that begins with https.
#[derive(Debug, Clone, Default, Args)]
pub struct AlertStreamTls {
    /// Certificate authority of alert-stream, in addition to the public ones; PEM file
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_CA", value_name = "FILE")]
    pub alert_stream_ca: Option<PathBuf>,

    /// Client certificate for alert-stream, PEM file
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_CERT", value_name = "FILE")]
    pub alert_stream_cert: Option<PathBuf>,

    /// Key of that certificate, PEM file
    #[arg(long, env = "SIGHTLINE_ALERT_STREAM_KEY", value_name = "FILE")]
    pub alert_stream_key: Option<PathBuf>,
}

impl AlertStreamTls {
    /// Adds the authority and the client certificate to `client`.
    ///
    /// # Errors
    /// When a file cannot be read or is invalid. The message names the setting.
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
                        "{CERT}, {KEY}: {} and {} contain no certificate and key",
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

/// The consumer groups of workers.
#[derive(Debug, Clone, Args)]
pub struct WorkerGroupArgs {
    /// Consumer groups of workers whose lag stops new frames: the detectors of each group joined by +, groups
    /// comma-separated; one group of all detectors when not set
    #[arg(long, env = "SIGHTLINE_INGEST_WORKER_GROUPS", value_delimiter = ',', value_name = "GROUPS")]
    pub ingest_worker_groups: Vec<WorkerGroup>,
}

impl WorkerGroupArgs {
    /// The names of the groups.
    pub fn names(&self, frames: &FrameArgs) -> Vec<String> {
        if self.ingest_worker_groups.is_empty() {
            return vec![contracts::groups::detector_worker(&frames.detectors)];
        }
        self.ingest_worker_groups.iter().map(|group| contracts::groups::detector_worker(&group.0)).collect()
    }
}

/// The detectors of one consumer group of workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerGroup(pub Vec<DetectorName>);

impl std::str::FromStr for WorkerGroup {
    type Err = contracts::IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split('+').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Config {
    /// Checks values against each other and against `shared`, and reads the files that they name.
    pub fn check(&self, shared: &SharedArgs, errors: &mut SettingErrors) {
        let least = shared.frames.max_frame_bytes.saturating_add(MULTIPART_OVERHEAD);
        errors.ensure(self.ingest_bytes_in_flight >= least, || {
            format!("SIGHTLINE_INGEST_BYTES_IN_FLIGHT must be at least {least}, so that the largest frame fits")
        });
        errors.ensure(["http", "https"].contains(&self.alert_stream_url.scheme()), || {
            "SIGHTLINE_ALERT_STREAM_URL must begin with http:// or https://".to_owned()
        });
        let shop = self.shop_api.shop_api_url.as_ref();
        errors.ensure(shop.is_none_or(|url| ["http", "https"].contains(&url.scheme())), || {
            "SIGHTLINE_SHOP_API_URL must begin with http:// or https://".to_owned()
        });
        let reset_url = self.accounts.reset_url.parse::<reqwest::Url>();
        errors.ensure(reset_url.is_ok_and(|url| url.fragment().is_none()), || {
            "SIGHTLINE_RESET_URL must be an address such as https://sightline.example.org/reset, without a #".to_owned()
        });
        errors.collect(self.alert_stream_tls.apply(reqwest::Client::builder()));
        errors.collect(self.accounts.mailer());
        shared.topics.check(errors);
    }
}
