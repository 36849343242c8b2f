//! Cached answers about users, so that a client that asks again and again costs no query.
//!
//! ```text
//! question ──▶ AnswerCache ──▶ answer
//!                 ▲ │ none ──▶ database ──▶ put, unless something was forgotten since the question
//!                 └ forget ◀── commit of a transaction that changes faces or decides a photograph
//! ```
//!
//! In: questions, and the transactions of this handle that change faces or decide photographs. Out: answers, from memory
//! ([`LocalAnswers`]) or from a cache that all instances share (Redis, in `accounts`).
//!
//! Promised:
//! - A question that begins after a change has returned gets the changed answer, on any instance: the last step of every transaction
//!   that changes the faces of a tenant, or stores the outcome of a photograph of its user, forgets the answers about it. No caller can
//!   omit it.
//! - An answer that was read before a change is not stored after it: [`AnswerCache::put`] refuses what was read before a `forget`.
//! - An answer is used for at most [`ANSWER_LIFE`], which begins before it is read. That bounds what the first promise does not cover: a
//!   cache that does not answer to the `forget`, a process or a request that ends between commit and `forget`, a database that is
//!   restored, outcomes whose retention ends, and changes by handles without the cache.
//! - While the cache cannot be used, the database answers. No call fails because of it.
//! - The answers about a user are forgotten with the user, and nothing about it stays in the cache.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use contracts::{TenantId, UserId};

use super::database::Relational;
use super::faces::PhotoStatus;
use super::transaction::Transaction;
use crate::{ExpiringTexts, StoreError};

/// How long an answer is used at most.
pub const ANSWER_LIFE: Duration = Duration::from_secs(10);

/// What a cache has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedAnswer {
    /// The answer, if there is one.
    pub answer: Option<String>,
    /// How often an answer was forgotten until now, under any key.
    pub forgotten: u64,
}

/// Answers with an expiry. Shared as `Arc<dyn AnswerCache>`. No call waits for long, and none fails.
#[async_trait]
pub trait AnswerCache: Send + Sync {
    /// What is under a key. `None` if the cache cannot be used now.
    async fn get(&self, key: &str) -> Option<CachedAnswer>;

    /// Puts an answer under a key for `life`, unless an answer was forgotten since [`Self::get`] returned `forgotten`.
    async fn put(&self, key: &str, answer: &str, forgotten: u64, life: Duration);

    /// Forgets the answer under a key, if there is one, and refuses all that were read before.
    async fn forget(&self, key: &str);
}

/// Answers in the memory of this process.
#[derive(Default)]
pub struct LocalAnswers(Mutex<Local>);

#[derive(Default)]
struct Local {
    texts: ExpiringTexts,
    forgotten: u64,
}

#[async_trait]
impl AnswerCache for LocalAnswers {
    async fn get(&self, key: &str) -> Option<CachedAnswer> {
        let local = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some(CachedAnswer { answer: local.texts.get(key).map(str::to_owned), forgotten: local.forgotten })
    }

    async fn put(&self, key: &str, answer: &str, forgotten: u64, life: Duration) {
        let mut local = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if local.forgotten == forgotten {
            local.texts.put(key, answer, life);
        }
    }

    async fn forget(&self, key: &str) {
        let mut local = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        local.forgotten += 1;
        local.texts.remove(key);
    }
}

/// Where it is kept what the photographs of the one user of a tenant have shown.
fn verified_key(tenant: &TenantId) -> String {
    format!("verified:{tenant}")
}

impl Relational {
    /// The same database, with a cache of answers. Every handle that changes faces needs the same cache.
    #[must_use]
    pub fn with_answers(mut self, answers: Arc<dyn AnswerCache>) -> Self {
        self.answers = Some(answers);
        self
    }

    /// What the photographs of a user have shown. From the cache, if it has the answer.
    pub async fn photo_status(&self, user: UserId, tenant: &TenantId) -> Result<PhotoStatus, StoreError> {
        let (key, asked) = (verified_key(tenant), Instant::now());
        let cached = match &self.answers {
            // Before the database is read, so that a change in between is noticed.
            Some(answers) => answers.get(&key).await,
            None => None,
        };
        let answer = cached.as_ref().and_then(|cached| cached.answer.as_deref());
        // An answer that cannot be read is one of another version, and is replaced.
        if let Some(status) = answer.and_then(|answer| serde_json::from_str(answer).ok()) {
            return Ok(status);
        }
        let status = self.read_photo_status(user, tenant).await?;
        if let Some((answers, cached)) = self.answers.as_ref().zip(cached) {
            let answer = serde_json::to_string(&status);
            let answer = answer.map_err(|error| StoreError::Fatal(format!("an answer cannot be written: {error}")))?;
            answers.put(&key, &answer, cached.forgotten, ANSWER_LIFE.saturating_sub(asked.elapsed())).await;
        }
        Ok(status)
    }

    /// Forgets the answers about a tenant whose faces were erased.
    pub(super) async fn forget_answers(&self, tenant: &TenantId) {
        let mut forgotten = self.answers_to_forget();
        forgotten.about(tenant);
        forgotten.forget().await;
    }

    /// Those of a new transaction: none yet.
    pub(super) fn answers_to_forget(&self) -> AnswersToForget {
        AnswersToForget { answers: self.answers.clone(), keys: BTreeSet::new() }
    }
}

impl Transaction {
    /// Has the answers about a tenant forgotten at the end of this transaction, which changes its faces or decides a photograph.
    pub(super) fn changes_answers_about(&mut self, tenant: &TenantId) {
        self.answers.about(tenant);
    }
}

/// The answers that end with a transaction.
pub(super) struct AnswersToForget {
    answers: Option<Arc<dyn AnswerCache>>,
    keys: BTreeSet<String>,
}

impl AnswersToForget {
    fn about(&mut self, tenant: &TenantId) {
        if self.answers.is_some() {
            self.keys.insert(verified_key(tenant));
        }
    }

    pub(super) async fn forget(self) {
        let Some(answers) = self.answers else { return };
        for key in &self.keys {
            answers.forget(key).await;
        }
    }
}
