//! Which provider does a job next: the rules are those of crates/media; here are the rounds of one job.
//!
//! ```text
//!  choose ─▶ call ─▶ answer: done
//!    ▲         ├── refused this input, or doubtful: never again for this job
//!    │         └── failed: not again in this round
//!    └── a round ends when all have failed; the next one begins after a pause. Who cools is not asked: the job waits
//! ```

use std::time::Duration;

use contracts::MediaStep;
use jiff::SignedDuration;
use media::{Candidate, Cause, Choice, MediaError, codes, last_failure};
use store::relational::ProviderStateRecord;
use tokio::sync::SemaphorePermit;

use super::Providers;
use super::outcome::Outcome;
use super::provider::Provider;

/// Rounds of a job. Three failures in a row cool a provider, so a last one finds nobody.
const ROUNDS: u32 = 4;
/// Pause before the second round; it doubles.
const PAUSE: Duration = Duration::from_millis(250);
/// After this time a job looks again if somebody was switched on.
const OFF: SignedDuration = SignedDuration::from_mins(1);
/// After this time a job tries again that failed everywhere, though nobody cools.
const FAILED: SignedDuration = SignedDuration::from_secs(10);
/// Most characters of what the providers said, in a cause.
const MAX_WORDS: usize = 600;

/// The providers that a job has tried.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// They refuse this input, or gave a doubtful answer.
    refused: Vec<String>,
    /// They failed in this round.
    failed: Vec<String>,
    /// What each said last.
    words: Vec<(String, String)>,
    round: u32,
}

/// A provider whose turn it is. Its permit is held while this lives.
pub(super) struct Turn<'p> {
    /// The provider.
    pub provider: &'p Provider,
    /// Its fingerprint now.
    pub fingerprint: String,
    /// Whether this is the only call that may be made until it has ended.
    pub is_probe: bool,
    _permit: SemaphorePermit<'p>,
}

/// What a job does next.
pub(super) enum Next<'p, T> {
    /// This provider does it.
    Call(Turn<'p>),
    /// Nobody does it now.
    Stop(Outcome<T>),
}

impl Selection {
    /// The provider does not do this job.
    pub(super) fn refused(&mut self, provider: &Provider, text: impl Into<String>) {
        self.refused.push(provider.name().to_owned());
        self.say(provider, text.into());
    }

    /// The provider failed now. One that cools is left out by its state.
    pub(super) fn failed(&mut self, provider: &Provider, text: impl Into<String>, cools: bool) {
        if !cools {
            self.failed.push(provider.name().to_owned());
        }
        self.say(provider, text.into());
    }

    fn say(&mut self, provider: &Provider, text: String) {
        self.words.retain(|(name, _)| name != provider.name());
        self.words.push((provider.name().to_owned(), text));
    }

    fn excluded(&self) -> Vec<&str> {
        self.refused.iter().chain(&self.failed).map(String::as_str).collect()
    }

    /// What the providers said, for a cause.
    fn words(&self) -> String {
        let said: Vec<String> = self.words.iter().map(|(name, text)| format!("{name}: {text}")).collect();
        said.join("; ").chars().take(MAX_WORDS).collect()
    }

    /// Takes what failed last at each provider of the group for its words, if the job has heard nothing itself.
    pub(super) fn know(&mut self, candidates: &[Candidate<'_>], group: Option<&str>, states: &[ProviderStateRecord]) {
        if !self.words.is_empty() {
            return;
        }
        for candidate in candidates.iter().filter(|candidate| group.is_none_or(|group| group == candidate.group)) {
            let state = states.iter().find(|state| state.name == candidate.name);
            if let Some(words) = state.and_then(last_failure) {
                self.words.push((candidate.name.to_owned(), words));
            }
        }
    }

    /// The pause before another round, if this choice ends one and there is another one.
    fn pause_after(&mut self, choice: &Choice) -> Option<Duration> {
        matches!(choice, Choice::Wait { .. } | Choice::Refused).then(|| self.next_round()).flatten()
    }

    /// Begins another round; the pause before it. `None` if nobody failed, or all rounds are over.
    fn next_round(&mut self) -> Option<Duration> {
        if self.failed.is_empty() || self.round + 1 >= ROUNDS {
            return None;
        }
        self.failed.clear();
        self.round += 1;
        Some(PAUSE * 2_u32.pow(self.round - 1))
    }
}

impl Providers {
    /// The provider that does the job next, with a permit. `refused_code` is the cause if all refuse it.
    pub(super) async fn next<'p, T>(
        &self,
        providers: &'p [Provider],
        step: MediaStep,
        group: Option<&str>,
        selection: &mut Selection,
        refused_code: &'static str,
    ) -> Result<Next<'p, T>, MediaError> {
        let able = able(providers);
        let mut held: Option<(&'p Provider, SemaphorePermit<'p>)> = None;
        loop {
            let fingerprints = fingerprints(&able).await;
            let candidates = candidates(&able, &fingerprints);
            let choice = self.0.registry.choose(step, &candidates, group, &selection.excluded()).await?;
            let Choice::Use { index, probe } = choice else {
                if let Some(pause) = selection.pause_after(&choice) {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                let (_, states) = self.0.registry.look(step, &candidates, group).await?;
                selection.know(&candidates, group, &states);
                return Ok(Next::Stop(self.stopped(&choice, providers, group, selection, refused_code)));
            };
            let (Some(provider), Some(fingerprint)) = (able.get(index).copied(), fingerprints.get(index).cloned())
            else {
                return Err(MediaError::Damaged(format!("there is no provider {index} of {}", able.len())));
            };
            let waited = held.take().filter(|(of, _)| std::ptr::eq(*of, provider)).map(|(_, permit)| permit);
            let permit = match waited.or_else(|| provider.free_permit()) {
                Some(permit) => permit,
                // The claim of a probe must not be asked for twice.
                None if probe => match provider.permit().await {
                    Some(permit) => permit,
                    None => continue,
                },
                None => {
                    // It may begin to cool while this waits, so it is chosen again.
                    held = provider.permit().await.map(|permit| (provider, permit));
                    continue;
                }
            };
            return Ok(Next::Call(Turn { provider, fingerprint, is_probe: probe, _permit: permit }));
        }
    }

