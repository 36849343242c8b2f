//! Which provider is called next, and what follows for it from the end of a call. Pure rules over what the database knows.
//!
//! - It limits the rate (429): it cools for as long as it says, from a second to a day.
//! - It fails (5xx, time-out, no connection, an unreadable answer): three times in a row cool it for 30 s, and twice as long each time up to
//!   10 minutes. Then one call probes it.
//! - Its quota is used up (402, a usage limit): it cools for an hour.
//! - It refuses the key (401, 403): it is off until its configuration changes, or an admin enables it.
//! - It refuses this input, or its answer is poor: the input goes to the next one, and no provider cools.
//!
//! The later of two deadlines counts, so a call that ended late does not shorten a cooldown. Calls that were under way when the cooldown
//! began do not make the next one longer: however many fail together, they are one incident.

use jiff::{SignedDuration, Timestamp};
use store::relational::ProviderStateRecord;

use crate::causes::explain;
use crate::steps::later;

/// Failures in a row that cool a provider.
const FAILURES: u32 = 3;
/// First cooldown after failures, and after a 429 that does not say for how long.
const FIRST_COOLDOWN: SignedDuration = SignedDuration::from_secs(30);
/// Longest cooldown after failures.
const LONGEST_COOLDOWN: SignedDuration = SignedDuration::from_mins(10);
/// Cooldown of a provider whose quota is used up.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The longest cooldown that a 429 can ask for.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// The shortest cooldown that a 429 can ask for.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// Pause between two looks at a provider that somebody else tries after its cooldown.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd {
    /// With a result.
    Done,
    /// The provider limits the rate of calls.
    RateLimited {
        /// For how long it says.
        retry_after: Option<SignedDuration>,
    },
    /// It failed: an error of the server, a time-out, no connection, an answer that cannot be read.
    Failed {
        /// What failed, without secrets.
        what: String,
    },
    /// Its quota is used up.
    OutOfQuota,
    /// It refuses the key.
    Unauthorised,
    /// It refuses this input.
    InputRefused,
    /// Its result is not good enough.
    Poor,
}

impl CallEnd {
    /// The outcome in a word, for the ledger and the state.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::RateLimited { .. } => "rate_limited",
            Self::Failed { .. } => "failed",
            Self::OutOfQuota => "out_of_quota",
            Self::Unauthorised => "unauthorised",
            Self::InputRefused => "input_refused",
            Self::Poor => "poor",
        }
    }
}

/// A provider that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name in the file.
    pub name: &'a str,
    /// Its group.
    pub group: &'a str,
    /// A fingerprint of its configuration with its key. Another one lets a provider be used that was off.
    pub fingerprint: &'a str,
}

/// Which provider is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one.
    Use {
        /// Its place among the candidates.
        index: usize,
        /// Whether this call probes it after a cooldown. No other call uses it meanwhile.
        probe: bool,
    },
    /// None now; one may be called later.
    Wait {
        /// When the first one may be.
        until: Timestamp,
    },
    /// All that are left have refused this input.
    Refused,
    /// All are off.
    Off,
    /// The group has none.
    NoneInGroup,
}

/// What the rules say of a provider.
enum Availability {
    Free,
    Probe,
    Cooling(Timestamp),
    Off,
}

/// The places of the candidates in the order in which they are used: those that an admin has placed, then the others as they are.
pub fn ordered(candidates: &[Candidate<'_>], states: &[ProviderStateRecord]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    let place =
        |index: &usize| state_of(candidates[*index].name, states).and_then(|state| state.position).unwrap_or(u32::MAX);
    // Stable, so the others keep the order of the file.
    order.sort_by_key(place);
    order
}

/// Chooses the first provider of the group that may be called now and has not `refused` this input.
pub fn choose(
    candidates: &[Candidate<'_>],
    states: &[ProviderStateRecord],
    group: Option<&str>,
    refused: &[&str],
    now: Timestamp,
) -> Choice {
    let (mut first, mut any_refused, mut any_off) = (None::<Timestamp>, false, false);
    for index in ordered(candidates, states) {
        let candidate = candidates[index];
        if group.is_some_and(|group| group != candidate.group) {
            continue;
        }
        if refused.contains(&candidate.name) {
            any_refused = true;
            continue;
        }
        match availability(candidate, state_of(candidate.name, states), now) {
            Availability::Free => return Choice::Use { index, probe: false },
            Availability::Probe => return Choice::Use { index, probe: true },
            Availability::Cooling(until) => first = Some(first.map_or(until, |first| first.min(until))),
            Availability::Off => any_off = true,
        }
    }
    match first {
        Some(until) => Choice::Wait { until },
        None if any_refused => Choice::Refused,
        None if any_off => Choice::Off,
        None => Choice::NoneInGroup,
    }
}

/// What failed last at a provider, in words; `None` if nothing did.
pub fn last_failure(state: &ProviderStateRecord) -> Option<String> {
    let detail = state.detail.as_deref();
    Some(match state.cause.as_deref()? {
        "rate_limited" => "it asks to wait".to_owned(),
        "out_of_quota" => "it wants money, or its quota is used up".to_owned(),
        "unauthorised" => "it refuses its key; correct the key file, or enable it again".to_owned(),
        "failed" => detail.map_or_else(|| "it failed".to_owned(), |detail| format!("it failed: {detail}")),
        other => explain(other, detail).message,
    })
}

fn state_of<'s>(name: &str, states: &'s [ProviderStateRecord]) -> Option<&'s ProviderStateRecord> {
    states.iter().find(|state| state.name == name)
}

