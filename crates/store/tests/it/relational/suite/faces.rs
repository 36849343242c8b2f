//! Enrolled faces: the vectors of subjects, and their end.

use std::collections::BTreeSet;
use std::sync::Arc;

use contracts::{SubjectId, TenantId, VectorId};
use gallery::suite::{face, key, subject};
use gallery::{Change, Changes, Galleries, GalleryKey, Position, StoredVector, VectorKind, VectorStore};
use jiff::SignedDuration;
use store::face_eraser;
use store::relational::{
    DeletedSubject, EnrolledRecord, ErasedFaces, MAX_EXTERNAL_ID_BYTES, MAX_METADATA_BYTES, MAX_SUBJECT_NAME_BYTES,
    MAX_SUBJECTS_PAGE, MAX_VECTORS_AT_ONCE, MAX_VECTORS_OF_SUBJECT, MergeOutcome, Metadata, NewSubject, REMOVALS_KEPT,
    Relational, SubjectChange, SubjectWriteOutcome, VectorWriteOutcome,
};
use uuid::Uuid;

use crate::relational::{TwoStores, now};

pub fn subject_with_id(id: SubjectId) -> NewSubject {
    NewSubject { id, external_id: None, name: None, metadata: Metadata::new(), consent: None }
}

pub fn named(number: u128, name: &str) -> NewSubject {
    let metadata = serde_json::json!({"team": "blue", "\u{0}": [1, null]}).as_object().unwrap().clone();
    let (external_id, name) = (Some(format!("hr-{number}")), Some(name.to_owned()));
    NewSubject { id: subject(number), external_id, name, metadata, consent: None }
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub fn other_model(tenant: &str) -> GalleryKey {
    GalleryKey { model: "face_reid_0095".to_owned(), ..key(tenant) }
}

pub fn negative(number: u128, owner: u128) -> StoredVector {
    StoredVector { kind: VectorKind::Negative, ..face(number, owner) }
}

pub async fn add(store: &Relational, owner: &str, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        let added = store.add_subject(&tenant(owner), None, &subject_with_id(subject(number)), now()).await.unwrap();
        assert_eq!(added, SubjectWriteOutcome::Stored);
    }
}

pub async fn put(store: &Relational, gallery: &GalleryKey, vectors: &[StoredVector]) {
    for some in vectors.chunks(MAX_VECTORS_AT_ONCE) {
        assert_eq!(store.put_vectors(gallery, some, now()).await.unwrap(), VectorWriteOutcome::Stored);
    }
}

/// Vectors, subjects and version of a gallery.
pub async fn size(store: &Relational, gallery: &GalleryKey) -> (u64, u64, u64) {
    let state = store.state(gallery).await.unwrap();
    (state.vectors, state.subjects, state.version)
}

