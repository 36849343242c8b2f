//! Watchlists: named sets of subjects, which rules read as `watchlist("name")`.
//!
//! In: ids of subjects of the caller. Out: the lists, in the documents, where the indexer reads them; they have no names of people.
//! Guarantee: a subject that is deleted or merged while it is put on a list does not stay on it.

use std::collections::BTreeSet;

use accounts::Caller;
use api_kit::auth::{AuthError, Authorized};
use api_kit::error::{ApiError, RequestError};
use api_kit::extract::{NoQuery, PathId, PathIds};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::{FacesRead, FacesWrite};
use axum::Json;
use axum::extract::State;
use contracts::api::{NewWatchlist, Page, Problem, WatchlistSummary, WatchlistView};
use contracts::{SubjectId, WatchlistName};
use http::StatusCode;
use store::relational::MAX_SUBJECTS_PAGE;
use store::{PutWatchlistOutcome, Watchlist, WatchlistMemberOutcome};

use super::error::FaceError;
use super::{App, Routes};

/// Maximum number of watchlists of a tenant.
pub const MAX_WATCHLISTS: usize = 20;
/// Maximum number of subjects on one.
pub const MAX_WATCHLIST_SUBJECTS: usize = 1_000;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, one, set, remove, add_subject, remove_subject]
}

/// The watchlists by name, with the numbers of their subjects.
#[utoipa::path(
    get, path = "/v1/faces/watchlists", operation_id = "list_watchlists", tag = "faces",
    responses((status = 200, body = Page<WatchlistSummary>))
)]
pub async fn list(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    _: NoQuery,
) -> Result<Json<Page<WatchlistSummary>>, ApiError> {
    let lists = app.documents.watchlists(&caller.tenant).await?;
    let summary = |Watchlist { name, subjects, .. }: Watchlist| WatchlistSummary { name, count: subjects.len() as u64 };
    // There are few lists, so there is only one page.
    Ok(Json(Page { items: lists.into_iter().map(summary).collect(), next_cursor: None }))
}

/// One watchlist with the ids of its subjects.
#[utoipa::path(
    get, path = "/v1/faces/watchlists/{name}", operation_id = "get_watchlist", tag = "faces",
    params(("name" = WatchlistName, Path, description = "The watchlist's name")),
    responses(
        (status = 200, body = WatchlistView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no watchlist has the name"),
    )
)]
pub async fn one(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    PathId(name): PathId<WatchlistName>,
    _: NoQuery,
) -> Result<Json<WatchlistView>, ApiError> {
    Ok(Json(watchlist(&app, &caller, name).await?))
}

/// Creates a watchlist, or replaces its subjects. Rules that name it count within two seconds, on every instance.
#[utoipa::path(
    put, path = "/v1/faces/watchlists/{name}", operation_id = "set_watchlist", tag = "faces", request_body = NewWatchlist,
    params(("name" = WatchlistName, Path, description = "The watchlist's name")),
    responses(
        (status = 200, body = WatchlistView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has one of the ids"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`conflict`: there are too many watchlists"),
    )
)]
pub async fn set(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(name): PathId<WatchlistName>,
    _: NoQuery,
    JsonBody(NewWatchlist { subjects }): JsonBody<NewWatchlist>,
) -> Result<Json<WatchlistView>, ApiError> {
    let subjects: BTreeSet<SubjectId> = subjects.into_iter().collect();
    if subjects.len() > MAX_WATCHLIST_SUBJECTS {
        let reason = format!("subjects must have at most {MAX_WATCHLIST_SUBJECTS} ids; use several watchlists");
        return Err(RequestError::Invalid(reason).into());
    }
    check_active(&app, &caller).await?;
    check_exist(&app, &caller, &subjects).await?;
    if app.documents.put_watchlist(&caller.tenant, &name, &subjects, MAX_WATCHLISTS).await? == PutWatchlistOutcome::Full
    {
        return Err(FaceError::TooManyWatchlists.into());
    }
    // A list that is stored after the documents of a deleted user were erased would stay for ever.
    if let Err(inactive) = check_active(&app, &caller).await {
        app.documents.delete_watchlist(&caller.tenant, &name).await?;
        return Err(inactive);
    }
    leave_if_missing(&app, &caller, &subjects).await?;
    Ok(Json(watchlist(&app, &caller, name).await?))
}

