//! Providers of the audio pipeline, and the ledger of their calls.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathIds, StrictQuery, cursor_of};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::BookId;
use contracts::api::{Page, Problem, ProviderAction, ProviderCallView, ProviderOrderBody, ProviderTask, ProviderView};
use platform::query::{Invalid, Parameters, Query};
use store::{List, PageCursor};

use super::Routes;
use super::auth::ShopAdmin;
use super::pages::limit;
use crate::app::App;

/// Longest name of a provider that is looked for, in characters.
const MAX_NAME: usize = 128;

/// Whether no provider can have this name. PostgreSQL has no text with a NUL.
fn is_no_name(name: &str) -> bool {
    name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control)
}

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, order, change, ledger]
}

/// The query of a list of providers.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ProvidersQuery {
    /// Only those that do this task.
    #[param(value_type = Option<ProviderTask>)]
    task: Option<ProviderTask>,
}

impl Parameters for ProvidersQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { task: query.parsed("task")? })
    }
}

/// The query of the ledger.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LedgerQuery {
    /// Only calls for this book.
    #[param(value_type = Option<BookId>)]
    book: Option<BookId>,
    /// Only calls of this provider.
    #[param(value_type = Option<String>)]
    provider: Option<String>,
    /// Most items of a page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 50, default = 20)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<PageCursor>,
}

impl Parameters for LedgerQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.map(|text| cursor_of(List::ProviderCalls, &text)).transpose()?;
        let provider = query.text("provider")?;
        if provider.as_deref().is_some_and(is_no_name) {
            let text = format!("provider: a name has from 1 to {MAX_NAME} characters, and no control characters");
            return Err(Invalid(text));
        }
        Ok(Self { book: query.parsed("book")?, provider, limit: limit(query)?, cursor })
    }
}

/// The providers of each task, in the order in which they are asked.
#[utoipa::path(
    get, path = "/v1/providers", operation_id = "list_providers", tag = "shop", params(ProvidersQuery),
    responses(
        (status = 200, body = Page<ProviderView>),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn list(
    State(app): State<App>,
    _: ShopAdmin,
    StrictQuery(ProvidersQuery { task }): StrictQuery<ProvidersQuery>,
) -> Result<Json<Page<ProviderView>>, ApiError> {
    let mut items = Vec::new();
    for known in ProviderTask::ALL.into_iter().filter(|known| task.is_none_or(|task| task == *known)) {
        items.extend(app.providers(known).await?);
    }
    // There are few providers, so there is only one page.
    Ok(Json(Page { items, next_cursor: None }))
}

/// Changes the order in which the providers of a task are asked, also for work in progress.
#[utoipa::path(
    put, path = "/v1/providers/order", operation_id = "order_providers", tag = "shop", request_body = ProviderOrderBody,
    responses(
        (status = 200, body = Page<ProviderView>, description = "The providers of the task in their order"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn order(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    _: NoQuery,
    JsonBody(order): JsonBody<ProviderOrderBody>,
) -> Result<Json<Page<ProviderView>>, ApiError> {
    Ok(Json(Page { items: app.order_providers(&viewer, order).await?, next_cursor: None }))
}

/// Enables, disables or tries a provider. A trial is one small call by a worker, which is in the ledger; 503 `no_trial`: no worker has tried it
/// in time.
#[utoipa::path(
    post, path = "/v1/providers/{name}/{action}", operation_id = "change_provider", tag = "shop",
    params(
        ("name" = String, Path, description = "The provider's name"),
        ("action" = String, Path, description = "`enable`, `disable` or `probe`"),
    ),
    responses(
        (status = 200, body = ProviderView),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no running worker has a provider with this name"),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn change(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathIds(name, action): PathIds<String, ProviderAction>,
    _: NoQuery,
) -> Result<Json<ProviderView>, ApiError> {
    Ok(Json(app.change_provider(&viewer, &name, action).await?))
}

/// The calls of providers with their cost, newest first.
#[utoipa::path(
    get, path = "/v1/ledger", operation_id = "get_ledger", tag = "shop", params(LedgerQuery),
    responses(
        (status = 200, body = Page<ProviderCallView>),
        (status = 501, body = Problem, content_type = "application/problem+json", description = "`audio_off`: there is no audio pipeline"),
    )
)]
pub async fn ledger(
    State(app): State<App>,
    _: ShopAdmin,
    StrictQuery(LedgerQuery { book, provider, limit, cursor }): StrictQuery<LedgerQuery>,
) -> Result<Json<Page<ProviderCallView>>, ApiError> {
    Ok(Json(app.ledger(book, provider, limit, cursor).await?))
}