pub async fn what_is_too_large_is_refused(two: &TwoStores) {
    let (store, a) = (&two.one, tenant("a"));
    let id = subject(1);
    let long = |bytes: usize| Some("x".repeat(bytes + 1));
    let metadata: Metadata = [("a".to_owned(), long(MAX_METADATA_BYTES).into())].into_iter().collect();
    for (new, refused) in [
        (NewSubject { external_id: long(MAX_EXTERNAL_ID_BYTES), ..subject_with_id(id) }, "external_id"),
        (NewSubject { name: long(MAX_SUBJECT_NAME_BYTES), ..subject_with_id(id) }, "name"),
        (NewSubject { metadata, ..subject_with_id(id) }, "metadata"),
    ] {
        let added = store.add_subject(&a, None, &new, now()).await.unwrap();
        assert!(matches!(added, SubjectWriteOutcome::TooLong(field, _) if field == refused), "{added:?}");
        assert!(store.subject(&a, id).await.unwrap().is_none());
    }
    add(store, "a", 1..=3).await;
    let change = SubjectChange { name: Some(long(MAX_SUBJECT_NAME_BYTES)), ..SubjectChange::default() };
    let changed = store.change_subject(&a, id, &change, now()).await.unwrap();
    assert_eq!(changed, SubjectWriteOutcome::TooLong("name", MAX_SUBJECT_NAME_BYTES));

    let most = u128::from(MAX_VECTORS_OF_SUBJECT);
    let (key, full) = (key("a"), (0..most).map(|number| face(number, 1)).collect::<Vec<_>>());
    put(store, &key, &full).await;
    let before = size(store, &key).await;
    let one_more = [face(most, 2), face(most + 1, 1)];
    assert_eq!(store.put_vectors(&key, &one_more, now()).await.unwrap(), VectorWriteOutcome::TooMany(id));
    let many: Vec<_> = (0..=MAX_VECTORS_AT_ONCE as u128).map(|number| face(number, 1)).collect();
    assert_eq!(store.put_vectors(&key, &many, now()).await.unwrap(), VectorWriteOutcome::TooManyAtOnce);
    let short = gallery::Embedding::new(&[1.0; 64], 64).unwrap();
    let other_length = [face(most, 2), StoredVector { embedding: short, ..face(most + 1, 2) }];
    assert_eq!(store.put_vectors(&key, &other_length, now()).await.unwrap(), VectorWriteOutcome::WrongLength(128));
    assert_eq!(size(store, &key).await, before, "nothing of a refused write is stored");
    // A repeat replaces, and negatives have a limit of their own.
    put(store, &key, &full).await;
    put(store, &key, &[negative(most, 1), face(most + 1, 2)]).await;
    assert_eq!(store.merge_subjects(&a, subject(2), id, now()).await.unwrap(), MergeOutcome::TooMany);
    assert_eq!(store.merge_subjects(&a, subject(3), id, now()).await.unwrap(), MergeOutcome::Merged(0));
    assert!(store.subjects(&a, None, u32::MAX).await.unwrap().len() <= MAX_SUBJECTS_PAGE as usize);
}

/// Both instances write at once. Who follows the changes misses none, and sees no version before one that is lower.
pub async fn versions_become_visible_in_order(two: &TwoStores) {
    let (key, writers) = (key("a"), 4_u128);
    add(&two.one, "a", 0..writers).await;
    let write = |number: u128| {
        let (store, key) = ([&two.one, &two.other][number as usize % 2].clone(), key.clone());
        tokio::spawn(async move {
            for step in 0..15 {
                let id = number * 100 + step;
                put(&store, &key, &[face(id, number), face(id + 50, number)]).await;
                if step % 3 == 2 {
                    assert_eq!(store.remove_vectors(&key, &[face(id, number).id], now()).await.unwrap(), 1);
                }
            }
        })
    };
    let writes: Vec<_> = (0..writers).map(write).collect();
    let (mut position, mut known, mut last) = (Position::START, BTreeSet::<VectorId>::new(), 0);
    loop {
        let is_over = writes.iter().all(tokio::task::JoinHandle::is_finished);
        let Changes::Page { changes, next, complete } = two.other.changes(&key, &position, 7).await.unwrap() else {
            // From before the first vector.
            position = Position::START;
            continue;
        };
        assert!(next.version >= last, "version {} after {last}", next.version);
        (position, last) = (next, next.version);
        for change in changes {
            match change {
                Change::Put(vector) => known.insert(vector.id),
                Change::Removed(id) => known.remove(&id),
            };
        }
        if complete && is_over {
            break;
        }
    }
    for write in writes {
        write.await.unwrap();
    }
    let state = two.one.state(&key).await.unwrap();
    assert_eq!((last, state.version, state.vectors, state.subjects), (80, 80, 100, 4));
    assert_eq!(known.len(), 100, "changes were missed");
}

