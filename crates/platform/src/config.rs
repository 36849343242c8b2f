//! Settings: flags with environment fallbacks, all prefixed `SIGHTLINE_`, so `--help` is the reference.
//!
//! A value comes from, in this order: the flag, the environment variable, the file that `<variable>_FILE` names (for
//! secrets that an orchestrator mounts), a `.env` file in the working directory, the default. A `SIGHTLINE_` variable that
//! nothing reads stops the start: it is a setting that somebody believes to be in force.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Arg, Args, Command, Parser};
use contracts::{DetectorName, Topics};

mod accounts;
mod keys;
mod openid;

pub use accounts::{AccountArgs, AtMost, DatabaseArgs, Network, Period, RedisArgs, TokenArgs};
pub use keys::KEYS;
pub use openid::OpenIdArgs;

const PREFIX: &str = "SIGHTLINE_";

/// A text that prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself; what it is passed to must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.trim().to_owned()))
    }
}

/// Settings that several services must agree on.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The topics of the log; the built-in file when not set
    #[arg(long, env = "SIGHTLINE_TOPICS_FILE", value_name = "PATH")]
    pub topics_file: Option<PathBuf>,

    /// Detectors that frames are looked at by, when they do not say by which
    #[arg(long, env = "SIGHTLINE_DETECTORS", default_value = "face", value_delimiter = ',', value_name = "NAMES")]
    pub detectors: Vec<DetectorName>,

    /// Largest image file, in bytes
    #[arg(long, env = "SIGHTLINE_MAX_FRAME_BYTES", default_value_t = 8 << 20, value_name = "BYTES")]
    pub max_frame_bytes: usize,

    /// Largest image, in pixels
    #[arg(long, env = "SIGHTLINE_MAX_FRAME_PIXELS", default_value_t = 25_000_000, value_name = "PIXELS")]
    pub max_frame_pixels: u64,

    /// Tenant of what foreign producers put on the results topic
    #[arg(long, env = "SIGHTLINE_FOREIGN_TENANT", default_value = "shared", value_name = "TENANT")]
    pub foreign_tenant: contracts::TenantId,

    /// Whether a face seen raises an alert
    #[arg(long, env = "SIGHTLINE_RULE_FACE_SEEN", default_value = "on", value_enum, value_name = "SWITCH")]
    pub rule_face_seen: Switch,

    /// Whether a vehicle of the suspicious category raises an alert
    #[arg(long, env = "SIGHTLINE_RULE_SUSPICIOUS_VEHICLE", default_value = "on", value_enum, value_name = "SWITCH")]
    pub rule_suspicious_vehicle: Switch,

    /// The category of vehicles that is suspicious, in any case of its letters
    #[arg(long, env = "SIGHTLINE_SUSPICIOUS_VEHICLE", default_value = "SUV", value_name = "CATEGORY")]
    pub suspicious_vehicle: String,
}

/// Something that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    /// In force.
    On,
    /// Not in force.
    Off,
}

impl Switch {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl Common {
    /// Reads the topics.
    ///
    /// # Errors
    /// When the file cannot be read or makes no sense; the message names the setting.
    pub fn topics(&self) -> anyhow::Result<Topics> {
        let Some(path) = &self.topics_file else {
            return Ok(Topics::parse(contracts::topics::DEFAULT)?);
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("SIGHTLINE_TOPICS_FILE: cannot read {}: {error}", path.display()))?;
        Topics::parse(&text).map_err(|error| anyhow::anyhow!("SIGHTLINE_TOPICS_FILE {}: {error}", path.display()))
    }
}

/// Where Kafka is. Only text: connecting is the bus's business.
#[derive(Debug, Clone, Args)]
pub struct KafkaArgs {
    /// Kafka's brokers, as host:port, comma-separated
    #[arg(long, env = "SIGHTLINE_KAFKA_BROKERS", value_name = "HOSTS")]
    pub kafka_brokers: Option<String>,

    /// Settings passed on to the Kafka client as name=value, semicolon-separated: SASL and TLS
    #[arg(long, env = "SIGHTLINE_KAFKA_PROPERTIES", value_name = "SETTINGS")]
    pub kafka_properties: Option<Secret>,

    /// Name of this process among those of its kind, the same when it starts again; `hostname` for the machine's. After a
    /// crash a process with a name goes on at once, one without only when Kafka misses the one before, 15 seconds later. Best
    /// where names stay, as those of containers that are restarted or of a Kubernetes StatefulSet
    #[arg(long, env = "SIGHTLINE_KAFKA_INSTANCE", value_name = "NAME")]
    pub kafka_instance: Option<String>,
}

impl KafkaArgs {
    /// The brokers.
    ///
    /// # Errors
    /// When they are not set.
    pub fn brokers(&self) -> anyhow::Result<&str> {
        required(self.kafka_brokers.as_deref(), "SIGHTLINE_KAFKA_BROKERS", "broker:9092")
    }

