//! The audio pipeline, its providers, and the ledger of their calls.

use api_kit::auth::{AuthError, bearer_token};
use api_kit::error::ApiError;
use contracts::api::{
    Page, ProviderAction as Action, ProviderAvailability, ProviderCallView, ProviderOrderBody, ProviderTask as Task,
    ProviderView,
};
use contracts::media::MediaProgress;
use contracts::{BookId, MediaStep, PipelineState as State};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use store::List;
use tonic::{Request, Status};

use crate::app::App;
use crate::grpc::shop_v1::request::{invalid, page_token, parsed, viewer};
use crate::grpc::status_of;
use crate::proto::shop_v1::{
    GetLedgerRequest, GetLedgerResponse, GetPipelineRequest, GetPipelineResponse, LedgerEntry, ListProvidersRequest,
    ListProvidersResponse, Pipeline, PipelineState, PipelineStep, Provider, ProviderAction, ProviderState,
    ProviderTask, SetProviderOrderRequest, SetProviderOrderResponse, SetProviderStateRequest, SetProviderStateResponse,
    WatchPipelineRequest, WatchPipelineResponse,
};
use crate::proto::timestamp;

/// Calls of a page, if the client names no number.
const DEFAULT_CALLS: u32 = 50;
/// Most calls of a page.
const MAX_CALLS: u32 = 200;

/// How far a book is.
pub async fn one(app: &App, request: Request<GetPipelineRequest>) -> Result<GetPipelineResponse, ApiError> {
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(GetPipelineResponse { pipeline: Some(pipeline(app.progress(book).await?)) })
}

/// How far a book is, now and at every change.
pub async fn watch(
    app: &App,
    request: Request<WatchPipelineRequest>,
) -> Result<BoxStream<'static, Result<WatchPipelineResponse, Status>>, ApiError> {
    let headers = request.metadata().clone().into_headers();
    let token = bearer_token(&headers).ok_or(AuthError::NoCredential)?;
    let book: BookId = parsed("audiobook_id", &request.get_ref().audiobook_id)?;
    let answer = |progress: Result<MediaProgress, ApiError>| match progress {
        Ok(progress) => Ok(WatchPipelineResponse { pipeline: Some(pipeline(progress)) }),
        Err(error) => Err(status_of(error)),
    };
    Ok(app.watch(book, token).await?.map(answer).boxed())
}

/// The providers of a task.
pub async fn providers(app: &App, request: Request<ListProvidersRequest>) -> Result<ListProvidersResponse, ApiError> {
    let task = task_of(request.into_inner().task)?;
    Ok(ListProvidersResponse { providers: app.providers(task).await?.into_iter().map(provider).collect() })
}

/// Changes the order of the providers of a task.
pub async fn order(app: &App, request: Request<SetProviderOrderRequest>) -> Result<SetProviderOrderResponse, ApiError> {
    let viewer = viewer(&request)?;
    let SetProviderOrderRequest { task, names } = request.into_inner();
    let order = ProviderOrderBody { task: task_of(task)?, names };
    let providers = app.order_providers(&viewer, order).await?;
    Ok(SetProviderOrderResponse { providers: providers.into_iter().map(provider).collect() })
}

/// Enables, disables or tries a provider.
pub async fn change(
    app: &App,
    request: Request<SetProviderStateRequest>,
) -> Result<SetProviderStateResponse, ApiError> {
    let viewer = viewer(&request)?;
    let SetProviderStateRequest { name, action } = request.into_inner();
    let action = match ProviderAction::try_from(action) {
        Ok(ProviderAction::Enable) => Action::Enable,
        Ok(ProviderAction::Disable) => Action::Disable,
        Ok(ProviderAction::Probe) => Action::Probe,
        Ok(ProviderAction::Unspecified) | Err(_) => {
            return Err(invalid("action", "must be ENABLE, DISABLE or PROBE"));
        }
    };
    Ok(SetProviderStateResponse { provider: Some(provider(app.change_provider(&viewer, &name, action).await?)) })
}