/// Deletes a watchlist. Its subjects stay. Rules that name it are false for everybody.
#[utoipa::path(
    delete, path = "/v1/faces/watchlists/{name}", operation_id = "delete_watchlist", tag = "faces",
    params(("name" = WatchlistName, Path, description = "The watchlist's name")),
    responses(
        (status = 204, description = "The watchlist is deleted"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no watchlist has the name"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(name): PathId<WatchlistName>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    let existed = app.documents.delete_watchlist(&caller.tenant, &name).await?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(FaceError::NoWatchlist(name).into()) }
}

/// Puts a subject on a watchlist, if it is not on it yet.
#[utoipa::path(
    put, path = "/v1/faces/watchlists/{name}/subjects/{id}", operation_id = "add_to_watchlist", tag = "faces",
    params(
        ("name" = WatchlistName, Path, description = "The watchlist's name"),
        ("id" = SubjectId, Path, description = "The subject's id"),
    ),
    responses(
        (status = 204, description = "The subject is on the watchlist"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no watchlist has the name, or no subject the id"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "`conflict`: there are too many subjects on it"),
    )
)]
pub async fn add_subject(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathIds(name, subject): PathIds<WatchlistName, SubjectId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    let subjects = BTreeSet::from([subject]);
    check_exist(&app, &caller, &subjects).await?;
    let added = app.documents.add_to_watchlist(&caller.tenant, &name, subject, MAX_WATCHLIST_SUBJECTS).await?;
    changed(added, name, subject)?;
    leave_if_missing(&app, &caller, &subjects).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a subject from a watchlist.
#[utoipa::path(
    delete, path = "/v1/faces/watchlists/{name}/subjects/{id}", operation_id = "remove_from_watchlist", tag = "faces",
    params(
        ("name" = WatchlistName, Path, description = "The watchlist's name"),
        ("id" = SubjectId, Path, description = "The subject's id"),
    ),
    responses(
        (status = 204, description = "The subject is not on the watchlist any more"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no watchlist has the name, or the subject is not on it"),
    )
)]
pub async fn remove_subject(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathIds(name, subject): PathIds<WatchlistName, SubjectId>,
    _: NoQuery,
) -> Result<StatusCode, ApiError> {
    let removed = app.documents.remove_from_watchlist(&caller.tenant, &name, subject).await?;
    changed(removed, name, subject)?;
    Ok(StatusCode::NO_CONTENT)
}

/// A watchlist of the caller.
async fn watchlist(app: &App, caller: &Caller, name: WatchlistName) -> Result<WatchlistView, ApiError> {
    let found = app.documents.watchlist(&caller.tenant, &name).await?;
    let Watchlist { name, subjects, .. } = found.ok_or(FaceError::NoWatchlist(name))?;
    Ok(WatchlistView { name, subjects: subjects.into_iter().collect() })
}

fn changed(outcome: WatchlistMemberOutcome, name: WatchlistName, subject: SubjectId) -> Result<(), FaceError> {
    match outcome {
        WatchlistMemberOutcome::Stored => Ok(()),
        WatchlistMemberOutcome::NoList => Err(FaceError::NoWatchlist(name)),
        WatchlistMemberOutcome::NotOnList => Err(FaceError::NotOnWatchlist(name, subject)),
        WatchlistMemberOutcome::Full => Err(FaceError::WatchlistFull),
    }
}

/// Those of these subjects that the caller does not have.
async fn missing(app: &App, caller: &Caller, subjects: &BTreeSet<SubjectId>) -> Result<Vec<SubjectId>, ApiError> {
    let ids: Vec<SubjectId> = subjects.iter().copied().collect();
    let mut missing = Vec::new();
    for some in ids.chunks(MAX_SUBJECTS_PAGE as usize) {
        let found = app.database.subjects_by_id(&caller.tenant, some).await?;
        missing.extend(some.iter().filter(|id| !found.contains_key(*id)));
    }
    Ok(missing)
}

async fn check_exist(app: &App, caller: &Caller, subjects: &BTreeSet<SubjectId>) -> Result<(), ApiError> {
    match missing(app, caller, subjects).await?.first() {
        None => Ok(()),
        Some(id) => Err(FaceError::NoSubject(*id).into()),
    }
}

/// Removes subjects from the lists that were deleted or merged before they were put on one, and after they were looked up: who deleted
/// them has not found them there.
async fn leave_if_missing(app: &App, caller: &Caller, subjects: &BTreeSet<SubjectId>) -> Result<(), ApiError> {
    let missing = missing(app, caller, subjects).await?;
    for id in &missing {
        app.documents.leave_watchlists(&caller.tenant, *id, None).await?;
    }
    match missing.first() {
        None => Ok(()),
        Some(id) => Err(FaceError::NoSubject(*id).into()),
    }
}

/// Refuses a caller whose user is deleted or disabled, as during its deletion. The operator's own token is always active.
async fn check_active(app: &App, caller: &Caller) -> Result<(), ApiError> {
    let Some(id) = caller.user else { return Ok(()) };
    let user = app.database.user(id).await?;
    if user.is_some_and(|user| !user.disabled) { Ok(()) } else { Err(AuthError::InvalidCredential.into()) }
}