/// The receipt is the promise: nobody finds the subject afterwards, on no instance.
pub async fn a_deleted_subject_is_found_by_nobody_from_then_on(two: &TwoStores) {
    let (a, key, other) = (tenant("a"), key("a"), other_model("a"));
    add(&two.one, "a", 1..=3).await;
    put(&two.one, &key, &[face(1, 1), face(2, 1), face(3, 2), negative(4, 1)]).await;
    put(&two.one, &other, &[face(5, 1), face(6, 3)]).await;
    let query = [face(1, 1).embedding];
    let galleries = Galleries::new(Arc::new(two.other.clone()), 1 << 20);
    let best = async || galleries.search(&key, &query, 3, -1.0).await.unwrap().remove(0);
    assert_eq!(best().await.matches[0].subject, subject(1));

    let deleted = two.one.delete_subject(&a, subject(1), now()).await.unwrap().unwrap();
    let answer = best().await;
    assert!(answer.in_memory);
    assert_eq!(answer.matches.iter().map(|found| found.subject).collect::<Vec<_>>(), [subject(2)]);

    let models = vec![other.model.clone(), key.model.clone()];
    assert_eq!(deleted, DeletedSubject { enrolled: 3, negatives: 1, models });
    assert_eq!(size(&two.other, &key).await, (1, 1, 2));
    assert_eq!(size(&two.other, &other).await, (1, 1, 2));
    assert!(two.other.subject(&a, subject(1)).await.unwrap().is_none());
    assert!(two.other.delete_subject(&a, subject(1), now()).await.unwrap().is_none());
    let back = two.one.put_vectors(&key, &[face(1, 1)], now()).await.unwrap();
    assert_eq!(back, VectorWriteOutcome::UnknownSubject(subject(1)));
}

/// While another instance adds to it.
pub async fn no_vector_outlives_its_subject(two: &TwoStores) {
    let (a, key) = (tenant("a"), key("a"));
    for round in 0..8 {
        add(&two.one, "a", [round]).await;
        let writes = (0..4).map(|number| {
            let (store, key) = ([&two.one, &two.other][number as usize % 2].clone(), key.clone());
            let vector = face(round * 10 + number, round);
            tokio::spawn(async move { store.put_vectors(&key, &[vector], now()).await.unwrap() })
        });
        let writes: Vec<_> = writes.collect();
        tokio::task::yield_now().await;
        two.other.delete_subject(&a, subject(round), now()).await.unwrap().unwrap();
        for write in writes {
            write.await.unwrap();
        }
        assert_eq!(two.one.vectors_of_subject(&key, subject(round)).await.unwrap(), []);
        let (vectors, subjects, _) = size(&two.one, &key).await;
        assert_eq!((vectors, subjects), (0, 0), "round {round}");
    }
}

