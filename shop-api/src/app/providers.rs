//! Providers of the audio pipeline and the ledger of their calls.
//!
//! The operator's file and the keys are only with the workers. They tell which providers they have, and try one when an admin asks for it.

use std::collections::BTreeSet;
use std::time::Duration;

use api_kit::error::{ApiError, HttpError};
use api_kit::extract::page;
use contracts::BookId;
use contracts::api::{
    Page, ProviderAction, ProviderAvailability, ProviderCallView, ProviderOrderBody, ProviderTask, ProviderTrialView,
    ProviderView,
};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use media::{Candidate, Pipelines, last_failure, ordered};
use shop::ShopError;
use store::relational::{CallFilter, CallRecord, ListedProvider, ProviderStateRecord, ProviderTrial};
use store::{List, PageCursor};
use tokio::time::{Instant, sleep};

use super::App;
use crate::Viewer;
use crate::error::{media_refused, refused};

/// How long a worker's list of providers is believed.
const BELIEVED: SignedDuration = SignedDuration::from_secs(120);
/// How long a request waits for the trial of a provider.
const TRIAL: Duration = Duration::from_secs(15);
/// Pause between two looks for the outcome.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// Most names of an order.
const MAX_NAMES: usize = 64;

/// No worker has tried a provider in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "no audio worker has tried the provider within {} s; see whether a worker runs, and look at the provider again later",
    TRIAL.as_secs()
)]
struct NoTrial;

impl HttpError for NoTrial {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        (StatusCode::SERVICE_UNAVAILABLE, "no_trial")
    }

    fn retry_after(&self) -> Option<u64> {
        Some(10)
    }
}

impl App {
    /// The providers of a task, in the order in which they are asked.
    ///
    /// # Errors
    /// When the database is out of reach, or the pipeline is off.
    pub async fn providers(&self, task: ProviderTask) -> Result<Vec<ProviderView>, ApiError> {
        let pipelines = &self.pipeline("list of providers")?.pipelines;
        let (listed, states) =
            (listed(pipelines, task).await?, pipelines.database().provider_states(task.step()).await?);
        let candidates: Vec<Candidate<'_>> = listed
            .iter()
            // Only the order is asked for, which does not depend on it.
            .map(|provider| Candidate { name: &provider.name, group: &provider.group, fingerprint: "" })
            .collect();
        let order = ordered(&candidates, &states);
        let now = pipelines.now();
        Ok(order.into_iter().filter_map(|index| Some(view(task, listed.get(index)?, &states, now))).collect())
    }

    /// The groups that providers have.
    pub(super) async fn provider_groups(&self) -> Result<BTreeSet<String>, ApiError> {
        let pipelines = &self.pipeline("list of providers")?.pipelines;
        let mut groups = BTreeSet::new();
        for task in ProviderTask::ALL {
            groups.extend(listed(pipelines, task).await?.into_iter().map(|provider| provider.group));
        }
        Ok(groups)
    }

    /// Changes the order in which the providers of a task are asked, also for work in progress.
    ///
    /// # Errors
    /// When a name is unknown or repeated.
    pub async fn order_providers(
        &self,
        viewer: &Viewer,
        ProviderOrderBody { task, names }: ProviderOrderBody,
    ) -> Result<Vec<ProviderView>, ApiError> {
        let pipelines = self.pipeline("order of providers")?.pipelines.clone();
        let known = listed(&pipelines, task).await?;
        check_names(&names, &known)?;
        let entry = self.shop.entry("providers_ordered", &viewer.actor(), &format!("{task}: {}", names.join(", ")));
        pipelines.database().set_provider_order(task.step(), &names, Some(&entry), pipelines.now()).await?;
        // What waits for the end of a cooldown may now go to another provider.
        pipelines.wake_waiting().await.map_err(media_refused)?;
        self.providers(task).await
    }

