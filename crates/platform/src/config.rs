//! Settings that every service has: the port for clients, the operator's ports, the log.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

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
}

/// The operator's ports, the log, and the time that a stop may take.
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

    /// Time that work in progress gets to finish after a stop signal; a bare number is in seconds
    #[arg(long = "stop-grace-seconds", env = "SIGHTLINE_STOP_GRACE_SECONDS", default_value = "25s",
        value_name = "DURATION", value_parser = settings::seconds(0..=3600))]
    pub stop_grace: Duration,
}
