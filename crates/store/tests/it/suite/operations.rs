//! Deleting a tenant, and health checks.

use contracts::SubjectId;
use store::{Documents, StreamSettings, TenantScope};

use super::writes::document_counts;
use crate::fixture::{IndexedBuilder, face, result, rule, tenant};

pub async fn deleting_a_tenant_deletes_only_its_documents(store: &dyn Documents) {
    let alerting =
        |owner: &str| result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).with_tenant(owner).with_alert("face seen");
    let (gone, kept, shared) = (alerting("a"), alerting("b"), alerting("shared"));
    store.put(&[gone.clone(), gone.reprocessed(), kept, shared]).await.unwrap();
    let kept = rule("b", "faces");
    for rule in [&rule("a", "faces"), &kept] {
        store.create_rule(rule).await.unwrap();
    }
    let stream = "gate-1".parse().unwrap();
    for owner in ["a", "b"] {
        store.put_stream(&tenant(owner), &stream, &StreamSettings::default(), 10).await.unwrap();
    }

    let list = "staff".parse().unwrap();
    for owner in ["a", "b"] {
        store.put_watchlist(&tenant(owner), &list, &[SubjectId::now()].into(), 10).await.unwrap();
    }

    assert_eq!(store.delete_tenant(&tenant("a")).await.unwrap(), 1 + 1 + 3 + 1 + 1 + 1);

    assert_eq!(document_counts(store).await, [2, 6, 2]);
    assert!(store.frame(&TenantScope::All, gone.frame_id()).await.unwrap().is_empty());
    assert_eq!(store.all_rules().await.unwrap(), [kept]);
    assert_eq!(store.stream(&tenant("a"), &stream).await.unwrap(), None);
    assert!(store.stream(&tenant("b"), &stream).await.unwrap().is_some());
    assert_eq!(store.watchlist(&tenant("a"), &list).await.unwrap(), None);
    assert!(store.watchlist(&tenant("b"), &list).await.unwrap().is_some());
    assert_eq!(store.delete_tenant(&tenant("a")).await.unwrap(), 0);
}

pub async fn a_working_store_passes_its_check(store: &dyn Documents) {
    store.check().await.unwrap();
    assert!(!store.describe().is_empty());
    assert_eq!(store.put(&[]).await.unwrap(), []);
}