    /// The name of this process in its groups.
    ///
    /// # Errors
    /// When Kafka does not take such names, or the machine's cannot be read.
    pub fn instance(&self) -> anyhow::Result<Option<String>> {
        let name = match self.kafka_instance.as_deref() {
            Some("hostname") => std::fs::read_to_string("/proc/sys/kernel/hostname")
                .map_err(|error| anyhow::anyhow!("SIGHTLINE_KAFKA_INSTANCE: the host name cannot be read: {error}"))?
                .trim()
                .to_owned(),
            Some(name) => name.to_owned(),
            None => return Ok(None),
        };
        let sound = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        anyhow::ensure!(
            (1..=200).contains(&name.len()) && name.chars().all(sound),
            "SIGHTLINE_KAFKA_INSTANCE: {name:?} is no name of 1 to 200 characters out of A-Z a-z 0-9 . _ -"
        );
        Ok(Some(name))
    }

    /// The passed-on settings as pairs.
    ///
    /// # Errors
    /// When one has no `=`.
    pub fn properties(&self) -> anyhow::Result<Vec<(String, String)>> {
        let listed = self.kafka_properties.as_ref().map_or("", Secret::expose);
        let settings = listed.split(';').map(str::trim).filter(|setting| !setting.is_empty());
        settings
            .map(|setting| match setting.split_once('=') {
                Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
                None => anyhow::bail!("SIGHTLINE_KAFKA_PROPERTIES: every setting reads name=value; one has no ="),
            })
            .collect()
    }
}

/// Where MongoDB is.
#[derive(Debug, Clone, Args)]
pub struct MongoArgs {
    /// MongoDB's connection string
    #[arg(long, env = "SIGHTLINE_MONGODB_URI", value_name = "URI", hide_env_values = true)]
    pub mongodb_uri: Option<Secret>,

    /// MongoDB database; the one that the connection string names, or `sightline`, when not set
    #[arg(long, env = "SIGHTLINE_MONGODB_DATABASE", value_name = "NAME")]
    pub mongodb_database: Option<String>,
}

impl MongoArgs {
    /// The connection string.
    ///
    /// # Errors
    /// When it is not set.
    pub fn uri(&self) -> anyhow::Result<&Secret> {
        required(self.mongodb_uri.as_ref(), "SIGHTLINE_MONGODB_URI", "mongodb://host:27017/?replicaSet=rs0")
    }
}

/// Where images are kept.
#[derive(Debug, Clone, Args)]
pub struct BlobArgs {
    /// Where images are kept: file:///a/folder or s3://bucket/prefix
    #[arg(long, env = "SIGHTLINE_BLOB_URL", value_name = "URL")]
    pub blob_url: Option<String>,
}

impl BlobArgs {
    /// The place.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> anyhow::Result<&str> {
        required(self.blob_url.as_deref(), "SIGHTLINE_BLOB_URL", "s3://sightline/images")
    }
}

/// The operator's credential.
#[derive(Debug, Clone, Args)]
pub struct AdminTokenArgs {
    /// API token of the admin: at least 32 characters; better given by SIGHTLINE_ADMIN_TOKEN_FILE
    #[arg(long, env = "SIGHTLINE_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<Secret>,
}

impl AdminTokenArgs {
    /// The token.
    ///
    /// # Errors
    /// When it is not set.
    pub fn token(&self) -> anyhow::Result<&Secret> {
        required(self.admin_token.as_ref(), "SIGHTLINE_ADMIN_TOKEN", "a random text of 32 characters or more")
    }
}

/// Where a service listens, and how it is spoken to there.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Where clients connect
    #[arg(long, env = "SIGHTLINE_HTTP_ADDR", default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub http_addr: String,

    /// Certificate of this server and those between it and its authority, PEM. With it the port takes TLS and nothing else;
    /// a new file is taken while it runs
    #[arg(long, env = "SIGHTLINE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Key of the certificate, PEM
    #[arg(long, env = "SIGHTLINE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Authorities that clients' certificates come from, PEM. With it a client without such a certificate is refused
    #[arg(long, env = "SIGHTLINE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Web pages that may call from a browser, as `https://app.example.com`, comma-separated; * for any; none when not set
    #[arg(long, env = "SIGHTLINE_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGINS")]
    pub cors_origins: Vec<String>,
}

