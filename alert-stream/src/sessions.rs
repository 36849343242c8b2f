//! Who listens, and for how long they may: a stream outlives the request that was authenticated.
//!
//! Every credential in use is looked at again every two seconds, once for all of its streams, and its streams end when it
//! does: when its time is over, when it is taken back, or when it comes to stand for somebody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use accounts::{AccessError, Accounts, Caller};
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

/// How often credentials are looked at again. A stream has to be closed five seconds after its credential's end.
const AGAIN: Duration = Duration::from_secs(2);
/// How long one look may take.
const LOOK: Duration = Duration::from_secs(2);
/// How many looks are taken side by side.
const SIDE_BY_SIDE: usize = 32;

/// One credential in use.
pub struct Session {
    /// Who it stands for.
    pub caller: Caller,
    /// Fires when it ends, and when the service does.
    pub ended: CancellationToken,
}

/// Every credential in use.
pub struct Sessions {
    accounts: Arc<dyn Accounts>,
    stop: CancellationToken,
    live: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    /// Nobody listens yet.
    pub fn new(accounts: Arc<dyn Accounts>, stop: CancellationToken) -> Self {
        Self { accounts, stop, live: Mutex::default() }
    }

    /// The session of a credential, for a request, which counts among its caller's.
    pub async fn open(&self, token: &str) -> Result<Arc<Session>, AccessError> {
        let caller = self.accounts.authenticate(token).await?;
        self.accounts.admit(&caller).await?;
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = live.get(token) {
            if known.caller == caller && !known.ended.is_cancelled() {
                return Ok(Arc::clone(known));
            }
            known.ended.cancel();
        }
        let session = Arc::new(Session { caller, ended: self.stop.child_token() });
        live.insert(token.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// Looks at every credential again and again, until `stop`.
    pub async fn watch(&self, stop: &CancellationToken) {
        let forever = async {
            loop {
                tokio::time::sleep(AGAIN).await;
                self.look_again().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = forever => {}
        }
    }

    async fn look_again(&self) {
        let in_use: Vec<(String, Arc<Session>)> = {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody else holds it: the last of its streams is gone.
            live.retain(|_, session| Arc::strong_count(session) > 1 && !session.ended.is_cancelled());
            live.iter().map(|(token, session)| (token.clone(), Arc::clone(session))).collect()
        };
        let now = SystemTime::now();
        for (_, session) in
            in_use.iter().filter(|(_, session)| session.caller.valid_until.is_some_and(|end| end <= now))
        {
            session.ended.cancel();
        }
        stream::iter(in_use).for_each_concurrent(SIDE_BY_SIDE, |(token, session)| self.look_at(token, session)).await;
    }

    async fn look_at(&self, token: String, session: Arc<Session>) {
        match tokio::time::timeout(LOOK, self.accounts.authenticate(&token)).await {
            Ok(Ok(now)) if now == session.caller => {}
            Ok(
                Ok(_)
                | Err(
                    AccessError::InvalidCredential
                    | AccessError::QuotaExceeded { .. }
                    | AccessError::RateLimited { .. },
                ),
            ) => session.ended.cancel(),
            // Whoever was let in stays while nobody can say otherwise, to the end that was known.
            Ok(Err(AccessError::Unavailable(reason))) => {
                tracing::debug!(error = reason, "a credential cannot be looked at again");
            }
            Err(_) => tracing::debug!("a credential was not looked at again in time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use contracts::{FrameId, TenantId};

    use super::*;

    /// Knows the token `good` until it is told otherwise, and `brief` for a moment.
    #[derive(Default)]
    struct Doorman {
        refuses: std::sync::atomic::AtomicBool,
        away: std::sync::atomic::AtomicBool,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Accounts for Doorman {
        async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.away.load(Ordering::SeqCst) {
                return Err(AccessError::Unavailable("away".to_owned()));
            }
            if self.refuses.load(Ordering::SeqCst) {
                return Err(AccessError::InvalidCredential);
            }
            let valid_until = (token == "brief").then_some(SystemTime::UNIX_EPOCH);
            let tenant = TenantId::shared();
            Ok(Caller {
                tenant,
                user: None,
                session: None,
                sees_all: false,
                rights: Vec::new(),
                rate_limit: None,
                valid_until,
            })
        }

        async fn charge(&self, _: &Caller, _: FrameId) -> Result<(), AccessError> {
            Ok(())
        }

        async fn check(&self) -> Result<(), AccessError> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_credential_is_asked_about_once_for_all_its_streams_and_forgotten_after_the_last() {
        let doorman = Arc::new(Doorman::default());
        let sessions = Sessions::new(doorman.clone(), CancellationToken::new());
        let streams = [sessions.open("good").await.unwrap(), sessions.open("good").await.unwrap()];
        sessions.look_again().await;
        assert_eq!(doorman.asked.load(Ordering::SeqCst), 3);
        drop(streams);
        sessions.look_again().await;
        assert_eq!(doorman.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_session_ends_with_its_credential_and_not_while_nobody_can_say() {
        let doorman = Arc::new(Doorman::default());
        let sessions = Sessions::new(doorman.clone(), CancellationToken::new());
        let (good, brief) = (sessions.open("good").await.unwrap(), sessions.open("brief").await.unwrap());
        doorman.away.store(true, Ordering::SeqCst);
        sessions.look_again().await;
        assert!(brief.ended.is_cancelled(), "its time is over, whoever is away");
        assert!(!good.ended.is_cancelled());
        doorman.away.store(false, Ordering::SeqCst);
        doorman.refuses.store(true, Ordering::SeqCst);
        sessions.look_again().await;
        assert!(good.ended.is_cancelled());
    }
}
