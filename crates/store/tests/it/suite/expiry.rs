//! Expired documents: hidden at once, deleted by a sweep.

use store::{DetectionFilter, Documents, GroupBy, TenantScope};

use super::counts::counted;
use super::queries::NEWEST;
use super::writes::document_counts;
use crate::fixture::{IndexedBuilder, face, result, scope};

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
