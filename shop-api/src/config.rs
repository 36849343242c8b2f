//! Settings of the service.

use std::time::Duration;

use api_kit::client_origin::ProxyNetwork;
use clap::Args;
use settings::{bytes, count, seconds};
use shop::ShopArgs;

use crate::files::FilesArgs;

/// The service's settings.
#[derive(Debug, Clone, Args)]
#[group(id = "shop-api")]
pub struct Config {
    /// The port for gRPC.
    #[command(flatten)]
    pub grpc: GrpcArgs,

    /// Prices and files.
    #[command(flatten)]
    pub shop: ShopArgs,

    /// Uploads and downloads.
    #[command(flatten)]
    pub files: FilesArgs,

    /// Address under which clients reach the port for clients. The program sets it: the accounts have the setting.
    #[arg(skip)]
    pub public_url: String,

    /// Proxies whose X-Forwarded-For is trusted. The program sets them: in a process with several services, another one has the setting.
    #[arg(skip)]
    pub trusted_proxies: Vec<ProxyNetwork>,
}

/// The port for gRPC and its limits.
#[derive(Debug, Clone, Args)]
pub struct GrpcArgs {
    /// Address of the port for gRPC (HTTP/2, with TLS as the port for clients), or `off`
    #[arg(long, env = "SIGHTLINE_GRPC_ADDR", default_value = "127.0.0.1:50051", value_name = "ADDRESS",
        value_parser = settings::address_or_off())]
    pub grpc_addr: String,

    /// Maximum number of connections of the port for gRPC; further ones wait
    #[arg(long, env = "SIGHTLINE_GRPC_CONNECTIONS", default_value_t = 10_000, value_name = "CONNECTIONS",
        value_parser = count::<usize>(1..=1_000_000))]
    pub grpc_connections: usize,

    /// Memory of gRPC messages that arrive, in bytes; further ones are refused
    #[arg(long, env = "SIGHTLINE_GRPC_BYTES_IN_FLIGHT", default_value = "64MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(8 << 20..=1 << 40))]
    pub grpc_bytes_in_flight: usize,

    /// Time after which a connection without calls is closed; a bare number is in seconds
    #[arg(long = "grpc-idle-seconds", env = "SIGHTLINE_GRPC_IDLE_SECONDS", default_value = "5m", value_name = "DURATION",
        value_parser = seconds(1..=86_400))]
    pub grpc_idle: Duration,

    /// Time limit for a call of one message each way whose client sets no deadline; a bare number is in seconds
    #[arg(long = "grpc-call-seconds", env = "SIGHTLINE_GRPC_CALL_SECONDS", default_value = "60s", value_name = "DURATION",
        value_parser = seconds(1..=3_600))]
    pub grpc_call: Duration,
}

/// Proxies in front of a process of this service.
#[derive(Debug, Clone, Args)]
pub struct ProxyArgs {
    /// Addresses or networks of reverse proxies whose X-Forwarded-For is trusted, comma-separated
    #[arg(long, env = "SIGHTLINE_TRUSTED_PROXIES", value_delimiter = ',', value_name = "NETWORKS")]
    pub trusted_proxies: Vec<ProxyNetwork>,
}
