//! Enrolled faces: subjects, their vectors, and their end.

use std::collections::BTreeSet;
use std::sync::Arc;

use contracts::api::Consent;
use contracts::{SubjectId, TenantId, VectorId};
use gallery::suite::{face, key, subject};
use gallery::{Change, Changes, Galleries, GalleryKey, Position, StoredVector, VectorKind, VectorStore};
use jiff::{SignedDuration, Timestamp};
use store::relational::{
    AccessChange, DeletedSubject, EnrolledRecord, ErasedFaces, Gap, MAX_EXTERNAL_ID_BYTES, MAX_METADATA_BYTES,
    MAX_SUBJECT_NAME_BYTES, MAX_SUBJECTS_PAGE, MAX_VECTORS_AT_ONCE, MAX_VECTORS_OF_SUBJECT, MergeOutcome, Metadata,
    NewSubject, REMOVALS_KEPT, Relational, SubjectChange, SubjectWriteOutcome, VectorWriteOutcome,
};
use store::{PageCursor, face_eraser};
use uuid::Uuid;

use crate::relational::{TwoStores, later, now};

pub fn subject_with_id(id: SubjectId) -> NewSubject {
    NewSubject { id, external_id: None, name: None, metadata: Metadata::new(), consent: None }
}

fn named(number: u128, name: &str) -> NewSubject {
    let metadata = serde_json::json!({"team": "blue", "\u{0}": [1, null]}).as_object().unwrap().clone();
    let (external_id, name) = (Some(format!("hr-{number}")), Some(name.to_owned()));
    NewSubject { id: subject(number), external_id, name, metadata, consent: None }
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn other_model(tenant: &str) -> GalleryKey {
    GalleryKey { model: "face_reid_0095".to_owned(), ..key(tenant) }
}

fn negative(number: u128, owner: u128) -> StoredVector {
    StoredVector { kind: VectorKind::Negative, ..face(number, owner) }
}

async fn add(store: &Relational, owner: &str, numbers: impl IntoIterator<Item = u128>) {
    for number in numbers {
        let added = store.add_subject(&tenant(owner), None, &subject_with_id(subject(number)), now()).await.unwrap();
        assert_eq!(added, SubjectWriteOutcome::Stored);
    }
}

async fn put(store: &Relational, gallery: &GalleryKey, vectors: &[StoredVector]) {
    assert_eq!(store.put_vectors(gallery, vectors, now()).await.unwrap(), VectorWriteOutcome::Stored);
}

/// Vectors, subjects and version of a gallery.
async fn size(store: &Relational, gallery: &GalleryKey) -> (u64, u64, u64) {
    let state = store.state(gallery).await.unwrap();
    (state.vectors, state.subjects, state.version)
}

pub async fn a_subject_reads_back_as_it_was(two: &TwoStores) {
    let (store, a, new) = (&two.one, tenant("a"), named(1, "Ann \"A\" Öz"));
    let at = now();
    assert_eq!(store.add_subject(&a, None, &new, at).await.unwrap(), SubjectWriteOutcome::Stored);
    let found = two.other.subject(&a, new.id).await.unwrap().unwrap();
    assert_eq!((found.id, &found.external_id, &found.name), (new.id, &new.external_id, &new.name));
    assert_eq!((&found.metadata, found.created_at, found.updated_at), (&new.metadata, at, at));
    assert_eq!(store.subject_by_external_id(&a, "hr-1").await.unwrap(), Some(found.clone()));

    let later = at + SignedDuration::from_secs(5);
    let external_id = Some(Some("x".to_owned()));
    let change = SubjectChange { name: Some(None), external_id, ..SubjectChange::default() };
    assert_eq!(store.change_subject(&a, new.id, &change, later).await.unwrap(), SubjectWriteOutcome::Stored);
    let changed = two.other.subject(&a, new.id).await.unwrap().unwrap();
    assert_eq!((changed.name, changed.external_id.as_deref()), (None, Some("x")));
    assert_eq!((changed.metadata, changed.created_at, changed.updated_at), (new.metadata, at, later));
    assert!(store.subject_by_external_id(&a, "hr-1").await.unwrap().is_none());
    let unknown = store.change_subject(&a, subject(9), &SubjectChange::default(), later).await.unwrap();
    assert_eq!(unknown, SubjectWriteOutcome::Unknown);
}

pub async fn no_subject_is_added_for_a_disabled_or_deleted_user(two: &TwoStores) {
    let (a, ann) = (tenant("a"), crate::relational::add(&two.one, "ann").await);
    let added =
        async |number| two.other.add_subject(&a, Some(ann), &subject_with_id(subject(number)), now()).await.unwrap();
    assert_eq!(added(1).await, SubjectWriteOutcome::Stored);
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    assert!(two.one.change_access(ann, &disable, now(), later()).await.unwrap());
    assert_eq!(added(2).await, SubjectWriteOutcome::NoUser);
    assert!(two.one.delete_user(ann, later()).await.unwrap());
    assert_eq!(added(3).await, SubjectWriteOutcome::NoUser);
    assert_eq!(two.one.subjects(&a, None, 9).await.unwrap().len(), 1);
}

pub async fn an_external_id_belongs_to_one_subject_of_a_tenant(two: &TwoStores) {
    let (store, a, b) = (&two.one, tenant("a"), tenant("b"));
    let new = |number| NewSubject { external_id: Some("hr-1".to_owned()), ..subject_with_id(subject(number)) };
    assert_eq!(store.add_subject(&a, None, &new(1), now()).await.unwrap(), SubjectWriteOutcome::Stored);
    assert_eq!(store.add_subject(&a, None, &new(2), now()).await.unwrap(), SubjectWriteOutcome::ExternalIdTaken);
    assert_eq!(
        store.add_subject(&a, None, &subject_with_id(subject(1)), now()).await.unwrap(),
        SubjectWriteOutcome::IdTaken
    );
    // Another tenant's ids are its own matter; many subjects have none.
    assert_eq!(store.add_subject(&b, None, &new(1), now()).await.unwrap(), SubjectWriteOutcome::Stored);
    add(store, "a", [3, 4]).await;
    let take = SubjectChange { external_id: Some(Some("hr-1".to_owned())), ..SubjectChange::default() };
    let taken = store.change_subject(&a, subject(3), &take, now()).await.unwrap();
    assert_eq!(taken, SubjectWriteOutcome::ExternalIdTaken);
    assert_eq!(store.subject(&a, subject(3)).await.unwrap().unwrap().external_id, None);

    let claims = (10..30).map(|number| {
        let (store, a) = ([&two.one, &two.other][number as usize % 2].clone(), a.clone());
        let new = NewSubject { external_id: Some("hr-2".to_owned()), ..subject_with_id(subject(number)) };
        tokio::spawn(async move { store.add_subject(&a, None, &new, now()).await.unwrap() })
    });
    let outcomes = futures::future::join_all(claims).await;
    let stored = outcomes.iter().filter(|outcome| *outcome.as_ref().unwrap() == SubjectWriteOutcome::Stored);
    assert_eq!(stored.count(), 1);
}

pub async fn subjects_are_listed_without_gap_or_repeat(two: &TwoStores) {
    let (store, a, at) = (&two.one, tenant("a"), now());
    for number in 0..25 {
        // Some have the same time.
        let created = at + SignedDuration::from_secs(number as i64 / 4);
        store.add_subject(&a, None, &subject_with_id(subject(number)), created).await.unwrap();
    }
    add(store, "b", [1]).await;
    let (mut cursor, mut listed) = (None, Vec::new());
    loop {
        let page = two.other.subjects(&a, cursor.as_ref(), 4).await.unwrap();
        let Some(last) = page.last() else { break };
        cursor = Some(PageCursor { at: last.created_at, id: last.id.to_string() });
        listed.extend(page.into_iter().map(|found| found.id));
    }
    assert_eq!(listed, (0..25).rev().map(subject).collect::<Vec<_>>());
}

pub async fn subjects_are_read_by_their_ids(two: &TwoStores) {
    let (store, a) = (&two.one, tenant("a"));
    add(store, "a", 1..=40).await;
    add(store, "b", [41]).await;
    let ids: Vec<SubjectId> = (1..=45).rev().map(subject).collect();
    let found = two.other.subjects_by_id(&a, &ids).await.unwrap();
    let wanted: BTreeSet<SubjectId> = (1..=40).map(subject).collect();
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), wanted);
    assert!(found.iter().all(|(id, record)| *id == record.id));
    assert!(store.subjects_by_id(&a, &[]).await.unwrap().is_empty());
    assert_eq!(store.subjects_by_id(&a, &ids[44..]).await.unwrap().len(), 1);
}

