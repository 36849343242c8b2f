//! Reports to the database which providers this worker has, and tries one when an admin asks for it: the file and the keys are only here.

use std::time::Duration;

use consumer_kit::repeat;
use contracts::MediaStep;
use media::{MediaError, Pipelines};
use store::relational::{NewListedProvider, ProviderTrial};
use tokio_util::sync::CancellationToken;

use crate::providers::{Listed, Probe, Providers};

/// Pause between two reports. Who reads them believes each for two minutes.
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Pause between two looks for a request of an admin, who waits for the answer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reports the providers at once and then regularly, until `stop`.
pub async fn report(providers: &Providers, pipelines: &Pipelines, stop: &CancellationToken) {
    let listed = providers.listed();
    let report_once = || async { put(&listed, pipelines).await };
    if let Err(error) = report_once().await {
        tracing::warn!(%error, "the list of providers is not stored; trying again");
    }
    repeat(REPORT_EVERY, stop, "the list of providers is not stored; trying again", report_once).await;
}

async fn put(listed: &[Listed], pipelines: &Pipelines) -> Result<(), MediaError> {
    let rows: Vec<NewListedProvider<'_>> = (0..).zip(listed).map(|(place, provider)| row(place, provider)).collect();
    Ok(pipelines.database().put_provider_list(&rows, pipelines.now()).await?)
}

fn row(place: u32, provider: &Listed) -> NewListedProvider<'_> {
    NewListedProvider {
        task: provider.task,
        name: &provider.name,
        group: &provider.group,
        kind: provider.kind,
        model: provider.model.as_deref(),
        host: provider.host.as_deref(),
        place,
        missing: provider.missing.as_deref(),
    }
}

/// Tries providers for admins, one at a time, until `stop`.
pub async fn try_on_request(providers: &Providers, pipelines: &Pipelines, stop: &CancellationToken) {
    let listed = providers.listed();
    let names: Vec<(MediaStep, &str)> = listed.iter().map(|provider| (provider.task, provider.name.as_str())).collect();
    let look = || try_one(providers, pipelines, &names);
    repeat(LOOK_EVERY, stop, "requests to try providers are not read; trying again", look).await;
}

async fn try_one(providers: &Providers, pipelines: &Pipelines, names: &[(MediaStep, &str)]) -> Result<(), MediaError> {
    let Some((task, name)) = pipelines.database().take_trial(names, pipelines.now()).await? else { return Ok(()) };
    let Some(Probe { works, text }) = providers.probe(&name).await? else { return Ok(()) };
    tracing::info!(provider = name, works, answer = text, "a provider was tried for an admin");
    let trial = ProviderTrial { at: pipelines.now(), works, answer: text };
    Ok(pipelines.database().end_trial(task, &name, &trial).await?)
}
