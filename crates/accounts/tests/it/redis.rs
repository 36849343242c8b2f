//! Limits and sessions that instances share through Redis, and limits while Redis is unreachable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Accounts, Caller, Rate, RateLimitDecision, RateLimits, RedisLimits, RedisSessions, SessionCache};
use futures::future::join_all;
use tempfile::TempDir;
use testing::Relay;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::sqlite::stores;
use testing::eventually;

use crate::test_accounts::{TestAccounts, settings};

pub fn url() -> String {
    std::env::var("SIGHTLINE_TEST_REDIS_URL").expect("SIGHTLINE_TEST_REDIS_URL names a server")
}

/// A key that no other test uses.
pub fn fresh_key() -> String {
    format!("test:{}", Uuid::new_v4())
}

async fn allowed(limits: &RedisLimits, key: &str, rate: Rate, many: usize) -> usize {
    let taken: Vec<RateLimitDecision> = join_all((0..many).map(|_| limits.take(key, rate))).await;
    taken.iter().filter(|decision| decision.allowed).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn two_instances_share_one_limit() {
    let (one, other) = (RedisLimits::new(&url()).unwrap(), RedisLimits::new(&url()).unwrap());
    eventually("the limit is shared", async || share(&one, &other).await).await;
    let (key, rate) = (fresh_key(), Rate::new(Duration::from_secs(60), 30));
    let (a, b) = tokio::join!(allowed(&one, &key, rate, 40), allowed(&other, &key, rate, 40));
    assert_eq!(a + b, 30);
    let refused = one.take(&key, rate).await;
    assert!(!refused.allowed && refused.retry_after > Duration::from_secs(50), "{refused:?}");
    assert!(refused.retry_after <= Duration::from_secs(60) && refused.resets_in <= Duration::from_secs(1800));

    let (key, rate) = (fresh_key(), Rate::per_second(10));
    let left = one.take(&key, rate).await;
    assert!(left.allowed && left.remaining == 9, "{left:?}");
    let left = other.take(&key, rate).await;
    assert!(left.allowed && left.remaining == 8, "{left:?}");
    assert_eq!(allowed(&one, &key, rate, 50).await, 8);
    tokio::time::sleep(Duration::from_millis(550)).await;
    let again = allowed(&other, &key, rate, 50).await;
    assert!((5..=7).contains(&again), "{again} more after half a second");
}

/// Whether two instances share a limit: the second one is refused after the first one used it up.
/// The first call may exceed its time limit; then the instance counts for itself for a while.
async fn share(one: &RedisLimits, other: &RedisLimits) -> bool {
    let (key, rate) = (fresh_key(), Rate::new(Duration::from_secs(60), 5));
    one.take(&key, rate).await;
    other.take(&key, rate).await.remaining == 3
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn without_redis_each_instance_has_its_own_limit() {
    let mut relay = Relay::to(&url()).await;
    let limits = RedisLimits::new(&relay.url()).unwrap();
    let other_instance = RedisLimits::new(&url()).unwrap();
    let rate = Rate::new(Duration::from_secs(60), 5);
    eventually("the limit is shared", async || share(&other_instance, &limits).await).await;

    relay.cut().await;
    let key = fresh_key();
    let started = Instant::now();
    assert_eq!(allowed(&limits, &key, rate, 20).await, 5, "this instance counts for itself");
    assert!(started.elapsed() < Duration::from_secs(1), "requests do not wait for Redis: {:?}", started.elapsed());

    relay.restore().await;
    eventually("the limit is shared again", async || share(&other_instance, &limits).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn two_instances_enforce_one_rate_of_a_user() {
    let folder = TempDir::new().unwrap();
    let limits = || -> Arc<dyn RateLimits> { Arc::new(RedisLimits::new(&url()).unwrap()) };
    let mut accounts = TestAccounts::with(stores(&folder).await, settings(), limits).await;
    accounts.register("ann").await;
    let caller = accounts.caller("ann").await;
    let both_count = async || {
        let stranger = Caller { user: Some(contracts::UserId::now()), ..caller.clone() };
        accounts.one.admit(&stranger).await.unwrap();
        accounts.other.admit(&stranger).await.unwrap().unwrap().remaining == 8
    };
    eventually("both instances count together", both_count).await;
    let started = Instant::now();
    let attempts = (0..60).map(|n| if n % 2 == 0 { &accounts.one } else { &accounts.other }.admit(&caller));
    let admitted = join_all(attempts).await.into_iter().filter(Result::is_ok).count();
    let most = 10 + started.elapsed().as_millis() as usize / 100 + 1;
    assert!((10..=most).contains(&admitted), "{admitted} of 60");
    accounts.stop().await;
}

#[tokio::test]
async fn a_redis_that_never_answers_delays_no_request() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let limits = RedisLimits::new(&format!("redis://:secret@{free}")).unwrap();
    let started = Instant::now();
    assert_eq!(allowed(&limits, "a", Rate::new(Duration::from_secs(60), 5), 50).await, 5);
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    let refused = RedisLimits::new("http://user:secret@host").err().unwrap();
    assert!(refused.contains("SIGHTLINE_REDIS_URL") && !refused.contains("secret"), "{refused}");
}

#[tokio::test]
#[ignore = "needs redis"]
async fn an_opaque_session_is_shared_until_it_ends_or_expires() {
    let (one, other) = (RedisSessions::new(&url()).unwrap(), RedisSessions::new(&url()).unwrap());
    let (ended, short) = (fresh_key(), fresh_key());
    one.put(&ended, "ann 7", Duration::from_secs(60)).await.unwrap();
    one.put(&short, "bob 8", Duration::from_secs(1)).await.unwrap();
    assert_eq!(other.get(&ended).await.unwrap().as_deref(), Some("ann 7"));
    assert_eq!(other.get(&short).await.unwrap().as_deref(), Some("bob 8"));
    other.remove(&ended).await.unwrap();
    assert_eq!(one.get(&ended).await.unwrap(), None);
    eventually("it expires", async || other.get(&short).await.unwrap().is_none()).await;
    assert_eq!(other.get(&fresh_key()).await.unwrap(), None, "the key is unknown");
}
