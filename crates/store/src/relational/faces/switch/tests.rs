//! What happens between the check of a change and its locks. Each test begins with the check of a change without a lock.

use gallery::suite::{face, key, subject};
use tempfile::TempDir;

use super::*;
use crate::relational::test_database::on_fresh;
use crate::relational::{Gap, Metadata, NewSubject, SourcedVector, SubjectWriteOutcome, VectorWriteOutcome};

const TARGET: &str = "another";

/// Enrols a face of a new subject.
async fn enrol(store: &Relational, number: u128) {
    let (gallery, now) = (key("a"), Timestamp::now());
    let new =
        NewSubject { id: subject(number), external_id: None, name: None, metadata: Metadata::new(), consent: None };
    let added = store.add_subject(&gallery.tenant, None, &new, now).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
    let put = store.put_vectors(&gallery, &[face(number, number)], now).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::Stored);
}

/// Stores the vector of the target for a face.
async fn embed(store: &Relational, number: u128) {
    let sourced = [SourcedVector { vector: face(number, number), source: None }];
    let put = store.put_reembedded(&key("a"), TARGET, &sourced, Timestamp::now()).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::Stored);
}

/// Removes the vector of a face for a model.
async fn remove(store: &Relational, model: &str, number: u128) {
    let gallery = GalleryKey { model: model.to_owned(), ..key("a") };
    assert_eq!(store.remove_vectors(&gallery, &[face(number, number).id], Timestamp::now()).await.unwrap(), 1);
}

async fn begin(store: &Relational, target: &str, without_missing: bool) {
    store.begin_model_change(&key("a").model, target, without_missing, Timestamp::now()).await.unwrap();
}

async fn check(store: &Relational) -> CheckedChange {
    store.check_change().await.unwrap().unwrap()
}

async fn switch(store: &Relational, checked: &CheckedChange) -> SwitchOutcome {
    store.switch_checked(checked, Timestamp::now()).await.unwrap()
}

async fn a_switch_sees_faces_that_changed_after_its_check(store: &Relational) {
    enrol(store, 1).await;
    begin(store, TARGET, false).await;
    embed(store, 1).await;
    let checked = check(store).await;

    enrol(store, 2).await;
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NotComplete, "a new face has no vector of the target");

    embed(store, 2).await;
    remove(store, TARGET, 1).await;
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NotComplete, "the target lost a vector");

    embed(store, 1).await;
    for number in 3..=4 {
        enrol(store, number).await;
        embed(store, number).await;
    }
    store.delete_subject(&key("a").tenant, subject(4), Timestamp::now()).await.unwrap().unwrap();
    store.statements.take_runs();
    assert_eq!(switch(store, &checked).await, SwitchOutcome::Switched, "what has changed has vectors, or is deleted");
    let runs = store.statements.take_runs();
    assert!(!runs.iter().any(|sql| sql.contains("source FROM face_vectors")), "only what changed is read: {runs:#?}");
}

async fn a_switch_sees_that_a_face_is_to_be_tried_again(store: &Relational) {
    for number in 1..=2 {
        enrol(store, number).await;
    }
    begin(store, TARGET, true).await;
    embed(store, 1).await;
    let missing = [(face(2, 2).id, Gap::ImageNotKept)];
    store.put_gaps(&key("a"), TARGET, &missing).await.unwrap();
    let checked = check(store).await;
    assert!(store.set_source(&key("a"), face(2, 2).id, "kept", Timestamp::now()).await.unwrap());
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NotComplete);

    store.put_gaps(&key("a"), TARGET, &missing).await.unwrap();
    assert_eq!(switch(store, &checked).await, SwitchOutcome::Switched, "it was tried again");
}

async fn a_switch_sees_that_a_subject_would_be_lost(store: &Relational) {
    enrol(store, 1).await;
    let put = store.put_vectors(&key("a"), &[face(11, 1)], Timestamp::now()).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::Stored);
    begin(store, TARGET, false).await;
    embed(store, 1).await;
    store.put_gaps(&key("a"), TARGET, &[(face(11, 1).id, Gap::FaceNotFound)]).await.unwrap();
    let checked = check(store).await;
    for model in [key("a").model.as_str(), TARGET] {
        remove(store, model, 1).await;
    }
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NotComplete);
    assert_eq!(store.switch_model(Timestamp::now()).await.unwrap(), SwitchOutcome::WouldLose(1));
}

async fn a_switch_sees_that_the_change_is_another_one(store: &Relational) {
    enrol(store, 1).await;
    begin(store, TARGET, true).await;
    embed(store, 1).await;
    let checked = check(store).await;
    begin(store, TARGET, false).await;
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NotComplete, "losses are not accepted any more");
    begin(store, &key("a").model, false).await;
    assert_eq!(switch(store, &checked).await, SwitchOutcome::NoChange, "it was ended");
    begin(store, TARGET, true).await;
    for outcome in [SwitchOutcome::Switched, SwitchOutcome::NoChange] {
        assert_eq!(switch(store, &checked).await, outcome);
    }
}

macro_rules! on_both_databases {
    ($($guarantee:ident,)*) => {
        mod sqlite {
            use super::*;

            $(
                #[tokio::test]
                async fn $guarantee() {
                    let folder = TempDir::new().unwrap();
                    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
                    store.migrate().await.unwrap();
                    super::$guarantee(&store).await;
                }
            )*
        }

        mod postgresql {
            use super::*;

            $(
                #[tokio::test]
                #[ignore = "needs postgres"]
                async fn $guarantee() {
                    on_fresh(async |url| {
                        let store = Relational::postgres(&url, 2).await.unwrap();
                        store.migrate().await.unwrap();
                        super::$guarantee(&store).await;
                        store.close().await;
                    })
                    .await;
                }
            )*
        }
    };
}
on_both_databases!(
    a_switch_sees_faces_that_changed_after_its_check,
    a_switch_sees_that_a_face_is_to_be_tried_again,
    a_switch_sees_that_a_subject_would_be_lost,
    a_switch_sees_that_the_change_is_another_one,
);
