//! The application layer: what gRPC and REST both call.
//!
//! ```text
//! gRPC  ── access layer ──▶ Viewer ──┐
//!                                    ├──▶ App ──▶ crates/shop, files
//! REST ── handler argument ▶ Viewer ─┘      │
//!                                           └──▶ views of contracts::api, or an ApiError with a stable code
//! ```
//!
//! In: who acts, and arguments whose form the protocol has checked. Out: the views that REST sends as they are and gRPC translates
//! field by field. Guarantees: a fact has one answer in both protocols, because only this layer asks the shop; access has one rule for
//! both ([`access`]); what a view shows is decided in one place.

pub mod access;
mod admin;
mod cart;
mod catalogue;
mod orders;
pub mod pipeline;
mod positions;
mod providers;
mod search;
mod transcripts;
mod uploads;
mod views;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use api_kit::ApiState;
use api_kit::client_origin::ProxyNetwork;
use api_kit::upload::{BodyLimits, BytesInFlight};
use contracts::Currency;
use pipeline::{Pipeline, Watched};
use shop::Shop;
use tokio_util::sync::CancellationToken;

use crate::files::Files;
use crate::{Config, Deps};

pub use catalogue::{BookList, DEFAULT_PAGE, MAX_PAGE};
pub use orders::MOST_PURCHASES;
pub use pipeline::Resume;
pub use search::{DEFAULT_PASSAGES, MAX_PASSAGES};
pub use transcripts::TranscriptFile;
pub use uploads::{ForcedStatus, NewUpload};

/// Largest JSON body, in bytes: a description with the escapes of JSON.
const JSON_BYTES: usize = 64 << 10;
/// Bytes of all JSON bodies in memory; further ones are refused.
const BYTES_IN_FLIGHT: usize = 16 << 20;
/// Maximum pause between two chunks of a JSON body.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// Maximum time for a JSON body.
const BODY_TOTAL: Duration = Duration::from_secs(30);

/// State of the handlers of both protocols. Clones share it.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The fields of [`App`].
pub struct Inner {
    /// Authenticates callers.
    accounts: Arc<dyn Accounts>,
    /// The shop.
    pub shop: Shop,
    /// Uploads and downloads.
    pub files: Files,
    /// The currency of prices that name none.
    pub currency: Currency,
    /// Proxies whose word on the client's address is believed.
    pub trusted_proxies: Vec<ProxyNetwork>,
    /// The work on recordings, if there is any.
    pipeline: Option<Pipeline>,
    /// Permits of those who watch it.
    watched: Watched,
    /// The bytes of JSON bodies in memory.
    bytes_in_flight: BytesInFlight,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl ApiState for App {
    fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    fn bytes_in_flight(&self) -> &BytesInFlight {
        &self.bytes_in_flight
    }

    fn json_limits(&self) -> BodyLimits {
        BodyLimits { bytes: JSON_BYTES, idle: BODY_IDLE, total: BODY_TOTAL }
    }
}

impl App {
    /// The state at the start.
    pub fn new(config: &Config, deps: &Deps) -> Self {
        let gauge = metrics::gauge!("sightline_shop_bytes_in_flight");
        Self(Arc::new(Inner {
            accounts: Arc::clone(&deps.accounts),
            shop: deps.shop.clone(),
            files: Files::new(&config.files, &config.public_url, deps.shop.clone()),
            currency: config.shop.shop_currency,
            trusted_proxies: config.trusted_proxies.clone(),
            pipeline: deps.audio.as_ref().map(Pipeline::new),
            watched: Watched::default(),
            bytes_in_flight: BytesInFlight::new(BYTES_IN_FLIGHT, JSON_BYTES, gauge),
        }))
    }

    /// Follows the progress of books until `stop`, for those who wait for it.
    pub async fn follow_progress(&self, stop: CancellationToken) {
        match &self.pipeline {
            Some(pipeline) => pipeline.feed().follow(stop).await,
            None => stop.cancelled().await,
        }
    }
}
