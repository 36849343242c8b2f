//! Settings of the shop.

use std::time::Duration;

use clap::Args;
use contracts::Currency;
use settings::{bytes, duration};

/// How a client gets a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MediaLinks {
    /// Through this service. A link ends within a second with a refund or its user.
    Proxy,
    /// From the media store itself, by presigned addresses. They cannot be revoked before they expire. A folder has none: its files
    /// go through this service.
    Direct,
}

/// Settings of the shop.
#[derive(Debug, Clone, Args)]
pub struct ShopArgs {
    /// Currency of prices that name none (ISO 4217)
    #[arg(long, env = "SIGHTLINE_SHOP_CURRENCY", default_value = "EUR", value_name = "CODE")]
    pub shop_currency: Currency,

    /// Longest audio file, in bytes; longer ones are refused
    #[arg(long, env = "SIGHTLINE_SHOP_BOOK_BYTES", default_value = "4GiB", value_name = "BYTES",
        value_parser = bytes::<u64>(1 << 20..=64 << 30))]
    pub shop_book_bytes: u64,

    /// How buyers get files: `proxy` through this service, or `direct` from S3 by addresses that cannot be revoked for ten minutes
    #[arg(long, env = "SIGHTLINE_MEDIA_LINKS", default_value = "proxy", value_enum, value_name = "HOW")]
    pub media_links: MediaLinks,

    /// How long an upload is kept that gets no further bytes, or whose book nobody completes
    #[arg(long, env = "SIGHTLINE_MEDIA_UPLOAD_LIFETIME", default_value = "24h", value_name = "DURATION",
        value_parser = duration(Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 60 * 60)))]
    pub media_upload_lifetime: Duration,
}
