//! A service that only verifies starts no hashing threads, rotates no keys and deletes nothing.

use std::sync::Arc;
use std::time::Duration;

use accounts::{
    Accounts, AccountsService, Clock, Deps, Hashing, LocalLimits, LogMailer, Settings, SharedState, TokenVerifier,
    VerifierSettings,
};
use jiff::Timestamp;
use store::Relational;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Observable effects of an issuing service's background work.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    hashing_threads: usize,
    signing_keys: usize,
    expired_revocations: usize,
}

async fn traces(store: &Relational) -> Traces {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let expired = store.revocations_after(0).await.unwrap();
    Traces {
        hashing_threads: names.filter(|name| name.trim() == "passwords").count(),
        signing_keys: store.signing_keys().await.unwrap().len(),
        expired_revocations: expired.iter().filter(|revocation| revocation.expires_at < Timestamp::now()).count(),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_verifier_hashes_nothing_and_rotates_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    store.revoke_access_token(Uuid::new_v4(), Timestamp::now() - Duration::from_secs(3600)).await.unwrap();
    let (clock, stop) = (Clock::default(), CancellationToken::new());

    let settings = VerifierSettings { revocation_poll: Duration::from_millis(5), ..VerifierSettings::default() };
    let limits = Arc::new(LocalLimits::default());
    let verifier = TokenVerifier::open(store.clone(), settings, limits, clock.clone()).await.unwrap();
    let running = tokio::spawn({
        let (verifier, stop) = (verifier.clone(), stop.clone());
        async move { verifier.run(stop).await }
    });
    // Longer than a signing key lives.
    clock.advance(Duration::from_secs(40 * 24 * 60 * 60));
    let untouched = Traces { hashing_threads: 0, signing_keys: 0, expired_revocations: 1 };
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(traces(&store).await, untouched);
    }
    verifier.check().await.expect("the verifier reads revocations");
    stop.cancel();
    running.await.unwrap();
    assert_eq!(traces(&store).await, untouched);

    // An issuing service leaves all three traces, so the test can see them.
    let hashing = Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 1 };
    let deps = Deps { shared: SharedState::in_process(), mailer: Arc::new(LogMailer), clock, erasers: Vec::new() };
    let issuing =
        AccountsService::open(store.clone(), Settings { hashing, ..Settings::default() }, deps).await.unwrap();
    issuing.maintain_once().await.unwrap();
    assert_eq!(traces(&store).await, Traces { hashing_threads: 1, signing_keys: 1, expired_revocations: 0 });
}
