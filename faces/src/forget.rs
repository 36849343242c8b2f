//! Forgetting deleted subjects: in documents, on kept images, in photographs that wait for their verification, and again for what comes
//! later.
//!
//! A result that was on its way during a deletion is stored after it, with the id. So the ids of deleted subjects are forgotten again
//! after a minute, two, four and so on, and at last when no result with them can come any more. This also finishes a deletion whose
//! process ended. The tenants of deleted users (`deleted_users.rs`) are erased again in the same way, and the end of consents (`consent.rs`) runs
//! beside it.

use async_trait::async_trait;
use contracts::api::{HeldData, RemainingData};
use contracts::topics::RETENTION_RESERVE;
use contracts::{SubjectId, TenantId, TopicRole, Topics};
use jiff::{SignedDuration, Timestamp};
use store::relational::{DeletedTenant, FormerSubject};
use store::{Blobs, Documents, Forgotten, Relational, StoreError, forget_subject};

use crate::Deps;
use crate::consent::end_consents_regularly;
use crate::repeated_deletions::{RepeatedDeletion, repeat_deletions};
use crate::uploads::{Uploads, erase_before};

/// Forgets a subject, with the ids of those that were merged into it.
pub async fn forget(
    database: &Relational,
    documents: &dyn Documents,
    blobs: &dyn Blobs,
    tenant: &TenantId,
    subject: SubjectId,
) -> Result<Forgotten, StoreError> {
    let mut forgotten = forget_subject(documents, blobs, tenant, subject).await?;
    for merged in database.merged_subjects(tenant, subject).await? {
        forgotten += forget_subject(documents, blobs, tenant, merged).await?;
    }
    Ok(forgotten)
}

/// Erases the photographs of a tenant that have waited for their verification since before the deletion of a subject: they may show the same
/// person, and would enrol the face again. Which of a user's subjects is the user's own is not known any more, so it is done for all. Returns their number.
pub async fn erase_photographs(
    uploads: Option<&Uploads>,
    tenant: &TenantId,
    deleted_at: Timestamp,
) -> Result<u64, StoreError> {
    let Some(Uploads { folder, .. }) = uploads else { return Ok(0) };
    let erased = erase_before(folder, tenant, deleted_at).await?;
    if erased > 0 {
        tracing::info!(erased, "photographs that waited were erased with a subject of their user");
    }
    Ok(erased)
}

/// Forgets deleted subjects again, erases again the tenants of deleted users, and erases the faces of people whose consent ended, without end.
/// Several processes may do so at once.
pub async fn forget_regularly(deps: &Deps) {
    tokio::join!(
        repeat_deletions::<FormerSubject>(deps),
        repeat_deletions::<DeletedTenant>(deps),
        end_consents_regularly(deps)
    );
}

#[async_trait]
impl RepeatedDeletion for FormerSubject {
    const WHAT: &'static str = "ids of deleted subjects";

    async fn due(database: &Relational, now: Timestamp, limit: u32) -> Result<Vec<Self>, StoreError> {
        database.former_subjects_due(now, limit).await
    }

    async fn repeat(&self, deps: &Deps) -> Result<(), StoreError> {
        erase_photographs(deps.uploads.as_ref(), &self.tenant, self.deleted_at).await?;
        let forgotten = forget_subject(&*deps.documents, &*deps.blobs, &self.tenant, self.id).await?;
        if forgotten != Forgotten::default() {
            let Forgotten { detections, alerts, images, enrolment_images } = forgotten;
            tracing::info!(
                detections,
                alerts,
                images,
                enrolment_images,
                "a deleted subject was forgotten on what came after its deletion"
            );
        }
        Ok(())
    }

    fn next(&self, deps: &Deps, now: Timestamp) -> Option<Timestamp> {
        Self::next(self, now, ids_kept(&deps.topics))
    }

    async fn set_next(&self, database: &Relational, next: Option<Timestamp>) -> Result<(), StoreError> {
        database.set_next_forgetting(self, next).await
    }
}

/// For how long results with the id of a deleted subject can come: those of the log, and dead letters, which become results again.
pub fn ids_kept(topics: &Topics) -> SignedDuration {
    let results = retention(topics, TopicRole::Results).saturating_add(retention(topics, TopicRole::ResultsDlq));
    results.saturating_add(RETENTION_RESERVE)
}

/// For how long a topic keeps a message.
pub fn retention(topics: &Topics, role: TopicRole) -> SignedDuration {
    SignedDuration::try_from(topics.get(role).retention).unwrap_or(SignedDuration::MAX)
}

/// The place of a receipt that has photographs which wait for their verification.
pub const PHOTOGRAPHS: &str = "photographs in the folder of uploads";

/// What still has the id of a subject that is deleted `now`, or images of people before the camera.
pub fn remaining(topics: &Topics, now: Timestamp) -> Vec<RemainingData> {
    let after = |time: SignedDuration| now.checked_add(time).unwrap_or(Timestamp::MAX);
    let until =
        |place: String, holds: HeldData, time: SignedDuration| RemainingData { place, holds, until: Some(after(time)) };
    let topic = |holds: HeldData, role: TopicRole| {
        until(format!("topic {}", topics.get(role).name), holds, retention(topics, role))
    };
    let with_id = [TopicRole::Results, TopicRole::ResultsDlq, TopicRole::Replies, TopicRole::Alerts];
    let with_images = [TopicRole::Frames, TopicRole::FramesDlq];
    let mut all: Vec<RemainingData> = with_id.into_iter().map(|role| topic(HeldData::SubjectId, role)).collect();
    all.push(until("deleted subjects".to_owned(), HeldData::SubjectId, ids_kept(topics)));
    all.extend(with_images.into_iter().map(|role| topic(HeldData::Images, role)));
    let inbox = retention(topics, TopicRole::Frames).saturating_add(RETENTION_RESERVE);
    all.push(until("images in the inbox".to_owned(), HeldData::Images, inbox));
    // Those of other programs: a file whose message is never read stays until somebody deletes it.
    all.push(RemainingData { place: PHOTOGRAPHS.to_owned(), holds: HeldData::Images, until: None });
    all.push(RemainingData { place: "backups".to_owned(), holds: HeldData::Everything, until: None });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_a_receipt_are_those_of_the_topics_file() {
        let topics = Topics::parse(&contracts::topics::DEFAULT.replace("retention: 7d", "retention: 3d")).unwrap();
        let all = remaining(&topics, "2026-01-02T00:00:00Z".parse().unwrap());
        let until = |place: &str| {
            let found = all.iter().find(|data| data.place == place).unwrap();
            (found.holds, found.until.map(|until| until.to_string()))
        };
        let at = |day: &str| Some(format!("2026-01-{day}T00:00:00Z"));
        assert_eq!(until("topic sightline.alerts"), (HeldData::SubjectId, at("05")));
        assert_eq!(until("topic sightline.results"), (HeldData::SubjectId, at("03")));
        assert_eq!(until("topic sightline.results.dlq"), (HeldData::SubjectId, at("16")));
        assert_eq!(until("topic sightline.frames"), (HeldData::Images, at("03")));
        assert_eq!(until("topic sightline.frames.dlq"), (HeldData::Images, at("16")));
        // A dead letter of the last day becomes a result, which is kept for a day.
        assert_eq!(until("deleted subjects"), (HeldData::SubjectId, at("18")));
        assert_eq!(until(PHOTOGRAPHS), (HeldData::Images, None));
        assert_eq!(until("backups"), (HeldData::Everything, None));
    }
}
