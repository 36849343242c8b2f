//! One call of one provider with its books: reserved before it, settled after it, and reported to the provider's state.
//!
//! A call whose answer did not arrive has an unknown cost: what was reserved for it counts as spent, because the provider may have charged
//! for it. The same holds for a call of a worker that was killed.

use std::pin::Pin;
use std::time::Duration;

use contracts::{BookId, MediaStep};
use jiff::{SignedDuration, Timestamp};
use media::{Call, CallEnd, Cap, Cause, MediaError, Price, Reservation, codes};
use metrics::counter;
use store::relational::{CallCaps, CallPrice, Settlement};

use super::Providers;
use super::http::{Billed, CallFailure};
use super::provider::{Provider, signed};

/// After this time a job without budget looks again: an admin may have raised it.
const NO_BUDGET: SignedDuration = SignedDuration::from_mins(5);

/// What a call uses, where it is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Length of the audio, in milliseconds.
    pub audio_ms: Option<u64>,
    /// Tokens of the request.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer.
    pub tokens_out: Option<u64>,
}

impl Used {
    /// What it costs, in millionths of the currency's unit.
    fn cost(&self, price: &Price) -> i64 {
        let audio = price.of_audio(self.audio_ms.unwrap_or_default());
        let tokens = price.of_tokens(self.tokens_in.unwrap_or_default(), self.tokens_out.unwrap_or_default());
        audio.saturating_add(tokens)
    }

    /// The same with the values of `estimate` where nothing is known.
    fn or(self, estimate: &Self) -> Self {
        Self {
            audio_ms: self.audio_ms.or(estimate.audio_ms),
            tokens_in: self.tokens_in.or(estimate.tokens_in),
            tokens_out: self.tokens_out.or(estimate.tokens_out),
        }
    }
}

/// What is known of a call before it is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bill {
    /// The book that pays.
    pub book: Option<BookId>,
    /// The generation of its pipeline.
    pub generation: u32,
    /// The step.
    pub step: MediaStep,
    /// The window.
    pub window: Option<u32>,
    /// The cap of this book, instead of the file's.
    pub budget_micro: Option<i64>,
    /// The most that it uses.
    pub estimate: Used,
    /// The longest that it takes.
    pub limit: Duration,
}

/// An answer with what it used.
#[derive(Debug)]
pub(super) struct Answered<T> {
    /// The answer.
    pub value: T,
    /// What it used, as far as the provider says.
    pub used: Used,
    /// The id that the provider gave the call.
    pub request_id: Option<String>,
}

/// How a call ends.
#[derive(Debug)]
pub(super) enum Called<T> {
    /// With an answer.
    Answered(T),
    /// Without a useful one.
    Failed {
        /// Why.
        failure: CallFailure,
        /// Whether the provider is not to be called now.
        cools: bool,
    },
    /// It was not made: the budget is used up.
    NoBudget {
        /// When to try again.
        until: Timestamp,
        /// Why.
        cause: Cause,
    },
}

impl<T> Called<T> {
    /// The same without the answer, for a call that has none.
    pub(super) fn without_answer(self) -> Called<()> {
        match self {
            Self::Answered(_) => Called::Answered(()),
            Self::Failed { failure, cools } => Called::Failed { failure, cools },
            Self::NoBudget { until, cause } => Called::NoBudget { until, cause },
        }
    }
}

impl Providers {
    /// Makes a call, with its books. `call` is not begun without a reservation. It is in a box, because the future of a request is large.
    pub(super) async fn paid<T>(
        &self,
        provider: &Provider,
        fingerprint: &str,
        bill: &Bill,
        call: Pin<Box<impl Future<Output = Result<Answered<T>, CallFailure>> + Send>>,
    ) -> Result<Called<T>, MediaError> {
        let price = provider.entry.price();
        let reserved = price
            .map(|price| CallPrice { currency: price.currency.clone(), reserved_micro: bill.estimate.cost(price) });
        let caps = price.and_then(|price| self.caps(price, bill.budget_micro));
        let wanted = Call {
            book: bill.book,
            generation: bill.generation,
            step: bill.step,
            window: bill.window,
            provider: provider.name(),
            group: &provider.entry.group,
            model: provider.model(),
            price: reserved,
            audio_ms: bill.estimate.audio_ms,
            timeout: signed(bill.limit),
        };
        let id = match self.0.registry.reserve(wanted, caps.as_ref()).await? {
            Reservation::Granted(id) => id,
            Reservation::OverCap { which, spent, cap, until } => {
                let currency = caps.as_ref().map_or("", |caps| &*caps.currency);
                let (until, cause) = self.no_budget(which, spent, cap, until, currency);
                return Ok(Called::NoBudget { until, cause });
            }
        };
        let ended = call.await;
        let settlement = settlement(&ended, price, &bill.estimate);
        let (of, outcome) = (provider.name().to_owned(), settlement.outcome.to_owned());
        counter!("sightline_provider_calls_total", "provider" => of, "outcome" => outcome).increment(1);
        let settled = self.0.registry.settle(id, &settlement).await;
        let (name, step) = (provider.name(), bill.step);
        match ended {
            Ok(answer) => {
                let reported = self.0.registry.report(step, name, fingerprint, &CallEnd::Done).await;
                // The answer is paid for, so it is not lost with the database: the call becomes `unknown`.
                if let Err(error) = settled.and(reported.map(drop)) {
                    tracing::warn!(provider = name, %step, "the end of a call is not in the ledger: {error}");
                }
                Ok(Called::Answered(answer.value))
            }
            Err(failure) => {
                tracing::warn!(provider = name, %step, "the provider gave no answer: {}", failure.text);
                settled?;
                let state = self.0.registry.report(step, name, fingerprint, &failure.end).await?;
                let is_cooling = state.cools_until.is_some_and(|until| until > self.now());
                let is_off = state.off_config.as_deref() == Some(fingerprint);
                Ok(Called::Failed { failure, cools: is_cooling || is_off })
            }
        }
    }

