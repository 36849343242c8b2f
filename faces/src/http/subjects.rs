//! Subjects: creating, reading, changing, merging, deleting.

use accounts::Caller;
use api_kit::auth::{AuthError, Authorized};
use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::{DEFAULT_LIMIT, NoQuery, PathId, STEP, StrictQuery, cursor_of, limit, read_page};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use api_kit::scope::{FacesRead, FacesWrite};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use contracts::SubjectId;
use contracts::api::{Consent, DeletedSubject, NewSubject, Page, Problem, SubjectChange, SubjectMerge, SubjectView};
use http::StatusCode;
use http::header::LOCATION;
use jiff::{SignedDuration, Timestamp};
use platform::query::{Invalid, Parameters, Query};
use store::relational::{self, MAX_SUBJECTS_PAGE, MergeOutcome, SubjectWriteOutcome};
use store::{Forgotten, List, PageCursor};
use uuid::Uuid;

use super::error::FaceError;
use super::images::remove_twins;
use super::subject_views::{view_of, views};
use super::{App, Routes};
use crate::consent::end_consent;
use crate::forget::{erase_photographs, forget, remaining};

/// Maximum number of characters of what names a consent.
const MAX_REFERENCE: usize = 200;
/// How far the clock of a client may be ahead.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Both databases store every time up to this one: 9999-01-01.
const LAST_DAY: Timestamp = Timestamp::constant(253_370_764_800, 0);

// The database would return fewer than are asked for, as at the end of the list.
const _: () = assert!(STEP <= MAX_SUBJECTS_PAGE);

/// The routes of this file.
pub fn routes() -> Routes {
    routes![list, create, one, change, merge, remove]
}

/// The query of a list of subjects.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SubjectsQuery {
    /// Only the subject with this external id.
    #[param(value_type = Option<String>)]
    external_id: Option<String>,
    /// Most items of a page. A page with long items ends earlier, at about 1 MiB.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: u32,
    /// The `next_cursor` of the previous page.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9_-]{8,256}$")]
    cursor: Option<PageCursor>,
}

impl Parameters for SubjectsQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let cursor = query.text("cursor")?.map(|text| cursor_of(List::Subjects, &text)).transpose()?;
        let limit = limit(query, DEFAULT_LIMIT)?;
        let external_id = query.text("external_id")?;
        check_text("external_id", external_id.as_deref())?;
        Ok(Self { external_id, limit, cursor })
    }
}

/// The subjects, newest first.
#[utoipa::path(
    get, path = "/v1/faces/subjects", operation_id = "list_subjects", tag = "faces", params(SubjectsQuery),
    responses((status = 200, body = Page<SubjectView>))
)]
pub async fn list(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    StrictQuery(query): StrictQuery<SubjectsQuery>,
) -> Result<Json<Page<SubjectView>>, ApiError> {
    let SubjectsQuery { external_id, limit, cursor } = query;
    if let Some(external_id) = external_id {
        let found = app.database.subject_by_external_id(&caller.tenant, &external_id).await?;
        let items = views(&app, &caller, found.into_iter().collect()).await?;
        return Ok(Json(Page { items, next_cursor: None }));
    }
    let read = |after: Option<PageCursor>, most: u32| {
        let (app, caller) = (&app, &caller);
        async move {
            let records = app.database.subjects(&caller.tenant, after.as_ref(), most).await?;
            views(app, caller, records).await
        }
    };
    let position = |last: &SubjectView| PageCursor { at: last.created_at, id: last.id.to_string() };
    Ok(Json(read_page(List::Subjects, limit, cursor, read, position).await?))
}

/// Creates a subject. A face of it is enrolled by `POST /v1/faces/subjects/{id}/images`.
#[utoipa::path(
    post, path = "/v1/faces/subjects", operation_id = "create_subject", tag = "faces", request_body = NewSubject,
    responses(
        (status = 201, body = SubjectView, description = "The subject is created",
            headers(("Location" = String, description = "The path of the subject"))),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`external_id_taken`: another subject has this external id; `too_many_subjects`: the user has as many \
                           subjects as the operator allows"),
    )
)]
pub async fn create(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    _: NoQuery,
    JsonBody(NewSubject { external_id, name, metadata, consent }): JsonBody<NewSubject>,
) -> Result<Response, ApiError> {
    check_text("external_id", external_id.as_deref())?;
    check_text("name", name.as_deref())?;
    check_consent(consent.as_ref())?;
    let id = SubjectId::from_uuid(Uuid::now_v7());
    let new = relational::NewSubject { id, external_id, name, metadata, consent };
    let outcome = app.database.add_subject(&caller.tenant, caller.user, &new, Timestamp::now()).await?;
    written(outcome, id)?;
    let created = Json(view_of(&app, &caller, id).await?);
    Ok((StatusCode::CREATED, [(LOCATION, format!("/v1/faces/subjects/{id}"))], created).into_response())
}

