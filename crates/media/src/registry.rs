//! The registry of providers, in the database: which one is called next, how its call ended, and what it cost. All workers share it.

use contracts::{BookId, MediaStep};
use jiff::{SignedDuration, Timestamp};
use store::relational::{
    CallCaps, CallPrice, CheckpointRecord, NewCall, NewCheckpoint, ProviderStateRecord, Relational, ReserveOutcome,
    Settlement, Spent,
};
use uuid::Uuid;

use crate::clock::Clock;
use crate::error::MediaError;
use crate::providers::{CallEnd, Candidate, Choice, after, choose};
use crate::steps::later;

/// How often a change is tried while others change the same provider.
const ATTEMPTS: usize = 20;
/// How long one call may probe a provider after a cooldown. A worker that ends meanwhile delays the others by this.
const PROBE: SignedDuration = SignedDuration::from_secs(60);
/// How long after its time limit a call counts as unknown.
const SETTLING: SignedDuration = SignedDuration::from_mins(2);
/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// A call that is about to be made.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The book; `None` for a probe.
    pub book: Option<BookId>,
    /// The generation of its pipeline.
    pub generation: u32,
    /// What it is for.
    pub step: MediaStep,
    /// The window.
    pub window: Option<u32>,
    /// The provider.
    pub provider: &'a str,
    /// The provider's group.
    pub group: &'a str,
    /// The provider's model.
    pub model: &'a str,
    /// What it is expected to cost.
    pub price: Option<CallPrice>,
    /// Length of the sound that is sent.
    pub audio_ms: Option<u64>,
    /// Its time limit.
    pub timeout: SignedDuration,
}

/// The id of a call in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId(pub Uuid);

/// Whose cap is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// That of the book.
    Book,
    /// That of the day.
    Day,
}

/// The outcome of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// The call may be made, and is then settled.
    Granted(CallId),
    /// It does not fit into what may be spent.
    OverCap {
        /// Whose cap.
        which: Cap,
        /// What is spent and reserved, in millionths.
        spent: i64,
        /// What may be.
        cap: i64,
        /// When there is room again; `None`: when an admin makes some.
        until: Option<Timestamp>,
    },
}

/// Chooses providers, and keeps their states and the ledger of their calls. Cheap to clone.
#[derive(Clone)]
pub struct ProviderRegistry {
    database: Relational,
    clock: Clock,
}

