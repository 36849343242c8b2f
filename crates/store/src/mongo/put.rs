//! Writing results with their detections and alerts, and rules.

use std::collections::HashMap;

use futures::TryStreamExt;
use mongodb::bson::doc;
use mongodb::options::ReadConcern;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::failure::{DUPLICATE_KEY, Failure, already_there, write_error_code};
use super::{MongoDocuments, RuleDoc};
use crate::documents::anothers_rule;
use crate::query::Collection;
use crate::shape::{AlertDoc, DetectionDoc, ResultDoc, check};
use crate::{Indexed, PutOutcome, RulePut, StoreError};

/// Which result came first.
#[derive(Debug, Deserialize)]
struct First {
    #[serde(rename = "_id")]
    id: String,
    ce_id: String,
    tenant: String,
    failure: Option<IgnoredAny>,
}

impl First {
    /// The first one wins, unless it is a failure and the later one is none: a frame sent again once the cause is gone.
    fn gives_way_to(&self, later: &ResultDoc<'_>) -> bool {
        self.failure.is_some() && !later.is_failure() && self.tenant == later.tenant
    }
}

impl MongoDocuments {
    /// Results first, because they decide which detections and alerts are written at all.
    pub(super) async fn put_batch(&self, batch: &[Indexed]) -> Result<Vec<PutOutcome>, Failure> {
        check(batch)?;
        let results: Vec<ResultDoc<'_>> = batch.iter().map(ResultDoc::of).collect();
        let distinct = distinct(&results);
        let there = self.insert(Collection::Results, distinct.iter().map(|place| &results[*place]).collect()).await?;
        let there: Vec<&ResultDoc<'_>> = there.into_iter().map(|n| &results[distinct[n]]).collect();
        let mut first = self.earlier(&there).await?;
        for place in &distinct {
            let ResultDoc { id, ce_id, .. } = &results[*place];
            first.entry(id).or_insert_with(|| ce_id.clone());
        }
        let wins = |place: usize| first.get(results[place].id.as_str()) == Some(&results[place].ce_id);

        // Of the same result twice in a batch one is enough.
        let winners: Vec<&Indexed> = distinct.into_iter().filter(|n| wins(*n)).map(|n| &batch[n]).collect();
        let detections: Vec<_> = winners.iter().flat_map(|indexed| DetectionDoc::of(indexed)).collect();
        let alerts: Vec<_> = winners.iter().flat_map(|indexed| AlertDoc::of(indexed)).collect();
        tokio::try_join!(
            self.insert(Collection::Detections, detections.iter().collect()),
            self.insert(Collection::Alerts, alerts.iter().collect()),
        )?;
        let outcome = |place| if wins(place) { PutOutcome::Stored } else { PutOutcome::Superseded };
        Ok((0..batch.len()).map(outcome).collect())
    }

    /// Inserts what is not there; returns the places of what was.
    async fn insert<T>(&self, collection: Collection, docs: Vec<&T>) -> Result<Vec<usize>, Failure>
    where
        T: Serialize + Send + Sync,
    {
        if docs.is_empty() {
            return Ok(Vec::new());
        }
        match self.collection::<T>(collection).insert_many(docs).ordered(false).await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => already_there(error),
        }
    }

    /// The results that came before, by their id.
    async fn earlier<'a>(&self, later: &[&'a ResultDoc<'_>]) -> Result<HashMap<&'a str, String>, Failure> {
        if later.is_empty() {
            return Ok(HashMap::new());
        }
        let ids: Vec<&str> = later.iter().map(|result| result.id.as_str()).collect();
        // The refused insert waited until what refused it was durable; "local" is sure to see it.
        let found = self
            .collection::<First>(Collection::Results)
            .find(doc! { "_id": { "$in": ids } })
            .projection(doc! { "ce_id": 1, "tenant": 1, "failure": 1 })
            .read_concern(ReadConcern::local())
            .await?;
        let found: Vec<First> = found.try_collect().await?;
        let mut found: HashMap<String, First> = found.into_iter().map(|first| (first.id.clone(), first)).collect();
        let mut firsts = HashMap::with_capacity(later.len());
        for result in later {
            let first = found.remove(&result.id).ok_or_else(changed)?;
            let winner = if first.gives_way_to(result) {
                self.replace(&first, result).await?;
                result.ce_id.clone()
            } else {
                first.ce_id
            };
            firsts.insert(result.id.as_str(), winner);
        }
        Ok(firsts)
    }

    /// Puts a result in the place of a failure.
    async fn replace(&self, failure: &First, result: &ResultDoc<'_>) -> Result<(), Failure> {
        let this_very_one = doc! { "_id": &failure.id, "ce_id": &failure.ce_id };
        let results = self.collection::<ResultDoc<'_>>(Collection::Results);
        let replaced = results.replace_one(this_very_one, result).await?;
        if replaced.matched_count == 1 { Ok(()) } else { Err(changed()) }
    }
}

impl MongoDocuments {
    /// Makes or replaces a rule under a name that no other of its tenant has.
    pub(super) async fn replace_rule(&self, rule: &RuleDoc) -> Result<RulePut, Failure> {
        let rules = self.rule_docs();
        let RuleDoc { id, tenant, name, .. } = rule;
        // The index says so too; but it is not there where rules of before it have one name.
        let others = doc! { "tenant": tenant, "name": name, "_id": { "$ne": id } };
        let unchanged = doc! { "tenant": tenant, "name": name, "_id": id };
        if rules.find_one(others).await?.is_some() && rules.find_one(unchanged).await?.is_none() {
            return Ok(RulePut::NameTaken);
        }
        match rules.replace_one(doc! { "_id": id, "tenant": tenant }, rule).upsert(true).await {
            Ok(_) => Ok(RulePut::Stored),
            Err(error) if write_error_code(&error) == Some(DUPLICATE_KEY) => {
                let anothers = rules.find_one(doc! { "_id": id, "tenant": { "$ne": tenant } }).await?;
                if anothers.is_some() { Err(anothers_rule(id).into()) } else { Ok(RulePut::NameTaken) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn changed() -> Failure {
    StoreError::Unavailable("a result changed while another of its frame was stored; once more will do".to_owned())
        .into()
}

/// Places of the results of a batch that count for their frame and detector: the first, or the first that is no failure.
fn distinct(results: &[ResultDoc<'_>]) -> Vec<usize> {
    let mut places: HashMap<&str, usize> = HashMap::with_capacity(results.len());
    for (place, result) in results.iter().enumerate() {
        let counts = places.entry(&result.id).or_insert(place);
        if results[*counts].is_failure() && !result.is_failure() {
            *counts = place;
        }
    }
    let mut places: Vec<usize> = places.into_values().collect();
    places.sort_unstable();
    places
}
