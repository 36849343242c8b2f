//! Results with their detections and alerts: the trait, and the types of its arguments and results.

use async_trait::async_trait;
use contracts::api::{Count, Stats};
use contracts::{
    AlertEvent, AttributeName, Attributes, Detection, DetectionId, FrameId, ResultEvent, StreamName, TenantId,
};
use jiff::Timestamp;

use crate::PageCursor;

/// Why a call to a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Transient: the store cannot be reached, or a retry may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// Transient: the disk of an embedded store, of PostgreSQL or of MongoDB is full. Reads still succeed; writes succeed again when there is space.
    #[error("{0}")]
    DiskFull(String),
    /// The operator must act: a right or a table is missing, or a file is damaged. A retry succeeds after that, and what was to be stored is
    /// not the cause.
    #[error("{0}")]
    Misconfigured(String),
    /// Permanent: a retry cannot succeed. Examples: data of another program, no replica set, a document that is too large.
    #[error("{0}")]
    Fatal(String),
}

/// The tenants whose data a query returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// All tenants, for admins.
    All,
    /// One tenant and `shared`.
    Tenant(TenantId),
}

impl TenantScope {
    /// Whether the scope includes data of `tenant`.
    pub fn includes(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own == tenant || *tenant == TenantId::shared(),
        }
    }
}

/// A result with its alerts, as the indexer stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// The result.
    pub result: ResultEvent,
    /// The alerts that rules raised for the result.
    pub alerts: Vec<AlertEvent>,
    /// When the result was indexed.
    pub indexed_at: Timestamp,
    /// End of retention of the result, its detections and its alerts.
    pub expires_at: Timestamp,
    /// End of retention of the faces of strangers and of alerts about them, if it is earlier. The result ends with its last detection.
    pub strangers_expire_at: Option<Timestamp>,
}

impl Indexed {
    /// When a detection or an alert with these attributes expires.
    pub(crate) fn expiry_of(&self, attributes: &Attributes) -> Timestamp {
        match self.strangers_expire_at {
            Some(at) if attributes.is_stranger() => at.min(self.expires_at),
            _ => self.expires_at,
        }
    }
}

/// Outcome of storing one [`Indexed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The result is stored, by this call or an earlier delivery.
    Stored,
    /// Another result of the same frame and detector is stored: an earlier one, or a success where this one is a failure. This
    /// result, its detections and its alerts are ignored.
    Superseded,
}

/// A stored result.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The result with its detections, which are separate documents.
    pub result: ResultEvent,
    /// When the result was indexed.
    pub indexed_at: Timestamp,
}

/// A stored detection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDetection {
    /// `<frame id>-<detector>-<n>`.
    pub id: DetectionId,
    /// Owner of the frame.
    pub tenant: TenantId,
    /// Stream of the frame.
    pub stream: Option<StreamName>,
    /// Capture time of the frame.
    pub captured_at: Timestamp,
    /// Label, confidence, box, landmarks, attributes.
    pub detection: Detection,
}

/// A stored alert.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// The alert as published, but without a subject that was forgotten or rejected since.
    pub alert: AlertEvent,
}

/// The part of a list to return, and its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageRequest {
    /// Newest first, after a cursor.
    Newest {
        /// End of the previous page; `None` for the first page.
        after: Option<PageCursor>,
        /// Maximum number of items.
        limit: u32,
    },
    /// Oldest first, with an offset, for the older routes. The cost grows with `skip`.
    Oldest {
        /// Number of items to skip.
        skip: u64,
        /// Maximum number of items.
        limit: u32,
    },
}

/// Conditions on frames. All must hold; an empty filter matches every frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameFilter {
    /// Earliest capture time, inclusive.
    pub from: Option<Timestamp>,
    /// Latest capture time, exclusive.
    pub to: Option<Timestamp>,
    /// Name of the stream.
    pub stream: Option<StreamName>,
}

/// Conditions on detections. All must hold; an empty filter matches every detection. Texts match exactly; `category` ignores
/// case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionFilter {
    /// Earliest capture time, inclusive.
    pub from: Option<Timestamp>,
    /// Latest capture time, exclusive.
    pub to: Option<Timestamp>,
    /// Name of the stream.
    pub stream: Option<StreamName>,
    /// Label, such as `face`.
    pub label: Option<String>,
    /// Category of a vehicle, such as `SUV`.
    pub category: Option<String>,
    /// Make of a vehicle, such as `Audi`.
    pub make: Option<String>,
    /// Attributes, each with the values of which it has one. A value matches a text attribute, and a number or boolean with the same text form.
    pub attributes: Vec<(AttributeName, Vec<String>)>,
    /// Minimum confidence, 0 to 1.
    pub min_confidence: Option<f64>,
    /// Only detections with a category, make, model or year.
    pub vehicles_only: bool,
}

