//! Guarantees of [`store::RecognitionStore`], and of forgetting a subject.

use bytes::Bytes;
use contracts::{AlertEvent, BlobKey, BlobKind, Detection, DetectionId, Outcome, SubjectId};
use store::{
    Blobs, Documents, Forgotten, Indexed, ObjectBlobs, PutOutcome, Recognised, RejectedIdentity, TenantScope,
    forget_subject,
};
use tempfile::TempDir;

use super::queries::NEWEST;
use crate::fixture::{IndexedBuilder, face, result, tenant, time, with_attribute};

const NOON: &str = "2026-01-02T12:00:00Z";

/// A face that was recognised.
fn seen(subject: SubjectId) -> Detection {
    let face = with_attribute(with_attribute(face(0.5), "identity", "subject"), "subject", subject.to_string());
    with_attribute(with_attribute(face, "similarity", 0.7123), "age", 30.5)
}

fn unknown() -> Detection {
    with_attribute(face(0.25), "identity", "unknown")
}

/// The face after its subject was forgotten or rejected.
fn without_subject(word: &str) -> Detection {
    with_attribute(with_attribute(face(0.5), "identity", word), "age", 30.5)
}

/// Gives the result the key of a kept image, and returns the key.
fn keep_image(indexed: &mut Indexed) -> BlobKey {
    let key = BlobKey::new(BlobKind::Frames, time(NOON), &indexed.result.tenant, indexed.frame_id());
    if let Outcome::Ok { image, .. } = &mut indexed.result.data.outcome {
        *image = Some(key.clone());
    }
    key
}

fn id(indexed: &Indexed, index: u32) -> DetectionId {
    let (frame, detector) = (indexed.frame_id(), indexed.result.data.detector.clone());
    DetectionId { frame, detector, index }
}

/// The detections of a frame, and whether one of its results has an image.
async fn frame(store: &dyn Documents, indexed: &Indexed) -> (Vec<Detection>, bool) {
    let results = store.frame(&TenantScope::All, indexed.frame_id()).await.unwrap();
    let (mut all, mut has_image) = (Vec::new(), false);
    for stored in results {
        let Outcome::Ok { detections, image, .. } = stored.result.data.outcome else { continue };
        all.extend(detections);
        has_image |= image.is_some();
    }
    (all, has_image)
}

async fn detection(store: &dyn Documents, id: &DetectionId) -> Detection {
    store.detection(&TenantScope::All, id).await.unwrap().unwrap().detection
}

/// The alerts of a frame as they are read, in the order in which they were raised.
async fn alerts_of(store: &dyn Documents, raised: &Indexed) -> Vec<AlertEvent> {
    let read = store.alerts(&TenantScope::All, &Default::default(), &NEWEST).await.unwrap();
    let found = |raised: &AlertEvent| read.iter().find(|stored| stored.alert.data.id == raised.data.id);
    raised.alerts.iter().filter_map(found).map(|stored| stored.alert.clone()).collect()
}

/// The alerts of a result with the attributes of another detection.
fn alerts_with(raised: &Indexed, detection: &Detection) -> Vec<AlertEvent> {
    let mut alerts = raised.alerts.clone();
    alerts.iter_mut().for_each(|alert| alert.data.attributes = detection.attributes.clone());
    alerts
}

/// Blobs in a folder.
fn folder() -> (ObjectBlobs, TempDir) {
    let folder = TempDir::new().unwrap();
    (ObjectBlobs::folder(folder.path().to_owned()).unwrap(), folder)
}