/// Where the operator's port is, and how the log looks.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Health, metrics and operator calls; `off` for none. Never expose it
    #[arg(long, env = "SIGHTLINE_ADMIN_ADDR", default_value = "127.0.0.1:9600", value_name = "ADDRESS")]
    pub admin_addr: String,

    /// What is logged, as in `info` or `warn,indexer=debug`
    #[arg(long, env = "SIGHTLINE_LOG", default_value = "info,ort=warn", value_name = "FILTER")]
    pub log: String,

    /// How the log looks
    #[arg(long, env = "SIGHTLINE_LOG_FORMAT", default_value = "text", value_enum, value_name = "FORMAT")]
    pub log_format: crate::telemetry::LogFormat,

    /// Seconds that a stop waits for the work in hand
    #[arg(long, env = "SIGHTLINE_STOP_GRACE_SECONDS", default_value_t = 25, value_name = "SECONDS")]
    pub stop_grace_seconds: u64,
}

/// A required setting, or an error that names it.
fn required<'a, T: ?Sized>(value: Option<&'a T>, key: &str, example: &str) -> anyhow::Result<&'a T> {
    value.ok_or_else(|| anyhow::anyhow!("{key} is not set; set it, for example to {example}"))
}

/// Reads the settings of a program; prints what is wrong and exits when they make no sense.
pub fn parse<T: Parser>() -> T {
    match Sources::of_this_process().and_then(|sources| sources.read(std::env::args_os())) {
        Ok(settings) => settings,
        Err(Refusal::Clap(error)) => error.exit(),
        Err(Refusal::Text(message)) => {
            eprintln!("error: {message}");
            std::process::exit(2);
        }
    }
}

/// Why settings cannot be used.
enum Refusal {
    Clap(clap::Error),
    Text(String),
}

/// What stands around the flags.
struct Sources {
    /// Names of the environment's variables with the prefix.
    environment: Vec<String>,
    /// Values by variable, of files that `*_FILE` variables name and of `.env`.
    fallbacks: BTreeMap<String, String>,
}

impl Sources {
    fn of_this_process() -> Result<Self, Refusal> {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        let mut dotenv = Vec::new();
        if let Ok(entries) = dotenvy::dotenv_iter() {
            for entry in entries {
                let entry = entry.map_err(|error| Refusal::Text(format!(".env: {error}")))?;
                dotenv.push(entry);
            }
        }
        Self::new(environment, dotenv)
    }

    fn new(environment: Vec<(String, String)>, dotenv: Vec<(String, String)>) -> Result<Self, Refusal> {
        let mut fallbacks: BTreeMap<String, String> =
            dotenv.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        let from_dotenv = fallbacks.clone().into_iter();
        let set: Vec<String> = environment.iter().map(|(name, _)| name.clone()).collect();
        // The environment's own `*_FILE` come last: they count for more than those of `.env`.
        for (name, path) in from_dotenv.chain(environment) {
            let Some(key) = name.strip_suffix("_FILE").filter(|key| KEYS.contains(key) && !KEYS.contains(&&*name))
            else {
                continue;
            };
            if set.iter().any(|name| name == key) {
                return Err(Refusal::Text(format!("{key} and {name} are both set; keep one")));
            }
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Refusal::Text(format!("{name}: cannot read {path}: {error}")))?;
            fallbacks.remove(&name);
            fallbacks.insert(key.to_owned(), text.trim_end_matches(['\r', '\n']).to_owned());
        }
        Ok(Self { environment: set, fallbacks })
    }

    fn read<T: Parser>(&self, arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<T, Refusal> {
        for name in self.environment.iter().chain(self.fallbacks.keys()) {
            let key = name.strip_suffix("_FILE").unwrap_or(name);
            if !KEYS.contains(&name.as_str())
                && !KEYS.contains(&key)
                && !OUTSIDE.iter().any(|known| name.starts_with(known))
            {
                let hint = nearest(name).map(|near| format!("; did you mean {near}")).unwrap_or_default();
                return Err(Refusal::Text(format!("{name} is no setting{hint}; `--help` lists them all")));
            }
        }
        let command = self.with_fallbacks(T::command());
        let matches = command.try_get_matches_from(arguments).map_err(Refusal::Clap)?;
        T::from_arg_matches(&matches).map_err(Refusal::Clap)
    }

    /// Gives every argument the fallback of its variable as its default.
    fn with_fallbacks(&self, command: Command) -> Command {
        let give = |argument: Arg| {
            let key = argument.get_env().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            let argument = argument.hide_env_values(true);
            match self.fallbacks.get(&key) {
                Some(value) => argument.default_value(value.clone()).required(false).hide_default_value(true),
                None => argument,
            }
        };
        command.mut_args(give).mut_subcommands(|subcommand| self.with_fallbacks(subcommand))
    }
}