    /// Enables, disables or tries a provider.
    ///
    /// # Errors
    /// When there is no such provider, or no worker tries it in time.
    pub async fn change_provider(
        &self,
        viewer: &Viewer,
        name: &str,
        action: ProviderAction,
    ) -> Result<ProviderView, ApiError> {
        let pipelines = self.pipeline("provider")?.pipelines.clone();
        let task = self.task_of(&pipelines, name).await?;
        match action {
            ProviderAction::Enable | ProviderAction::Disable => {
                let (done, enabled) = match action {
                    ProviderAction::Enable => ("provider_enabled", true),
                    _ => ("provider_disabled", false),
                };
                let (entry, now) = (self.shop.entry(done, &viewer.actor(), name), pipelines.now());
                pipelines.database().set_provider_enabled(task.step(), name, enabled, Some(&entry), now).await?;
            }
            ProviderAction::Probe => try_provider(&pipelines, task, name).await?,
        }
        if action != ProviderAction::Disable {
            pipelines.wake_waiting().await.map_err(media_refused)?;
        }
        let providers = self.providers(task).await?;
        providers.into_iter().find(|provider| provider.name == name).ok_or_else(unknown)
    }

    /// What a provider with this name does. Names are unique over both tasks.
    async fn task_of(&self, pipelines: &Pipelines, name: &str) -> Result<ProviderTask, ApiError> {
        for task in ProviderTask::ALL {
            if listed(pipelines, task).await?.iter().any(|provider| provider.name == name) {
                return Ok(task);
            }
        }
        Err(unknown())
    }

    /// The calls of providers, newest first.
    ///
    /// # Errors
    /// When the database is out of reach, or the pipeline is off.
    pub async fn ledger(
        &self,
        book: Option<BookId>,
        provider: Option<String>,
        limit: u32,
        after: Option<PageCursor>,
    ) -> Result<Page<ProviderCallView>, ApiError> {
        let database = self.pipeline("ledger")?.pipelines.database();
        let filter = CallFilter { book, provider };
        let found = database.provider_calls(&filter, after.as_ref(), limit + 1).await?;
        let Page { items, next_cursor } = page(List::ProviderCalls, limit, found, CallRecord::cursor);
        Ok(Page { items: items.into_iter().map(call_view).collect(), next_cursor })
    }
}

/// The providers that workers have.
async fn listed(pipelines: &Pipelines, task: ProviderTask) -> Result<Vec<ListedProvider>, ApiError> {
    let since = pipelines.now().checked_sub(BELIEVED).unwrap_or(Timestamp::MIN);
    Ok(pipelines.database().listed_providers(task.step(), since).await?)
}

fn unknown() -> ApiError {
    refused(ShopError::NotFound("provider; GET /v1/providers lists those that a running audio worker has"))
}

fn check_names(names: &[String], known: &[ListedProvider]) -> Result<(), ApiError> {
    let invalid = |reason: String| refused(ShopError::invalid("names", reason));
    if names.is_empty() || names.len() > MAX_NAMES {
        return Err(invalid(format!("there must be from 1 to {MAX_NAMES} names")));
    }
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(invalid(format!("{name:?} is there twice")));
        }
        if !known.iter().any(|provider| provider.name == *name) {
            let known: Vec<&str> = known.iter().map(|provider| provider.name.as_str()).collect();
            return Err(invalid(format!("there is no provider {name:?} of this task; there are {}", known.join(", "))));
        }
    }
    Ok(())
}

/// Has a worker try a provider, and waits for the outcome.
async fn try_provider(pipelines: &Pipelines, task: ProviderTask, name: &str) -> Result<(), ApiError> {
    let (database, asked, deadline) = (pipelines.database(), pipelines.now(), Instant::now() + TRIAL);
    if !database.want_trial(task.step(), name, asked).await? {
        return Err(unknown());
    }
    while Instant::now() < deadline {
        sleep(LOOK_AGAIN).await;
        let found = listed(pipelines, task).await?.into_iter().find(|provider| provider.name == name);
        if found.and_then(|provider| provider.trial).is_some_and(|trial| trial.at >= asked) {
            return Ok(());
        }
    }
    Err(NoTrial.into())
}