pub async fn a_forgotten_subject_is_on_no_detection_alert_or_image(store: &dyn Documents) {
    let (blobs, _folder) = folder();
    let (gone, other) = (SubjectId::now(), SubjectId::now());
    let mut of_gone = result(NOON, vec![seen(gone), unknown()]).with_tenant("a").with_alert("face seen");
    let mut same_frame = result(NOON, vec![]).with_tenant("a").with_detector("objects");
    same_frame.result.data.frame_id = of_gone.frame_id();
    let mut of_other = result(NOON, vec![seen(other)]).with_tenant("a").with_alert("face seen");
    let mut of_tenant_b = result(NOON, vec![seen(gone)]).with_tenant("b").with_alert("face seen");
    let keys = [&mut of_gone, &mut same_frame, &mut of_other, &mut of_tenant_b].map(keep_image);
    for key in &keys {
        blobs.put(key, Bytes::from_static(b"image")).await.unwrap();
    }
    let batch = [of_gone.clone(), same_frame, of_other.clone(), of_tenant_b.clone()];
    assert_eq!(store.put(&batch).await.unwrap(), [PutOutcome::Stored; 4]);

    let forgotten = forget_subject(store, &blobs, &tenant("a"), gone).await.unwrap();

    assert_eq!(forgotten, Forgotten { detections: 1, alerts: 1, images: 1, enrolment_images: 0 });
    assert_eq!(frame(store, &of_gone).await, (vec![without_subject("forgotten"), unknown()], false));
    assert_eq!(detection(store, &id(&of_gone, 0)).await, without_subject("forgotten"));
    assert_eq!(frame(store, &of_other).await, (vec![seen(other)], true));
    assert_eq!(frame(store, &of_tenant_b).await, (vec![seen(gone)], true), "of another tenant");
    let kept = [blobs.get(&keys[0]), blobs.get(&keys[2]), blobs.get(&keys[3])];
    let kept = futures::future::join_all(kept).await.into_iter().map(|image| image.unwrap().is_some());
    assert_eq!(kept.collect::<Vec<_>>(), [false, true, true]);
    let alerts = store.alerts(&TenantScope::All, &Default::default(), &NEWEST).await.unwrap();
    let mut identities: Vec<_> = alerts
        .iter()
        .map(|stored| {
            let attributes = &stored.alert.data.attributes;
            (stored.alert.tenant.as_str(), attributes.text("identity"), attributes.text("subject"))
        })
        .collect();
    identities.sort_unstable();
    let (gone_text, other_text) = (gone.to_string(), other.to_string());
    let expected = [
        ("a", Some("forgotten"), None),
        ("a", Some("subject"), Some(other_text.as_str())),
        ("b", Some("subject"), Some(gone_text.as_str())),
    ];
    assert_eq!(identities, expected);

    let again = forget_subject(store, &blobs, &tenant("a"), gone).await.unwrap();
    assert_eq!(again, Forgotten::default());
    // The result is delivered again, as after a crash of the indexer: the detection stays as it is.
    store.put(&batch).await.unwrap();
    assert_eq!(detection(store, &id(&of_gone, 0)).await, without_subject("forgotten"));
}

pub async fn a_subject_on_many_detections_is_forgotten_in_batches(store: &dyn Documents) {
    let (blobs, _folder) = folder();
    let gone = SubjectId::now();
    let many = |_| result(NOON, vec![seen(gone); 5]).with_tenant("a").with_alert("face seen").with_alert("another");
    let batch: Vec<Indexed> = (0..260).map(many).collect();
    for some in batch.chunks(20) {
        store.put(some).await.unwrap();
    }
    assert!(store.recognised(&tenant("a"), gone).await.unwrap().detections.len() < 1_000, "a batch is bounded");

    let forgotten = forget_subject(store, &blobs, &tenant("a"), gone).await.unwrap();

    assert_eq!(forgotten, Forgotten { detections: 1_300, alerts: 520, images: 0, enrolment_images: 0 });
    assert_eq!(store.recognised(&tenant("a"), gone).await.unwrap(), Recognised::default());
}

