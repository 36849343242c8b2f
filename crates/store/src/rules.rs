//! Rules of tenants: the collection `rules`, in SQLite and in MongoDB.
//!
//! A collection stands in one file: what callers may do with it, and how each database does it. The migrations make its table
//! and its indexes. A column or field `tenant` is enough for `delete_tenant` to delete its documents with their tenant.

use async_trait::async_trait;
use contracts::{Rule, RuleId, TenantId};
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use serde::{Deserialize, Serialize};

use crate::mongo::{CallError, DUPLICATE_KEY, MongoDocuments, write_error_code};
use crate::results::StoreError;
use crate::sqlite::{SqliteDocuments, document, json};

/// Outcome of storing a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutRuleOutcome {
    /// The rule is stored.
    Stored,
    /// Another rule of the tenant has the name; nothing was stored.
    NameTaken,
}

/// Rules of tenants. Built-in rules are not stored.
#[async_trait]
pub trait RuleStore: Send + Sync {
    /// The rules of all tenants, for the indexer.
    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError>;

    /// The rules of a tenant, ordered by name.
    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError>;

    /// Creates or replaces a rule. Names are unique within a tenant. Rules that shared a name before this was enforced keep it.
    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError>;

    /// Deletes a rule of a tenant. Returns whether it existed.
    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError>;
}

/// The tenant of a rule.
///
/// # Errors
/// If the rule is built in: it has no tenant and is not stored.
fn owner(rule: &Rule) -> Result<&TenantId, StoreError> {
    let built_in = || StoreError::Fatal(format!("the rule {} is built in and cannot be stored", rule.id));
    rule.tenant.as_ref().ok_or_else(built_in)
}

/// The error for a rule id that belongs to another tenant.
fn rule_of_other_tenant(id: &str) -> StoreError {
    StoreError::Fatal(format!("the rule {id} belongs to another tenant"))
}

#[async_trait]
impl RuleStore for SqliteDocuments {
    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT doc FROM rules ORDER BY name, id")?;
            statement.query_and_then([], document)?.collect()
        })
        .await
    }

    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError> {
        let tenant = tenant.to_string();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT doc FROM rules WHERE tenant = ? ORDER BY name, id")?;
            statement.query_and_then([tenant], document)?.collect()
        })
        .await
    }

    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let tenant = owner(rule)?.to_string();
        let (id, name, doc) = (rule.id.to_string(), rule.name.clone(), json(rule)?);
        self.write(move |connection| {
            // There is one writer, so no other write runs between this query and the next statement.
            let taken: bool = connection
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id <> ?1)
                     AND NOT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id = ?1)",
                )?
                .query_row([&id, &tenant, &name], |row| row.get(0))?;
            if taken {
                return Ok(PutRuleOutcome::NameTaken);
            }
            let written = connection
                .prepare_cached(
                    "INSERT INTO rules (id, tenant, name, doc) VALUES (?, ?, ?, ?)
                     ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc
                     WHERE tenant = excluded.tenant",
                )?
                .execute([&id, &tenant, &name, &doc])?;
            if written == 1 { Ok(PutRuleOutcome::Stored) } else { Err(rule_of_other_tenant(&id).into()) }
        })
        .await
    }

    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError> {
        let (tenant, id) = (tenant.to_string(), id.to_string());
        self.write(move |connection| {
            let mut delete = connection.prepare_cached("DELETE FROM rules WHERE tenant = ? AND id = ?")?;
            Ok(delete.execute([tenant, id])? == 1)
        })
        .await
    }
}

/// A rule in MongoDB.
#[derive(Debug, Serialize, Deserialize)]
struct RuleDoc {
    #[serde(rename = "_id")]
    id: String,
    tenant: String,
    name: String,
    condition: String,
    enabled: bool,
}

impl RuleDoc {
    fn of(rule: &Rule) -> Result<Self, StoreError> {
        let Rule { id, name, condition, enabled, .. } = rule;
        let tenant = owner(rule)?.to_string();
        Ok(Self { id: id.to_string(), tenant, name: name.clone(), condition: condition.clone(), enabled: *enabled })
    }

    fn into_rule(self) -> Result<Rule, StoreError> {
        let unreadable = |error: &dyn std::fmt::Display| {
            StoreError::Fatal(format!("the stored rule {} cannot be read: {error}", self.id))
        };
        Ok(Rule {
            id: self.id.parse().map_err(|error| unreadable(&error))?,
            tenant: Some(self.tenant.parse().map_err(|error| unreadable(&error))?),
            name: self.name,
            condition: self.condition,
            enabled: self.enabled,
        })
    }
}

#[async_trait]
impl RuleStore for MongoDocuments {
    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.with_timeout(Box::pin(self.find_rules(doc! {}))).await
    }

    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError> {
        self.with_timeout(Box::pin(self.find_rules(doc! { "tenant": tenant.as_str() }))).await
    }

    async fn put_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let rule = RuleDoc::of(rule)?;
        self.with_timeout(Box::pin(self.replace_rule(&rule))).await
    }

    async fn delete_rule(&self, tenant: &TenantId, id: RuleId) -> Result<bool, StoreError> {
        let rules = self.rule_docs();
        let own = doc! { "_id": id.to_string(), "tenant": tenant.as_str() };
        self.with_timeout(async { Ok(rules.delete_one(own).await?.deleted_count == 1) }).await
    }
}

impl MongoDocuments {
    fn rule_docs(&self) -> Collection<RuleDoc> {
        self.collection("rules")
    }

    async fn find_rules(&self, filter: Document) -> Result<Vec<Rule>, CallError> {
        let mut rules: Vec<_> = self.rule_docs().find(filter).await?.try_collect().await?;
        rules.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        Ok(rules.into_iter().map(RuleDoc::into_rule).collect::<Result<_, _>>()?)
    }

    /// Creates or replaces a rule; refuses a name that another rule of the tenant has.
    async fn replace_rule(&self, rule: &RuleDoc) -> Result<PutRuleOutcome, CallError> {
        let rules = self.rule_docs();
        let RuleDoc { id, tenant, name, .. } = rule;
        // The unique index checks the same, but is missing if older rules share a name.
        let others = doc! { "tenant": tenant, "name": name, "_id": { "$ne": id } };
        let unchanged = doc! { "tenant": tenant, "name": name, "_id": id };
        if rules.find_one(others).await?.is_some() && rules.find_one(unchanged).await?.is_none() {
            return Ok(PutRuleOutcome::NameTaken);
        }
        match rules.replace_one(doc! { "_id": id, "tenant": tenant }, rule).upsert(true).await {
            Ok(_) => Ok(PutRuleOutcome::Stored),
            Err(error) if write_error_code(&error) == Some(DUPLICATE_KEY) => {
                let anothers = rules.find_one(doc! { "_id": id, "tenant": { "$ne": tenant } }).await?;
                if anothers.is_some() { Err(rule_of_other_tenant(id).into()) } else { Ok(PutRuleOutcome::NameTaken) }
            }
            Err(error) => Err(error.into()),
        }
    }
}
