//! Merging two subjects of one person, and what is remembered of a subject that is gone.

use contracts::SubjectId;
use gallery::suite::{face, key, subject};
use gallery::{Change, Changes, GalleryKey, Position, StoredVector, VectorKind, VectorStore};
use jiff::SignedDuration;
use store::face_eraser;
use store::relational::MergeOutcome;

use super::faces::{add, named, negative, other_model, put, size, tenant};
use crate::relational::{TwoStores, now};

pub async fn a_merge_moves_the_vectors_of_all_models(two: &TwoStores) {
    let (store, a, key, other) = (&two.one, tenant("a"), key("a"), other_model("a"));
    for (number, name) in [(1, "Ann"), (2, "Ann again")] {
        store.add_subject(&a, None, &named(number, name), now()).await.unwrap();
    }
    put(store, &key, &[face(1, 1), face(2, 2), negative(3, 2)]).await;
    put(store, &other, &[face(4, 2)]).await;
    let position = Position::end_of(store.state(&key).await.unwrap().version);

    for (from, into, outcome) in [
        (1, 1, MergeOutcome::Itself),
        (2, 9, MergeOutcome::Unknown(subject(9))),
        (2, 1, MergeOutcome::Merged(3)),
        (2, 1, MergeOutcome::Unknown(subject(2))),
    ] {
        assert_eq!(store.merge_subjects(&a, subject(from), subject(into), now()).await.unwrap(), outcome);
    }

    let moved = vec![face(1, 1), face(2, 1), negative(3, 1)];
    assert_eq!(two.other.vectors_of_subject(&key, subject(1)).await.unwrap(), moved);
    assert_eq!(two.other.vectors_of_subject(&other, subject(1)).await.unwrap(), [face(4, 1)]);
    let Changes::Page { changes, .. } = two.other.changes(&key, &position, 9).await.unwrap() else {
        panic!("the position has expired")
    };
    assert_eq!(changes, [Change::Put(face(2, 1)), Change::Put(negative(3, 1))]);
    assert_eq!(size(store, &key).await, (3, 1, 2));
    assert_eq!(size(store, &other).await, (1, 1, 2));
    assert_eq!(store.subject(&a, subject(1)).await.unwrap().unwrap().name.as_deref(), Some("Ann"));
    assert!(store.subject(&a, subject(2)).await.unwrap().is_none());
}

/// As after a merge of two who were enrolled with the same images.
pub async fn of_faces_with_the_same_vector_one_stays(two: &TwoStores) {
    let (store, a, key, other) = (&two.one, tenant("a"), key("a"), other_model("a"));
    let third = GalleryKey { model: "third".to_owned(), ..key.clone() };
    add(store, "a", 1..=2).await;
    // A face with an id of its own and the vector of another face.
    let again = |number, of, owner| StoredVector { id: face(number, owner).id, ..face(of, owner) };
    let rejected = StoredVector { kind: VectorKind::Negative, ..again(5, 1, 1) };
    // The third is the first, which has a vector of another model too; of the second and the fourth, that with a kept image stays.
    let one = [face(1, 1), face(2, 1), again(3, 1, 1), again(4, 2, 1), rejected.clone(), again(6, 1, 2)];
    put(store, &key, &one).await;
    put(store, &other, &[face(1, 1)]).await;
    assert!(store.set_source(&key, face(4, 1).id, "kept", now()).await.unwrap());
    // Each has a vector of a model for which the other has none.
    put(store, &key, &[face(7, 1), again(8, 7, 1)]).await;
    put(store, &other, &[face(7, 1)]).await;
    put(store, &third, &[face(8, 1)]).await;
    let twins = [face(2, 1).id, face(3, 1).id];
    assert_eq!(two.other.remove_twins(&tenant("b"), subject(1), now()).await.unwrap(), []);

    assert_eq!(store.remove_twins(&a, subject(1), now()).await.unwrap(), twins);

    let left = [face(1, 1), again(4, 2, 1), rejected, face(7, 1), again(8, 7, 1)];
    assert_eq!(two.other.vectors_of_subject(&key, subject(1)).await.unwrap(), left);
    let (vectors, subjects, version) = size(store, &key).await;
    assert_eq!((vectors, subjects), (6, 2), "the same face of another subject is no twin");
    assert_eq!(size(store, &other).await.0, 2);
    assert_eq!(two.other.remove_twins(&a, subject(1), now()).await.unwrap(), []);
    assert_eq!(size(store, &key).await.2, version, "nothing is changed");
}

pub async fn deleted_and_merged_subjects_are_remembered_until_they_are_forgotten(two: &TwoStores) {
    let (store, a, at) = (&two.one, tenant("a"), now());
    add(store, "a", 1..=5).await;
    add(store, "b", [1]).await;
    for (from, into) in [(2, 1), (3, 4), (4, 1)] {
        store.merge_subjects(&a, subject(from), subject(into), at).await.unwrap();
    }
    let far = at + SignedDuration::from_hours(1);
    assert_eq!(store.former_subjects_due(far, 9).await.unwrap(), [], "the person is still enrolled");
    let merged = async |owner: &str, number| two.other.is_merged(&tenant(owner), subject(number)).await.unwrap();
    assert!(merged("a", 3).await && !merged("a", 1).await && !merged("a", 9).await && !merged("b", 3).await);
    let many: Vec<SubjectId> = (1..=40).map(subject).collect();
    let people = async |owner: &str| {
        let found = two.other.people_by_id(&tenant(owner), &many).await.unwrap();
        found.into_iter().map(|(id, record)| (id, record.id)).collect::<Vec<_>>()
    };
    let known = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 5)].map(|(id, person)| (subject(id), subject(person)));
    assert_eq!(people("a").await, known, "a merged id is the person that stays");
    assert_eq!(people("b").await, [(subject(1), subject(1))]);
    store.delete_subject(&a, subject(1), at).await.unwrap().unwrap();
    assert_eq!(people("a").await, [(subject(5), subject(5))], "the person is deleted");
    assert!(!merged("a", 3).await, "the person is deleted");
    assert_eq!(two.other.merged_subjects(&a, subject(1)).await.unwrap(), [2, 3, 4].map(subject));
    assert_eq!(two.other.merged_subjects(&tenant("b"), subject(1)).await.unwrap(), []);
    assert_eq!(store.former_subjects_due(at, 9).await.unwrap(), [], "its deletion forgets it first");

    let mut due = two.other.former_subjects_due(far, 9).await.unwrap();
    due.sort_by_key(|former| former.id);
    assert_eq!(due.iter().map(|former| former.id).collect::<Vec<_>>(), [1, 2, 3, 4].map(subject));
    assert!(due.iter().all(|former| former.tenant == a && former.deleted_at == at));
    assert_eq!(store.former_subjects_due(far, 3).await.unwrap().len(), 3);
    for former in &due[1..] {
        store.set_next_forgetting(former, None).await.unwrap();
    }
    store.set_next_forgetting(&due[0], Some(far)).await.unwrap();
    let second = SignedDuration::from_secs(1);
    assert_eq!(store.former_subjects_due(far - second, 9).await.unwrap(), []);
    assert_eq!(store.former_subjects_due(far, 9).await.unwrap(), [due[0].clone()]);
    face_eraser(store).erase(&a).await.unwrap();
    assert_eq!(store.former_subjects_due(far, 9).await.unwrap(), []);
}