fn view(task: ProviderTask, provider: &ListedProvider, states: &[ProviderStateRecord], now: Timestamp) -> ProviderView {
    let state = states.iter().find(|state| state.name == provider.name);
    let cools_until = state.and_then(|state| state.cools_until).filter(|until| *until > now);
    let availability = match state {
        Some(state) if !state.enabled => ProviderAvailability::Disabled,
        Some(state) if state.off_config.is_some() => ProviderAvailability::Off,
        _ if provider.missing.is_some() => ProviderAvailability::Off,
        _ if cools_until.is_some() => ProviderAvailability::Cooling,
        _ => ProviderAvailability::Ready,
    };
    let failed = state.and_then(last_failure);
    let ListedProvider { name, group, kind, model, host, missing, trial, .. } = provider.clone();
    let trial = trial.map(|ProviderTrial { at, works, answer }| ProviderTrialView { at, works, answer });
    let cause = missing.or(failed);
    ProviderView { task, name, group, kind, model, host, state: availability, cools_until, cause, trial }
}

fn call_view(record: CallRecord) -> ProviderCallView {
    let CallRecord { call, state, outcome, cost_micro, tokens_in, tokens_out, request_id, reserved_at, .. } = record;
    let reserved = call.price.as_ref().map_or(0, |price| price.reserved_micro);
    ProviderCallView {
        id: call.id,
        book: call.book,
        step: call.step,
        window: call.window,
        provider: call.provider,
        group: call.group,
        model: call.model,
        state: state.as_str().to_owned(),
        outcome,
        currency: call.price.map(|price| price.currency),
        cost_micro: cost_micro.unwrap_or(reserved),
        audio_ms: call.audio_ms,
        tokens_in,
        tokens_out,
        request_id,
        called_at: reserved_at,
    }
}

#[cfg(test)]
mod tests {
    use contracts::MediaStep;

    use super::*;

    fn provider(name: &str) -> ListedProvider {
        ListedProvider {
            task: MediaStep::Transcribe,
            name: name.to_owned(),
            group: "cloud".to_owned(),
            kind: "openai".to_owned(),
            model: None,
            host: None,
            missing: None,
            trial: None,
        }
    }

    #[test]
    fn an_order_names_each_known_provider_once() {
        let known = [provider("here"), provider("groq")];
        let check = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            check_names(&names, &known).map_err(|error| error.code())
        };
        assert_eq!((check(&["groq", "here"]), check(&["here"])), (Ok(()), Ok(())));
        for wrong in [&[][..], &["here", "here"], &["nobody"]] {
            assert_eq!(check(wrong), Err("invalid"), "{wrong:?}");
        }
    }

    #[test]
    fn a_state_says_whether_a_provider_is_asked() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let later = now + SignedDuration::from_secs(5);
        let of = |state: &ProviderStateRecord| {
            let states = std::slice::from_ref(state);
            let shown = view(ProviderTask::Transcribe, &provider("groq"), states, now);
            (shown.state, shown.cools_until)
        };
        let new = ProviderStateRecord::new(MediaStep::Transcribe, "groq");
        assert_eq!(of(&new), (ProviderAvailability::Ready, None));
        let cooling = ProviderStateRecord { cools_until: Some(later), ..new.clone() };
        assert_eq!(of(&cooling), (ProviderAvailability::Cooling, Some(later)));
        let over = ProviderStateRecord { cools_until: Some(now), ..new.clone() };
        assert_eq!(of(&over), (ProviderAvailability::Ready, None));
        let off = ProviderStateRecord { off_config: Some("ab".to_owned()), ..new.clone() };
        assert_eq!(of(&off).0, ProviderAvailability::Off);
        let disabled = ProviderStateRecord { enabled: false, ..new };
        assert_eq!(of(&disabled).0, ProviderAvailability::Disabled);
    }
}