    /// The caps of a call with this price.
    pub(super) fn caps(&self, price: &Price, budget_micro: Option<i64>) -> Option<CallCaps> {
        let of_file = self.0.caps.as_ref();
        let book_micro = budget_micro.or_else(|| of_file.and_then(|caps| caps.book_micro));
        let day_micro = of_file.and_then(|caps| caps.day_micro);
        let has_any = book_micro.is_some() || day_micro.is_some();
        has_any.then(|| CallCaps { currency: price.currency.clone(), book_micro, day_micro })
    }

    /// Until when a job waits that would exceed a cap, and why.
    pub(super) fn no_budget(
        &self,
        which: Cap,
        spent: i64,
        cap: i64,
        until: Option<Timestamp>,
        currency: &str,
    ) -> (Timestamp, Cause) {
        let (spent, cap) = (shown(spent, currency), shown(cap, currency));
        let (code, of) = match which {
            Cap::Book => (codes::BUDGET_BOOK, "this book"),
            Cap::Day => (codes::BUDGET_DAY, "today"),
        };
        let cause = Cause::new(code, format!("{spent} of the {cap} for {of} are spent or reserved"));
        (until.unwrap_or_else(|| self.in_a_while(NO_BUDGET)), cause)
    }
}

/// What is written into the ledger after a call. Without a cost, the reserved amount stays spent.
fn settlement<'a, T>(
    ended: &'a Result<Answered<T>, CallFailure>,
    price: Option<&Price>,
    estimate: &Used,
) -> Settlement<'a> {
    let (outcome, used, request_id) = match ended {
        Ok(answer) => (CallEnd::Done.as_str(), Some(answer.used.or(estimate)), &answer.request_id),
        Err(failure) => {
            let used = match failure.billed {
                Billed::Unknown => None,
                Billed::No => Some(Used::default()),
                Billed::Yes => Some(*estimate),
            };
            (outcome_of(failure), used, &failure.request_id)
        }
    };
    let cost_micro = match (price, used) {
        (None, _) => Some(0),
        (Some(price), Some(used)) => Some(used.cost(price)),
        (Some(_), None) => None,
    };
    let used = used.unwrap_or_default();
    Settlement {
        outcome,
        cost_micro,
        audio_ms: used.audio_ms,
        tokens_in: used.tokens_in,
        tokens_out: used.tokens_out,
        request_id: request_id.as_deref(),
    }
}

/// The name of a failure in the ledger.
fn outcome_of(failure: &CallFailure) -> &'static str {
    if failure.timed_out { "timed_out" } else { failure.end.as_str() }
}

/// An amount for a message.
fn shown(micro: i64, currency: &str) -> String {
    let (units, rest) = (micro / 1_000_000, (micro % 1_000_000).abs());
    format!("{units}.{rest:06} {currency}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> Price {
        Price {
            currency: "USD".to_owned(),
            per_audio_minute: 600,
            per_million_tokens_in: 1_000_000,
            per_million_tokens_out: 2_000_000,
        }
    }

    fn cost_of(ended: &Result<Answered<()>, CallFailure>, price: Option<&Price>) -> Option<i64> {
        let estimate = Used { audio_ms: Some(60_000), tokens_in: Some(10), tokens_out: Some(20) };
        settlement(ended, price, &estimate).cost_micro
    }

    fn answered(used: Used) -> Result<Answered<()>, CallFailure> {
        Ok(Answered { value: (), used, request_id: None })
    }

    #[test]
    fn an_answer_costs_what_the_provider_says_or_what_was_estimated() {
        let price = price();
        assert_eq!(cost_of(&answered(Used::default()), Some(&price)), Some(600 + 10 + 40));
        let said = Used { tokens_in: Some(7), tokens_out: Some(1), ..Used::default() };
        assert_eq!(cost_of(&answered(said), Some(&price)), Some(600 + 7 + 2));
        assert_eq!(cost_of(&answered(said), None), Some(0));
    }

    #[test]
    fn a_refused_call_is_free_a_useless_one_is_paid_and_a_lost_one_is_unknown() {
        let price = price();
        let ended = |billed| Err(CallFailure::failed("", billed));
        assert_eq!(cost_of(&ended(Billed::No), Some(&price)), Some(0));
        assert_eq!(cost_of(&ended(Billed::Yes), Some(&price)), Some(650));
        assert_eq!(cost_of(&ended(Billed::Unknown), Some(&price)), None);
        assert_eq!(cost_of(&ended(Billed::Unknown), None), Some(0));
    }

    #[test]
    fn amounts_are_shown_to_the_last_millionth() {
        assert_eq!(shown(5_000_000, "USD"), "5.000000 USD");
        assert_eq!(shown(1, "USD"), "0.000001 USD");
    }
}