pub async fn forgetting_goes_on_where_it_was_interrupted(store: &dyn Documents) {
    let (blobs, _folder) = folder();
    let (a, gone) = (tenant("a"), SubjectId::now());
    let mut put = result(NOON, vec![seen(gone), seen(gone)]).with_tenant("a");
    let key = keep_image(&mut put);
    store.put(std::slice::from_ref(&put)).await.unwrap();

    // The process ended after it deleted the image.
    let found = store.recognised(&a, gone).await.unwrap();
    assert_eq!((found.detections.len(), &found.images), (2, &vec![key.clone()]));
    assert_eq!(store.recognised(&a, gone).await.unwrap().images, std::slice::from_ref(&key));
    // And after some of the documents were changed.
    let some = Recognised { detections: vec![id(&put, 1)], images: vec![key] };
    assert_eq!(store.forget_recognised(&a, gone, &some).await.unwrap(), 1);
    let left = store.recognised(&a, gone).await.unwrap();
    assert_eq!(left, Recognised { detections: vec![id(&put, 0)], images: vec![] });

    let forgotten = forget_subject(store, &blobs, &a, gone).await.unwrap();
    assert_eq!(forgotten, Forgotten { detections: 1, alerts: 0, images: 0, enrolment_images: 0 });
    assert_eq!(frame(store, &put).await, (vec![without_subject("forgotten"); 2], false));
}

pub async fn only_the_image_of_its_own_frame_is_found_with_a_subject(store: &dyn Documents) {
    let (gone, mut put) = (SubjectId::now(), result(NOON, vec![]));
    let others = BlobKey::new(BlobKind::Frames, time(NOON), &tenant("b"), put.frame_id());
    put.result.tenant = tenant("a");
    let detections = vec![seen(gone)];
    put.result.data.outcome = Outcome::Ok { width: 1, height: 1, detections, image: Some(others) };
    store.put(std::slice::from_ref(&put)).await.unwrap();

    let found = store.recognised(&tenant("a"), gone).await.unwrap();
    assert_eq!((found.detections, found.images), (vec![id(&put, 0)], vec![]));
}

pub async fn a_rejected_detection_has_no_subject_until_that_is_taken_back(store: &dyn Documents) {
    let (a, subject) = (tenant("a"), SubjectId::now());
    let put = result(NOON, vec![seen(subject), unknown(), face(0.5)]).with_tenant("a");
    store.put(std::slice::from_ref(&put)).await.unwrap();
    let first = id(&put, 0);
    let taken_for = Some(RejectedIdentity { subject, similarity: Some(0.7123) });
    assert_eq!(store.rejected(&a, &first).await.unwrap(), None);
    assert_eq!(store.reject(&tenant("b"), &first).await.unwrap(), None, "of another tenant");
    assert_eq!(detection(store, &first).await, seen(subject));

    for _ in 0..2 {
        assert_eq!(store.reject(&a, &first).await.unwrap(), taken_for);
        assert_eq!(store.rejected(&a, &first).await.unwrap(), taken_for);
        assert_eq!(detection(store, &first).await, without_subject("rejected"));
    }
    assert_eq!(store.recognised(&a, subject).await.unwrap(), Recognised::default());
    for other in [id(&put, 1), id(&put, 2), id(&put, 3)] {
        assert_eq!(store.reject(&a, &other).await.unwrap(), None, "nobody was recognised");
    }

    assert_eq!(store.rejected(&tenant("b"), &first).await.unwrap(), None);
    assert!(!store.restore_rejected(&tenant("b"), &first).await.unwrap());
    assert!(store.restore_rejected(&a, &first).await.unwrap());
    assert_eq!(detection(store, &first).await, seen(subject));
    assert!(!store.restore_rejected(&a, &first).await.unwrap());
    assert_eq!(store.recognised(&a, subject).await.unwrap().detections, [first]);
}

