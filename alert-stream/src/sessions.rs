//! The credentials of open streams. A stream outlives the request that was authenticated, so its credential is checked again.
//!
//! Every credential in use is verified every two seconds, once for all of its streams. Its streams end when it expires, when
//! it is revoked, or when it comes to authenticate another caller.

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
/// Verifications side by side.
const MAX_CONCURRENT: usize = 32;

/// One credential in use.
pub struct StreamSession {
    /// The caller that it authenticates.
    pub caller: Caller,
    /// Cancelled when the credential or the service ends.
    pub ended: CancellationToken,
}

/// All credentials in use.
pub struct StreamSessions {
    accounts: Arc<dyn Accounts>,
    stop: CancellationToken,
    /// By token.
    live: Mutex<HashMap<String, Arc<StreamSession>>>,
}

impl StreamSessions {
    /// No session yet; all end with `stop`.
    pub fn new(accounts: Arc<dyn Accounts>, stop: CancellationToken) -> Self {
        Self { accounts, stop, live: Mutex::default() }
    }

    /// The session of a credential. The request counts against its caller's rate limit.
    pub async fn open(&self, token: &str) -> Result<Arc<StreamSession>, AccessError> {
        let caller = self.accounts.authenticate(token).await?;
        self.accounts.admit(&caller).await?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = live.get(token) {
            if known.caller == caller && !known.ended.is_cancelled() {
                return Ok(Arc::clone(known));
            }
            known.ended.cancel();
        }
        let session = Arc::new(StreamSession { caller, ended: self.stop.child_token() });
        live.insert(token.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// Verifies every credential in use again and again, until `stop`.
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
        let in_use: Vec<(String, Arc<StreamSession>)> = {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            // Only the map holds a session whose last stream has ended.
            live.retain(|_, session| Arc::strong_count(session) > 1 && !session.ended.is_cancelled());
            live.iter().map(|(token, session)| (token.clone(), Arc::clone(session))).collect()
        };
        let now = SystemTime::now();
        let has_expired = |session: &StreamSession| session.caller.valid_until.is_some_and(|end| end <= now);
        for (_, session) in in_use.iter().filter(|(_, session)| has_expired(session)) {
            session.ended.cancel();
        }
        stream::iter(in_use).for_each_concurrent(MAX_CONCURRENT, |(token, session)| self.verify(token, session)).await;
    }

    async fn verify(&self, token: String, session: Arc<StreamSession>) {
        let Ok(verified) = tokio::time::timeout(VERIFY_TIMEOUT, self.accounts.authenticate(&token)).await else {
            return tracing::debug!("a credential was not verified in time");
        };
        match verified {
            Ok(caller) if caller == session.caller => {}
            // The accounts are out of reach: the stream goes on until the credential expires.
            Err(AccessError::Unavailable(reason)) => {
                tracing::debug!(error = reason, "a credential cannot be verified");
            }
            Ok(_)
            | Err(
                AccessError::InvalidCredential | AccessError::QuotaExceeded { .. } | AccessError::RateLimited { .. },
            ) => session.ended.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use contracts::{FrameId, TenantId};

    use super::*;

    /// Accepts every token; `brief` has expired.
    #[derive(Default)]
    struct FakeAccounts {
        refuses: AtomicBool,
        away: AtomicBool,
        calls: AtomicUsize,
    }

    #[async_trait]
    impl Accounts for FakeAccounts {
        async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if self.away.load(Ordering::SeqCst) {
                return Err(AccessError::Unavailable("away".to_owned()));
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
        let sessions = StreamSessions::new(accounts.clone(), CancellationToken::new());
        let streams = [sessions.open("good").await.unwrap(), sessions.open("good").await.unwrap()];
        sessions.verify_all().await;
        assert_eq!(accounts.calls.load(Ordering::SeqCst), 3);
        drop(streams);
        sessions.verify_all().await;
        assert_eq!(accounts.calls.load(Ordering::SeqCst), 3, "forgotten after its last stream");
    }

    #[tokio::test]
    async fn a_session_ends_with_its_credential_and_survives_an_outage() {
        let accounts = Arc::new(FakeAccounts::default());
        let sessions = StreamSessions::new(accounts.clone(), CancellationToken::new());
        let (good, brief) = (sessions.open("good").await.unwrap(), sessions.open("brief").await.unwrap());
        accounts.away.store(true, Ordering::SeqCst);
        sessions.verify_all().await;
        assert!(brief.ended.is_cancelled(), "it has expired, whether the accounts answer or not");
        assert!(!good.ended.is_cancelled());
        accounts.away.store(false, Ordering::SeqCst);
        accounts.refuses.store(true, Ordering::SeqCst);
        sessions.verify_all().await;
        assert!(good.ended.is_cancelled());
    }
}