pub async fn one_face_is_removed_for_all_models_and_no_other(two: &TwoStores) {
    let (store, a, key, other) = (&two.one, tenant("a"), key("a"), other_model("a"));
    add(store, "a", 1..=2).await;
    add(store, "b", [1]).await;
    put(store, &key, &[face(1, 1), face(2, 1), negative(3, 1), face(4, 2)]).await;
    put(store, &other, &[face(1, 1), face(5, 1)]).await;
    put(store, &self::key("b"), &[face(1, 1)]).await;
    assert!(store.set_source(&key, face(2, 1).id, "kept", now()).await.unwrap());
    let faces = |known: Vec<EnrolledRecord>| known.into_iter().map(|face| (face.id, face.source)).collect::<Vec<_>>();
    let (one, two_kept) = ((face(1, 1).id, None), (face(2, 1).id, Some("kept".to_owned())));
    let listed = faces(two.other.enrolled_faces(&key, subject(1)).await.unwrap());
    assert_eq!(listed, [one, two_kept.clone()], "a negative is no enrolled face");
    let many: Vec<SubjectId> = (1..=40).map(subject).collect();
    let counts = two.other.count_enrolled(&key, &many).await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(subject(1), 2), (subject(2), 1)]);

    for (owner, subject_of, id) in [("a", 1, 3), ("a", 1, 4), ("a", 2, 1), ("a", 1, 9), ("b", 1, 2), ("c", 1, 1)] {
        let (owner, owned, id) = (tenant(owner), subject(subject_of), face(id, 1).id);
        assert!(!store.is_enrolled(&owner, owned, id).await.unwrap(), "{owner} {subject_of} {id}");
        assert!(!store.remove_enrolled(&owner, owned, id, now()).await.unwrap(), "{owner} {subject_of} {id}");
    }
    assert_eq!(size(store, &key).await, (4, 2, 1), "nothing of a refused removal is stored");
    let position = Position::end_of(store.state(&key).await.unwrap().version);

    // Of one model alone, and of both.
    assert!(store.is_enrolled(&a, subject(1), face(5, 1).id).await.unwrap());
    for id in [5, 1] {
        assert!(store.remove_enrolled(&a, subject(1), face(id, 1).id, now()).await.unwrap());
        assert!(!two.other.remove_enrolled(&a, subject(1), face(id, 1).id, now()).await.unwrap(), "it is gone");
    }

    let Changes::Page { changes, .. } = two.other.changes(&key, &position, 9).await.unwrap() else {
        panic!("the position has expired")
    };
    assert_eq!(changes, [Change::Removed(face(1, 1).id)], "galleries in memory forget it");
    assert_eq!((size(store, &key).await, size(store, &other).await), ((3, 2, 2), (0, 0, 3)));
    assert_eq!(faces(two.other.enrolled_faces(&key, subject(1)).await.unwrap()), [two_kept]);
    assert_eq!(size(store, &self::key("b")).await.0, 1, "the same id of another tenant stays");
}

/// Every call of a tenant with the ids of another.
pub async fn another_tenants_faces_are_out_of_reach(two: &TwoStores) {
    let (store, a, b) = (&two.one, tenant("a"), tenant("b"));
    store.add_subject(&a, None, &named(1, "Ann"), now()).await.unwrap();
    add(store, "b", [7]).await;
    put(store, &key("a"), &[face(1, 1)]).await;
    put(store, &key("b"), &[face(9, 7)]).await;
    let (before, subjects) = (size(store, &key("a")).await, store.subjects(&a, None, 9).await.unwrap());

    assert!(store.subject(&b, subject(1)).await.unwrap().is_none());
    assert!(store.subject_by_external_id(&b, "hr-1").await.unwrap().is_none());
    assert_eq!(store.subjects(&b, None, 9).await.unwrap().len(), 1);
    let change = SubjectChange { name: Some(None), ..SubjectChange::default() };
    assert_eq!(store.change_subject(&b, subject(1), &change, now()).await.unwrap(), SubjectWriteOutcome::Unknown);
    assert!(store.delete_subject(&b, subject(1), now()).await.unwrap().is_none());
    for (from, into) in [(1, 7), (7, 1)] {
        let merged = store.merge_subjects(&b, subject(from), subject(into), now()).await.unwrap();
        assert_eq!(merged, MergeOutcome::Unknown(subject(1)));
    }
    let written = store.put_vectors(&key("b"), &[face(2, 1)], now()).await.unwrap();
    assert_eq!(written, VectorWriteOutcome::UnknownSubject(subject(1)));
    // The same id is another vector there.
    put(store, &key("b"), &[face(1, 7)]).await;
    assert_eq!(store.remove_vectors(&key("b"), &[face(1, 1).id], now()).await.unwrap(), 1);
    assert_eq!(store.remove_vectors(&key("b"), &[face(1, 1).id], now()).await.unwrap(), 0);
    assert_eq!(store.vectors_of_subject(&key("b"), subject(1)).await.unwrap(), []);
    let found = store.search(&key("b"), &face(1, 1).embedding, 9, -1.0).await.unwrap();
    assert_eq!(found.iter().map(|found| found.subject).collect::<Vec<_>>(), [subject(7)]);
    assert_eq!(store.erase_faces(&b).await.unwrap(), ErasedFaces { subjects: 1, vectors: 1 });

    assert_eq!(size(store, &key("a")).await, before);
    assert_eq!(store.subjects(&a, None, 9).await.unwrap(), subjects);
    assert_eq!(store.vectors_of_subject(&key("a"), subject(1)).await.unwrap(), [face(1, 1)]);
}

