//! Comparing a face with one subject, or with all of the tenant.

use std::collections::BTreeMap;

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::describe::ErrorResponse;
use api_kit::error::{ApiError, RequestError, ServiceError};
use api_kit::extract::StrictQuery;
use api_kit::routes;
use api_kit::scope::FacesRead;
use axum::Json;
use axum::extract::State;
use contracts::api::{FaceMatch, FaceSearch, NotSame, Problem, Verification};
use contracts::{SubjectId, VectorId};
use gallery::{
    Embedding, GalleryError, Identity, Look, Match, OrderedSearch, StoredVector, VectorKind, decide,
    expected_false_matches,
};
use jiff::Timestamp;
use platform::query::{Invalid, Parameters, Query};
use utoipa::IntoResponses;
use utoipa::openapi::{RefOr, Response};
use uuid::Uuid;

use super::error::{FaceError, gallery_failure, rate_failure};
use super::image_body::{ImageBody, ImagePair, UNAVAILABLE};
use super::{App, Routes};
use crate::checks::DEFAULT_RATE;

/// Default number of matches.
const DEFAULT_MATCHES: usize = 5;
/// Maximum number of matches.
const MAX_MATCHES: usize = 100;

/// The routes of this file.
pub fn routes() -> Routes {
    routes![verify, search]
}

/// The query of a verification.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VerifyQuery {
    /// Id of the subject to compare with. Without it, the body is a form with two images.
    #[param(value_type = Option<SubjectId>)]
    subject: Option<SubjectId>,
    /// The share of comparisons in which strangers may be taken for the same person.
    #[param(value_type = Option<f64>, default = 0.0001)]
    false_match_rate: f64,
}

impl Parameters for VerifyQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        Ok(Self { subject: query.parsed("subject")?, false_match_rate: rate(query)? })
    }
}

/// The query of a search.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Maximum number of matches.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100, default = 5)]
    limit: usize,
    /// The share of comparisons in which strangers may be taken for the same person.
    #[param(value_type = Option<f64>, default = 0.0001)]
    false_match_rate: f64,
}

impl Parameters for SearchQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let limit = match query.text("limit")? {
            None => DEFAULT_MATCHES,
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| (1..=MAX_MATCHES).contains(number))
                .ok_or_else(|| Invalid(format!("limit must be a whole number from 1 to {MAX_MATCHES}")))?,
        };
        Ok(Self { limit, false_match_rate: rate(query)? })
    }
}

fn rate(query: &mut Query) -> Result<f64, Invalid> {
    let Some(text) = query.text("false_match_rate")? else { return Ok(DEFAULT_RATE) };
    text.parse().map_err(|_| Invalid("false_match_rate must be a number such as 0.0001".to_owned()))
}

/// The error responses of a comparison that differ from those of other requests.
struct CompareErrors;

impl IntoResponses for CompareErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let invalid = ErrorResponse::new(
            "422",
            "`no_face`, `several_faces`: not exactly one face; `face_not_upright`, `face_not_comparable`: a face that cannot be compared; \
             `invalid_image`, `image_too_large`, `empty_body`: no image that can be decoded; `invalid`: a value is out of its range",
        );
        [invalid, UNAVAILABLE].into_iter().map(ErrorResponse::problem).collect()
    }
}

/// Whether the one face of an image is that of a subject, or of another image. With `subject`, the body is an image, or a form with
/// one in the field `image`; without it, a form with the two images `image` and `other`. Nothing is stored.
#[utoipa::path(
    post, path = "/v1/faces/verify", operation_id = "verify_face", tag = "faces", params(VerifyQuery),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"), ("multipart/form-data"))),
    responses(
        (status = 200, body = Verification),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`forbidden`: the credential does not allow it; `consent_missing`: the subject has no valid consent"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
        CompareErrors
    )
)]
pub async fn verify(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    StrictQuery(VerifyQuery { subject, false_match_rate }): StrictQuery<VerifyQuery>,
    images: ImagePair,
) -> Result<Json<Verification>, ApiError> {
    if let Some(subject) = subject {
        app.check_comparable(&caller.tenant, subject).await?;
    }
    let current = app.current_model().await?;
    let model = &current.model;
    let threshold = model.calibration.threshold_for(false_match_rate).map_err(|error| rate_failure(&error))?;
    let place = app.place(&caller.tenant)?;
    let (embedding, vectors) = match (subject, images.other) {
        (Some(subject), None) => {
            let embedding = current.face(&place, images.image).await?;
            let key = current.key(&caller.tenant);
            (embedding, app.database.vectors_of_subject(&key, subject).await.map_err(gallery_failure)?)
        }
        (None, Some(other)) => {
            let embedding = current.face(&place, images.image).await.map_err(|error| error.in_field("image"))?;
            let other = current.face(&place, other).await.map_err(|error| error.in_field("other"))?;
            // As if the other face were that of a subject.
            let (id, subject) = (VectorId::from_uuid(Uuid::nil()), SubjectId::from_uuid(Uuid::nil()));
            (embedding, vec![StoredVector { id, subject, kind: VectorKind::Enrolled, embedding: other }])
        }
        _ => {
            let reason = "with subject=ID, send one image: the body, or the field image of a form; without it, send a form with two images, in \
                          the fields image and other";
            return Err(RequestError::Invalid(reason.to_owned()).into());
        }
    };
    let Comparison { similarity, reason } = compared(&embedding, &vectors, threshold)?;
    let (same, model) = (reason.is_none(), model.name.clone());
    Ok(Json(Verification { same, reason, similarity, threshold, false_match_rate, model }))
}

