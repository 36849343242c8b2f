//! Hashing on threads of its own: a few, at a low priority, with a short queue, so that however many sign in, frames go on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use argon2::password_hash::{PasswordHash as Phc, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use store::relational::PasswordHash;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::error::AccountError;
use crate::secret::{Secret, random};
use crate::settings::Hashing;

/// How much lower than the rest of the program.
const NICE: i32 = 10;

type Job = Box<dyn FnOnce(&Argon2<'static>) + Send>;

/// What came of a password.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verified {
    /// It is not the one.
    Wrong,
    /// It is the one.
    Right {
        /// The hash by the present cost, where the stored one is by another.
        rehashed: Option<PasswordHash>,
    },
}

/// Room for one password among those that are hashed or wait. Whoever gets none is told to come back before anything else is
/// done for it, so that what cannot be served costs next to nothing.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// Hashes passwords and compares them.
pub(crate) struct Hasher {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    /// The hash of nobody's password, which is compared where there is no user: that takes as long.
    nobodys: Arc<str>,
}

impl Hasher {
    /// Starts the threads; they end when this is dropped.
    ///
    /// # Errors
    /// When the cost is none that Argon2 knows, or there are no threads.
    pub(crate) fn start(settings: Hashing) -> Result<Self, String> {
        let params = Params::new(settings.memory_kib, settings.passes, 1, None)
            .map_err(|error| format!("the cost of hashing passwords cannot be used: {error}"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobodys = hash(&argon2, &Secret::random("")).ok_or("no password can be hashed")?;
        let (jobs, queue) = channel();
        let (queue, threads) = (Arc::new(Mutex::new(queue)), settings.threads.max(1));
        for _ in 0..threads {
            let (argon2, queue) = (argon2.clone(), Arc::clone(&queue));
            let run = move || work(&argon2, &queue);
            let spawned = thread::Builder::new().name("passwords".to_owned()).spawn(run);
            spawned.map_err(|error| format!("no thread for hashing passwords: {error}"))?;
        }
        let places = Arc::new(Semaphore::new(threads + settings.waiting));
        Ok(Self { jobs, places, nobodys: nobodys.expose().into() })
    }

    /// A place for one password.
    ///
    /// # Errors
    /// `Busy` when as many wait as may.
    pub(crate) fn place(&self) -> Result<Place, AccountError> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        permit.map(|_permit| Place { _permit }).map_err(|_| AccountError::Busy)
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<PasswordHash, AccountError> {
        let password = password.clone();
        let hashed = self.run(self.place()?, move |argon2| hash(argon2, &password)).await?;
        hashed.ok_or_else(|| AccountError::Internal("a password could not be hashed".to_owned()))
    }

    /// Whether a password is the one with this hash; without a hash it is not, and takes as long to tell.
    pub(crate) async fn verify(
        &self,
        place: Place,
        password: &Secret,
        stored: Option<&PasswordHash>,
    ) -> Result<Verified, AccountError> {
        let exists = stored.is_some();
        let stored = stored.map_or_else(|| Arc::clone(&self.nobodys), |stored| stored.expose().into());
        let password = password.clone();
        let compare = move |argon2: &Argon2<'static>| {
            let phc = Phc::new(&stored).ok()?;
            // By the cost that the hash names, which need not be the present one.
            if argon2.verify_password(password.expose().as_bytes(), &phc).is_err() || !exists {
                return Some(Verified::Wrong);
            }
            let present = Params::try_from(&phc).is_ok_and(|params| is_same_cost(&params, argon2.params()));
            Some(Verified::Right { rehashed: if present { None } else { hash(argon2, &password) } })
        };
        let verified = self.run(place, compare).await?;
        verified.ok_or_else(|| AccountError::Internal("the stored hash of a password cannot be read".to_owned()))
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Place,
        work: impl FnOnce(&Argon2<'static>) -> T + Send + 'static,
    ) -> Result<T, AccountError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |argon2| {
            // Nobody waits any more: the time is better spent on who does.
            if !reply.is_closed() {
                drop(reply.send(work(argon2)));
            }
            drop(place);
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

fn hash(argon2: &Argon2<'_>, password: &Secret) -> Option<PasswordHash> {
    let salt = SaltString::encode_b64(&random::<16>()).ok()?;
    let phc = argon2.hash_password(password.expose().as_bytes(), &salt).ok()?;
    Some(PasswordHash::new(phc.to_string()))
}

fn work(argon2: &Argon2<'static>, queue: &Mutex<Receiver<Job>>) {
    // On Linux a priority is a thread's own. Where it cannot be lowered there is still no more than a few of them.
    let _ = rustix::process::nice(NICE);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // Whoever waits for it is told by the end of its channel; the thread is there for the next one.
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
        password: &Secret,
        stored: Option<&PasswordHash>,
    ) -> Result<Verified, AccountError> {
        hasher.verify(hasher.place()?, password, stored).await
    }

    #[tokio::test]
    async fn only_the_very_password_is_right() {
        let hasher = Hasher::start(cheap()).unwrap();
        let password = Secret::new("lamp \0 ostrich ü");
        let stored = hasher.hash(&password).await.unwrap();
        assert!(stored.expose().starts_with("$argon2id$v=19$m=8,t=1,p=1$"));
        assert_ne!(stored, hasher.hash(&password).await.unwrap(), "a salt of its own");
        let right = verify(&hasher, &password, Some(&stored)).await.unwrap();
        assert_eq!(right, Verified::Right { rehashed: None });
        for wrong in ["", "lamp ", "lamp \0 ostrich u"] {
            assert_eq!(verify(&hasher, &Secret::new(wrong), Some(&stored)).await.unwrap(), Verified::Wrong);
        }
        assert_eq!(verify(&hasher, &password, None).await.unwrap(), Verified::Wrong);
        assert!(verify(&hasher, &password, Some(&PasswordHash::new("none".to_owned()))).await.is_err());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_right_and_made_anew() {
        let (before, password) = (Hasher::start(cheap()).unwrap(), Secret::new("lamp ostrich"));
        let stored = before.hash(&password).await.unwrap();
        let now = Hasher::start(Hashing { passes: 2, ..cheap() }).unwrap();
        let Verified::Right { rehashed: Some(rehashed) } = verify(&now, &password, Some(&stored)).await.unwrap() else {
            panic!("it is right, by another cost")
        };
        assert!(rehashed.expose().contains("t=2"));
        assert_eq!(verify(&now, &password, Some(&rehashed)).await.unwrap(), Verified::Right { rehashed: None });
    }

    #[tokio::test]
    async fn what_panics_is_an_error_and_the_next_password_is_hashed() {
        let hasher = Hasher::start(cheap()).unwrap();
        let fallen = hasher.run(hasher.place().unwrap(), |_| -> () { panic!("on purpose") }).await;
        assert!(matches!(fallen, Err(AccountError::Internal(_))), "{fallen:?}");
        hasher.hash(&Secret::new("x")).await.expect("the thread is still there");
    }

    #[tokio::test]
    async fn more_than_can_wait_are_refused_at_once() {
        let hasher = Hasher::start(cheap()).unwrap();
        let (hold, held) = channel::<()>();
        let (begun, begins) = oneshot::channel();
        let busy = hasher.run(hasher.place().unwrap(), move |_| {
            begun.send(()).unwrap();
            held.recv().unwrap();
        });
        let mut busy = Box::pin(busy);
        tokio::select! {
            _ = &mut busy => panic!("it is held"),
            begun = begins => begun.unwrap(),
        }
        let password = Secret::new("x");
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
