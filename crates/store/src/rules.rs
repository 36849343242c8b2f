//! Rules of tenants: the collection `rules`, in SQLite and in MongoDB.
//!
//! A collection stands in one file: what callers may do with it, and how each database does it. The migrations make its table
//! and its indexes. A column or field `tenant` is enough for `delete_tenant` to delete its documents with their tenant.

use async_trait::async_trait;
use contracts::{Rule, RuleId, TenantId};
use futures::TryStreamExt;
use mongodb::Collection;
use mongodb::bson::{Document, doc};
use rusqlite::Connection;
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
    /// The tenant has no such rule; nothing was stored.
    NotFound,
    /// Another request changed the rule meanwhile; nothing was stored.
    Changed,
}

/// Rules of tenants. Built-in rules are not stored.
#[async_trait]
pub trait RuleStore: Send + Sync {
    /// The rules of all tenants, for the indexer.
    async fn all_rules(&self) -> Result<Vec<Rule>, StoreError>;

    /// The rules of a tenant, ordered by name.
    async fn rules(&self, tenant: &TenantId) -> Result<Vec<Rule>, StoreError>;

    /// Creates a rule. Names are unique within a tenant. Rules that shared a name before this was enforced keep it.
    async fn create_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError>;

    /// Replaces a rule that is still as it was read. A rule that was deleted meanwhile, by its owner or with its tenant, stays
    /// deleted. Both rules have the same id and tenant.
    async fn replace_rule(&self, before: &Rule, after: &Rule) -> Result<PutRuleOutcome, StoreError>;

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

/// The error for a new rule whose id is in use.
fn id_in_use(id: &str) -> StoreError {
    StoreError::Fatal(format!("the id {id} belongs to another rule"))
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

    async fn create_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let row = RuleRow::of(rule)?;
        self.write(move |connection| {
            if row.name_is_taken(connection)? {
                return Ok(PutRuleOutcome::NameTaken);
            }
            let mut insert = connection.prepare_cached(
                "INSERT INTO rules (id, tenant, name, doc) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            )?;
            let created = insert.execute([&row.id, &row.tenant, &row.name, &row.doc])? == 1;
            if created { Ok(PutRuleOutcome::Stored) } else { Err(id_in_use(&row.id).into()) }
        })
        .await
    }

    async fn replace_rule(&self, before: &Rule, after: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let (before, row) = (before.clone(), RuleRow::of(after)?);
        self.write(move |connection| {
            match row.stored_rule(connection)? {
                None => return Ok(PutRuleOutcome::NotFound),
                Some(stored) if stored != before => return Ok(PutRuleOutcome::Changed),
                Some(_) => {}
            }
            if row.name_is_taken(connection)? {
                return Ok(PutRuleOutcome::NameTaken);
            }
            let mut update =
                connection.prepare_cached("UPDATE rules SET name = ?3, doc = ?4 WHERE id = ?1 AND tenant = ?2")?;
            update.execute([&row.id, &row.tenant, &row.name, &row.doc])?;
            Ok(PutRuleOutcome::Stored)
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

/// A rule in SQLite.
struct RuleRow {
    id: String,
    tenant: String,
    name: String,
    doc: String,
}

impl RuleRow {
    fn of(rule: &Rule) -> Result<Self, StoreError> {
        let tenant = owner(rule)?.to_string();
        Ok(Self { id: rule.id.to_string(), tenant, name: rule.name.clone(), doc: json(rule)? })
    }

    /// The rule with this id of this tenant. There is one writer, so no other write runs between this query and the statement
    /// after it.
    fn stored_rule(&self, connection: &Connection) -> Result<Option<Rule>, crate::sqlite::CallError> {
        let mut select = connection.prepare_cached("SELECT doc FROM rules WHERE id = ? AND tenant = ?")?;
        select.query_and_then([&self.id, &self.tenant], document)?.next().transpose()
    }

    /// Whether another rule of the tenant has the name, unless this rule has it already. No other write runs before the next
    /// statement either.
    fn name_is_taken(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let mut query = connection.prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id <> ?1)
             AND NOT EXISTS (SELECT 1 FROM rules WHERE tenant = ?2 AND name = ?3 AND id = ?1)",
        )?;
        query.query_row([&self.id, &self.tenant, &self.name], |row| row.get(0))
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

    async fn create_rule(&self, rule: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let rule = RuleDoc::of(rule)?;
        self.with_timeout(Box::pin(self.create_rule_doc(&rule))).await
    }

    async fn replace_rule(&self, before: &Rule, after: &Rule) -> Result<PutRuleOutcome, StoreError> {
        let (before, after) = (RuleDoc::of(before)?, RuleDoc::of(after)?);
        self.with_timeout(Box::pin(self.replace_rule_doc(&before, &after))).await
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

    /// Whether another rule of the tenant has the name, unless this rule has it already. The unique index checks the same, but is
    /// missing if older rules share a name.
    async fn name_is_taken(&self, rule: &RuleDoc) -> Result<bool, CallError> {
        let (rules, RuleDoc { id, tenant, name, .. }) = (self.rule_docs(), rule);
        let others = doc! { "tenant": tenant, "name": name, "_id": { "$ne": id } };
        let unchanged = doc! { "tenant": tenant, "name": name, "_id": id };
        Ok(rules.find_one(others).await?.is_some() && rules.find_one(unchanged).await?.is_none())
    }

    async fn create_rule_doc(&self, rule: &RuleDoc) -> Result<PutRuleOutcome, CallError> {
        if self.name_is_taken(rule).await? {
            return Ok(PutRuleOutcome::NameTaken);
        }
        let rules = self.rule_docs();
        match rules.insert_one(rule).await {
            Ok(_) => Ok(PutRuleOutcome::Stored),
            Err(error) if write_error_code(&error) == Some(DUPLICATE_KEY) => {
                let same_id = rules.find_one(doc! { "_id": &rule.id }).await?;
                if same_id.is_some() { Err(id_in_use(&rule.id).into()) } else { Ok(PutRuleOutcome::NameTaken) }
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn replace_rule_doc(&self, before: &RuleDoc, after: &RuleDoc) -> Result<PutRuleOutcome, CallError> {
        let RuleDoc { id, tenant, name, condition, enabled } = before;
        let unchanged = doc! { "_id": id, "tenant": tenant, "name": name, "condition": condition, "enabled": enabled };
        let rules = self.rule_docs();
        if rules.find_one(unchanged.clone()).await?.is_none() {
            let stored = rules.find_one(doc! { "_id": id, "tenant": tenant }).await?;
            return Ok(if stored.is_some() { PutRuleOutcome::Changed } else { PutRuleOutcome::NotFound });
        }
        if self.name_is_taken(after).await? {
            return Ok(PutRuleOutcome::NameTaken);
        }
        match rules.replace_one(unchanged, after).await {
            // Changed or deleted since; the caller reads it again.
            Ok(replaced) if replaced.matched_count == 0 => Ok(PutRuleOutcome::Changed),
            Ok(_) => Ok(PutRuleOutcome::Stored),
            Err(error) if write_error_code(&error) == Some(DUPLICATE_KEY) => Ok(PutRuleOutcome::NameTaken),
            Err(error) => Err(error.into()),
        }
    }
}
