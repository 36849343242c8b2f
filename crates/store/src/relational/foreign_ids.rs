//! Test that no timing tells whether another tenant's subject or enrolled face exists: a call with its id runs the same statements as a
//! call with an id that nobody has, and has the same outcome. Each statement finds it by tenant and id together, so it also reads as much.

use contracts::SubjectId;
use gallery::GalleryKey;
use gallery::suite::{face, key, subject};
use jiff::Timestamp;

use super::test_database::on_fresh;
use super::*;

/// A subject of another tenant, whose enrolled face and external id have the same number, and a number that nobody has. Both are lower than
/// [`OWN`], because a merge locks in the order of ids.
const FOREIGN: u128 = 1;
const UNKNOWN: u128 = 2;
/// A subject of the caller's tenant.
const OWN: u128 = 5;

async fn enrol(store: &Relational, tenant: &str, number: u128) {
    let gallery = key(tenant);
    let id = subject(number);
    let external_id = Some(number.to_string());
    let new = NewSubject { id, external_id, name: None, metadata: Metadata::new(), consent: None };
    let added = store.add_subject(&gallery.tenant, None, &new, Timestamp::now()).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
    let stored = store.put_vectors(&gallery, &[face(number, number)], Timestamp::now()).await.unwrap();
    assert_eq!(stored, VectorWriteOutcome::Stored);
}

/// Reads a subject by each of its ids, by a tenant that has none with them.
async fn read_subject(store: &Relational, gallery: &GalleryKey, number: u128) {
    let (tenant, id, now) = (&gallery.tenant, subject(number), Timestamp::now());
    assert_eq!(store.subject(tenant, id).await.unwrap(), None);
    assert!(store.subjects_by_id(tenant, &[id]).await.unwrap().is_empty());
    assert!(store.people_by_id(tenant, &[id]).await.unwrap().is_empty());
    assert_eq!(store.subject_by_external_id(tenant, &number.to_string()).await.unwrap(), None);
    assert!(store.vectors_of_subject(gallery, id).await.unwrap().is_empty());
    assert!(store.enrolled_faces(gallery, id).await.unwrap().is_empty());
    assert!(store.count_enrolled(gallery, &[id]).await.unwrap().is_empty());
    assert!(!store.is_merged(tenant, id).await.unwrap());
    assert!(store.merged_into(tenant, &[id]).await.unwrap().is_empty());
    assert_eq!(store.merged_subjects(tenant, id).await.unwrap(), Vec::<SubjectId>::new());
    assert_eq!(store.deleted_at(tenant, id).await.unwrap(), None);
    assert!(!store.is_consent_to_end(tenant, id, now).await.unwrap());
}

/// Changes a subject, by a tenant that has none with the id.
async fn change_subject(store: &Relational, gallery: &GalleryKey, number: u128) {
    let (tenant, id, now) = (&gallery.tenant, subject(number), Timestamp::now());
    let changed = store.change_subject(tenant, id, &SubjectChange::default(), now).await.unwrap();
    assert_eq!(changed, SubjectWriteOutcome::Unknown);
    let unknown = VectorWriteOutcome::UnknownSubject(id);
    assert_eq!(store.put_vectors(gallery, &[face(7, number)], now).await.unwrap(), unknown);
    assert_eq!(store.put_face(gallery, &face(7, number), None, None, now).await.unwrap(), unknown);
    for (from, into) in [(id, subject(OWN)), (subject(OWN), id)] {
        assert_eq!(store.merge_subjects(tenant, from, into, now).await.unwrap(), MergeOutcome::Unknown(id));
    }
    assert_eq!(store.end_consent(tenant, id, now).await.unwrap(), 0);
    store.finish_consent(tenant, id, now).await.unwrap();
    assert_eq!(store.delete_subject(tenant, id, now).await.unwrap(), None);
}

/// Reads and changes an enrolled face of a subject that the tenant has or not, by a tenant that has no such face.
async fn change_face(store: &Relational, gallery: &GalleryKey, of: SubjectId, number: u128) {
    let (tenant, id, now) = (&gallery.tenant, face(number, number).id, Timestamp::now());
    assert!(!store.is_enrolled(tenant, of, id).await.unwrap());
    assert!(!store.remove_enrolled(tenant, of, id, now).await.unwrap());
    assert_eq!(store.remove_negatives(tenant, of, &[id], now).await.unwrap(), None);
    assert_eq!(store.remove_vectors(gallery, &[id], now).await.unwrap(), 0);
    assert!(!store.set_source(gallery, id, "source", now).await.unwrap());
}

/// The statements of every call with the id of a subject or of an enrolled face, by a tenant that has no such one, in the order in which they
/// run.
async fn statements_of(store: &Relational, number: u128) -> Vec<&'static str> {
    let gallery = key("a");
    store.statements.take_runs();
    read_subject(store, &gallery, number).await;
    change_subject(store, &gallery, number).await;
    for of in [subject(number), subject(OWN)] {
        change_face(store, &gallery, of, number).await;
    }
    store.statements.take_runs()
}

async fn a_foreign_id_costs_what_an_unknown_one_costs(store: &Relational) {
    store.migrate().await.unwrap();
    enrol(store, "b", FOREIGN).await;
    enrol(store, "a", OWN).await;
    let foreign = statements_of(store, FOREIGN).await;
    assert!(foreign.len() >= 30, "{foreign:?}");
    assert_eq!(foreign, statements_of(store, UNKNOWN).await);
}

#[tokio::test]
async fn a_foreign_id_costs_what_an_unknown_one_costs_on_sqlite() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    a_foreign_id_costs_what_an_unknown_one_costs(&store).await;
}

#[tokio::test]
#[ignore = "needs postgres"]
async fn a_foreign_id_costs_what_an_unknown_one_costs_on_postgresql() {
    on_fresh(async |url| {
        let store = Relational::postgres(&url, 2).await.unwrap();
        a_foreign_id_costs_what_an_unknown_one_costs(&store).await;
        store.close().await;
    })
    .await;
}
