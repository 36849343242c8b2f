//! Subjects as a caller may see them.
//!
//! In: stored subjects of the caller's tenant. Out: their views, with the number of their enrolled faces.

use std::collections::BTreeMap;

use accounts::Caller;
use api_kit::error::ApiError;
use contracts::SubjectId;
use contracts::api::SubjectView;
use gallery::GalleryKey;
use store::relational::SubjectRecord;

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
