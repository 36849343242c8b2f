//! Subjects as a caller may see them.
//!
//! In: stored subjects of the caller's tenant. Out: their views, with the number of their enrolled faces. Guarantee: a caller without the scope
//! `faces:read`, who may only write, is told ids and times alone. What such a caller sends is not sent back either, so that a response never
//! shows whether a field was set before.

use std::collections::BTreeMap;

use accounts::{Caller, Scope};
use api_kit::error::ApiError;
use contracts::SubjectId;
use contracts::api::SubjectView;
use gallery::GalleryKey;
use store::relational::{Metadata, SubjectRecord};

use super::App;
use super::error::FaceError;

/// A subject of the caller.
///
/// # Errors
/// When there is none with the id, or the database is out of reach.
pub async fn view_of(app: &App, caller: &Caller, id: SubjectId) -> Result<SubjectView, ApiError> {
    let record = app.database.subject(&caller.tenant, id).await?;
    let mut views = views(app, caller, record.into_iter().collect()).await?;
    Ok(views.pop().ok_or(FaceError::NoSubject(id))?)
}

/// The views of subjects, in their order.
///
/// # Errors
/// When the database is out of reach.
pub async fn views(app: &App, caller: &Caller, records: Vec<SubjectRecord>) -> Result<Vec<SubjectView>, ApiError> {
    if !caller.may(Scope::FacesRead) {
        return Ok(records.into_iter().map(unread).collect());
    }
    let ids: Vec<SubjectId> = records.iter().map(|record| record.id).collect();
    let counts = match app.active_name().await? {
        Some(model) => {
            let key = GalleryKey { tenant: caller.tenant.clone(), model };
            app.database.count_enrolled(&key, &ids).await?
        }
        None => BTreeMap::new(),
    };
    let view = |record: SubjectRecord| {
        let SubjectRecord { id, external_id, name, metadata, consent, created_at, updated_at } = record;
        let faces = Some(counts.get(&id).copied().unwrap_or_default());
        SubjectView { id, external_id, name, metadata, consent, faces, created_at, updated_at }
    };
    Ok(records.into_iter().map(view).collect())
}

/// The view for a caller who may not read.
fn unread(SubjectRecord { id, created_at, updated_at, .. }: SubjectRecord) -> SubjectView {
    let metadata = Metadata::new();
    SubjectView { id, external_id: None, name: None, metadata, consent: None, faces: None, created_at, updated_at }
}
