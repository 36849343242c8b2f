//! Limits and sessions that instances share through Redis, and what becomes of limits while it is away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Accounts, Caller, Decision, Rate, RateLimits, RedisLimits, RedisSessions, SessionCache};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::site::{Site, eventually, settings};
use crate::sqlite::stores;

fn url() -> String {
    std::env::var("SIGHTLINE_TEST_REDIS_URL").expect("SIGHTLINE_TEST_REDIS_URL names a server")
}

/// A key that no other test has.
fn fresh_key() -> String {
    format!("test:{}", Uuid::new_v4())
}

async fn allowed(limits: &RedisLimits, key: &str, rate: Rate, many: usize) -> usize {
    let taken: Vec<Decision> = join_all((0..many).map(|_| limits.take(key, rate))).await;
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

/// Whether two share a limit: the second sees what the first took. A first question may be answered too late, and then each
/// goes by its own count for a while.
async fn share(one: &RedisLimits, other: &RedisLimits) -> bool {
    let (key, rate) = (fresh_key(), Rate::new(Duration::from_secs(60), 5));
    one.take(&key, rate).await;
    other.take(&key, rate).await.remaining == 3
}

/// A way to Redis that can be cut.
struct Relay {
    port: u16,
    running: JoinHandle<()>,
}

impl Relay {
    async fn open(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
        let running = tokio::spawn(async move {
            let mut carried = tokio::task::JoinSet::new();
            loop {
                let Ok((mut client, _)) = listener.accept().await else { return };
                let target = target.clone();
                carried.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self { port, running }
    }

    async fn cut(self) -> u16 {
        self.running.abort();
        drop(self.running.await);
        self.port
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn without_redis_each_instance_has_its_own_limit_until_it_is_back() {
    let relay = Relay::open(0).await;
    let limits = RedisLimits::new(&format!("redis://127.0.0.1:{}", relay.port)).unwrap();
    let beside = RedisLimits::new(&url()).unwrap();
    let rate = Rate::new(Duration::from_secs(60), 5);
    eventually("the limit is shared", async || share(&beside, &limits).await).await;

    let port = relay.cut().await;
    let key = fresh_key();
    let began = Instant::now();
    assert_eq!(allowed(&limits, &key, rate, 20).await, 5, "it still limits, by its own count");
    assert!(began.elapsed() < Duration::from_secs(1), "nobody waits for it: {:?}", began.elapsed());

    let _relay = Relay::open(port).await;
    eventually("the limit is shared again", async || share(&beside, &limits).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis"]
async fn two_instances_enforce_one_rate_of_a_user() {
    let folder = TempDir::new().unwrap();
    let limits = || -> Arc<dyn RateLimits> { Arc::new(RedisLimits::new(&url()).unwrap()) };
    let mut site = Site::with(stores(&folder).await, settings(), limits).await;
    site.register("ann").await;
    let caller = site.caller("ann").await;
    let both_count = async || {
        let stranger = Caller { user: Some(contracts::UserId::now()), ..caller.clone() };
        site.one.admit(&stranger).await.unwrap();
        site.other.admit(&stranger).await.unwrap().unwrap().remaining == 8
    };
    eventually("both instances count together", both_count).await;
    let began = Instant::now();
    let attempts = (0..60).map(|n| if n % 2 == 0 { &site.one } else { &site.other }.admit(&caller));
    let admitted = join_all(attempts).await.into_iter().filter(Result::is_ok).count();
    let most = 10 + began.elapsed().as_millis() as usize / 100 + 1;
    assert!((10..=most).contains(&admitted), "{admitted} of 60");
    site.stop().await;
}

#[tokio::test]
async fn without_any_redis_requests_are_limited_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let limits = RedisLimits::new(&format!("redis://:secret@{free}")).unwrap();
    let began = Instant::now();
    assert_eq!(allowed(&limits, "a", Rate::new(Duration::from_secs(60), 5), 50).await, 5);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let refused = RedisLimits::new("http://user:secret@host").err().unwrap();
    assert!(refused.contains("SIGHTLINE_REDIS_URL") && !refused.contains("secret"), "{refused}");
}

#[tokio::test]
#[ignore = "needs redis"]
async fn an_opaque_session_is_there_for_every_instance_until_it_is_ended_or_its_time_is_over() {
    let (one, other) = (RedisSessions::new(&url()).unwrap(), RedisSessions::new(&url()).unwrap());
    let (ended, short) = (fresh_key(), fresh_key());
    one.put(&ended, "ann 7", Duration::from_secs(60)).await.unwrap();
    one.put(&short, "bob 8", Duration::from_secs(1)).await.unwrap();
    assert_eq!(other.get(&ended).await.unwrap().as_deref(), Some("ann 7"));
    assert_eq!(other.get(&short).await.unwrap().as_deref(), Some("bob 8"));
    other.remove(&ended).await.unwrap();
    assert_eq!(one.get(&ended).await.unwrap(), None);
    eventually("its time is over", async || other.get(&short).await.unwrap().is_none()).await;
    assert_eq!(other.get(&fresh_key()).await.unwrap(), None, "nobody put it there");
}
