//! The bytes of books: uploads, downloads, previews and covers.
//!
//! ```text
//! gRPC stream ─┐                                        ┌─▶ Media: parts, tail, object
//! PUT, tus ────┴─▶ append ─▶ Writer: parts, SHA-256 ────┴─▶ Relational: what is durable
//!                     └── the last byte ─▶ finish ─▶ Shop::complete: probe, preview, ready
//! GET /v1/media/{token} ─▶ Shop::open_link ─▶ conditions, range ─▶ MediaBody ◀── Media, in steps that the connection asks for
//! ```
//!
//! In: links, which the shop signs and opens, and bytes of any length. Out: durable objects with their SHA-256, and bytes of them.
//! Guarantees: an upload goes on after any cut or crash, and at most a part of 8 MiB is sent again; the bytes in memory are bounded, of all
//! uploads and of all readers, however slow they are; bytes stop within a second after a refund or after their user is disabled; a link
//! is in no log, metric or trace, which have the pattern of the path.

pub(crate) mod append;
mod args;
mod calls;
pub(crate) mod conditions;
pub(crate) mod error;
mod hash_state;
pub(crate) mod media_body;
pub(crate) mod metadata;
pub(crate) mod tus;
pub(crate) mod writer;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;

use std::sync::Arc;

use api_kit::shares::Shares;
use jiff::Timestamp;
use shop::Shop;
use tokio::sync::Semaphore;

pub use args::FilesArgs;
pub use calls::{UploadHeaderFacts, UploadLink};
pub use error::FileError;
use writer::PART;

/// Bytes of all readers beyond the smallest step of each. They go to fast readers, and are free again as soon as they are written.
const LARGER_STEPS: usize = 6 << 20;

/// The address of a file. Whoever has it may read the file.
pub struct MediaUrl {
    /// The address.
    pub url: String,
    /// Until when it works.
    pub expires_at: Timestamp,
}

/// State of uploads and downloads. Clones share it.
#[derive(Clone)]
pub struct Files(Arc<Inner>);

struct Inner {
    shop: Shop,
    /// Address under which clients reach the port for clients, without a slash at the end.
    public_url: String,
    /// Bytes of parts in memory.
    upload_memory: Arc<Shares>,
    /// A place for each file that is read.
    downloads: Arc<Shares>,
    /// Bytes of steps beyond the smallest.
    larger_steps: Arc<Semaphore>,
}

impl Files {
    /// The state at the start. Links begin with `public_url`.
    pub fn new(args: &FilesArgs, public_url: &str, shop: Shop) -> Self {
        let (memory, downloads) = (args.shop_upload_bytes, args.shop_downloads);
        let in_parts = metrics::gauge!("sightline_shop_upload_bytes");
        let places = metrics::gauge!("sightline_shop_downloads");
        Self(Arc::new(Inner {
            shop,
            public_url: public_url.trim_end_matches('/').to_owned(),
            upload_memory: Shares::new(memory, (memory / 4).max(PART), in_parts),
            downloads: Shares::new(downloads, downloads / 4, places),
            larger_steps: Arc::new(Semaphore::new(LARGER_STEPS)),
        }))
    }

    fn shop(&self) -> &Shop {
        &self.0.shop
    }

    fn upload_memory(&self) -> &Arc<Shares> {
        &self.0.upload_memory
    }

    pub(crate) fn downloads(&self) -> &Arc<Shares> {
        &self.0.downloads
    }

    fn larger_steps(&self) -> &Arc<Semaphore> {
        &self.0.larger_steps
    }

    /// The address of a path under `/v1`.
    fn address(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.0.public_url)
    }
}
