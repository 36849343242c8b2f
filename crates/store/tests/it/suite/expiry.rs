//! Expired documents: hidden at once, deleted by a sweep.

use jiff::SignedDuration;
use store::{DetectionFilter, Documents, FrameFilter, GroupBy, TenantScope};

use super::counts::counted;
use super::queries::NEWEST;
use super::writes::document_counts;
use crate::fixture::{IndexedBuilder, face, result, scope, with_attribute};

pub async fn expired_documents_are_hidden_before_the_sweep(store: &dyn Documents) {
    let gone = result("2026-01-02T10:00:00Z", vec![face(0.5)]).with_stream("gate-1").with_alert("face seen").expired();
    store.put(std::slice::from_ref(&gone)).await.unwrap();

    assert_eq!(document_counts(store).await, [0, 0, 0]);
    assert!(store.frame(&TenantScope::All, gone.frame_id()).await.unwrap().is_empty());
    let id = format!("{}-face-0", gone.frame_id()).parse().unwrap();
    assert_eq!(store.detection(&TenantScope::All, &id).await.unwrap(), None);
    for scope in [TenantScope::All, scope("a")] {
        assert_eq!(counted(store, &scope, &DetectionFilter::default(), GroupBy::Label).await, []);
        let gate = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..Default::default() };
        assert!(store.detections(&scope, &gate, &NEWEST).await.unwrap().is_empty());
    }
}

pub async fn a_sweep_deletes_only_expired_documents(store: &dyn Documents) {
    let gone = result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).with_alert("face seen").expired();
    let kept = result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).with_alert("face seen");
    store.put(&[gone, kept]).await.unwrap();

    let deleted = store.sweep(jiff::Timestamp::now()).await.unwrap();

    // 0 if the database deletes expired documents itself.
    assert!(deleted == 5 || deleted == 0, "{deleted}");
    assert_eq!(document_counts(store).await, [1, 3, 1]);
    assert_eq!(store.sweep(jiff::Timestamp::now()).await.unwrap(), 0);
}

pub async fn strangers_expire_before_the_others(store: &dyn Documents) {
    let faces = |identities: &[&str]| {
        let faces = identities.iter().map(|identity| with_attribute(face(0.5), "identity", *identity));
        let mut result = result("2026-01-02T10:00:00Z", faces.collect()).with_alert("face seen");
        result.strangers_expire_at = Some(jiff::Timestamp::now() - SignedDuration::from_secs(1));
        result
    };
    let (alone, together) = (faces(&["unknown", "unchecked"]), faces(&["unchecked", "subject", "forgotten"]));
    let others = faces(&["subject"]);
    store.put(&[alone.clone(), together.clone(), others.clone()]).await.unwrap();

    // Of the second, its first face and the alert about it are gone.
    assert_eq!(document_counts(store).await, [2, 3, 1]);
    assert!(store.frame(&TenantScope::All, alone.frame_id()).await.unwrap().is_empty());
    let detections_of = async |frame| {
        let results = store.frame(&TenantScope::All, frame).await.unwrap();
        let stored = results.into_iter().next().unwrap().result;
        let contracts::Outcome::Ok { detections, .. } = stored.data.outcome else { panic!("a failure") };
        let identity = |found: &contracts::Detection| found.attributes.text("identity").map(str::to_owned);
        detections.iter().filter_map(identity).collect::<Vec<_>>()
    };
    assert_eq!(detections_of(together.frame_id()).await, ["subject", "forgotten"]);
    assert_eq!(detections_of(others.frame_id()).await, ["subject"]);
    let frames = store.frames(&TenantScope::All, &FrameFilter::default(), &NEWEST).await.unwrap();
    assert_eq!(frames.len(), 2);
    // Four documents of the first frame, two of the second; 0 if the database deletes expired documents itself.
    let deleted = store.sweep(jiff::Timestamp::now()).await.unwrap();
    assert!(deleted == 6 || deleted == 0, "{deleted}");
    assert_eq!(document_counts(store).await, [2, 3, 1]);
}
