//! The seam of the documents: put many, get, page by filter, count by filter and group.

use async_trait::async_trait;
use contracts::api::Count;
use contracts::{
    AlertEvent, AttributeName, Detection, DetectionId, FrameId, ResultEvent, Rule, RuleId, StreamName, TenantId,
};
use jiff::Timestamp;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached or failed in a way that may pass.
    #[error("{0}")]
    Unavailable(String),
    /// It will not do this however often it is asked: another program's data, a missing replica set, a document too large.
    #[error("{0}")]
    Fatal(String),
}

/// Whose data a query sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// Everybody's: an admin's view.
    All,
    /// A tenant's own and the shared.
    Tenant(TenantId),
}

impl TenantScope {
    /// Whether data of `tenant` is in it.
    pub fn sees(&self, tenant: &TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own == tenant || *tenant == TenantId::shared(),
        }
    }
}

/// What the indexer writes of one result.
#[derive(Debug, Clone, PartialEq)]
pub struct Indexed {
    /// The result.
    pub result: ResultEvent,
    /// The alerts that the rules raised about it.
    pub alerts: Vec<AlertEvent>,
    /// When it was indexed.
    pub indexed_at: Timestamp,
    /// When it, its detections and alerts are to be gone.
    pub expires_at: Timestamp,
}

/// What came of one [`Indexed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// It is stored, now or since an earlier delivery of the same result.
    Stored,
    /// Another result of the same frame and detector came first, or a better one after it; this one was ignored, its
    /// detections too.
    Superseded,
}

/// What came of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutRuleOutcome {
    /// It is stored.
    Stored,
    /// Another rule of the tenant has its name; nothing was stored.
    NameTaken,
}

/// A result as kept. Its detections are documents of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The result; `detections` are filled in by [`Documents::frame`] and [`Documents::frames`].
    pub result: ResultEvent,
    /// When it was indexed.
    pub indexed_at: Timestamp,
}

/// A detection as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDetection {
    /// Its id.
    pub id: DetectionId,
    /// Who owns it.
    pub tenant: TenantId,
    /// Where it was seen.
    pub stream: Option<StreamName>,
    /// When the image was taken.
    pub captured_at: Timestamp,
    /// The object itself.
    pub detection: Detection,
}

/// An alert as kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAlert {
    /// The alert.
    pub alert: AlertEvent,
}

/// A place in a list that is ordered by time, then id; what `cursor=` carries, opaque to clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageCursor {
    /// Time of the last item of the page before.
    pub at: Timestamp,
    /// Id of the last item of the page before.
    pub id: String,
}

/// Which part of a list to return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PageRequest {
    /// Newest first, after a cursor.
    Newest {
        /// Where the page before ended.
        after: Option<PageCursor>,
        /// Most items.
        limit: u32,
    },
    /// Oldest first, by number: the older clients' way. Costs as much as it skips.
    Oldest {
        /// How many to leave out.
        skip: u64,
        /// Most items.
        limit: u32,
    },
}

/// Which frames. All conditions must hold; an empty filter is every frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrameFilter {
    /// Captured then or later.
    pub from: Option<Timestamp>,
    /// Captured before.
    pub to: Option<Timestamp>,
    /// Of this stream.
    pub stream: Option<StreamName>,
}

/// Which detections. All conditions must hold; an empty filter is every detection. Texts match whole and exactly, but for
/// `category`, which matches without regard to case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionFilter {
    /// Captured then or later.
    pub from: Option<Timestamp>,
    /// Captured before.
    pub to: Option<Timestamp>,
    /// Of this stream.
    pub stream: Option<StreamName>,
    /// With this label.
    pub label: Option<String>,
    /// Of this category.
    pub category: Option<String>,
    /// Of this make.
    pub make: Option<String>,
    /// With these attributes. A text matches the attribute that is that text, or the number or boolean written like it.
    pub attributes: Vec<(AttributeName, String)>,
    /// At least this sure.
    pub min_confidence: Option<f64>,
    /// Only those that tell anything of a vehicle: its category, make, model or year.
    pub vehicles_only: bool,
}

/// Which alerts. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// Raised then or later.
    pub from: Option<Timestamp>,
    /// Raised before.
    pub to: Option<Timestamp>,
    /// Of this stream.
    pub stream: Option<StreamName>,
    /// With this label.
    pub label: Option<String>,
    /// Of the rule with this name.
    pub rule: Option<String>,
}