    /// Gives back the claim of a probe for which no call was made, so that another job need not wait until it lapses.
    pub(super) async fn give_back_probe(&self, turn: &Turn<'_>, step: MediaStep) -> Result<(), MediaError> {
        if turn.is_probe {
            self.0.registry.give_back_probe(step, turn.provider.name()).await?;
        }
        Ok(())
    }

    /// How a job ends for which nobody is left.
    pub(super) fn stopped<T>(
        &self,
        choice: &Choice,
        providers: &[Provider],
        group: Option<&str>,
        selection: &Selection,
        refused_code: &'static str,
    ) -> Outcome<T> {
        let words = selection.words();
        match choice {
            Choice::Wait { until } => Outcome::Wait { until: *until, cause: Cause::new(codes::COOLING, words) },
            Choice::Refused if selection.failed.is_empty() => {
                Outcome::Failed { cause: Cause::new(refused_code, words) }
            }
            Choice::Use { .. } | Choice::Refused => {
                Outcome::Wait { until: self.in_a_while(FAILED), cause: Cause::new(codes::COOLING, words) }
            }
            Choice::Off => {
                Outcome::Wait { until: self.in_a_while(OFF), cause: Cause::new(codes::PROVIDERS_OFF, words) }
            }
            Choice::NoneInGroup => self.none_in_group(providers, group),
        }
    }

    fn none_in_group<T>(&self, providers: &[Provider], group: Option<&str>) -> Outcome<T> {
        let of_group = providers.iter().filter(|provider| group.is_none_or(|group| group == provider.entry.group));
        let missing: Vec<String> = of_group
            .filter_map(|provider| Some(format!("{}: {}", provider.name(), provider.engine.as_ref().err()?)))
            .collect();
        if missing.is_empty() {
            let groups: Vec<&str> = providers.iter().map(|provider| &*provider.entry.group).collect();
            let group = group.unwrap_or_default();
            let detail = format!("no provider of the group {group:?} is configured; there are {}", groups.join(", "));
            return Outcome::Failed { cause: Cause::new(codes::NO_PROVIDER, detail) };
        }
        // Another worker may have what this one lacks.
        Outcome::Wait { until: self.in_a_while(OFF), cause: Cause::new(codes::SPEECH_UNAVAILABLE, missing.join("; ")) }
    }
}

/// The providers that work in this process.
pub(super) fn able(providers: &[Provider]) -> Vec<&Provider> {
    providers.iter().filter(|provider| provider.engine.is_ok()).collect()
}

/// The fingerprint of each provider now.
pub(super) async fn fingerprints(able: &[&Provider]) -> Vec<String> {
    let mut fingerprints = Vec::with_capacity(able.len());
    for provider in able {
        fingerprints.push(provider.fingerprint().await);
    }
    fingerprints
}

/// The providers as the registry chooses among them.
pub(super) fn candidates<'c>(able: &[&'c Provider], fingerprints: &'c [String]) -> Vec<Candidate<'c>> {
    let of = |(provider, fingerprint): (&&'c Provider, &'c String)| Candidate {
        name: provider.name(),
        group: &provider.entry.group,
        fingerprint,
    };
    able.iter().zip(fingerprints).map(of).collect()
}
