//! Comparing a face with one subject, or with all of the tenant.

use accounts::Caller;
use api_kit::auth::Authorized;
use api_kit::error::{ApiError, ServiceError};
use api_kit::extract::StrictQuery;
use api_kit::routes;
use api_kit::scope::FacesRead;
use axum::Json;
use axum::extract::State;
use contracts::SubjectId;
use contracts::api::{FaceMatch, FaceSearch, Problem, Verification};
use gallery::{Identity, Look, Match, OrderedSearch, decide, expected_false_matches};
use platform::query::{Invalid, Parameters, Query};

use super::error::{FaceError, gallery_failure, rate_failure};
use super::image_body::ImageBody;
use super::{App, Routes};

/// How often two strangers may be taken for one person, if the caller does not say.
const DEFAULT_RATE: f64 = 1e-4;
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
    /// Id of the subject.
    subject: SubjectId,
    /// The share of comparisons in which strangers may be taken for the same person.
    #[param(value_type = Option<f64>, default = 0.0001)]
    false_match_rate: f64,
}

impl Parameters for VerifyQuery {
    fn parse(query: &mut Query) -> Result<Self, Invalid> {
        let missing = || Invalid("subject is missing; name the id of the subject to compare with".to_owned());
        let subject = query.parsed("subject")?.ok_or_else(missing)?;
        Ok(Self { subject, false_match_rate: rate(query)? })
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

/// Whether the one face of an image is that of a subject.
#[utoipa::path(
    post, path = "/v1/faces/verify", operation_id = "verify_face", tag = "faces", params(VerifyQuery),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"))),
    responses(
        (status = 200, body = Verification),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no subject has the id"),
    )
)]
pub async fn verify(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    StrictQuery(VerifyQuery { subject, false_match_rate }): StrictQuery<VerifyQuery>,
    image: ImageBody,
) -> Result<Json<Verification>, ApiError> {
    app.database.subject(&caller.tenant, subject).await?.ok_or(FaceError::NoSubject(subject))?;
    let model = app.encoder.model().await?;
    let threshold = model.calibration.threshold_for(false_match_rate).map_err(|error| rate_failure(&error))?;
    let (_, embedding) = app.face(image.encoded).await?;
    let key = App::key(&caller.tenant, &model);
    let vectors = app.database.vectors_of_subject(&key, subject).await.map_err(gallery_failure)?;
    let mut comparison = OrderedSearch::new(&embedding, 1, -1.0);
    for vector in &vectors {
        let damaged =
            |error: gallery::EmbeddingError| gallery_failure(gallery::GalleryError::Damaged(error.to_string()));
        comparison.compare(vector).map_err(damaged)?;
    }
    let matches = comparison.finish();
    let similarity = matches.first().map(|nearest| nearest.similarity);
    let same = matches!(decide(&[Look::Compared(matches)], threshold), Identity::Subject { .. });
    Ok(Json(Verification { same, similarity, threshold, false_match_rate, model: model.name.clone() }))
}

/// The subjects that the one face of an image may be: those whose faces are at least as similar as the rate demands.
#[utoipa::path(
    post, path = "/v1/faces/search", operation_id = "search_faces", tag = "faces", params(SearchQuery),
    request_body(content(("image/jpeg"), ("image/png"), ("image/webp"))),
    responses((status = 200, body = FaceSearch))
)]
pub async fn search(
    State(app): State<App>,
    Authorized { caller, .. }: Authorized<FacesRead>,
    StrictQuery(SearchQuery { limit, false_match_rate }): StrictQuery<SearchQuery>,
    image: ImageBody,
) -> Result<Json<FaceSearch>, ApiError> {
    let model = app.encoder.model().await?;
    let threshold = model.calibration.threshold_for(false_match_rate).map_err(|error| rate_failure(&error))?;
    let (_, embedding) = app.face(image.encoded).await?;
    let key = App::key(&caller.tenant, &model);
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

/// The matches with their names. A subject that was deleted since the search is left out.
async fn named(app: &App, caller: &Caller, matches: Vec<Match>) -> Result<Vec<FaceMatch>, ApiError> {
    let ids: Vec<SubjectId> = matches.iter().map(|found| found.subject).collect();
    let mut records = app.database.subjects_by_id(&caller.tenant, &ids).await?;
    let named = matches.into_iter().filter_map(|found| {
        let record = records.remove(&found.subject)?;
        let (external_id, name) = (record.external_id, record.name);
        Some(FaceMatch { subject: found.subject, external_id, name, similarity: found.similarity })
    });
    Ok(named.collect())
}