pub async fn a_tenant_has_no_more_subjects_than_its_limit(two: &TwoStores) {
    let (a, limited) = (tenant("a"), two.one.clone().with_subject_limit(3));
    let added = async |store: &Relational, owner: &str, number| {
        store.add_subject(&tenant(owner), None, &subject_with_id(subject(number)), now()).await.unwrap()
    };
    let (stored, full) = (SubjectWriteOutcome::Stored, SubjectWriteOutcome::TooManySubjects(3));
    // Every handle counts, whatever its limit.
    add(&two.other, "a", [1]).await;
    add(&limited, "a", [2, 3]).await;
    assert_eq!(added(&limited, "a", 4).await, full);
    assert_eq!(two.one.subject(&a, subject(4)).await.unwrap(), None);
    assert_eq!(added(&limited, "b", 4).await, stored, "another tenant has its own number");

    // Each way to have one less makes room for one.
    two.other.delete_subject(&a, subject(1), now()).await.unwrap().unwrap();
    assert_eq!((added(&limited, "a", 5).await, added(&limited, "a", 6).await), (stored, full));
    let merged = two.other.merge_subjects(&a, subject(2), subject(3), now()).await.unwrap();
    assert_eq!(merged, MergeOutcome::Merged(0));
    assert_eq!((added(&limited, "a", 7).await, added(&limited, "a", 8).await), (stored, full));

    let named = SubjectChange { external_id: Some(Some("hr-1".to_owned())), ..SubjectChange::default() };
    assert_eq!(limited.change_subject(&a, subject(7), &named, now()).await.unwrap(), stored);
    let repeat = NewSubject { external_id: Some("hr-1".to_owned()), ..subject_with_id(subject(8)) };
    let repeated = limited.add_subject(&a, None, &repeat, now()).await.unwrap();
    assert_eq!(repeated, SubjectWriteOutcome::ExternalIdTaken, "a repeat finds its subject, also at the limit");

    let (lower, higher) = (limited.clone().with_subject_limit(1), limited.clone().with_subject_limit(4));
    assert_eq!(added(&lower, "a", 9).await, SubjectWriteOutcome::TooManySubjects(1));
    assert_eq!(added(&higher, "a", 9).await, stored);
    assert_eq!(added(&higher, "a", 10).await, SubjectWriteOutcome::TooManySubjects(4));
    two.other.erase_faces(&a).await.unwrap();
    add(&limited, "a", 11..=13).await;
    assert_eq!(added(&limited, "a", 14).await, full);
}