/// One subject.
#[utoipa::path(
    get, path = "/v1/faces/subjects/{id}", operation_id = "get_subject", tag = "faces",
    params(("id" = SubjectId, Path, description = "The subject's id")),
    responses(
        (status = 200, body = SubjectView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
    )
)]
pub async fn one(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    PathId(id): PathId<SubjectId>,
    _: NoQuery,
) -> Result<Json<SubjectView>, ApiError> {
    Ok(Json(view_of(&app, &caller, id).await?))
}

/// Changes a subject. With `consent` as `null`, the consent is withdrawn: the enrolled faces are erased, and no search that begins after
/// the response finds them, on any instance.
#[utoipa::path(
    patch, path = "/v1/faces/subjects/{id}", operation_id = "change_subject", tag = "faces", request_body = SubjectChange,
    params(("id" = SubjectId, Path, description = "The subject's id")),
    responses(
        (status = 200, body = SubjectView),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`external_id_taken`: another subject has this external id"),
    )
)]
pub async fn change(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(id): PathId<SubjectId>,
    _: NoQuery,
    JsonBody(SubjectChange { external_id, name, metadata, consent }): JsonBody<SubjectChange>,
) -> Result<Json<SubjectView>, ApiError> {
    check_text("external_id", external_id.as_ref().and_then(Option::as_deref))?;
    check_text("name", name.as_ref().and_then(Option::as_deref))?;
    check_consent(consent.as_ref().and_then(Option::as_ref))?;
    let metadata = metadata.map(Option::unwrap_or_default);
    let change = relational::SubjectChange { external_id, name, metadata, consent };
    let now = Timestamp::now();
    let end = || end_consent(&app.database, &*app.blobs, &caller.tenant, id, now);
    if matches!(change.consent, Some(Some(_))) {
        // What an earlier consent leaves to be deleted, before the new one is recorded.
        end().await?;
    }
    written(app.database.change_subject(&caller.tenant, id, &change, now).await?, id)?;
    if change.consent == Some(None) {
        end().await?;
    }
    Ok(Json(view_of(&app, &caller, id).await?))
}

/// Merges another subject into this one: two that are the same person. The other's enrolled faces become this one's, and the other is
/// deleted with its name, external id and metadata. Detections and alerts from before keep the other's id, and detections are shown with this
/// one's name and found by its id. On watchlists this one takes its place. Of faces with the same image, one stays. The consent of this
/// one is not changed, and must cover the other's faces. After an error, send the request again: it does the rest.
#[utoipa::path(
    post, path = "/v1/faces/subjects/{id}/merge", operation_id = "merge_subjects", tag = "faces", request_body = SubjectMerge,
    params(("id" = SubjectId, Path, description = "The subject that stays")),
    responses(
        (status = 200, body = SubjectView, description = "The subject that stays"),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`forbidden`: the credential does not allow it; `consent_missing`: the consent of one of them has ended, or the \
                           subject that stays has none where it is required"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no subject has one of the ids; also if the one that stays was deleted after the merge"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`conflict`: together they have too many faces; `consent_differs`: the other one has a recorded consent, and the one \
                           that stays has none, or one that ends later"),
    )
)]
pub async fn merge(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(id): PathId<SubjectId>,
    _: NoQuery,
    JsonBody(SubjectMerge { from }): JsonBody<SubjectMerge>,
) -> Result<Json<SubjectView>, ApiError> {
    match app.database.merge_subjects(&caller.tenant, from, id, Timestamp::now()).await? {
        MergeOutcome::Merged(_) => {}
        // An earlier request may have failed before the watchlists were changed.
        MergeOutcome::Unknown(unknown) if unknown == from && is_merged_into(&app, &caller, from, id).await? => {}
        MergeOutcome::Unknown(unknown) => return Err(FaceError::NoSubject(unknown).into()),
        MergeOutcome::Itself => return Err(FaceError::MergedWithItself.into()),
        MergeOutcome::NoConsent(id) => return Err(FaceError::ConsentMissing(id).into()),
        MergeOutcome::ConsentDiffers => return Err(FaceError::ConsentDiffers { from, into: id }.into()),
        MergeOutcome::TooMany => return Err(FaceError::TooManyFaces.into()),
    }
    app.documents.leave_watchlists(&caller.tenant, from, Some(id)).await?;
    remove_twins(&app, &caller.tenant, id).await?;
    Ok(Json(view_of(&app, &caller, id).await?))
}

