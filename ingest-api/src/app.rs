//! What every handler can reach. Cheap to clone.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use accounts::Accounts;
use anyhow::Context;
use bus::Producer;
use contracts::{DetectorName, Rule, TopicRole};
use metrics::Counter;
use platform::Common;
use rules::{BuiltIns, built_in};
use store::{Blobs, Documents};
use tokio_util::sync::CancellationToken;

use crate::backlog::Backlog;
use crate::openid::Provider;
use crate::recent_keys::RecentKeys;
use crate::upload::{Bounds, InFlight, MULTIPART_OVERHEAD};
use crate::waiting::Waiting;
use crate::{Config, Deps, Directory};

/// Largest image that travels in its message; a larger one goes to the blob store.
const INLINE_BYTES: usize = 1 << 20;
/// What headers and key of a frame's message may take.
const MESSAGE_OVERHEAD: usize = 4 << 10;
/// Largest JSON body.
const JSON_BYTES: usize = 256 << 10;
/// Largest form of texts: a name, a password and a token, however they are encoded.
const FIELDS_BYTES: usize = 16 << 10;

/// The state of the service.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// See [`App`].
pub struct Inner {
    /// Where frames and results go.
    pub producer: Arc<dyn Producer>,
    /// What was seen.
    pub documents: Arc<dyn Documents>,
    /// Images.
    pub blobs: Arc<dyn Blobs>,
    /// Who may do what.
    pub accounts: Arc<dyn Accounts>,
    /// The users.
    pub directory: Directory,
    /// Requests that wait for results.
    pub waiting: Arc<Waiting>,
    /// Whether workers keep up.
    pub backlog: Arc<Backlog>,
    /// What request bodies hold.
    pub in_flight: Arc<InFlight>,
    /// What came under which idempotency key.
    pub recent_keys: RecentKeys,
    /// What it was started with.
    pub config: Config,
    /// Detectors there are.
    pub detectors: Vec<DetectorName>,
    /// Rules that come with the product.
    pub built_in_rules: Vec<Rule>,
    /// Largest image in pixels.
    pub max_pixels: u64,
    /// Largest image file in bytes.
    pub max_bytes: usize,
    /// Largest image file in bytes that goes into its message.
    pub inline_bytes: usize,
    /// By whose word users may sign in, if anybody's.
    pub openid: Option<Provider>,
    /// Calls alert-stream.
    pub client: reqwest::Client,
    /// Frames that the log took.
    pub accepted: Counter,
    /// Bytes of their images.
    pub accepted_bytes: Counter,
    /// Ends what waits.
    pub stop: CancellationToken,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// The state at the start.
    ///
    /// # Errors
    /// When the topics cannot be read, an HTTP client cannot be made, or an OpenID provider is set by half.
    pub fn new(config: Config, common: &Common, deps: &Deps, stop: CancellationToken) -> anyhow::Result<Self> {
        let room = common.topics()?.get(TopicRole::Frames).max_message_bytes.saturating_sub(MESSAGE_OVERHEAD);
        // No proxy and no redirect: alert-stream is a neighbour whose address the operator gave.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2));
        let client = config.alert_stream_tls.apply(client)?.build();
        let client =
            client.context("SIGHTLINE_ALERT_STREAM_CERT and _KEY: no client of alert-stream can be made of them")?;
        let openid = Provider::new(&config.openid, &deps.directory.settings.issuer)?;
        Ok(Self(Arc::new(Inner {
            producer: deps.bus.producer(),
            documents: deps.documents.clone(),
            blobs: deps.blobs.clone(),
            accounts: deps.accounts.clone(),
            directory: deps.directory.clone(),
            waiting: Waiting::new(config.ingest_waiting),
            backlog: Arc::default(),
            in_flight: InFlight::new(config.ingest_bytes_in_flight),
            recent_keys: RecentKeys::new(),
            detectors: common.detectors.clone(),
            built_in_rules: built_in(&BuiltIns {
                face_seen: common.rule_face_seen.is_on(),
                suspicious_vehicle: common.rule_suspicious_vehicle.is_on(),
                suspicious_category: common.suspicious_vehicle.clone(),
            }),
            max_pixels: common.max_frame_pixels,
            max_bytes: common.max_frame_bytes,
            inline_bytes: room.min(INLINE_BYTES),
            openid,
            client,
            accepted: metrics::counter!("sightline_ingest_frames_total"),
            accepted_bytes: metrics::counter!("sightline_ingest_frame_bytes_total"),
            stop,
            config,
        })))
    }

    /// What an image may be that comes as the body itself.
    pub fn image_bounds(&self) -> Bounds {
        self.bounds(self.max_bytes)
    }

    /// What a form with an image may be.
    pub fn form_bounds(&self) -> Bounds {
        self.bounds(self.max_bytes + MULTIPART_OVERHEAD)
    }

    /// What a JSON body may be.
    pub fn json_bounds(&self) -> Bounds {
        self.bounds(JSON_BYTES)
    }

    /// What a form of texts may be.
    pub fn fields_bounds(&self) -> Bounds {
        self.bounds(FIELDS_BYTES)
    }

    fn bounds(&self, bytes: usize) -> Bounds {
        Bounds { bytes, idle: self.config.idle(), total: self.config.upload() }
    }
}