pub async fn concurrent_additions_do_not_exceed_the_limit(two: &TwoStores) {
    let a = tenant("a");
    let of_many = async |numbers: std::ops::Range<u128>| {
        let added = numbers.map(|number| {
            let store = [&two.one, &two.other][number as usize % 2].clone().with_subject_limit(10);
            let (a, new) = (a.clone(), subject_with_id(subject(number)));
            tokio::spawn(async move { store.add_subject(&a, None, &new, now()).await.unwrap() })
        });
        let outcomes = futures::future::join_all(added).await;
        outcomes.iter().filter(|outcome| *outcome.as_ref().unwrap() == SubjectWriteOutcome::Stored).count()
    };
    assert_eq!(of_many(0..40).await, 10);
    let known = two.one.subjects(&a, None, 99).await.unwrap();
    assert_eq!(known.len(), 10);
    // The number still counts these, so the next ones count the subjects.
    for gone in &known[..4] {
        two.one.delete_subject(&a, gone.id, now()).await.unwrap().unwrap();
    }
    assert_eq!(of_many(100..140).await, 4);
    assert_eq!(two.one.subjects(&a, None, 99).await.unwrap().len(), 10);
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

/// Every call of a tenant with the ids of another.
fn consent(until: Option<Timestamp>) -> SubjectChange {
    let consent = Consent { given_at: now(), until, reference: Some("form 7, \u{e9}".to_owned()) };
    SubjectChange { consent: Some(Some(consent)), ..SubjectChange::default() }
}

const WITHDRAWN: SubjectChange = SubjectChange { external_id: None, name: None, metadata: None, consent: Some(None) };

async fn change(store: &Relational, number: u128, change: &SubjectChange) {
    let changed = store.change_subject(&tenant("a"), subject(number), change, now()).await.unwrap();
    assert_eq!(changed, SubjectWriteOutcome::Stored);
}

pub async fn vectors_end_with_the_consent_of_their_subject(two: &TwoStores) {
    let (store, other, a, gallery) = (&two.one, &two.other, tenant("a"), key("a"));
    let (soon, end) = (now() + SignedDuration::from_secs(60), now() + SignedDuration::from_secs(90));
    let given = consent(Some(soon));
    let new = NewSubject { consent: given.consent.clone().unwrap(), ..subject_with_id(subject(1)) };
    assert_eq!(store.add_subject(&a, None, &new, now()).await.unwrap(), SubjectWriteOutcome::Stored);
    assert_eq!(other.subject(&a, subject(1)).await.unwrap().unwrap().consent, new.consent);
    add(store, "a", [2]).await;
    for number in 1..=4 {
        put(store, &gallery, &[face(number, number % 2 + 1)]).await;
    }
    put(store, &other_model("a"), &[face(5, 1), negative(6, 1)]).await;
    let (.., version) = size(other, &gallery).await;

    assert!(other.ended_consents(now(), 9).await.unwrap().is_empty(), "it still holds");
    assert_eq!(other.ended_consents(end, 9).await.unwrap(), [(a.clone(), subject(1))]);
    // Renewed before it is enforced.
    change(store, 1, &consent(Some(end))).await;
    assert_eq!(other.end_consent(&a, subject(1), soon).await.unwrap(), 0);
    assert_eq!(size(other, &gallery).await, (4, 2, version));
    assert_eq!(other.end_consent(&a, subject(1), end).await.unwrap(), 4);
    assert_eq!(size(store, &gallery).await, (2, 1, version + 1), "a later search sees it");
    assert_eq!(size(store, &other_model("a")).await.0, 0);
    assert_eq!(other.ended_consents(end, 9).await.unwrap().len(), 1, "its images may be left");
    other.finish_consent(&a, subject(1), end).await.unwrap();
    assert!(other.ended_consents(end, 9).await.unwrap().is_empty(), "it is enforced once");
    assert!(other.subject(&a, subject(1)).await.unwrap().unwrap().consent.is_some(), "what was given stays on record");

    change(store, 2, &consent(None)).await;
    assert_eq!(size(other, &gallery).await.0, 2, "it has no end");
    change(store, 2, &WITHDRAWN).await;
    assert_eq!(size(other, &gallery).await, (0, 0, version + 2));
    let withdrawn = other.subject(&a, subject(2)).await.unwrap().unwrap().consent.unwrap();
    assert!(withdrawn.given_at < withdrawn.until.unwrap() && !withdrawn.holds(now()), "it ended: {withdrawn:?}");
    let outcome = other.put_vectors(&gallery, &[face(2, 2)], now()).await.unwrap();
    assert_eq!(outcome, VectorWriteOutcome::NoConsent(subject(2)), "a face that was on its way");
    // A change of something else leaves what is to be done.
    let name = SubjectChange { name: Some(Some("Ann".to_owned())), ..SubjectChange::default() };
    change(store, 2, &name).await;
    assert!(other.is_consent_to_end(&a, subject(2), now()).await.unwrap());
    assert_eq!(other.end_consent(&a, subject(2), now()).await.unwrap(), 0);
    other.finish_consent(&a, subject(2), now()).await.unwrap();
    assert!(!other.is_consent_to_end(&a, subject(2), now()).await.unwrap());
    let merged = store.merge_subjects(&a, subject(2), subject(1), now()).await.unwrap();
    assert_eq!(merged, MergeOutcome::NoConsent(subject(2)), "its consent ended");
}

pub async fn without_a_valid_consent_no_vector_is_added(two: &TwoStores) {
    let (optional, required, gallery) = (&two.one, two.other.clone().requiring_consent(true), key("a"));
    add(optional, "a", 1..=3).await;
    let outcome = async |store: &Relational, number, owner, at| {
        store.put_vectors(&gallery, &[face(number, owner)], at).await.unwrap()
    };
    let refused = |number| VectorWriteOutcome::NoConsent(subject(number));
    assert_eq!(outcome(&required, 1, 1, now()).await, refused(1));
    assert_eq!(required.enrolled_without_consent().await.unwrap(), None);
    assert_eq!(outcome(optional, 1, 1, now()).await, VectorWriteOutcome::Stored);
    assert_eq!(required.enrolled_without_consent().await.unwrap(), Some(subject(1)));

    let soon = now() + SignedDuration::from_secs(60);
    change(optional, 2, &consent(Some(soon))).await;
    assert_eq!(outcome(&required, 2, 2, now()).await, VectorWriteOutcome::Stored);
    for store in [optional, &required] {
        assert_eq!(outcome(store, 3, 2, soon).await, refused(2), "it ended");
    }
    // The faces of the first have no consent in the third, who gave none.
    let merge = async |into| required.merge_subjects(&gallery.tenant, subject(1), subject(into), now()).await.unwrap();
    assert_eq!(merge(3).await, MergeOutcome::NoConsent(subject(3)));
    assert_eq!(merge(2).await, MergeOutcome::Merged(1));
    let (moves, stays) = (consent(Some(soon)), consent(None));
    add(optional, "a", 4..=5).await;
    change(optional, 4, &moves).await;
    change(optional, 5, &stays).await;
    assert_eq!(outcome(optional, 4, 4, now()).await, VectorWriteOutcome::Stored);
    let merged = optional.merge_subjects(&gallery.tenant, subject(4), subject(5), now()).await.unwrap();
    assert_eq!(merged, MergeOutcome::Merged(1));
    let kept = optional.subject(&gallery.tenant, subject(5)).await.unwrap().unwrap().consent.unwrap();
    assert_eq!(kept.until, Some(soon), "its faces are compared as long as the earlier consent holds");
    assert_eq!(required.enrolled_without_consent().await.unwrap(), None);
}

/// The caller deletes the image that it has kept meanwhile.
pub async fn without_a_valid_consent_no_source_is_recorded(two: &TwoStores) {
    let (optional, required, gallery) = (&two.one, two.other.clone().requiring_consent(true), key("a"));
    let (soon, target) = (now() + SignedDuration::from_secs(60), other_model("a").model);
    add(optional, "a", 1..=2).await;
    put(optional, &gallery, &[face(1, 1), face(2, 2)]).await;
    change(optional, 2, &consent(Some(soon))).await;
    let gaps = [face(1, 1).id, face(2, 2).id].map(|id| (id, Gap::ImageNotKept));
    optional.put_gaps(&gallery, &target, &gaps).await.unwrap();
    let set = async |store: &Relational, number, at| {
        store.set_source(&gallery, face(number, number).id, "kept", at).await.unwrap()
    };
    // Those that are to be tried again, with what they were made of.
    let again = async || {
        let faces = optional.faces_to_embed(&gallery, &target, None, 9).await.unwrap();
        faces.into_iter().map(|face| (face.subject, face.source)).collect::<Vec<_>>()
    };

    assert!(!set(&required, 1, now()).await, "it gave none");
    assert!(!set(&required, 2, soon).await, "it ended, and its faces are not erased yet");
    assert!(!set(optional, 2, soon).await, "it ended, also where none is required");
    assert!(again().await.is_empty(), "nothing is changed");
    for number in [1, 2] {
        let enrolled = EnrolledRecord { id: face(number, number).id, source: None };
        assert_eq!(optional.enrolled_faces(&gallery, subject(number)).await.unwrap(), [enrolled]);
    }

    assert!(set(&required, 2, now()).await);
    assert!(set(optional, 1, now()).await, "none is required");
    let kept = |number| (subject(number), Some("kept".to_owned()));
    assert_eq!(again().await, [kept(1), kept(2)]);
}

/// Nobody knows whether one was given before it was recorded. From now on it is known that it does not hold.
pub async fn a_consent_that_was_never_recorded_can_be_withdrawn(two: &TwoStores) {
    let (store, other, a, gallery) = (&two.one, &two.other, tenant("a"), key("a"));
    add(store, "a", 1..=2).await;
    put(store, &gallery, &[face(1, 1), negative(2, 1), face(3, 2)]).await;
    put(store, &other_model("a"), &[face(1, 1)]).await;
    let (.., version) = size(other, &gallery).await;

    change(store, 1, &WITHDRAWN).await;

    assert_eq!(size(other, &gallery).await, (1, 1, version + 1), "a later search sees it");
    assert_eq!(size(other, &other_model("a")).await.0, 0);
    let recorded = async || other.subject(&a, subject(1)).await.unwrap().unwrap().consent.expect("it is on record");
    let ended = recorded().await;
    assert_eq!((ended.until, &ended.reference), (Some(ended.given_at), &None), "it held at no time");
    assert_eq!(other.ended_consents(now(), 9).await.unwrap(), [(a.clone(), subject(1))], "its images may be left");
    let late = other.put_vectors(&gallery, &[face(1, 1)], now()).await.unwrap();
    assert_eq!(late, VectorWriteOutcome::NoConsent(subject(1)), "a face that was on its way");
    change(store, 1, &WITHDRAWN).await;
    assert_eq!(recorded().await, ended, "a repeat changes nothing");

    change(store, 1, &consent(None)).await;
    put(other, &gallery, &[face(1, 1)]).await;
    assert!(other.ended_consents(now(), 9).await.unwrap().is_empty(), "it is given now");
}

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
        store.set_next(former, None).await.unwrap();
    }
    store.set_next(&due[0], Some(far)).await.unwrap();
    let second = SignedDuration::from_secs(1);
    assert_eq!(store.former_subjects_due(far - second, 9).await.unwrap(), []);
    assert_eq!(store.former_subjects_due(far, 9).await.unwrap(), [due[0].clone()]);
    face_eraser(store).erase(&a).await.unwrap();
    assert_eq!(store.former_subjects_due(far, 9).await.unwrap(), []);
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
