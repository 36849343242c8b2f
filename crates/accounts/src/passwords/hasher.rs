//! Hashing on dedicated threads: few, at a lower priority, with a short queue, so that many sign-ins do not slow down frames.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use argon2::password_hash::{PasswordHash as Phc, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use store::relational::PasswordHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::normalise::{Candidates, normalised};
use super::priority;
use crate::error::AccountError;
use crate::secret_text::{SecretText, random};
use crate::settings::Hashing;

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// The result of verifying a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// It is another password.
    Mismatch,
    /// It is the password.
    Match {
        /// A new hash, if the stored one has another cost or was made from a password that was not normalised.
        rehashed: Option<PasswordHash>,
    },
}

/// A permit for one password in the queue of the hashing threads. A request acquires it before any other work, so a refused request
/// costs almost nothing.
pub(crate) struct HashPermit {
    _permit: OwnedSemaphorePermit,
}

/// Hashes and verifies passwords.
pub(crate) struct Hasher {
    jobs: Sender<Job>,
    permits: Arc<Semaphore>,
    /// The hash of a random password. It is verified where there is no stored one, so that both cases take the same time.
    decoy: PasswordHash,
}

impl Hasher {
    /// Starts the threads. They end when this is dropped.
    ///
    /// # Errors
    /// Argon2 does not accept the cost, or a thread cannot be started.
    pub(crate) fn start(settings: Hashing) -> Result<Self, String> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, None)
            .map_err(|error| format!("the cost of hashing passwords cannot be used: {error}"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, &SecretText::random("")).ok_or("no password can be hashed")?;
        let (jobs, queue) = channel();
        let (queue, threads) = (Arc::new(Mutex::new(queue)), settings.threads.max(1));
        for _ in 0..threads {
            let (argon2, queue) = (argon2.clone(), Arc::clone(&queue));
            let run = move || work(&argon2, &queue);
            let spawned = thread::Builder::new().name("passwords".to_owned()).spawn(run);
            spawned.map_err(|error| format!("no thread for hashing passwords: {error}"))?;
        }
        let permits = Arc::new(Semaphore::new(threads + settings.waiting));
        Ok(Self { jobs, permits, decoy })
    }

    /// A permit for one password.
    ///
    /// # Errors
    /// `Busy` when the queue is full.
    pub(crate) fn permit(&self) -> Result<HashPermit, AccountError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map(|_permit| HashPermit { _permit }).map_err(|_| AccountError::Busy)
    }

    /// The hash of a new password, which is normalised first.
    pub(crate) async fn hash(&self, password: &SecretText) -> Result<PasswordHash, AccountError> {
        let password = normalised(password);
        let hashed = self.run(self.permit()?, move |argon2| hash(argon2, &password)).await?;
        hashed.ok_or_else(|| AccountError::Internal("a password could not be hashed".to_owned()))
    }

    /// Verifies a password: the normalised one, then the typed one, for older hashes. Without a
    /// stored hash it takes the same time and does not match.
    pub(crate) async fn verify(
        &self,
        permit: HashPermit,
        password: &SecretText,
        stored: Option<&PasswordHash>,
    ) -> Result<Verification, AccountError> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).clone();
        let candidates = Candidates::of(password);
        let verified = self.run(permit, move |argon2| verify(argon2, &candidates, &stored, exists)).await?;
        verified.ok_or_else(|| AccountError::Internal("the stored hash of a password cannot be read".to_owned()))
    }

    async fn run<T: Send + 'static>(
        &self,
        permit: HashPermit,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |argon2| {
            // Nothing is hashed for a client that has disconnected.
            if !reply.is_closed() {
                drop(reply.send(work(argon2)));
            }
            drop(permit);
        });
        self.jobs.send(job).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

fn ended() -> AccountError {
    AccountError::Internal("the hashing of a password ended without a result".to_owned())
}

fn is_same_cost(one: &Params, other: &Params) -> bool {
    (one.m_cost(), one.t_cost(), one.p_cost()) == (other.m_cost(), other.t_cost(), other.p_cost())
}

fn hash(argon2: &Argon2<'_>, password: &SecretText) -> Option<PasswordHash> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let phc = argon2.hash_password(password.expose().as_bytes(), &salt).ok()?;
    Some(PasswordHash::new(phc.to_string()))
}

/// `None` when the stored hash cannot be parsed.
fn verify(argon2: &Argon2<'_>, candidates: &Candidates, stored: &PasswordHash, exists: bool) -> Option<Verification> {
    let phc = Phc::new(stored.expose()).ok()?;
    // By the cost in the hash, which may differ from the current one.
    let matches = |password: &SecretText| argon2.verify_password(password.expose().as_bytes(), &phc).is_ok();
    let is_normalised = matches(&candidates.normalised);
    let is_match = is_normalised || candidates.typed.as_ref().is_some_and(matches);
    if !is_match || !exists {
        return Some(Verification::Mismatch);
    }
    let is_current = is_normalised && Params::try_from(&phc).is_ok_and(|params| is_same_cost(&params, argon2.params()));
    Some(Verification::Match { rehashed: if is_current { None } else { hash(argon2, &candidates.normalised) } })
}

