//! How long answers take says nothing about who there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Hashing, LocalLimits, Rate, Settings, Throttle};
use tempfile::TempDir;

use crate::site::{Site, home, settings, sign_in};
use crate::sqlite::stores;

/// How many of each.
const MANY: usize = 250;

/// How often a time of the first is longer than one of the second: a half when they cannot be told apart.
fn area_under_the_curve(first: &[Duration], second: &[Duration]) -> f64 {
    let longer = |a: &Duration, b: &Duration| if a == b { 0.5 } else { f64::from(u8::from(a > b)) };
    let all: f64 = first.iter().map(|a| second.iter().map(|b| longer(a, b)).sum::<f64>()).sum();
    all / (first.len() * second.len()) as f64
}

async fn site(folder: &TempDir) -> Site {
    let freely = Rate::new(Duration::from_micros(1), 1_000_000);
    let settings = Settings {
        hashing: Hashing { memory_kib: 256, passes: 1, ..settings().hashing },
        throttle: Throttle { pair: freely, address: freely, account: freely },
        ..settings()
    };
    Site::with(stores(folder).await, settings, || Arc::new(LocalLimits::default())).await
}

/// Known and unknown by turns, so that whatever else the machine does falls on both.
async fn by_turns(known: impl AsyncFn(), unknown: impl AsyncFn(usize), pause: Duration) -> f64 {
    let (mut of_known, mut of_unknown) = (Vec::new(), Vec::new());
    for n in 0..MANY {
        let began = Instant::now();
        known().await;
        of_known.push(began.elapsed());
        tokio::time::sleep(pause).await;
        let began = Instant::now();
        unknown(n).await;
        of_unknown.push(began.elapsed());
        tokio::time::sleep(pause).await;
    }
    area_under_the_curve(&of_known, &of_unknown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_refused_sign_in_does_not_tell_whether_there_is_such_a_user() {
    let folder = TempDir::new().unwrap();
    let mut site = site(&folder).await;
    site.register("ann").await;
    let refused = async |login: &str| drop(sign_in(&site.one, login, "not the password").await.unwrap_err());
    let (known, unknown) = (async || refused("ann").await, async |n: usize| refused(&format!("b{n}")).await);
    let told = by_turns(known, unknown, Duration::ZERO).await;
    // At 250 of each, chance alone moves it by less than 0.08 in 999 of 1,000 runs.
    assert!((0.42..=0.58).contains(&told), "{told}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_request_for_a_reset_does_not_tell_whether_there_is_such_a_user() {
    let folder = TempDir::new().unwrap();
    let mut site = site(&folder).await;
    site.register("ann").await;
    let asked = async |email: &str| site.one.ask_for_reset(email, &home()).await.unwrap();
    let (known, unknown) =
        (async || asked("ann@example.org").await, async |n: usize| asked(&format!("b{n}@example.org")).await);
    // What is done about a request after it was answered must not fall on the next one.
    let told = by_turns(known, unknown, Duration::from_millis(10)).await;
    assert!((0.42..=0.58).contains(&told), "{told}");
    site.stop().await;
}
