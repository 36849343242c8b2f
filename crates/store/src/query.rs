//! A list or count query, in a form that is translated directly for both databases.
//!
//! Every list is ordered by `(at, id)`. Each collection has the same indexes for this order.
//! [`Query::index`] names the one to use, and both databases get a hint to use it: with another
//! index they would read everything and sort it in memory.

use contracts::{AttributeName, AttributeValue, StreamName, TenantId};
use jiff::Timestamp;

use crate::{AlertFilter, DetectionFilter, FrameFilter, GroupBy, TenantScope};

/// A collection in MongoDB, a table in SQLite.
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

/// The index that serves a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListIndex {
    /// `(at, id)`, for all tenants.
    Time,
    /// `(tenant, at, id)`: one scan for each tenant; the database merges them.
    Tenant,
    /// `(stream, at, id)`. The tenant is checked on each document, because two tenants seldom use one stream name.
    Stream,
    /// `(tenant, at, id)`, partial: only detections with attributes other than the vehicle's four.
    Attributes,
}

impl ListIndex {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Time => "by_time",
            Self::Tenant => "by_tenant",
            Self::Stream => "by_stream",
            Self::Attributes => "by_attributes",
        }
    }
}

/// All conditions of a list or count, without the page.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) collection: Collection,
    /// Tenants in scope; `None` for all.
    pub(crate) tenants: Option<Vec<String>>,
    pub(crate) stream: Option<String>,
    /// Microseconds since 1970, inclusive.
    pub(crate) from: Option<i64>,
    /// Microseconds since 1970, exclusive.
    pub(crate) to: Option<i64>,
    /// Fields with their allowed values: each field must equal one of them. An empty list matches nothing.
    pub(crate) equals: Vec<(Field, Vec<AttributeValue>)>,
    /// Only detections with attributes other than the vehicle's four can match.
    pub(crate) needs_attributes: bool,
    pub(crate) min_confidence: Option<f64>,
    /// Only detections with at least one of the vehicle's four attributes match.
    pub(crate) vehicles_only: bool,
}

/// A field to compare or to group by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field {
    /// A text with its own column, by the column's name.
    Column(&'static str),
    /// The model year of a vehicle, a number.
    Year,
    /// Any other attribute.
    Attribute(AttributeName),
}

impl Field {
    /// The field that stores an attribute.
    pub(crate) fn of(name: &AttributeName) -> Self {
        match name.as_str() {
            "category" => Self::Column("category"),
            "make" => Self::Column("make"),
            "model" => Self::Column("model"),
            "year" => Self::Year,
            _ => Self::Attribute(name.clone()),
        }
    }

    /// The values that `text` may mean, restricted to those that the field can have.
    fn possible_values(&self, text: &str) -> Vec<AttributeValue> {
        let mut values = AttributeValue::possible_values(text);
        values.retain(|value| match self {
            Self::Column(_) => matches!(value, AttributeValue::Text(_)),
            Self::Year => matches!(value, AttributeValue::Number(_)),
            Self::Attribute(_) => true,
        });
        values
    }
}

/// The key of a group in a count.
pub(crate) enum GroupKey {
    Field(Field),
    Hour,
}

impl GroupKey {
    pub(crate) fn of(group_by: &GroupBy) -> Self {
        match group_by {
            GroupBy::Make => Self::Field(Field::Column("make")),
            GroupBy::Model => Self::Field(Field::Column("model")),
            GroupBy::Category => Self::Field(Field::Column("category")),
            GroupBy::Label => Self::Field(Field::Column("label")),
            GroupBy::Stream => Self::Field(Field::Column("stream")),
            GroupBy::Attribute(name) => Self::Field(Field::of(name)),
            GroupBy::Hour => Self::Hour,
        }
    }
}

impl Query {
    pub(crate) fn frames(scope: &TenantScope, filter: &FrameFilter) -> Self {
        Self::new(Collection::Results, scope, filter.from, filter.to, filter.stream.as_ref())
    }

    pub(crate) fn detections(scope: &TenantScope, filter: &DetectionFilter) -> Self {
        let mut query = Self::new(Collection::Detections, scope, filter.from, filter.to, filter.stream.as_ref());
        query.add_equals("label", filter.label.as_deref());
        query.add_equals("category_folded", filter.category.as_deref().map(folded).as_deref());
        query.add_equals("make", filter.make.as_deref());
        for (name, texts) in &filter.attributes {
            let field = Field::of(name);
            query.needs_attributes |= matches!(field, Field::Attribute(_));
            let values = texts.iter().flat_map(|text| field.possible_values(text)).collect();
            query.equals.push((field, values));
        }
        query.min_confidence = filter.min_confidence;
        query.vehicles_only = filter.vehicles_only;
        query
    }

    pub(crate) fn alerts(scope: &TenantScope, filter: &AlertFilter) -> Self {
        let mut query = Self::new(Collection::Alerts, scope, filter.from, filter.to, filter.stream.as_ref());
        query.add_equals("label", filter.label.as_deref());
        query.add_equals("rule", filter.rule.as_deref());
        query
    }

    fn new(
        collection: Collection,
        scope: &TenantScope,
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
            needs_attributes: false,
            min_confidence: None,
            vehicles_only: false,
        }
    }

    fn add_equals(&mut self, field: &'static str, text: Option<&str>) {
        self.equals.extend(text.map(|text| (Field::Column(field), vec![text.into()])));
    }

    /// The query of a count by `group_by`.
    pub(crate) fn grouped(mut self, group_by: &GroupBy) -> Self {
        self.needs_attributes |= matches!(GroupKey::of(group_by), GroupKey::Field(Field::Attribute(_)));
        self
    }

    pub(crate) fn index(&self) -> ListIndex {
        match (&self.stream, &self.tenants) {
            (Some(_), _) => ListIndex::Stream,
            (None, Some(_)) if self.needs_attributes => ListIndex::Attributes,
            (None, Some(_)) => ListIndex::Tenant,
            (None, None) => ListIndex::Time,
        }
    }
}

/// The tenants in a scope; `None` for all.
pub(crate) fn tenants(scope: &TenantScope) -> Option<Vec<String>> {
    match scope {
        TenantScope::All => None,
        TenantScope::Tenant(own) if *own == TenantId::shared() => Some(vec![own.to_string()]),
        TenantScope::Tenant(own) => Some(vec![own.to_string(), TenantId::shared().to_string()]),
    }
}

/// A text in lower case, for comparison without case. Both databases store this form, so both compare in the same way.
pub(crate) fn folded(text: &str) -> String {
    text.to_lowercase()
}
