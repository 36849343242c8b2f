//! What a list or a count asks for, in terms that both databases translate one to one.
//!
//! Every list is ordered by `(at, id)`. Each collection has the same three indexes for it, and [`Query::path`] says which
//! one serves a query, so that neither database is left to guess: a wrong guess reads everything and sorts it in memory.

use contracts::{StreamName, TenantId};
use jiff::Timestamp;

use crate::{AlertFilter, DetectionFilter, FrameFilter, Scope};

/// Where to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Results,
    Detections,
    Alerts,
}

impl Collection {
    pub(crate) const ALL: [Self; 3] = [Self::Results, Self::Detections, Self::Alerts];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Results => "results",
            Self::Detections => "detections",
            Self::Alerts => "alerts",
        }
    }
}

/// Which index serves a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    /// `(at, id)`: everybody's.
    Time,
    /// `(tenant, at, id)`: one run per tenant, merged.
    Tenant,
    /// `(stream, at, id)`: the tenants are checked on the way, as a stream's name seldom has two owners.
    Stream,
}

impl Path {
    pub(crate) const fn index(self) -> &'static str {
        match self {
            Self::Time => "by_time",
            Self::Tenant => "by_tenant",
            Self::Stream => "by_stream",
        }
    }
}

/// All conditions of a list or a count but the page.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) collection: Collection,
    /// Whose; none for everybody's.
    pub(crate) tenants: Option<Vec<String>>,
    pub(crate) stream: Option<String>,
    /// Microseconds since 1970, inclusive.
    pub(crate) from: Option<i64>,
    /// Microseconds since 1970, exclusive.
    pub(crate) to: Option<i64>,
    /// Fields and the texts they must equal.
    pub(crate) equals: Vec<(&'static str, String)>,
    pub(crate) min_confidence: Option<f64>,
    /// Only what has one of [`VEHICLE_FIELDS`].
    pub(crate) vehicles_only: bool,
}

/// What a detection tells of a vehicle.
pub(crate) const VEHICLE_FIELDS: [&str; 4] = ["category", "make", "model", "year"];

impl Query {
    pub(crate) fn frames(scope: &Scope, filter: &FrameFilter) -> Self {
        Self::new(Collection::Results, scope, filter.from, filter.to, filter.stream.as_ref())
    }

    pub(crate) fn detections(scope: &Scope, filter: &DetectionFilter) -> Self {
        let mut query = Self::new(Collection::Detections, scope, filter.from, filter.to, filter.stream.as_ref());
        query.must_equal("label", filter.label.as_deref());
        query.must_equal("category_folded", filter.category.as_deref().map(folded).as_deref());
        query.must_equal("make", filter.make.as_deref());
        query.min_confidence = filter.min_confidence;
        query.vehicles_only = filter.vehicles_only;
        query
    }

    pub(crate) fn alerts(scope: &Scope, filter: &AlertFilter) -> Self {
        let mut query = Self::new(Collection::Alerts, scope, filter.from, filter.to, filter.stream.as_ref());
        query.must_equal("label", filter.label.as_deref());
        query.must_equal("rule", filter.rule.as_deref());
        query
    }

    fn new(
        collection: Collection,
        scope: &Scope,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
        stream: Option<&StreamName>,
    ) -> Self {
        Self {
            collection,
            tenants: tenants(scope),
            stream: stream.map(ToString::to_string),
            from: from.map(Timestamp::as_microsecond),
            to: to.map(Timestamp::as_microsecond),
            equals: Vec::new(),
            min_confidence: None,
            vehicles_only: false,
        }
    }

    fn must_equal(&mut self, field: &'static str, text: Option<&str>) {
        self.equals.extend(text.map(|text| (field, text.to_owned())));
    }

    pub(crate) fn path(&self) -> Path {
        match (&self.stream, &self.tenants) {
            (Some(_), _) => Path::Stream,
            (None, Some(_)) => Path::Tenant,
            (None, None) => Path::Time,
        }
    }
}

/// The tenants whose data a scope sees; none for everybody's.
pub(crate) fn tenants(scope: &Scope) -> Option<Vec<String>> {
    match scope {
        Scope::All => None,
        Scope::Tenant(own) if *own == TenantId::shared() => Some(vec![own.to_string()]),
        Scope::Tenant(own) => Some(vec![own.to_string(), TenantId::shared().to_string()]),
    }
}

/// The form in which texts are compared without regard to case, the same for both databases.
pub(crate) fn folded(text: &str) -> String {
    text.to_lowercase()
}
