//! The state of all handlers.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use accounts::{Accounts, AccountsService};
use anyhow::Context;
use api_kit::ApiState;
use api_kit::upload::{BodyLimits, BytesInFlight};
use bus::Producer;
use contracts::{DetectorName, Rule, TopicRole};
use metrics::Counter;
use openid::Provider;
use platform::traces::Traces;
use rules::built_in_rules;
use store::{Blobs, Documents, FilesInUse, Relational};
use tokio_util::sync::CancellationToken;

use crate::backlog::Backlog;
use crate::config::{Config, MULTIPART_OVERHEAD, SharedArgs};
use crate::deps::Deps;
use crate::rated_rules::RuleCosts;
use crate::recent_keys::RecentKeys;
use crate::replies::Replies;
use crate::sent_frames::SentFramesLog;
use crate::stream_settings::SettingsByStream;

/// Largest image that is sent in its message, in bytes. A larger one goes to the blob store.
const INLINE_BYTES: usize = 1 << 20;
/// Bytes of a frame's message besides the image: headers and key.
const MESSAGE_OVERHEAD: usize = 4 << 10;
/// Largest JSON body, in bytes.
const JSON_BYTES: usize = 256 << 10;
/// Largest URL-encoded form, in bytes: a name, a password and a token.
const FORM_BYTES: usize = 16 << 10;

/// The state of the service. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The fields of [`App`].
pub struct Inner {
    /// Publishes frames and results.
    pub producer: Arc<dyn Producer>,
    /// Results, detections, alerts, rules and streams.
    pub documents: Arc<dyn Documents>,
    /// Images.
    pub blobs: Arc<dyn Blobs>,
    /// Authenticates callers and counts their requests.
    pub accounts: Arc<dyn Accounts>,
    /// Users and their credentials.
    pub users: Arc<AccountsService>,
    /// The names of subjects.
    pub subjects: Relational,
    /// Requests that wait for results.
    pub replies: Arc<Replies>,
    /// Whether workers keep up.
    pub backlog: Arc<Backlog>,
    /// The bytes of request bodies in memory.
    pub bytes_in_flight: BytesInFlight,
    /// Requests by their idempotency keys.
    pub recent_keys: RecentKeys,
    /// Files of embedded parts in this process.
    pub files_in_use: FilesInUse,
    /// The settings of the service.
    pub config: Config,
    /// The configured detectors.
    pub detectors: Vec<DetectorName>,
    /// The built-in rules.
    pub built_in_rules: Vec<Rule>,
    /// The settings of streams.
    pub stream_settings: SettingsByStream,
    /// Counts the frames of streams.
    pub sent_frames: SentFramesLog,
    /// Costs of conditions.
    pub rule_costs: RuleCosts,
    /// Largest image, in pixels.
    pub max_pixels: u64,
    /// Largest image file, in bytes.
    pub max_bytes: usize,
    /// Largest image file that is sent in its message, in bytes.
    pub inline_bytes: usize,
    /// The OpenID provider, if one is set.
    pub openid: Option<Provider>,
    /// The HTTP client for alert-stream and shop-api.
    pub client: reqwest::Client,
    /// Starts the spans of published events.
    pub traces: Traces,
    /// Counts accepted frames.
    pub accepted: Counter,
    /// Counts the bytes of their images.
    pub accepted_bytes: Counter,
    /// Ends waiting requests and streams.
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
    /// When the topics cannot be read, an HTTP client cannot be created, or the settings of the OpenID provider are incomplete.
    pub fn new(config: Config, shared: &SharedArgs, deps: &Deps, stop: CancellationToken) -> anyhow::Result<Self> {
        let max_image = shared.topics.load()?.get(TopicRole::Frames).max_message_bytes.saturating_sub(MESSAGE_OVERHEAD);
        // No proxy and no redirect: alert-stream and shop-api are other services of the installation.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2));
        let client = config.alert_stream_tls.apply(client)?.build();
        let client = client
            .context("SIGHTLINE_ALERT_STREAM_CERT and _KEY: they cannot be used for the client of alert-stream")?;
        let openid = Provider::new(&config.openid, &deps.accounts_service.settings().issuer)?;
        Ok(Self(Arc::new(Inner {
            producer: deps.bus.producer(),
            documents: deps.documents.clone(),
            blobs: deps.blobs.clone(),
            accounts: deps.accounts.clone(),
            users: deps.accounts_service.clone(),
            subjects: deps.subjects.clone(),
            replies: Replies::new(config.ingest_waiting),
            backlog: Arc::default(),
            bytes_in_flight: BytesInFlight::new(
                config.ingest_bytes_in_flight,
                shared.frames.max_frame_bytes.saturating_add(MULTIPART_OVERHEAD),
                metrics::gauge!("sightline_ingest_bytes_in_flight"),
            ),
            recent_keys: RecentKeys::new(),
            stream_settings: SettingsByStream::new(deps.documents.clone(), shared.frames.detectors.clone()),
            sent_frames: SentFramesLog::new(deps.documents.clone()),
            detectors: shared.frames.detectors.clone(),
            built_in_rules: built_in_rules(&shared.rules),
            rule_costs: RuleCosts::default(),
            max_pixels: shared.frames.max_frame_pixels,
            max_bytes: shared.frames.max_frame_bytes,
            inline_bytes: max_image.min(INLINE_BYTES),
            openid,
            client,
            traces: deps.traces.clone(),
            accepted: metrics::counter!("sightline_ingest_frames_total"),
            accepted_bytes: metrics::counter!("sightline_ingest_frame_bytes_total"),
            stop,
            files_in_use: deps.files_in_use.clone(),
            config,
        })))
    }

    /// Limits of a body that is an image.
    pub fn image_limits(&self) -> BodyLimits {
        self.limits(self.max_bytes)
    }

    /// Limits of a multipart form with an image.
    pub fn multipart_limits(&self) -> BodyLimits {
        self.limits(self.max_bytes + MULTIPART_OVERHEAD)
    }

    /// Limits of a URL-encoded form.
    pub fn form_limits(&self) -> BodyLimits {
        self.limits(FORM_BYTES)
    }

    fn limits(&self, bytes: usize) -> BodyLimits {
        BodyLimits { bytes, idle: self.config.ingest_idle, total: self.config.ingest_upload }
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
        self.limits(JSON_BYTES)
    }
}