fn availability(candidate: Candidate<'_>, state: Option<&ProviderStateRecord>, now: Timestamp) -> Availability {
    let Some(state) = state else { return Availability::Free };
    if !state.enabled || state.off_config.as_deref() == Some(candidate.fingerprint) {
        return Availability::Off;
    }
    match (state.cools_until, state.probing_until) {
        (Some(until), _) if until > now => Availability::Cooling(until),
        // The trial may end at any moment, so what waits for it looks again soon.
        (Some(_), Some(until)) if until > now => Availability::Cooling(until.min(later(now, LOOK_AGAIN))),
        (Some(_), _) => Availability::Probe,
        (None, _) => Availability::Free,
    }
}

/// State of a provider after the end of a call.
pub fn after(state: &ProviderStateRecord, end: &CallEnd, fingerprint: &str, now: Timestamp) -> ProviderStateRecord {
    let was_probe = state.cools_until.is_some_and(|until| until <= now);
    // It was called with another configuration than the one that it refused, so that one is of the past.
    let off_config = state.off_config.clone().filter(|refused| refused == fingerprint);
    let next = ProviderStateRecord { probing_until: None, off_config, ..state.clone() };
    match end {
        CallEnd::Done | CallEnd::InputRefused | CallEnd::Poor => answered(next, now),
        CallEnd::RateLimited { retry_after } => {
            let own = cooldown(cooldowns_before(&next, now));
            let pause = retry_after.map_or(own, |pause| pause.clamp(SECOND, DAY));
            cooled(next, pause, end, "", now)
        }
        CallEnd::Failed { what } => {
            let failures = next.failures.saturating_add(1);
            if failures < FAILURES && !was_probe {
                let (cause, detail) = (Some(end.as_str().to_owned()), Some(what.clone()));
                // Another call may have cooled it meanwhile, and that stays.
                return ProviderStateRecord { failures, cause, detail, ..next };
            }
            let pause = cooldown(cooldowns_before(&next, now));
            cooled(next, pause, end, what, now)
        }
        CallEnd::OutOfQuota => cooled(next, HOUR, end, "", now),
        CallEnd::Unauthorised => {
            let (off_config, cause) = (Some(fingerprint.to_owned()), Some(end.as_str().to_owned()));
            ProviderStateRecord { off_config, cause, detail: None, ..next }
        }
    }
}

/// A provider that has answered. A cooldown that goes on is that of another call, and stays.
fn answered(next: ProviderStateRecord, now: Timestamp) -> ProviderStateRecord {
    if next.cools_until.is_some_and(|until| until > now) {
        return ProviderStateRecord { failures: 0, ..next };
    }
    ProviderStateRecord { failures: 0, cooldowns: 0, cools_until: None, cause: None, detail: None, ..next }
}

fn cooled(
    next: ProviderStateRecord,
    pause: SignedDuration,
    end: &CallEnd,
    detail: &str,
    now: Timestamp,
) -> ProviderStateRecord {
    let until = now.checked_add(pause).unwrap_or(Timestamp::MAX);
    let cooldowns = cooldowns_before(&next, now).saturating_add(1);
    let detail = Some(detail.to_owned()).filter(|detail| !detail.is_empty());
    ProviderStateRecord {
        failures: 0,
        cooldowns,
        cools_until: Some(next.cools_until.map_or(until, |known| known.max(until))),
        cause: Some(end.as_str().to_owned()),
        detail,
        ..next
    }
}

/// The cooldowns in a row before the one that begins now, or that goes on now.
fn cooldowns_before(state: &ProviderStateRecord, now: Timestamp) -> u32 {
    let goes_on = state.cools_until.is_some_and(|until| until > now);
    state.cooldowns.saturating_sub(u32::from(goes_on))
}

/// The cooldown after this many.
fn cooldown(before: u32) -> SignedDuration {
    FIRST_COOLDOWN.saturating_mul(1 << before.min(8)).min(LONGEST_COOLDOWN)
}

#[cfg(test)]
mod tests;
