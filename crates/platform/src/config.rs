//! Settings that every service has: the port for clients, the operator's ports, the log, traces.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue};
use settings::{Check, Secret, SettingErrors};
use url::Url;

use crate::telemetry::{self, LogFormat};

/// The port for clients.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Address of the port for clients
    #[arg(long, env = "SIGHTLINE_HTTP_ADDR", default_value = "127.0.0.1:8080", value_name = "ADDRESS",
        value_parser = settings::address())]
    pub http_addr: String,

    /// Certificate chain of this server, PEM file. If set, the port accepts only TLS. A changed file takes effect without a
    /// restart
    #[arg(long, env = "SIGHTLINE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM file
    #[arg(long, env = "SIGHTLINE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Certificate authorities of clients, PEM file. If set, clients need a certificate from one of them
    #[arg(long, env = "SIGHTLINE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Origins of web pages that may call the API from a browser, such as `https://app.example.com`, comma-separated; * for any;
    /// none when not set
    #[arg(long, env = "SIGHTLINE_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGINS")]
    pub cors_origins: Vec<String>,

    /// Time after a stop signal in which the port still serves, for load balancers and clients to go elsewhere: /readyz returns
    /// 503, and each response closes its connection. A bare number is in seconds
    #[arg(long = "stop-delay-seconds", env = "SIGHTLINE_STOP_DELAY_SECONDS", default_value = "0s", value_name = "DURATION",
        value_parser = settings::seconds(0..=600))]
    pub stop_delay: Duration,
}

/// The operator's ports, the log, traces, and the time that a stop may take.
#[derive(Debug, Clone, Args)]
pub struct OperatorArgs {
    /// Address of the admin port (health, metrics, operator calls), or `off`. Never expose it
    #[arg(long, env = "SIGHTLINE_ADMIN_ADDR", default_value = "127.0.0.1:9600", value_name = "ADDRESS",
        value_parser = settings::address_or_off())]
    pub admin_addr: String,

    /// Address of the probe port (/healthz, /readyz and /metrics only), such as 0.0.0.0:9601, or `off`. An orchestrator may
    /// reach it
    #[arg(long, env = "SIGHTLINE_PROBE_ADDR", default_value = "off", value_name = "ADDRESS",
        value_parser = settings::address_or_off())]
    pub probe_addr: String,

    /// Log filter, such as `info` or `warn,indexer=debug`
    #[arg(long, env = "SIGHTLINE_LOG", default_value = "info,ort=warn", value_name = "FILTER",
        value_parser = telemetry::log_filter)]
    pub log: String,

    /// Format of log lines
    #[arg(long, env = "SIGHTLINE_LOG_FORMAT", default_value = "text", value_enum, value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// The export of traces.
    #[command(flatten)]
    pub traces: TraceArgs,

    /// Time that work in progress gets to finish after a stop signal; a bare number is in seconds
    #[arg(long = "stop-grace-seconds", env = "SIGHTLINE_STOP_GRACE_SECONDS", default_value = "25s",
        value_name = "DURATION", value_parser = settings::seconds(0..=3600))]
    pub stop_grace: Duration,
}

/// The export of traces by OTLP.
#[derive(Debug, Clone, Args)]
pub struct TraceArgs {
    /// Address of an OpenTelemetry collector, such as http://collector:4318. Traces are sent by OTLP to /v1/traces below it, as
    /// protobuf over HTTP; off when not set
    #[arg(long, env = "SIGHTLINE_OTLP_ENDPOINT", value_name = "URL", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<Url>,

    /// Headers for the collector, such as `authorization=Bearer 1234`, comma-separated
    #[arg(long, env = "SIGHTLINE_OTLP_HEADERS", value_name = "HEADERS")]
    pub otlp_headers: Option<Secret>,

    /// Share of the requests that are traced, from 0 to 1. For a request with the header `traceparent`, its client has decided
    #[arg(long, env = "SIGHTLINE_TRACES_SAMPLE_RATIO", default_value = "1", value_name = "RATIO", value_parser = ratio)]
    pub traces_sample_ratio: f64,
}

impl TraceArgs {
    /// The headers for the collector.
    ///
    /// # Errors
    /// When they are not a list of names and values. The message does not show them, because they may have a credential.
    pub fn headers(&self) -> anyhow::Result<HeaderMap> {
        let listed = self.otlp_headers.as_ref().map_or("", Secret::expose);
        let parts = listed.split(',').map(str::trim).filter(|part| !part.is_empty());
        let headers: Option<HeaderMap> = parts.map(header).collect();
        headers.ok_or_else(|| {
            anyhow::anyhow!("SIGHTLINE_OTLP_HEADERS: it must be a list such as authorization=Bearer 1234,x-team=vision")
        })
    }

    /// The address is in the log and in `config print`. The message of a parser would show it, too, so this is checked here.
    fn endpoint_without_credential(&self) -> anyhow::Result<()> {
        let Some(url) = &self.otlp_endpoint else { return Ok(()) };
        let has_credential = !url.username().is_empty() || url.password().is_some() || url.query().is_some();
        anyhow::ensure!(
            !has_credential && url.fragment().is_none(),
            "SIGHTLINE_OTLP_ENDPOINT: it must not have a credential or a query; set SIGHTLINE_OTLP_HEADERS"
        );
        anyhow::ensure!(
            !url.path().trim_end_matches('/').ends_with("/v1/traces"),
            "SIGHTLINE_OTLP_ENDPOINT: leave out /v1/traces, which is added"
        );
        Ok(())
    }
}

fn header(part: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = part.split_once('=')?;
    let mut value = HeaderValue::try_from(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((HeaderName::try_from(name.trim()).ok()?, value))
}

impl Check for OperatorArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.traces.headers());
        errors.collect(self.traces.endpoint_without_credential());
    }
}

fn otlp_endpoint(text: &str) -> Result<Url, String> {
    let wrong = "it must be the address of a collector, such as http://collector:4318";
    let url = Url::parse(text).map_err(|error| format!("{error}; {wrong}"))?;
    if ["http", "https"].contains(&url.scheme()) { Ok(url) } else { Err(wrong.to_owned()) }
}

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| "it must be a number from 0 to 1, such as 0.05".to_owned())
}