async fn is_merged_into(app: &App, caller: &Caller, from: SubjectId, into: SubjectId) -> Result<bool, ApiError> {
    Ok(app.database.merged_subjects(&caller.tenant, into).await?.contains(&from))
}

/// Deletes a subject with its name, its enrolled faces and their kept images, and forgets it: on detections and alerts `identity` becomes
/// `forgotten` and the id is removed, kept images of frames in which it was recognised are deleted, and it leaves all watchlists. Subjects
/// that were merged into it are forgotten too. No search
/// that begins after the response finds it, on any instance. The response says what still has the id, and until when. After an error or
/// a timeout, send the request again: it does the rest.
#[utoipa::path(
    delete, path = "/v1/faces/subjects/{id}", operation_id = "delete_subject", tag = "faces",
    params(("id" = SubjectId, Path, description = "The subject's id")),
    responses(
        (status = 200, body = DeletedSubject, description = "What was deleted, and what still has the id"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no subject has the id, and no detection or alert"),
    )
)]
pub async fn remove(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesWrite>,
    PathId(id): PathId<SubjectId>,
    _: NoQuery,
) -> Result<Json<DeletedSubject>, ApiError> {
    let now = Timestamp::now();
    let deleted = app.database.delete_subject(&caller.tenant, id, now).await?;
    if deleted.is_none() && app.database.is_merged(&caller.tenant, id).await? {
        // The person is enrolled under another id, so it is not forgotten under this one alone.
        return Err(FaceError::NoSubject(id).into());
    }
    // Also without the subject: an earlier request may have failed here.
    let deleted_at = match deleted {
        Some(_) => Some(now),
        None => app.database.deleted_at(&caller.tenant, id).await?,
    };
    let photographs = match deleted_at {
        Some(deleted_at) => erase_photographs(app.uploads.as_ref(), &caller.tenant, deleted_at).await?,
        None => 0,
    };
    let forgotten = forget(&app.database, &*app.documents, &*app.blobs, &caller.tenant, id).await?;
    if deleted.is_none() && photographs == 0 && forgotten == Forgotten::default() {
        return Err(FaceError::NoSubject(id).into());
    }
    let relational::DeletedSubject { enrolled, negatives, models } = deleted.unwrap_or_default();
    let Forgotten { detections, alerts, images, enrolment_images } = forgotten;
    let remaining = remaining(&app.topics, now);
    Ok(Json(DeletedSubject { enrolled, negatives, models, detections, alerts, images, enrolment_images, remaining }))
}

/// Names are shown, and databases do not store every control character.
fn check_text(field: &str, text: Option<&str>) -> Result<(), Invalid> {
    match text {
        Some(text) if text.trim().is_empty() || text.chars().any(char::is_control) => {
            Err(Invalid(format!("{field} must have a visible character and no control characters")))
        }
        _ => Ok(()),
    }
}

/// A consent is given in the past, ends in the future, and has a reference that can be shown.
fn check_consent(consent: Option<&Consent>) -> Result<(), Invalid> {
    let Some(Consent { given_at, until, reference }) = consent else { return Ok(()) };
    let now = Timestamp::now();
    if *given_at < Timestamp::UNIX_EPOCH || *given_at > now.checked_add(CLOCK_SKEW).unwrap_or(now) {
        return Err(Invalid("consent.given_at must be a time in the past, from 1970-01-01T00:00:00Z on".to_owned()));
    }
    if until.is_some_and(|until| until <= now || until > LAST_DAY) {
        return Err(Invalid("consent.until must be a time in the future, before the year 9999; leave it out for a consent without an end".to_owned()));
    }
    if reference.as_ref().is_some_and(|text| text.chars().count() > MAX_REFERENCE) {
        return Err(Invalid(format!("consent.reference must have at most {MAX_REFERENCE} characters")));
    }
    check_text("consent.reference", reference.as_deref())
}

fn written(outcome: SubjectWriteOutcome, id: SubjectId) -> Result<(), ApiError> {
    match outcome {
        SubjectWriteOutcome::Stored => Ok(()),
        SubjectWriteOutcome::ExternalIdTaken => Err(FaceError::ExternalIdTaken.into()),
        SubjectWriteOutcome::TooLong(field, most) => {
            Err(RequestError::Invalid(format!("{field} must have at most {most} bytes")).into())
        }
        SubjectWriteOutcome::IdTaken => {
            Err(ServiceError::Internal(anyhow::anyhow!("the new id {id} is that of another subject")).into())
        }
        SubjectWriteOutcome::Unknown => Err(FaceError::NoSubject(id).into()),
        SubjectWriteOutcome::TooManySubjects(limit) => Err(FaceError::TooManySubjects(limit).into()),
        SubjectWriteOutcome::NoUser => Err(AuthError::InvalidCredential.into()),
    }
}