/// Prefixes of variables that are ours and no settings of a program: of the build and of the tests.
const OUTSIDE: [&str; 3] = ["SIGHTLINE_TEST_", "SIGHTLINE_SAMPLES_DIR", "SIGHTLINE_CACHE"];

/// The known key that a mistyped one most resembles: the one that shares the longest beginning or end.
fn nearest(name: &str) -> Option<&'static str> {
    let alike = |key: &str| {
        let beginning = key.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        let end = key.bytes().rev().zip(name.bytes().rev()).take_while(|(a, b)| a == b).count();
        (beginning + end).saturating_sub(PREFIX.len())
    };
    KEYS.iter().copied().max_by_key(|key| alike(key)).filter(|key| alike(key) >= 4)
}

/// Every variable that a command and its subcommands read.
pub fn keys_of(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(Arg::get_env).filter_map(|name| name.to_str()).map(str::to_owned);
    own.chain(command.get_subcommands().flat_map(keys_of)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        token: AdminTokenArgs,
    }

    fn read(environment: &[(&str, &str)], dotenv: &[(&str, &str)]) -> Result<Program, String> {
        let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Sources::new(owned(environment), owned(dotenv)).and_then(|sources| sources.read(["program".into()])).map_err(
            |refusal| match refusal {
                Refusal::Clap(error) => error.to_string(),
                Refusal::Text(text) => text,
            },
        )
    }

    #[test]
    fn a_mistyped_setting_stops_the_start_by_name() {
        let error = read(&[("SIGHTLINE_MAX_FRAMEBYTES", "5")], &[]).unwrap_err();
        assert!(error.contains("SIGHTLINE_MAX_FRAMEBYTES is no setting"), "{error}");
        assert!(error.contains("SIGHTLINE_MAX_FRAME_BYTES"), "{error}");
    }

    #[test]
    fn an_instance_has_the_machines_name_or_one_that_kafka_takes() {
        let named = |name: &str| {
            let kafka_instance = Some(name.to_owned());
            KafkaArgs { kafka_brokers: None, kafka_properties: None, kafka_instance }.instance()
        };
        assert_eq!(named("worker-1").unwrap().as_deref(), Some("worker-1"));
        assert!(!named("hostname").unwrap().unwrap().is_empty());
        for wrong in ["", "worker 1", "wörker", &"w".repeat(201)] {
            assert!(named(wrong).unwrap_err().to_string().contains("SIGHTLINE_KAFKA_INSTANCE"), "{wrong}");
        }
    }

    #[test]
    fn settings_for_kafkas_client_are_read_in_pairs() {
        let of = |text: &str| {
            let kafka_properties = Some(text.parse().unwrap());
            KafkaArgs { kafka_brokers: None, kafka_properties, kafka_instance: None }.properties()
        };
        let read = of(" security.protocol = SASL_SSL; sasl.password=a=b ;ssl.ca.location=/ca.pem;").unwrap();
        let pairs: Vec<_> = read.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("security.protocol", "SASL_SSL"), ("sasl.password", "a=b"), ("ssl.ca.location", "/ca.pem")]
        );
        let error = of("security.protocol=SSL;hunter2").unwrap_err().to_string();
        assert!(error.contains("SIGHTLINE_KAFKA_PROPERTIES") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_impossible_value_names_the_setting() {
        let error = read(&[], &[("SIGHTLINE_MAX_FRAME_BYTES", "many")]).unwrap_err();
        assert!(error.contains("--max-frame-bytes"), "{error}");
    }

    #[test]
    fn secrets_come_from_files_and_never_print() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789\n").unwrap();
        let path = file.path().to_str().unwrap();
        let program =
            read(&[("SIGHTLINE_ADMIN_TOKEN_FILE", path)], &[("SIGHTLINE_DETECTORS", "face,vehicle")]).unwrap();
        assert_eq!(program.token.admin_token.as_ref().unwrap().expose(), "0123456789");
        assert_eq!(program.common.detectors.len(), 2);
        assert!(!format!("{program:?}").contains("0123456789"));
        let error = read(&[("SIGHTLINE_ADMIN_TOKEN_FILE", "/nowhere")], &[]).unwrap_err();
        assert!(error.contains("SIGHTLINE_ADMIN_TOKEN_FILE"), "{error}");
    }
}