pub async fn a_forgotten_subject_is_not_remembered_by_rejections(store: &dyn Documents) {
    let (blobs, _folder) = folder();
    let (a, gone) = (tenant("a"), SubjectId::now());
    let puts = ["a", "b"].map(|owner| result(NOON, vec![seen(gone)]).with_tenant(owner));
    store.put(&puts).await.unwrap();
    for (owner, put) in ["a", "b"].into_iter().zip(&puts) {
        store.reject(&tenant(owner), &id(put, 0)).await.unwrap().unwrap();
    }

    let forgotten = forget_subject(store, &blobs, &a, gone).await.unwrap();

    assert_eq!(forgotten, Forgotten { detections: 1, alerts: 0, images: 0, enrolment_images: 0 });
    assert_eq!(store.rejected(&a, &id(&puts[0], 0)).await.unwrap(), None);
    assert!(!store.restore_rejected(&a, &id(&puts[0], 0)).await.unwrap());
    assert_eq!(detection(store, &id(&puts[0], 0)).await, without_subject("rejected"));
    assert!(store.rejected(&tenant("b"), &id(&puts[1], 0)).await.unwrap().is_some(), "of another tenant");
}

pub async fn alerts_of_a_rejected_detection_follow_it(store: &dyn Documents) {
    let (blobs, _folder) = folder();
    let (a, subject) = (tenant("a"), SubjectId::now());
    let first = result(NOON, vec![seen(subject)]).with_tenant("a").with_alert("face seen").with_alert("another");
    let other = result(NOON, vec![seen(subject)]).with_tenant("a").with_alert("face seen");
    // A program of another tenant may name any detection.
    let mut foreign = result(NOON, vec![seen(subject)]).with_tenant("b").with_alert("face seen");
    foreign.alerts[0].data.detection_id = id(&first, 0).to_string();
    store.put(&[first.clone(), other.clone(), foreign.clone()]).await.unwrap();
    assert_eq!(alerts_of(store, &first).await, first.alerts);

    for _ in 0..2 {
        store.reject(&a, &id(&first, 0)).await.unwrap().unwrap();
        assert_eq!(alerts_of(store, &first).await, alerts_with(&first, &without_subject("rejected")));
        for unchanged in [&other, &foreign] {
            assert_eq!(alerts_of(store, unchanged).await, unchanged.alerts);
        }
        assert!(store.restore_rejected(&a, &id(&first, 0)).await.unwrap());
        assert_eq!(alerts_of(store, &first).await, first.alerts, "the rejection is undone");
    }

    // What is stored has the subject until it is forgotten.
    store.reject(&a, &id(&first, 0)).await.unwrap().unwrap();
    let forgotten = forget_subject(store, &blobs, &a, subject).await.unwrap();
    assert_eq!(forgotten, Forgotten { detections: 2, alerts: 3, images: 0, enrolment_images: 0 });
    assert_eq!(alerts_of(store, &first).await, alerts_with(&first, &without_subject("rejected")), "as its detection");
    assert_eq!(alerts_of(store, &other).await, alerts_with(&other, &without_subject("forgotten")));
    assert_eq!(alerts_of(store, &foreign).await, foreign.alerts);
}

/// The indexer ended between the detections and their alerts, and stores the batch again.
pub async fn an_alert_that_is_stored_after_a_rejection_follows_it(store: &dyn Documents) {
    let (a, subject) = (tenant("a"), SubjectId::now());
    let whole = result(NOON, vec![seen(subject)]).with_tenant("a").with_alert("face seen");
    let part = Indexed { alerts: Vec::new(), ..whole.clone() };
    store.put(&[part]).await.unwrap();
    store.reject(&a, &id(&whole, 0)).await.unwrap().unwrap();

    assert_eq!(store.put(std::slice::from_ref(&whole)).await.unwrap(), [PutOutcome::Stored]);

    assert_eq!(alerts_of(store, &whole).await, alerts_with(&whole, &without_subject("rejected")));
    assert!(store.restore_rejected(&a, &id(&whole, 0)).await.unwrap());
    assert_eq!(alerts_of(store, &whole).await, whole.alerts);
}