/// The calls of providers, newest first.
pub async fn ledger(app: &App, request: Request<GetLedgerRequest>) -> Result<GetLedgerResponse, ApiError> {
    let GetLedgerRequest { audiobook_id, page_size, page_token: token } = request.into_inner();
    let book: Option<BookId> = match audiobook_id.as_str() {
        "" => None,
        id => Some(parsed("audiobook_id", id)?),
    };
    let limit = match u32::try_from(page_size) {
        Ok(0) => DEFAULT_CALLS,
        Ok(size) => size.min(MAX_CALLS),
        Err(_) => return Err(invalid("page_size", format_args!("must be from 0 to {MAX_CALLS}"))),
    };
    let Page { items, next_cursor } = app.ledger(book, None, limit, page_token(List::ProviderCalls, &token)?).await?;
    let entries = items.into_iter().map(entry).collect();
    Ok(GetLedgerResponse { entries, next_page_token: next_cursor.unwrap_or_default() })
}

fn task_of(sent: i32) -> Result<Task, ApiError> {
    match ProviderTask::try_from(sent) {
        Ok(ProviderTask::Transcribe) => Ok(Task::Transcribe),
        Ok(ProviderTask::Describe) => Ok(Task::Describe),
        Ok(ProviderTask::Unspecified) | Err(_) => Err(invalid("task", "must be TRANSCRIBE or DESCRIBE")),
    }
}

fn pipeline(progress: MediaProgress) -> Pipeline {
    // All providers of an installation have one currency.
    let cost = progress.cost.into_iter().next();
    let (cause, advice) = progress.cause.map_or_else(Default::default, |cause| (cause.message, cause.action));
    Pipeline {
        audiobook_id: progress.book.to_string(),
        generation: i64::from(progress.generation),
        step: step(progress.step).into(),
        state: state(progress.state).into(),
        windows_done: i64::from(progress.windows_done),
        windows_total: progress.windows_total.map_or(0, i64::from),
        provider: progress.provider.unwrap_or_default(),
        cost_micro: cost.as_ref().map_or(0, |cost| cost.micro),
        currency: cost.map(|cost| cost.currency).unwrap_or_default(),
        cause,
        advice,
        updated_at: Some(timestamp(progress.at)),
    }
}

/// The first step that is not done, or the last one.
const fn step(step: MediaStep) -> PipelineStep {
    match step {
        MediaStep::Upload => PipelineStep::Upload,
        MediaStep::Transcribe => PipelineStep::Transcribe,
        MediaStep::Summarise => PipelineStep::Summarise,
        MediaStep::Publish | MediaStep::Done => PipelineStep::Publish,
    }
}

const fn state(state: State) -> PipelineState {
    match state {
        State::Due => PipelineState::Due,
        State::Running => PipelineState::Running,
        State::Waiting => PipelineState::Waiting,
        State::Failed => PipelineState::Failed,
        State::Done => PipelineState::Done,
    }
}

fn provider(provider: ProviderView) -> Provider {
    let ProviderView { name, group, kind, model, state, cools_until, cause, trial, .. } = provider;
    let state = match state {
        ProviderAvailability::Ready => ProviderState::Ready,
        ProviderAvailability::Cooling => ProviderState::Cooling,
        ProviderAvailability::Disabled | ProviderAvailability::Off => ProviderState::Disabled,
    };
    // After a trial it says how that ended.
    let failed = trial.filter(|trial| !trial.works).map(|trial| trial.answer);
    Provider {
        name,
        group,
        kind,
        model: model.unwrap_or_default(),
        state: state.into(),
        cools_until: cools_until.map(timestamp),
        cause: cause.or(failed).unwrap_or_default(),
    }
}

fn entry(call: ProviderCallView) -> LedgerEntry {
    let ProviderCallView { book, provider, model, state, outcome, currency, cost_micro, called_at, .. } = call;
    let whole = |number: Option<u64>| number.map_or(0, |number| i64::try_from(number).unwrap_or(i64::MAX));
    LedgerEntry {
        audiobook_id: book.map(|book| book.to_string()).unwrap_or_default(),
        provider,
        model,
        audio_ms: whole(call.audio_ms),
        tokens_in: whole(call.tokens_in),
        tokens_out: whole(call.tokens_out),
        cost_micro,
        currency: currency.unwrap_or_default(),
        outcome: outcome.unwrap_or(state),
        called_at: Some(timestamp(called_at)),
    }
}