/// What detections are counted by. Those without the field are left out.
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
    /// Any attribute. Numbers and booleans are grouped by how they are written.
    Attribute(AttributeName),
    /// The UTC hour of the capture, written like `2026-01-02T03:00:00Z`.
    Hour,
}

/// Most groups of a count.
pub(crate) const MAX_GROUPS: u32 = 1_000;

/// Groups with their counts, the largest first, equals by key. Hours in their order. At most 1,000 groups: the largest,
/// of hours the latest.
pub type GroupCounts = Vec<Count>;

/// The documents. Cheap to share as `Arc<dyn Documents>`.
#[async_trait]
pub trait Documents: Send + Sync {
    /// What it is, for a start-up line, without secrets.
    fn describe(&self) -> String;

    /// Stores results with their detections and alerts; returns when all of it is durable, one outcome for each in order.
    /// Idempotent: the same result (by its `ce_id`) again completes what a crash left out, another result of the same frame
    /// and detector is ignored with its detections and alerts, unless the first is a failure and it is none: a frame that was sent
    /// again once the cause was gone. Detections and alerts that are there already are success.
    /// Times are kept to the microsecond; what is finer is cut off.
    ///
    /// # Errors
    /// `Fatal` when a number in it is none: nothing of the batch is stored then. `Unavailable` when it is not known to be
    /// durable; the same batch again is the right answer.
    async fn put(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, StoreError>;

    /// All results of one frame, with their detections; empty when there is none in scope.
    async fn frame(&self, scope: &TenantScope, id: FrameId) -> Result<Vec<StoredResult>, StoreError>;

    /// Frames with their results, in pages: each inner list is one frame. Ordered by capture time and frame id, which is
    /// the cursor's id. All results of a frame carry the frame's capture time.
    async fn frames(
        &self,
        scope: &TenantScope,
        filter: &FrameFilter,
        page: &PageRequest,
    ) -> Result<Vec<Vec<StoredResult>>, StoreError>;

    /// One detection.
    async fn detection(&self, scope: &TenantScope, id: &DetectionId) -> Result<Option<StoredDetection>, StoreError>;

    /// Detections in pages, ordered by capture time and id.
    async fn detections(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredDetection>, StoreError>;

    /// How many detections there are by group.
    async fn count(
        &self,
        scope: &TenantScope,
        filter: &DetectionFilter,
        group_by: GroupBy,
    ) -> Result<GroupCounts, StoreError>;

    /// Alerts in pages, ordered by time raised and id.
    async fn alerts(
        &self,
        scope: &TenantScope,
        filter: &AlertFilter,
        page: &PageRequest,
    ) -> Result<Vec<StoredAlert>, StoreError>;

    /// All tenants' rules (not the built-in ones), for the indexer.
    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError>;

    /// A tenant's rules, by name.
    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError>;

    /// Makes or replaces a rule. No two rules of a tenant get the same name; those that have it from before keep it.
    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError>;

    /// Deletes a tenant's rule; whether it was there.
    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError>;

    /// Deletes everything of a tenant that nobody has any more: rules first, so that nothing new is raised by them. Returns how
    /// many documents; called again it goes on where it was cut off. What comes later about frames that were on their way
    /// stays until it expires, and nobody but an admin sees it, because no other user ever gets the tenant.
    async fn delete_tenant(&self, tenant: &TenantId) -> Result<u64, StoreError>;

    /// Deletes what is past its `expires_at`, where the database does not by itself; returns how many documents.
    async fn sweep(&self, now: Timestamp) -> Result<u64, StoreError>;

    /// Succeeds when the store can be reached and written.
    async fn check(&self) -> Result<(), StoreError>;
}

/// Whose a rule is.
///
/// # Errors
/// A built-in rule is nobody's and is not stored.
pub(crate) fn owner(rule: &Rule) -> Result<&TenantId, StoreError> {
    let built_in = || StoreError::Fatal(format!("the rule {} comes with the product and cannot be stored", rule.id));
    rule.tenant.as_ref().ok_or_else(built_in)
}

/// A rule's id that another tenant's rule has.
pub(crate) fn rule_of_other_tenant(id: &str) -> StoreError {
    StoreError::Fatal(format!("the rule {id} belongs to another tenant"))
}