/// How a face compares with one subject.
#[derive(Debug, PartialEq)]
struct Comparison {
    /// To the nearest enrolled face. `None` without one, or if a negative is as near.
    similarity: Option<f32>,
    /// Why it is not the subject.
    reason: Option<NotSame>,
}

/// Compares a face with the vectors of one subject.
fn compared(embedding: &Embedding, vectors: &[StoredVector], threshold: f32) -> Result<Comparison, ApiError> {
    let mut comparison = OrderedSearch::new(embedding, 1, -1.0);
    for vector in vectors {
        comparison.compare(vector).map_err(|error| gallery_failure(GalleryError::Damaged(error.to_string())))?;
    }
    let matches = comparison.finish();
    let similarity = matches.first().map(|nearest| nearest.similarity);
    let same = matches!(decide(&[Look::Compared(matches)], threshold), Identity::Subject { .. });
    let enrolled = vectors.iter().any(|vector| vector.kind == VectorKind::Enrolled);
    let reason = match similarity {
        _ if same => None,
        _ if !enrolled => Some(NotSame::NoFaces),
        Some(similarity) if similarity < threshold => Some(NotSame::BelowThreshold),
        // A search leaves out a subject of which a negative is as near.
        _ => Some(NotSame::Rejected),
    };
    Ok(Comparison { similarity, reason })
}

/// The subjects that the one face of an image may be: those whose faces are at least as similar as the rate demands. The body is an image, or
/// a form with one in the field `image`.
#[utoipa::path(
    post, path = "/v1/faces/search", operation_id = "search_faces", tag = "faces", params(SearchQuery),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"), ("multipart/form-data"))),
    responses(
        (status = 200, body = FaceSearch),
        (status = 403, body = Problem, content_type = "application/problem+json",
            description = "`forbidden`: the credential does not allow it; `search_off`: faces are only verified on this server"),
        CompareErrors
    )
)]
pub async fn search(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    StrictQuery(SearchQuery { limit, false_match_rate }): StrictQuery<SearchQuery>,
    image: ImageBody,
) -> Result<Json<FaceSearch>, ApiError> {
    if !app.may_search {
        return Err(FaceError::SearchOff.into());
    }
    let current = app.current_model().await?;
    let model = &current.model;
    let threshold = model.calibration.threshold_for(false_match_rate).map_err(|error| rate_failure(&error))?;
    let embedding = current.face(&app.place(&caller.tenant)?, image.encoded).await?;
    let key = current.key(&caller.tenant);
    let answers = app.galleries.search(&key, &[embedding], limit, threshold).await.map_err(gallery_failure)?;
    let no_answer = || ServiceError::Internal(anyhow::anyhow!("a search of one face has no answer"));
    let answer = answers.into_iter().next().ok_or_else(no_answer)?;
    Ok(Json(FaceSearch {
        matches: named(&app, &caller, answer.matches).await?,
        threshold,
        false_match_rate,
        expected_false_matches: expected_false_matches(false_match_rate, answer.vectors),
        subjects: answer.subjects,
        model: model.name.clone(),
    }))
}

/// The matches with their names. A subject that was deleted or whose consent ended since the search is left out.
async fn named(app: &App, caller: &Caller, matches: Vec<Match>) -> Result<Vec<FaceMatch>, ApiError> {
    let ids: Vec<SubjectId> = matches.iter().map(|found| found.subject).collect();
    let mut records = app.database.subjects_by_id(&caller.tenant, &ids).await?;
    let now = Timestamp::now();
    let named = matches.into_iter().filter_map(|found| {
        let record =
            records.remove(&found.subject).filter(|record| app.database.may_compare(record.consent.as_ref(), now))?;
        let (external_id, name) = (record.external_id, record.name);
        Some(FaceMatch { subject: found.subject, external_id, name, similarity: found.similarity })
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_no_match_has_its_reason() {
        let of = |numbers: [f32; 2]| Embedding::new(&numbers, 2).unwrap();
        let vector = |kind, numbers| {
            let (id, subject) = (VectorId::from_uuid(Uuid::now_v7()), SubjectId::from_uuid(Uuid::nil()));
            StoredVector { id, subject, kind, embedding: of(numbers) }
        };
        let (near, far) = (vector(VectorKind::Enrolled, [1.0, 0.0]), vector(VectorKind::Enrolled, [0.0, 1.0]));
        let negative = |numbers| vector(VectorKind::Negative, numbers);
        let outcome = |vectors: &[&StoredVector]| {
            let vectors: Vec<StoredVector> = vectors.iter().map(|vector| (*vector).clone()).collect();
            let Comparison { similarity, reason } = compared(&of([1.0, 0.0]), &vectors, 0.5).unwrap();
            (similarity.is_some(), reason)
        };
        assert_eq!(outcome(&[&near, &far]), (true, None));
        assert_eq!(outcome(&[]), (false, Some(NotSame::NoFaces)));
        assert_eq!(outcome(&[&negative([1.0, 0.0])]), (false, Some(NotSame::NoFaces)));
        assert_eq!(outcome(&[&far]), (true, Some(NotSame::BelowThreshold)));
        assert_eq!(outcome(&[&near, &negative([1.0, 0.0])]), (false, Some(NotSame::Rejected)));
        assert_eq!(outcome(&[&far, &negative([1.0, 0.0])]), (false, Some(NotSame::Rejected)));
        assert_eq!(outcome(&[&near, &negative([0.0, 1.0])]), (true, None));
    }
}
