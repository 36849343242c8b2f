//! The credentials of open streams. A stream outlives the request that was authenticated, so its credential is checked again.
//!
//! Every credential in use is verified every two seconds, once for all of its streams. Its streams end when it expires, when
//! it is revoked, or when it authenticates another caller than before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use accounts::{AccessError, Accounts, Caller};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

/// Pause between verifications. A stream must end within five seconds of its credential.
const VERIFY_EVERY: Duration = Duration::from_secs(2);
/// Time limit for one verification.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of concurrent verifications.
const MAX_CONCURRENT: usize = 32;

/// A credential with at least one open stream.
pub struct StreamCredential {
    /// The caller that it authenticates.
    pub caller: Caller,
    /// Cancelled when the credential or the service ends.
    pub ended: CancellationToken,
}

/// All credentials in use.
pub struct StreamCredentials {
    accounts: Arc<dyn Accounts>,
    stop: CancellationToken,
    /// By token.
    live: Mutex<HashMap<String, Arc<StreamCredential>>>,
}

impl StreamCredentials {
    /// An empty set; all streams end with `stop`.
    pub fn new(accounts: Arc<dyn Accounts>, stop: CancellationToken) -> Self {
        Self { accounts, stop, live: Mutex::default() }
    }

    /// Authenticates the credential of a new stream. The request counts against its caller's rate limit.
    pub async fn open(&self, token: &str) -> Result<Arc<StreamCredential>, AccessError> {
        let caller = self.accounts.authenticate(token).await?;
        self.accounts.admit(&caller).await?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = live.get(token) {
            if known.caller == caller && !known.ended.is_cancelled() {
                return Ok(Arc::clone(known));
            }
            known.ended.cancel();
        }
        let credential = Arc::new(StreamCredential { caller, ended: self.stop.child_token() });
        live.insert(token.to_owned(), Arc::clone(&credential));
        Ok(credential)
    }

    /// Verifies every credential in use periodically, until `stop`.
    pub async fn watch(&self, stop: &CancellationToken) {
        let verifying = async {
            loop {
                tokio::time::sleep(VERIFY_EVERY).await;
                self.verify_all().await;
            }
        };
        stop.run_until_cancelled(verifying).await;
    }

    async fn verify_all(&self) {
        let in_use: Vec<(String, Arc<StreamCredential>)> = {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            // When the last stream has ended, only the map still refers to the credential.
            live.retain(|_, credential| Arc::strong_count(credential) > 1 && !credential.ended.is_cancelled());
            live.iter().map(|(token, credential)| (token.clone(), Arc::clone(credential))).collect()
        };
        let now = SystemTime::now();
        let has_expired = |credential: &StreamCredential| credential.caller.valid_until.is_some_and(|end| end <= now);
        for (_, credential) in in_use.iter().filter(|(_, credential)| has_expired(credential)) {
            credential.ended.cancel();
        }
        stream::iter(in_use)
            .for_each_concurrent(MAX_CONCURRENT, |(token, credential)| self.verify(token, credential))
            .await;
    }

    async fn verify(&self, token: String, credential: Arc<StreamCredential>) {
        let Ok(verified) = tokio::time::timeout(VERIFY_TIMEOUT, self.accounts.authenticate(&token)).await else {
            return tracing::debug!("a credential was not verified in time");
        };
        match verified {
            Ok(caller) if caller == credential.caller => {}
            // The accounts are unreachable: the stream continues until the credential expires.
            Err(AccessError::Unavailable(reason) | AccessError::DiskFull(reason)) => {
                tracing::debug!(error = reason, "a credential cannot be verified");
            }
            Ok(_)
            | Err(
                AccessError::InvalidCredential | AccessError::QuotaExceeded { .. } | AccessError::RateLimited { .. },
            ) => credential.ended.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use contracts::{FrameId, TenantId};

    use super::*;

    /// Accepts every token; the token `brief` has expired.
    #[derive(Default)]
    struct FakeAccounts {
        refuses: AtomicBool,
        is_unavailable: AtomicBool,
        calls: AtomicUsize,
    }

    #[async_trait]
    impl Accounts for FakeAccounts {
        async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if self.is_unavailable.load(Ordering::SeqCst) {
                return Err(AccessError::Unavailable("unavailable".to_owned()));
            }
            if self.refuses.load(Ordering::SeqCst) {
                return Err(AccessError::InvalidCredential);
            }
            let valid_until = (token == "brief").then_some(SystemTime::UNIX_EPOCH);
            let tenant = TenantId::shared();
            Ok(Caller { valid_until, ..Caller::new(tenant, Vec::new()) })
        }

        async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
            Ok(())
        }

        async fn check(&self) -> Result<(), AccessError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_credential_is_verified_once_for_all_its_streams() {
        let accounts = Arc::new(FakeAccounts::default());
        let credentials = StreamCredentials::new(accounts.clone(), CancellationToken::new());
        let streams = [credentials.open("good").await.unwrap(), credentials.open("good").await.unwrap()];
        credentials.verify_all().await;
        assert_eq!(accounts.calls.load(Ordering::SeqCst), 3);
        drop(streams);
        credentials.verify_all().await;
        assert_eq!(accounts.calls.load(Ordering::SeqCst), 3, "forgotten after its last stream");
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_credential_and_survives_an_outage() {
        let accounts = Arc::new(FakeAccounts::default());
        let credentials = StreamCredentials::new(accounts.clone(), CancellationToken::new());
        let (good, brief) = (credentials.open("good").await.unwrap(), credentials.open("brief").await.unwrap());
        accounts.is_unavailable.store(true, Ordering::SeqCst);
        credentials.verify_all().await;
        assert!(brief.ended.is_cancelled(), "it has expired, whether or not the accounts are reachable");
        assert!(!good.ended.is_cancelled());
        accounts.is_unavailable.store(false, Ordering::SeqCst);
        accounts.refuses.store(true, Ordering::SeqCst);
        credentials.verify_all().await;
        assert!(good.ended.is_cancelled());
    }
}
