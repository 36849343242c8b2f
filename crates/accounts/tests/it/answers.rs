//! One suite for both caches of answers, with two users of each: in the memory of a process, and in Redis, where they are two instances.
//!
//! Others may forget answers in the same Redis at the same time, and an answer is not put then. So a test puts it until it is there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{RedisAnswers, RedisSessions, SessionCache, redis_keys_with};
use store::relational::{AnswerCache, CachedAnswer, LocalAnswers};
use testing::{Relay, eventually};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::redis::{fresh_key, url};

const MINUTE: Duration = Duration::from_secs(60);

/// Two users of one cache.
struct Two {
    one: Arc<dyn AnswerCache>,
    other: Arc<dyn AnswerCache>,
}

/// What is under a key, when the cache answers. The first call may exceed its time limit.
async fn read(cache: &dyn AnswerCache, key: &str) -> CachedAnswer {
    for _ in 0..200 {
        if let Some(cached) = cache.get(key).await {
            return cached;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the cache does not answer");
}

async fn put(cache: &dyn AnswerCache, key: &str, answer: &str, life: Duration) {
    eventually("an answer is put", async || {
        let Some(CachedAnswer { forgotten, .. }) = cache.get(key).await else { return false };
        cache.put(key, answer, forgotten, life).await;
        cache.get(key).await.is_some_and(|cached| cached.answer.as_deref() == Some(answer))
    })
    .await;
}

async fn an_answer_is_shared_until_it_is_forgotten(two: &Two) {
    let (key, kept) = (fresh_key(), fresh_key());
    assert_eq!(read(&*two.one, &key).await.answer, None, "the key is unknown");
    put(&*two.one, &key, "yes", MINUTE).await;
    put(&*two.one, &kept, "no", MINUTE).await;
    assert_eq!(read(&*two.other, &key).await.answer.as_deref(), Some("yes"));
    two.other.forget(&key).await;
    assert_eq!(read(&*two.one, &key).await.answer, None);
    assert_eq!(read(&*two.one, &kept).await.answer.as_deref(), Some("no"), "another answer stays");
}

async fn an_answer_that_was_read_before_a_change_is_not_put(two: &Two) {
    let key = fresh_key();
    let before = read(&*two.one, &key).await;
    two.other.forget(&key).await;
    two.one.put(&key, "stale", before.forgotten, MINUTE).await;
    assert_eq!(read(&*two.other, &key).await.answer, None);
    put(&*two.one, &key, "fresh", MINUTE).await;
}

async fn an_answer_ends_with_its_life(two: &Two) {
    let (short, long) = (fresh_key(), fresh_key());
    put(&*two.one, &long, "yes", MINUTE).await;
    put(&*two.one, &short, "yes", Duration::from_millis(500)).await;
    eventually("it ends", async || two.other.get(&short).await.is_some_and(|cached| cached.answer.is_none())).await;
    assert_eq!(read(&*two.other, &long).await.answer.as_deref(), Some("yes"));
}

macro_rules! on_both {
    ($($guarantee:ident,)*) => {
        mod local {
            use super::*;

            $(
                #[tokio::test]
                async fn $guarantee() {
                    let one: Arc<dyn AnswerCache> = Arc::new(LocalAnswers::default());
                    super::$guarantee(&Two { other: one.clone(), one }).await;
                }
            )*
        }
        mod redis {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                #[ignore = "needs redis"]
                async fn $guarantee() {
                    let new = || Arc::new(RedisAnswers::new(&url()).unwrap());
                    super::$guarantee(&Two { one: new(), other: new() }).await;
                }
            )*
        }
    };
}
on_both! {
    an_answer_is_shared_until_it_is_forgotten,
    an_answer_that_was_read_before_a_change_is_not_put,
    an_answer_ends_with_its_life,
}

/// Calls of a cache that cannot be used.
async fn assert_away(cache: &RedisAnswers, key: &str) {
    let started = Instant::now();
    assert_eq!(cache.get(key).await, None);
    cache.put(key, "yes", 0, MINUTE).await;
    cache.forget(key).await;
    assert!(started.elapsed() < Duration::from_secs(2), "requests wait for Redis: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_redis_that_never_answers_delays_no_answer() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_away(&RedisAnswers::new(&format!("redis://:secret@{free}")).unwrap(), "a").await;
    let refused = RedisAnswers::new("http://user:secret@host").err().unwrap();
    assert!(refused.contains("SIGHTLINE_REDIS_URL") && !refused.contains("secret"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn answers_are_cached_again_when_redis_is_back() {
    let mut relay = Relay::to(&url()).await;
    let (cache, key) = (RedisAnswers::new(&relay.url()).unwrap(), fresh_key());
    put(&cache, &key, "yes", MINUTE).await;
    relay.cut().await;
    assert_away(&cache, &key).await;
    relay.restore().await;
    assert_eq!(read(&cache, &key).await.answer.as_deref(), Some("yes"), "it could not be forgotten");
    cache.forget(&key).await;
    assert_eq!(read(&cache, &key).await.answer, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn an_id_is_found_in_keys_and_texts_of_redis() {
    let (answers, sessions) = (RedisAnswers::new(&url()).unwrap(), RedisSessions::new(&url()).unwrap());
    let (id, session) = (Uuid::new_v4().to_string(), fresh_key());
    let key = format!("test:{id}");
    let found = async || redis_keys_with(&url(), |bytes| String::from_utf8_lossy(bytes).contains(&id)).await.unwrap();
    put(&answers, &key, "yes", MINUTE).await;
    sessions.put(&session, &format!("{id} 7"), MINUTE).await.unwrap();
    assert_eq!(found().await, BTreeMap::from([("answer".to_owned(), 1), ("session".to_owned(), 1)]));
    answers.forget(&key).await;
    sessions.remove(&session).await.unwrap();
    assert_eq!(found().await, BTreeMap::new());
    let refused = redis_keys_with("http://user:secret@host", |_| true).await.unwrap_err();
    assert!(refused.contains("SIGHTLINE_REDIS_URL") && !refused.contains("secret"), "{refused}");
}
