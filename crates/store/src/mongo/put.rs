//! Writes results with their detections and alerts.

use std::collections::HashMap;

use futures::TryStreamExt;
use mongodb::bson::doc;
use mongodb::options::ReadConcern;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::MongoDocuments;
use super::errors::{CallError, duplicate_positions};
use crate::query::Collection;
use crate::stored_docs::{AlertDoc, DetectionDoc, ResultDoc, check};
use crate::{Indexed, PutOutcome, StoreError};

/// A stored result, as far as conflicts need it.
#[derive(Debug, Deserialize)]
struct ExistingResult {
    #[serde(rename = "_id")]
    id: String,
    ce_id: String,
    tenant: String,
    failure: Option<IgnoredAny>,
}

impl ExistingResult {
    /// The stored result wins, except a failure: a later success of the same tenant replaces it.
    fn is_replaced_by(&self, later: &ResultDoc<'_>) -> bool {
        self.failure.is_some() && !later.is_failure() && self.tenant == later.tenant
    }
}

impl MongoDocuments {
    /// Writes results first, because they decide which detections and alerts are written.
    pub(super) async fn put_batch(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, CallError> {
        check(batch)?;
        let results: Vec<ResultDoc<'_>> = batch.iter().map(ResultDoc::of).collect();
        let distinct = distinct(&results);
        let existing =
            self.insert(Collection::Results, distinct.iter().map(|position| &results[*position]).collect()).await?;
        let existing: Vec<&ResultDoc<'_>> = existing.into_iter().map(|n| &results[distinct[n]]).collect();
        let mut first = self.resolve_conflicts(&existing).await?;
        for position in &distinct {
            let ResultDoc { id, ce_id, .. } = &results[*position];
            first.entry(id).or_insert_with(|| ce_id.clone());
        }
        let wins = |position: usize| first.get(results[position].id.as_str()) == Some(&results[position].ce_id);

        // A result that is in the batch twice is written once.
        let winners: Vec<&Indexed> = distinct.into_iter().filter(|n| wins(*n)).map(|n| &batch[n]).collect();
        let detections: Vec<_> = winners.iter().flat_map(|indexed| DetectionDoc::of(indexed)).collect();
        let alerts: Vec<_> = winners.iter().flat_map(|indexed| AlertDoc::of(indexed)).collect();
        tokio::try_join!(
            self.insert(Collection::Detections, detections.iter().collect()),
            self.insert(Collection::Alerts, alerts.iter().collect()),
        )?;
        let outcome = |position| if wins(position) { PutOutcome::Stored } else { PutOutcome::Superseded };
        Ok((0..batch.len()).map(outcome).collect())
    }

    /// Inserts documents. Returns the positions of those that were stored already.
    async fn insert<T>(&self, collection: Collection, docs: Vec<&T>) -> Result<Vec<usize>, CallError>
    where
        T: Serialize + Send + Sync,
    {
        if docs.is_empty() {
            return Ok(Vec::new());
        }
        match self.collection::<T>(collection.name()).insert_many(docs).ordered(false).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => duplicate_positions(error),
        }
    }

    /// Decides between new results and the stored ones under their ids. Returns the `ce_id` of the winner by result id.
    async fn resolve_conflicts<'a>(&self, later: &[&'a ResultDoc<'_>]) -> Result<HashMap<&'a str, String>, CallError> {
        if later.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = later.iter().map(|result| result.id.as_str()).collect();
        // The insert that found the duplicate waited until it was durable, so read concern `local` sees it.
        let found = self
            .collection::<ExistingResult>(Collection::Results.name())
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "ce_id": 1, "tenant": 1, "failure": 1 })
            .read_concern(ReadConcern::local())
            .await?;
        let found: Vec<ExistingResult> = found.try_collect().await?;
        let mut found: HashMap<String, ExistingResult> =
            found.into_iter().map(|first| (first.id.clone(), first)).collect();
        let mut first_alerts = HashMap::with_capacity(later.len());
        for result in later {
            let first = found.remove(&result.id).ok_or_else(concurrent_change)?;
            let winner = if first.is_replaced_by(result) {
                self.replace(&first, result).await?;
                result.ce_id.clone()
            } else {
                first.ce_id
            };
            first_alerts.insert(result.id.as_str(), winner);
        }
        Ok(first_alerts)
    }

    /// Replaces a stored failure by a result.
    async fn replace(&self, failure: &ExistingResult, result: &ResultDoc<'_>) -> Result<(), CallError> {
        let unchanged_failure = doc! { "_id": &failure.id, "ce_id": &failure.ce_id };
        let results = self.collection::<ResultDoc<'_>>(Collection::Results.name());
        let replaced = results.replace_one(unchanged_failure, result).await?;
        if replaced.matched_count == 1 { Ok(()) } else { Err(concurrent_change()) }
    }
}

fn concurrent_change() -> CallError {
    StoreError::Unavailable("a result changed during the write; retry".to_owned()).into()
}

/// The positions of the results that win within a batch: for each id, the first success, or else the first failure.
fn distinct(results: &[ResultDoc<'_>]) -> Vec<usize> {
    let mut positions: HashMap<&str, usize> = HashMap::with_capacity(results.len());
    for (position, result) in results.iter().enumerate() {
        let counts = positions.entry(&result.id).or_insert(position);
        if results[*counts].is_failure() && !result.is_failure() {
            *counts = position;
        }
    }
    let mut positions: Vec<usize> = positions.into_values().collect();
    positions.sort_unstable();
    positions
}
