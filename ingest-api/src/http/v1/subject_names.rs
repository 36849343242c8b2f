//! Names of the people whose faces were recognised. Events and documents have only the ids of subjects, so names are added when a
//! detection is read, and a name that was changed or deleted is so everywhere at once. A detection keeps its id when the subject is merged, and
//! has the name of the one that stays.

use std::collections::{BTreeMap, BTreeSet};

use accounts::{Caller, Scope};
use contracts::SubjectId;
use contracts::api::DetectionView;
use store::relational::MAX_SUBJECTS_PAGE;

use crate::http::app::App;

/// The attribute with the id of a subject.
pub const SUBJECT: &str = "subject";

/// Adds the names of the caller's subjects, if its credential allows to read faces. Without the database there are no names, but still
/// the detections.
pub async fn add<'a>(app: &App, caller: &Caller, views: impl Iterator<Item = &'a mut DetectionView>) {
    if !caller.may(Scope::FacesRead) {
        return;
    }
    let named: Vec<(SubjectId, &mut DetectionView)> =
        views.filter_map(|view| Some((subject_of(view)?, view))).collect();
    let ids: Vec<SubjectId> = named.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>().into_iter().collect();
    let mut records = BTreeMap::new();
    for ids in ids.chunks(MAX_SUBJECTS_PAGE as usize) {
        match app.subjects.people_by_id(&caller.tenant, ids).await {
            Ok(found) => records.extend(found),
            Err(error) => {
                tracing::warn!(%error, "detections are returned without the names of subjects");
                return;
            }
        }
    }
    for (id, view) in named {
        view.subject_name = records.get(&id).and_then(|record| record.name.clone());
    }
}

fn subject_of(view: &DetectionView) -> Option<SubjectId> {
    view.detection.attributes.text(SUBJECT).and_then(subject_id)
}

/// The subject with this id. Only an id as Sightline writes it: another spelling, which a program that sends detections may use, is not found
/// when the subject is deleted.
pub fn subject_id(text: &str) -> Option<SubjectId> {
    text.parse().ok().filter(|id: &SubjectId| id.to_string() == text)
}
