//! Translates a [`Query`] to SQL. `INDEXED BY` names the index; SQLite fails rather than use another.

use contracts::{AttributeValue, Vehicle};
use jiff::Timestamp;
use rusqlite::types::Value;

use crate::query::{Field, GroupKey, ListIndex, Query};
use crate::results::MAX_GROUPS;
use crate::{GroupBy, PageRequest};

/// The start of the hour. Also right before 1970, where `%` is negative.
const HOUR_START: &str = "at - ((at % 3600000000) + 3600000000) % 3600000000";

/// A statement and its parameters, in order.
#[derive(Debug, Default)]
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

impl Select {
    /// Selects `doc` of a page. Without `limited`, the statement has no limit, and the reader stops by itself.
    pub(super) fn page(query: &Query, page: &PageRequest, now: Timestamp, limited: bool) -> Self {
        let mut select = Self::default();
        select.scans("at, id, doc", query, page, now);
        let (order, limit, skip) = match page {
            PageRequest::Newest { limit, .. } => (" ORDER BY at DESC, id DESC", *limit, 0),
            PageRequest::Oldest { skip, limit } => (" ORDER BY at, id", *limit, *skip),
        };
        select.sql.push_str(order);
        if limited {
            let skip = i64::try_from(skip).unwrap_or(i64::MAX);
            select.add(" LIMIT ? OFFSET ?", [i64::from(limit).into(), skip.into()]);
        }
        select
    }

    /// Selects keys and counts of groups, and one group more than an answer has.
    pub(super) fn count(query: &Query, group_by: &GroupBy, now: Timestamp) -> Self {
        let whole_list = PageRequest::Oldest { skip: 0, limit: u32::MAX };
        let (key, order) = match GroupKey::of(group_by) {
            GroupKey::Field(field) => (group_key_sql(&field), "n DESC, key"),
            GroupKey::Hour => (HOUR_START.to_owned(), "key DESC"),
        };
        let mut select = Self::default();
        select.sql.push_str("SELECT key, count(*) AS n FROM (");
        select.scans(&format!("{key} AS key"), query, &whole_list, now);
        let limit = MAX_GROUPS + 1;
        select.sql.push_str(&format!(") WHERE key IS NOT NULL GROUP BY key ORDER BY {order} LIMIT {limit}"));
        select
    }

    /// One scan of the index, or one for each tenant; SQLite merges them in order.
    fn scans(&mut self, columns: &str, query: &Query, page: &PageRequest, now: Timestamp) {
        let index = query.index();
        let tenants: Vec<Option<&String>> = match (index, &query.tenants) {
            (ListIndex::Tenant | ListIndex::Attributes, Some(tenants)) => tenants.iter().map(Some).collect(),
            _ => vec![None],
        };
        let (table, index) = (query.collection.name(), index.name());
        for (number, tenant) in tenants.into_iter().enumerate() {
            let union = if number > 0 { " UNION ALL " } else { "" };
            let scan = format!("{union}SELECT {columns} FROM {table} INDEXED BY {table}_{index} WHERE expires_at > ?");
            self.add(&scan, [now.as_microsecond().into()]);
            if let Some(tenant) = tenant {
                self.add(" AND tenant = ?", [tenant.clone().into()]);
            }
            self.conditions(query, page);
        }
    }

    fn conditions(&mut self, query: &Query, page: &PageRequest) {
        if let Some(stream) = &query.stream {
            self.add(" AND stream = ?", [stream.clone().into()]);
            if let Some(tenants) = &query.tenants {
                let marks = vec!["?"; tenants.len()].join(", ");
                self.add(&format!(" AND tenant IN ({marks})"), tenants.iter().map(|tenant| tenant.clone().into()));
            }
        }
        if let Some(from) = query.from {
            self.add(" AND at >= ?", [from.into()]);
        }
        if let Some(to) = query.to {
            self.add(" AND at < ?", [to.into()]);
        }
        if let PageRequest::Newest { after: Some(after), .. } = page {
            self.add(" AND (at, id) < (?, ?)", [after.at.as_microsecond().into(), after.id.clone().into()]);
        }
        if query.needs_attributes {
            self.add(" AND attributes IS NOT NULL", []);
        }
        for (field, values) in &query.equals {
            let (sql, params): (Vec<String>, Vec<Value>) = values.iter().map(|value| equals_sql(field, value)).unzip();
            let sql = if sql.is_empty() { "FALSE".to_owned() } else { sql.join(" OR ") };
            self.add(&format!(" AND ({sql})"), params);
        }
        if let Some(least) = query.min_confidence {
            self.add(" AND confidence >= ?", [least.into()]);
        }
        if query.vehicles_only {
            let fields = Vehicle::NAMES.map(|field| format!("doc ->> '{field}' IS NOT NULL"));
            self.add(&format!(" AND ({})", fields.join(" OR ")), []);
        }
    }

    fn add(&mut self, sql: &str, params: impl IntoIterator<Item = Value>) {
        self.sql.push_str(sql);
        self.params.extend(params);
    }
}

