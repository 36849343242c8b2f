//! How long answers take says nothing about who there is.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{Hashing, LocalLimits, Rate, Settings, Throttle};
use tempfile::TempDir;
use uuid::Uuid;

use crate::sqlite::stores;
use crate::test_accounts::{TestAccounts, home, settings, sign_in};

/// How many of each are looked at together.
const MANY: usize = 500;
/// A half is what coins tell.
const ALIKE: RangeInclusive<f64> = 0.45..=0.55;
/// Of 500 each, chance alone moves one run in 160 out of that; of 1,500 each, none in a million.
const LOOKS: usize = 3;

/// How often a time of the first is longer than one of the second: a half when they cannot be told apart.
fn area_under_the_curve(first: &[Duration], second: &[Duration]) -> f64 {
    let longer = |a: &Duration, b: &Duration| if a == b { 0.5 } else { f64::from(u8::from(a > b)) };
    let all: f64 = first.iter().map(|a| second.iter().map(|b| longer(a, b)).sum::<f64>()).sum();
    all / (first.len() * second.len()) as f64
}

async fn site(folder: &TempDir) -> TestAccounts {
    let freely = Rate::new(Duration::from_micros(1), 1_000_000);
    let settings = Settings {
        // A tenth of what is usual, so that a sign-in takes a tenth of the time, and hides a tenth as much.
        hashing: Hashing { memory_kib: 4_096, passes: 1, ..settings().hashing },
        throttle: Throttle { pair: freely, address: freely, tokens: freely, account: freely, mails: freely },
        ..settings()
    };
    TestAccounts::with(stores(folder).await, settings, || Arc::new(LocalLimits::default())).await
}

/// What is asked about who there is and about who there is not.
struct Asked<K, U, S> {
    known: K,
    unknown: U,
    /// Waits until nothing is left to do about the questions so far, of which so many were of each kind.
    settled: S,
}

impl<K: AsyncFn(), U: AsyncFn(usize), S: AsyncFn(usize)> Asked<K, U, S> {
    /// How well the two are told apart by their times. Which is asked next is left to chance, so that whatever else the machine
    /// does, and what is left of the question before, falls on both.
    async fn told_apart(&self) -> f64 {
        let (mut of_known, mut of_unknown, mut told) = (Vec::new(), Vec::new(), 0.0);
        for look in 1..=LOOKS {
            while of_known.len().min(of_unknown.len()) < look * MANY {
                if Uuid::new_v4().as_bytes()[0] < 128 {
                    of_known.push(time((self.known)()).await);
                } else {
                    of_unknown.push(time((self.unknown)(of_unknown.len())).await);
                }
                (self.settled)(of_known.len()).await;
            }
            told = area_under_the_curve(&of_known, &of_unknown);
            println!("known is slower in {told:.3} of all pairs of {} with {}", of_known.len(), of_unknown.len());
            if ALIKE.contains(&told) {
                break;
            }
        }
        told
    }
}

async fn time(asked: impl Future<Output = ()>) -> Duration {
    let began = Instant::now();
    asked.await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_refused_sign_in_does_not_tell_who_exists() {
    let folder = TempDir::new().unwrap();
    let mut accounts = site(&folder).await;
    accounts.register("ann").await;
    let refused = async |login: &str| drop(sign_in(&accounts.one, login, "not the password").await.unwrap_err());
    let asked = Asked {
        known: async || refused("ann").await,
        unknown: async |n: usize| refused(&format!("b{n}")).await,
        settled: async |_: usize| {},
    };
    let told = asked.told_apart().await;
    assert!(ALIKE.contains(&told), "{told}");
    accounts.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_reset_request_does_not_tell_who_exists() {
    let folder = TempDir::new().unwrap();
    let mut accounts = site(&folder).await;
    accounts.register("ann").await;
    let asked = async |email: &str| accounts.one.ask_for_reset(email, &home()).await.unwrap();
    let asked = Asked {
        known: async || asked("ann@example.org").await,
        unknown: async |n: usize| asked(&format!("b{n}@example.org")).await,
        // What is done about a question after it was answered must not fall on the next one.
        settled: async |mails: usize| {
            accounts.mails.after(mails).await;
            tokio::time::sleep(Duration::from_millis(3)).await;
        },
    };
    let told = asked.told_apart().await;
    assert!(ALIKE.contains(&told), "{told}");
    accounts.stop().await;
}