impl ProviderRegistry {
    /// The providers in a database.
    pub const fn new(database: Relational, clock: Clock) -> Self {
        Self { database, clock }
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Chooses a provider for a call now. After a cooldown, one of several callers probes the provider.
    ///
    /// # Errors
    /// `Changed` if others are first all the time, `Store`.
    pub async fn choose(
        &self,
        task: MediaStep,
        candidates: &[Candidate<'_>],
        group: Option<&str>,
        refused: &[&str],
    ) -> Result<Choice, MediaError> {
        for _ in 0..ATTEMPTS {
            let (states, now) = (self.database.provider_states(task).await?, self.now());
            let choice = choose(candidates, &states, group, refused, now);
            let Choice::Use { index, probe: true } = choice else { return Ok(choice) };
            // If another caller has the probe, the next look finds the provider cooling, or free.
            if self.database.claim_probe(task, candidates[index].name, now, later(now, PROBE)).await? {
                return Ok(choice);
            }
        }
        Err(MediaError::Changed)
    }

    /// Gives back the claim of a probe without a call: the next caller may probe the provider.
    ///
    /// # Errors
    /// `Store`.
    pub async fn give_back_probe(&self, task: MediaStep, name: &str) -> Result<(), MediaError> {
        Ok(self.database.give_back_probe(task, name, self.now()).await?)
    }

    /// Who would be chosen now, with the states of all providers. Nothing is claimed.
    ///
    /// # Errors
    /// `Store`.
    pub async fn look(
        &self,
        task: MediaStep,
        candidates: &[Candidate<'_>],
        group: Option<&str>,
    ) -> Result<(Choice, Vec<ProviderStateRecord>), MediaError> {
        let states = self.database.provider_states(task).await?;
        Ok((choose(candidates, &states, group, &[], self.now()), states))
    }

    /// The cap that a call of a book with this price would exceed now. Nothing is reserved.
    ///
    /// # Errors
    /// `Store`.
    pub async fn over_cap(
        &self,
        book: BookId,
        price: &CallPrice,
        caps: &CallCaps,
    ) -> Result<Option<Reservation>, MediaError> {
        let now = self.now();
        if caps.currency != price.currency {
            return Ok(None);
        }
        if let Some(cap) = caps.book_micro {
            let spent = sum_of(&self.database.spent_on_book(book).await?, &caps.currency);
            if spent > cap.saturating_sub(price.reserved_micro) {
                return Ok(Some(Reservation::OverCap { which: Cap::Book, spent, cap, until: None }));
            }
        }
        if let Some(cap) = caps.day_micro {
            let spent = sum_of(&self.database.spent_on_day(now).await?, &caps.currency);
            if spent > cap.saturating_sub(price.reserved_micro) {
                return Ok(Some(Reservation::OverCap { which: Cap::Day, spent, cap, until: Some(tomorrow(now)) }));
            }
        }
        Ok(None)
    }

    /// Records how a call ended, with what follows for the provider.
    ///
    /// # Errors
    /// `Changed` if others report on it all the time, `Store`.
    pub async fn report(
        &self,
        task: MediaStep,
        name: &str,
        fingerprint: &str,
        end: &CallEnd,
    ) -> Result<ProviderStateRecord, MediaError> {
        for _ in 0..ATTEMPTS {
            let known = self.database.provider_states(task).await?.into_iter().find(|known| known.name == name);
            let known = known.unwrap_or_else(|| ProviderStateRecord::new(task, name));
            let now = self.now();
            let next = after(&known, end, fingerprint, now);
            // Most calls end well and change nothing.
            if next == known || self.database.put_provider_state(&next, now).await? {
                return Ok(next);
            }
        }
        Err(MediaError::Changed)
    }

    /// Reserves a call, if what it may cost is within the caps.
    ///
    /// # Errors
    /// `Store`.
    pub async fn reserve(&self, call: Call<'_>, caps: Option<&CallCaps>) -> Result<Reservation, MediaError> {
        let now = self.now();
        let id = Uuid::now_v7();
        let new = NewCall {
            id,
            book: call.book,
            generation: call.generation,
            step: call.step,
            window: call.window,
            provider: call.provider.to_owned(),
            group: call.group.to_owned(),
            model: call.model.to_owned(),
            price: call.price,
            audio_ms: call.audio_ms,
            expires_at: later(later(now, call.timeout), SETTLING),
        };
        Ok(match self.database.reserve_call(&new, caps, now).await? {
            ReserveOutcome::Reserved => Reservation::Granted(CallId(id)),
            ReserveOutcome::OverBook { spent, cap } => {
                Reservation::OverCap { which: Cap::Book, spent, cap, until: None }
            }
            ReserveOutcome::OverDay { spent, cap } => {
                Reservation::OverCap { which: Cap::Day, spent, cap, until: Some(tomorrow(now)) }
            }
        })
    }

    /// Records how a reserved call ended. Again: nothing.
    ///
    /// # Errors
    /// `Store`.
    pub async fn settle(&self, call: CallId, settlement: &Settlement<'_>) -> Result<(), MediaError> {
        self.database.settle_call(call.0, settlement, self.now()).await?;
        Ok(())
    }

    /// The result of a key.
    ///
    /// # Errors
    /// `Store`.
    pub async fn checkpoint(&self, key: &[u8; 32]) -> Result<Option<CheckpointRecord>, MediaError> {
        Ok(self.database.checkpoint(key).await?)
    }

    /// Keeps a result, unless its key has one.
    ///
    /// # Errors
    /// `Store`; also for a result that is too large.
    pub async fn put_checkpoint(&self, checkpoint: &NewCheckpoint) -> Result<(), MediaError> {
        Ok(self.database.put_checkpoint(checkpoint, self.now()).await?)
    }
}

/// What is spent in a currency.
fn sum_of(spent: &[Spent], currency: &str) -> i64 {
    spent.iter().find(|spent| spent.currency == currency).map_or(0, |spent| spent.micro)
}

/// The next midnight in UTC.
fn tomorrow(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(DAY) + DAY).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight_in_greenwich() {
        for (now, expected) in [
            ("2026-01-02T03:04:05.678Z", "2026-01-03T00:00:00Z"),
            ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
            ("2026-12-31T23:59:59.999999Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(tomorrow(now.parse().unwrap()), expected.parse().unwrap(), "{now}");
        }
    }
}
