//! Test that no timing tells whether another tenant's subject exists: a call with its id runs the same statements as a call with an id
//! that nobody has, and has the same outcome. Each statement finds a subject by tenant and id together, so it also reads as much.

use contracts::SubjectId;
use gallery::suite::{face, key, subject};
use jiff::Timestamp;

use super::test_database::on_fresh;
use super::*;

/// A subject of another tenant, and an id that nobody has. Both are lower than [`OWN`], because a merge locks in the order of ids.
const FOREIGN: u128 = 1;
const UNKNOWN: u128 = 2;
/// A subject of the caller's tenant.
const OWN: u128 = 5;

async fn enrol(store: &Relational, tenant: &str, number: u128) {
    let gallery = key(tenant);
    let id = subject(number);
    let new = NewSubject { id, external_id: None, name: None, metadata: Metadata::new(), consent: None };
    let added = store.add_subject(&gallery.tenant, None, &new, Timestamp::now()).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
    let stored = store.put_vectors(&gallery, &[face(number, number)], Timestamp::now()).await.unwrap();
    assert_eq!(stored, VectorWriteOutcome::Stored);
}

/// The statements of every call with the id of a subject, by a tenant that has no such subject, in the order in which they run.
async fn statements_of(store: &Relational, number: u128) -> Vec<&'static str> {
    let (gallery, id, now) = (key("a"), subject(number), Timestamp::now());
    let tenant = &gallery.tenant;
    store.statements.take_runs();
    assert_eq!(store.subject(tenant, id).await.unwrap(), None);
    assert!(store.subjects_by_id(tenant, &[id]).await.unwrap().is_empty());
    let changed = store.change_subject(tenant, id, &SubjectChange::default(), now).await.unwrap();
    assert_eq!(changed, SubjectWriteOutcome::Unknown);
    let put = store.put_vectors(&gallery, &[face(7, number)], now).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::UnknownSubject(id));
    assert!(store.vectors_of_subject(&gallery, id).await.unwrap().is_empty());
    for (from, into) in [(id, subject(OWN)), (subject(OWN), id)] {
        assert_eq!(store.merge_subjects(tenant, from, into, now).await.unwrap(), MergeOutcome::Unknown(id));
    }
    assert_eq!(store.delete_subject(tenant, id, now).await.unwrap(), None);
    assert!(!store.is_merged(tenant, id).await.unwrap());
    assert_eq!(store.merged_subjects(tenant, id).await.unwrap(), Vec::<SubjectId>::new());
    store.statements.take_runs()
}

async fn a_foreign_id_costs_what_an_unknown_one_costs(store: &Relational) {
    store.migrate().await.unwrap();
    enrol(store, "b", FOREIGN).await;
    enrol(store, "a", OWN).await;
    let foreign = statements_of(store, FOREIGN).await;
    assert!(foreign.len() >= 9, "{foreign:?}");
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