/// SQL for the key of a group: the field as text, NULL if it is missing. An attribute name has no character that SQL or JSON
/// paths could misread. A number has the digits of the stored JSON: SQLite's own conversion keeps only 15 of them.
fn group_key_sql(field: &Field) -> String {
    match field {
        Field::Column(column) => (*column).to_owned(),
        Field::Year => "CAST(doc ->> 'year' AS TEXT)".to_owned(),
        Field::Attribute(name) => format!(
            "CASE json_type(attributes, '$.{name}') WHEN 'text' THEN attributes ->> '{name}' \
             ELSE attributes -> '{name}' END"
        ),
    }
}

/// SQL that compares a field with a value, and its parameter. It also compares types, because booleans are 0 and 1 in SQLite.
fn equals_sql(field: &Field, value: &AttributeValue) -> (String, Value) {
    let param = match value {
        AttributeValue::Text(text) => Value::from(text.clone()),
        AttributeValue::Number(number) => Value::from(*number),
        AttributeValue::Bool(value) => Value::from(value.to_string()),
    };
    let sql = match (field, value) {
        (Field::Column(column), _) => format!("{column} = ?"),
        (Field::Year, _) => "doc ->> 'year' = ?".to_owned(),
        (Field::Attribute(name), AttributeValue::Bool(_)) => format!("json_type(attributes, '$.{name}') = ?"),
        (Field::Attribute(name), AttributeValue::Text(_)) => {
            format!("(json_type(attributes, '$.{name}') = 'text' AND attributes ->> '{name}' = ?)")
        }
        (Field::Attribute(name), AttributeValue::Number(_)) => {
            format!("(json_type(attributes, '$.{name}') IN ('integer', 'real') AND attributes ->> '{name}' = ?)")
        }
    };
    (sql, param)
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::*;
    use crate::{AlertFilter, DetectionFilter, FrameFilter, PageCursor, SqliteDocuments, TenantScope};

    fn plan(connection: &Connection, select: Select) -> Vec<String> {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", select.sql)).unwrap();
        let lines = statement.query_map(params_from_iter(select.params), |row| row.get("detail")).unwrap();
        lines.map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn every_list_is_served_by_its_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("documents.db");
        let _store = SqliteDocuments::open(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        let after = PageCursor { at: Timestamp::now(), id: "x".to_owned() };
        let pages = [
            PageRequest::Newest { after: None, limit: 20 },
            PageRequest::Newest { after: Some(after), limit: 20 },
            PageRequest::Oldest { skip: 5, limit: 20 },
        ];
        let stream = Some("gate-1".parse().unwrap());
        let red = vec![("colour".parse().unwrap(), vec!["red".to_owned(), "blue".to_owned()])];
        for scope in [TenantScope::All, TenantScope::Tenant("a".parse().unwrap())] {
            for stream in [None, stream.clone()] {
                let detections = DetectionFilter { stream: stream.clone(), ..Default::default() };
                let queries = [
                    Query::frames(&scope, &FrameFilter { stream: stream.clone(), ..Default::default() }),
                    Query::detections(&scope, &detections),
                    Query::detections(
                        &scope,
                        &DetectionFilter { label: Some("face".to_owned()), ..detections.clone() },
                    ),
                    Query::detections(&scope, &DetectionFilter { attributes: red.clone(), ..detections }),
                    Query::alerts(&scope, &AlertFilter { stream, ..Default::default() }),
                ];
                for (query, page) in queries.iter().flat_map(|query| pages.iter().map(move |page| (query, page))) {
                    let plan = plan(&connection, Select::page(query, page, Timestamp::now(), true));
                    let index = format!("USING INDEX {}_{}", query.collection.name(), query.index().name());
                    assert!(plan.iter().any(|line| line.contains(&index)), "{plan:?}");
                    assert!(!plan.iter().any(|line| line.contains("TEMP B-TREE")), "{plan:?} {query:?}");
                    let scans = plan.iter().filter(|line| line.starts_with("SCAN") && !line.contains("USING INDEX"));
                    assert_eq!(scans.count(), 0, "{plan:?} {query:?}");
                }
            }
        }
    }

    #[tokio::test]
    async fn the_sweep_uses_the_expiry_index() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("documents.db");
        let _store = SqliteDocuments::open(&path).unwrap();
        let connection = Connection::open(&path).unwrap();
        for collection in crate::query::Collection::ALL {
            let table = collection.name();
            let count = "SELECT count(*) FROM pragma_index_list(?)";
            let indexes: i64 = connection.query_row(count, [table], |row| row.get(0)).unwrap();
            let expected = match collection {
                crate::query::Collection::Results => 5,
                crate::query::Collection::Detections => 8,
                crate::query::Collection::Alerts => 6,
            };
            assert_eq!(indexes, expected, "{table}");
            let sql = format!("SELECT rowid FROM {table} WHERE expires_at <= ? LIMIT 1");
            let plan = plan(&connection, Select { sql, params: vec![0.into()] });
            assert!(plan[0].contains(&format!("{table}_by_expiry")), "{plan:?}");
        }
    }
}
