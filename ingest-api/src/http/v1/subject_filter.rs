//! The filter `attributes.subject`: a person is also found on detections from before another subject was merged into it, which keep the
//! earlier id.
//!
//! In: the attributes that a request names. Out: for each, the values of which a detection must have one. Guarantee: a caller without the
//! scope `faces:read` is not told who was merged.

use accounts::{Caller, Scope};
use api_kit::error::ApiError;
use contracts::AttributeName;

use super::subject_names::{SUBJECT, subject_id};
use crate::http::app::App;
use crate::http::extract::attributes::AttributeFilters;

/// Maximum number of earlier ids of a subject that a request asks for: those of the newest subjects.
const MAX_FORMER_IDS: usize = 100;

/// The values of each attribute.
///
/// # Errors
/// When the ids of a subject cannot be read: without them, detections would be missing.
pub async fn values(
    app: &App,
    caller: &Caller,
    AttributeFilters(filters): AttributeFilters,
) -> Result<Vec<(AttributeName, Vec<String>)>, ApiError> {
    let mut attributes = Vec::with_capacity(filters.len());
    for (name, text) in filters {
        let mut values = Vec::new();
        if name.as_str() == SUBJECT
            && caller.may(Scope::FacesRead)
            && let Some(subject) = subject_id(&text)
        {
            let merged = app.subjects.merged_subjects(&caller.tenant, subject).await?;
            // Ids begin with the time of their creation.
            values.extend(merged.iter().rev().take(MAX_FORMER_IDS).map(ToString::to_string));
        }
        values.push(text);
        attributes.push((name, values));
    }
    Ok(attributes)
}