/// Conditions on alerts. All must hold; an empty filter matches every alert.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Earliest time raised, inclusive.
    pub from: Option<Timestamp>,
    /// Latest time raised, exclusive.
    pub to: Option<Timestamp>,
    /// Name of the stream.
    pub stream: Option<StreamName>,
    /// Label, such as `face`.
    pub label: Option<String>,
    /// Name of the rule.
    pub rule: Option<String>,
}

/// The field by which detections are counted. Detections without it are not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// `make`.
    Make,
    /// `model`.
    Model,
    /// `category`.
    Category,
    /// `label`.
    Label,
    /// `stream`.
    Stream,
    /// Any attribute. Numbers and booleans are grouped by their text form.
    Attribute(AttributeName),
    /// The UTC hour of the capture time, such as `2026-01-02T03:00:00Z`.
    Hour,
}

/// Maximum number of groups in an answer.
pub(crate) const MAX_GROUPS: u32 = 1_000;

/// Groups with their counts, as the API shows them: the largest first, ties by key; hours in ascending order. At most 1,000: the largest
/// groups, or the latest hours.
pub type GroupCounts = Stats;

/// The counts of a query for one group more than an answer has, in the order of the query.
pub(crate) fn first_groups(mut items: Vec<Count>) -> GroupCounts {
    let more = items.len() > MAX_GROUPS as usize;
    items.truncate(MAX_GROUPS as usize);
    GroupCounts { items, more }
}

/// Results with their detections and alerts, and what concerns the store as a whole.
#[async_trait]
pub trait ResultStore: Send + Sync {
    /// Kind and location of the store for the log, without secrets.
    fn describe(&self) -> String;

    /// Stores results with their detections and alerts. Returns after everything is durable: one outcome for each result, in
    /// order.
    ///
    /// The call is idempotent:
    /// - The same result (same `ce_id`) completes an interrupted call.
    /// - Another result of the same frame and detector is ignored, with its detections and alerts. Exception: a success
    ///   replaces a stored failure, as when a frame is sent again after the cause was fixed.
    ///
    /// Times are truncated to microseconds.
    ///
    /// # Errors
    /// `Fatal` if a number is not finite or an attribute is invalid; then nothing of the batch is stored. `Unavailable` if the
    /// batch may not be durable; the caller retries with the same batch.
    async fn put(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, StoreError>;

    /// All results of a frame, with their detections. Empty if the scope has none.
    async fn frame(&self, scope: &TenantScope, id: FrameId) -> Result<Vec<StoredResult>, StoreError>;

    /// A page of frames; each inner list holds the results of one frame. Ordered by capture time, then frame id.
    async fn frames(
        &self,
        scope: &TenantScope,
        filter: &FrameFilter,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, StoreError>;

    /// A detection by id; `None` if the scope has none.
    async fn detection(&self, scope: &TenantScope, id: &DetectionId) -> Result<Option<StoredDetection>, StoreError>;

    /// A page of detections, ordered by capture time, then id.
    async fn detections(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredDetection>, StoreError>;

    /// Numbers of detections by group.
    async fn count(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        group_by: GroupBy,
    ) -> Result<GroupCounts, StoreError>;

    /// A page of alerts, ordered by time raised, then id. Those of a detection whose subject is rejected are `rejected` too.
    async fn alerts(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredAlert>, StoreError>;

    /// Deletes all documents of a deleted user's tenant, in every collection: rules first, so that they raise no new alerts.
    /// Returns the number of documents. A repeat after a failure deletes the rest.
    ///
    /// Results of frames that are still in the pipeline arrive later, and another call erases them. Only admins can read them,
    /// because a tenant id is never reused.
    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError>;

    /// Empties the journal of a database that keeps deleted and overwritten values there. A reader may hold it up; the log then says so.
    async fn empty_journal(&self) {}

    /// Deletes documents past their `expires_at`. Returns their number; 0 if the database deletes them itself.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Succeeds if the store can be reached and written.
    async fn check(&self) -> Result<(), StoreError>;
}