/// More than one statement deletes, and more than one page reads. The version continues.
pub async fn a_tenants_faces_are_erased_as_a_whole(two: &TwoStores) {
    let (store, a, key) = (&two.one, tenant("a"), key("a"));
    add(store, "a", 0..21).await;
    for first in [0, 550] {
        let vectors: Vec<_> = (first..first + 550).map(|number| face(number, number % 21)).collect();
        put(store, &key, &vectors).await;
    }
    put(store, &other_model("a"), &[face(1, 1)]).await;
    assert_eq!(store.remove_vectors(&key, &[face(5, 5).id], now()).await.unwrap(), 1);
    add(store, "b", [1]).await;
    put(store, &self::key("b"), &[face(1, 1)]).await;
    // The first and the last in the order of subjects.
    for number in [0, 20, 1_091, 1_099] {
        let found = two.other.search(&key, &face(number, 0).embedding, 50, -1.0).await.unwrap();
        assert_eq!((found.len(), found[0].vector), (21, face(number, 0).id), "all pages are compared");
    }
    let (_, _, version) = size(store, &key).await;

    let erased = face_eraser(store).erase(&a).await.unwrap();

    assert_eq!(erased.count, 21 + 1_099 + 1);
    assert_eq!(face_eraser(store).erase(&a).await.unwrap().count, 0);
    assert_eq!(size(&two.other, &key).await, (0, 0, 0));
    assert!(two.other.subjects(&a, None, 9).await.unwrap().is_empty());
    assert_eq!(two.other.vectors_of_subject(&key, subject(1)).await.unwrap(), []);
    assert_eq!(size(store, &self::key("b")).await.0, 1);
    add(store, "a", [1]).await;
    put(store, &key, &[face(1, 1)]).await;
    let (vectors, subjects, again) = size(&two.other, &key).await;
    assert_eq!((vectors, subjects), (1, 1));
    assert!(again > version, "{again} after {version}");
}

/// A reader from before begins again; the ids of removed vectors are gone.
pub async fn removals_are_swept_after_their_time(two: &TwoStores) {
    let (store, key, start) = (&two.one, key("a"), now());
    let later = start + REMOVALS_KEPT;
    add(store, "a", 1..=2).await;
    put(store, &key, &[face(1, 1), face(2, 1), face(3, 2)]).await;
    let read = Position::end_of(store.state(&key).await.unwrap().version);
    store.remove_vectors(&key, &[face(1, 1).id], start).await.unwrap();
    let between = Position::end_of(store.state(&key).await.unwrap().version);
    store.remove_vectors(&key, &[face(2, 1).id], later).await.unwrap();

    assert_eq!(store.sweep(later).await.unwrap(), 0, "none is older than its time");
    let removed = |id: Uuid| Change::Removed(VectorId::from_uuid(id));
    let page = async |after: &Position| match two.other.changes(&key, after, 9).await.unwrap() {
        Changes::Page { changes, .. } => Some(changes),
        Changes::Expired => None,
    };
    assert_eq!(page(&read).await.unwrap(), [removed(Uuid::from_u128(1)), removed(Uuid::from_u128(2))]);
    assert_eq!(store.sweep(later + SignedDuration::from_secs(1)).await.unwrap(), 1);
    assert_eq!(page(&read).await, None);
    assert_eq!(page(&between).await.unwrap(), [removed(Uuid::from_u128(2))]);
    assert_eq!(page(&Position::START).await.unwrap(), [Change::Put(face(3, 2))]);
}