fn work(argon2: &Argon2<'static>, queue: &Mutex<Receiver<Job>>) {
    priority::lower();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The request sees its channel close; the thread continues with the next job.
        if catch_unwind(AssertUnwindSafe(|| job(argon2))).is_err() {
            tracing::error!("hashing a password panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap() -> Hashing {
        Hashing { memory_kib: 8, passes: 1, threads: 1, waiting: 4 }
    }

    async fn verify(
        hasher: &Hasher,
        password: &SecretText,
        stored: Option<&PasswordHash>,
    ) -> Result<Verification, AccountError> {
        hasher.verify(hasher.permit()?, password, stored).await
    }

    #[tokio::test]
    async fn only_the_password_itself_matches() {
        let hasher = Hasher::start(cheap()).unwrap();
        let password = SecretText::new("lamp \0 ostrich ü");
        let stored = hasher.hash(&password).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_ne!(stored, hasher.hash(&password).await.unwrap(), "every hash has its own salt");
        let right = verify(&hasher, &password, Some(&stored)).await.unwrap();
        assert_eq!(right, Verification::Match { rehashed: None });
        for wrong in ["", "lamp ", "lamp \0 ostrich u"] {
            assert_eq!(verify(&hasher, &SecretText::new(wrong), Some(&stored)).await.unwrap(), Verification::Mismatch);
        }
        assert_eq!(verify(&hasher, &password, None).await.unwrap(), Verification::Mismatch);
        assert!(verify(&hasher, &password, Some(&PasswordHash::new("none".to_owned()))).await.is_err());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_matches_and_is_replaced() {
        let (before, password) = (Hasher::start(cheap()).unwrap(), SecretText::new("lamp ostrich"));
        let stored = before.hash(&password).await.unwrap();
        let now = Hasher::start(Hashing { passes: 2, ..cheap() }).unwrap();
        let Verification::Match { rehashed: Some(rehashed) } = verify(&now, &password, Some(&stored)).await.unwrap()
        else {
            panic!("it matches, at another cost")
        };
        assert!(rehashed.expose().contains("t=2"));
        assert_eq!(verify(&now, &password, Some(&rehashed)).await.unwrap(), Verification::Match { rehashed: None });
    }

    #[tokio::test]
    async fn a_password_typed_decomposed_is_the_same() {
        let hasher = Hasher::start(cheap()).unwrap();
        let stored = hasher.hash(&SecretText::new("cafe\u{301} 71 lampe")).await.unwrap();
        for spelling in ["café 71 lampe", "cafe\u{301} 71 lampe", "café\u{a0}71 lampe"] {
            let verified = verify(&hasher, &SecretText::new(spelling), Some(&stored)).await.unwrap();
            assert_eq!(verified, Verification::Match { rehashed: None }, "{spelling:?}");
        }
    }

    #[tokio::test]
    async fn a_hash_from_before_normalisation_matches_and_is_replaced() {
        let (hasher, typed) = (Hasher::start(cheap()).unwrap(), SecretText::new("cafe\u{301} 71 lampe"));
        let params = Params::new(8, 1, 1, None).unwrap();
        let old = hash(&Argon2::new(Algorithm::Argon2id, Version::V0x13, params), &typed).unwrap();
        let composed = SecretText::new("café 71 lampe");
        assert_eq!(verify(&hasher, &composed, Some(&old)).await.unwrap(), Verification::Mismatch);
        let Verification::Match { rehashed: Some(rehashed) } = verify(&hasher, &typed, Some(&old)).await.unwrap()
        else {
            panic!("the old hash is of the typed text")
        };
        assert_eq!(
            verify(&hasher, &composed, Some(&rehashed)).await.unwrap(),
            Verification::Match { rehashed: None },
            "every spelling matches afterwards"
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn hashing_threads_run_at_a_lower_priority() {
        let hasher = Hasher::start(cheap()).unwrap();
        let niceness = hasher.run(hasher.permit().unwrap(), |_| rustix::process::nice(0).unwrap()).await.unwrap();
        let own = rustix::process::nice(0).unwrap();
        assert_eq!(niceness, (own + priority::NICE).min(19));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_continues() {
        let hasher = Hasher::start(cheap()).unwrap();
        let panicked = hasher.run(hasher.permit().unwrap(), |_| -> () { panic!("on purpose") }).await;
        assert!(matches!(panicked, Err(AccountError::Internal(_))), "{panicked:?}");
        hasher.hash(&SecretText::new("x")).await.expect("the thread continues");
    }

    #[tokio::test]
    async fn passwords_beyond_the_queue_are_refused_at_once() {
        let hasher = Hasher::start(cheap()).unwrap();
        let (hold, held) = channel::<()>();
        let (started, begins) = oneshot::channel();
        let busy = hasher.run(hasher.permit().unwrap(), move |_| {
            started.send(()).unwrap();
            held.recv().unwrap();
        });
        let mut busy = Box::pin(busy);
        tokio::select! {
            _ = &mut busy => panic!("the thread is blocked"),
            started = begins => started.unwrap(),
        }
        let password = SecretText::new("x");
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(hasher.hash(&password))).collect();
        for one in &mut waiting {
            assert!(futures::poll!(one.as_mut()).is_pending());
        }
        assert!(matches!(hasher.hash(&password).await, Err(AccountError::Busy)));
        hold.send(()).unwrap();
        busy.await.unwrap();
        for one in waiting {
            one.await.unwrap();
        }
    }
}
