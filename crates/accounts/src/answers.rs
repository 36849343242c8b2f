//! Cached answers in Redis, which all instances share. `store` says what is promised of them ([`AnswerCache`]).
//!
//! One number counts how often an answer was forgotten, under any key. An answer is put only if that number is still the one that was read
//! before it, so nothing has to be remembered about a key whose answer was forgotten.

use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use store::relational::{AnswerCache, CachedAnswer};

use crate::redis_link::RedisLink;

/// Time limit of reading or putting an answer; then the database answers.
const ASK_TIMEOUT: Duration = Duration::from_millis(100);
/// Time limit of forgetting an answer. Longer: it would otherwise be used until its end.
const FORGET_TIMEOUT: Duration = Duration::from_millis(500);
/// How often an answer was forgotten.
const FORGOTTEN: &str = "sightline:answers-forgotten";

/// Puts an answer, unless one was forgotten since.
const PUT: &str = "
if tonumber(redis.call('GET', KEYS[2]) or 0) == tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
";

/// Answers in Redis.
pub struct RedisAnswers {
    link: RedisLink,
    put: Script,
}

impl RedisAnswers {
    /// Uses the Redis at this address. It need not be reachable yet.
    ///
    /// # Errors
    /// The address is not one of Redis.
    pub fn new(url: &str) -> Result<Self, String> {
        Ok(Self { link: RedisLink::new(url, "the database answers what was cached")?, put: Script::new(PUT) })
    }
}

fn redis_key(key: &str) -> String {
    format!("sightline:answer:{key}")
}

#[async_trait]
impl AnswerCache for RedisAnswers {
    async fn get(&self, key: &str) -> Option<CachedAnswer> {
        if self.link.is_paused() {
            return None;
        }
        let mut connection = self.link.connection();
        let mut command = redis::cmd("MGET");
        command.arg(redis_key(key)).arg(FORGOTTEN);
        let read = self.link.call(ASK_TIMEOUT, command.query_async(&mut connection)).await;
        let (answer, forgotten): (Option<String>, Option<u64>) = read.ok()?;
        Some(CachedAnswer { answer, forgotten: forgotten.unwrap_or(0) })
    }

    async fn put(&self, key: &str, answer: &str, forgotten: u64, life: Duration) {
        let millis = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 || self.link.is_paused() {
            return;
        }
        let mut connection = self.link.connection();
        let mut invocation = self.put.key(redis_key(key));
        invocation.key(FORGOTTEN).arg(forgotten).arg(answer).arg(millis);
        // A failure is logged there; the next question reads the database.
        drop(self.link.call::<u8>(ASK_TIMEOUT, invocation.invoke_async(&mut connection)).await);
    }

    async fn forget(&self, key: &str) {
        let mut connection = self.link.connection();
        let mut both = redis::pipe();
        both.atomic().cmd("INCR").arg(FORGOTTEN).ignore().cmd("DEL").arg(redis_key(key)).ignore();
        // Also during a pause, when other instances may reach Redis, but not for long: many answers may be forgotten one after another.
        let limit = if self.link.is_paused() { ASK_TIMEOUT } else { FORGET_TIMEOUT };
        drop(self.link.call::<()>(limit, both.query_async(&mut connection)).await);
    }
}
