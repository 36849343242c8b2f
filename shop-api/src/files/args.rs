//! Settings of uploads and downloads.

use clap::Args;
use settings::{bytes, count};

/// Uploads and downloads.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// Memory of recordings that are being uploaded, in bytes; each upload has up to 8 MiB, and further ones are refused
    #[arg(long, env = "SIGHTLINE_SHOP_UPLOAD_BYTES", default_value = "128MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(8 << 20..=1 << 40))]
    pub shop_upload_bytes: usize,

    /// Maximum number of recordings and images that are read at the same time, a quarter of them with links of one user; further ones are refused
    #[arg(long, env = "SIGHTLINE_SHOP_DOWNLOADS", default_value_t = 1_000, value_name = "NUMBER",
        value_parser = count::<usize>(1..=100_000))]
    pub shop_downloads: usize,
}
