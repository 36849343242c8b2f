//! The model that compares faces: vectors of two models side by side, and the switch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::{BlobKey, SubjectId, TenantId};
use gallery::suite::{face, key, subject};
use gallery::{Embedding, Galleries, GalleryKey, StoredVector, VectorKind, VectorStore};
use jiff::SignedDuration;
use store::relational::{
    Coverage, FaceCounts, FaceModels, Gap, MAX_VECTORS_AT_ONCE, Relational, SourcedVector, SubjectWithout,
    SubjectWriteOutcome, SwitchOutcome, VectorWriteOutcome,
};
use uuid::Uuid;

use super::faces::subject_with_id;
use crate::relational::{TwoStores, now};

const FIRST: &str = "mobilefacenet_128d";
/// Its embeddings are longer, so a comparison across the models fails.
const OTHER: &str = "face_reid_0095";
const OTHER_DIMENSIONS: usize = 256;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn of_model(tenant: &str, model: &str) -> GalleryKey {
    GalleryKey { model: model.to_owned(), ..key(tenant) }
}

/// The vector of a face for the other model, under the same id.
fn other_face(number: u128, owner: u128) -> StoredVector {
    let halves = [number, number + (1 << 40)].map(|number| face(number, owner).embedding.to_bytes());
    let bytes = halves.iter().flatten().copied().collect::<Vec<u8>>();
    let numbers: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    StoredVector { embedding: Embedding::new(&numbers, OTHER_DIMENSIONS).unwrap(), ..face(number, owner) }
}

fn of(model: &str, number: u128, owner: u128) -> StoredVector {
    if model == FIRST { face(number, owner) } else { other_face(number, owner) }
}

fn sourced(vector: StoredVector) -> SourcedVector {
    SourcedVector { vector, source: None }
}

async fn add(store: &Relational, owner: &str, number: u128) {
    let added = store.add_subject(&tenant(owner), None, &subject_with_id(subject(number)), now()).await.unwrap();
    assert_eq!(added, SubjectWriteOutcome::Stored);
}

/// A subject with one face of the first model.
async fn enrol(store: &Relational, owner: &str, number: u128) {
    add(store, owner, number).await;
    let put = store.put_face(&key(owner), &face(number, number), None, None, now()).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::Stored);
}

/// Makes all vectors that the target misses.
async fn embed_all(store: &Relational, active: &str, target: &str) {
    let mut owner = store.next_tenant_of(active, None).await.unwrap();
    while let Some(tenant) = owner {
        let gallery = of_model(tenant.as_str(), active);
        loop {
            let faces = store.faces_to_embed(&gallery, target, None, MAX_VECTORS_AT_ONCE).await.unwrap();
            if faces.is_empty() {
                break;
            }
            let vectors = faces.iter().map(|face| {
                let vector = of(target, face.id.uuid().as_u128(), face.subject.uuid().as_u128());
                sourced(StoredVector { kind: face.kind, ..vector })
            });
            let vectors: Vec<_> = vectors.collect();
            let put = store.put_reembedded(&gallery, target, &vectors, now()).await.unwrap();
            assert_eq!(put, VectorWriteOutcome::Stored);
        }
        owner = store.next_tenant_of(active, Some(&tenant)).await.unwrap();
    }
}

pub async fn a_switch_waits_for_every_face_of_every_tenant(two: &TwoStores) {
    let (store, other) = (&two.one, &two.other);
    assert_eq!(store.face_models().await.unwrap(), None);
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::NoChange);
    for (owner, number) in [("a", 1), ("a", 2), ("b", 1)] {
        enrol(store, owner, number).await;
    }
    let stored = FaceModels { active: FIRST.to_owned(), target: None, without_missing: false };
    assert_eq!(other.face_models().await.unwrap(), Some(stored.clone()), "the first face says which model compares");
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::NoChange);

    store.begin_model_change("ignored, because one is stored", OTHER, false, now()).await.unwrap();
    let begun = FaceModels { target: Some(OTHER.to_owned()), ..stored.clone() };
    assert_eq!(other.face_models().await.unwrap(), Some(begun));
    let put = async |owner: &str, number| {
        let vector = [sourced(other_face(number, number))];
        store.put_reembedded(&of_model(owner, FIRST), OTHER, &vector, now()).await.unwrap()
    };
    for (owner, number) in [("a", 1), ("a", 2)] {
        assert_eq!(put(owner, number).await, VectorWriteOutcome::Stored);
        assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::NotComplete, "{owner} {number}");
        assert_eq!(other.active_model().await.unwrap().as_deref(), Some(FIRST));
    }
    let coverage = other.coverage(&key("a"), OTHER).await.unwrap();
    assert_eq!(coverage.faces, FaceCounts { total: 2, embedded: 2, missing: 0 });
    let left = other.faces_to_embed(&key("b"), OTHER, None, 9).await.unwrap();
    assert_eq!(
        left.iter().map(|face| (face.subject, face.kind)).collect::<Vec<_>>(),
        [(subject(1), VectorKind::Enrolled)]
    );
    assert_eq!(put("b", 1).await, VectorWriteOutcome::Stored);
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
    assert_eq!(other.active_model().await.unwrap().as_deref(), Some(OTHER));
    // The vectors of the model before stay, so the way back has nothing to wait for.
    store.begin_model_change(OTHER, FIRST, false, now()).await.unwrap();
    assert_eq!(other.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
    assert_eq!(store.face_models().await.unwrap(), Some(stored.clone()));
    // To the model that compares: there is no change any more.
    store.begin_model_change(FIRST, OTHER, true, now()).await.unwrap();
    store.begin_model_change(FIRST, FIRST, false, now()).await.unwrap();
    assert_eq!(other.face_models().await.unwrap(), Some(stored));
}

/// What it cannot have is remembered until the change is begun again.
pub async fn subjects_without_a_face_hold_up_a_switch(two: &TwoStores) {
    let store = &two.one;
    for number in 1..=3 {
        enrol(store, "a", number).await;
    }
    // The second subject has another face, which the target can have.
    assert_eq!(store.put_vectors(&key("a"), &[face(20, 2)], now()).await.unwrap(), VectorWriteOutcome::Stored);
    store.begin_model_change(FIRST, OTHER, false, now()).await.unwrap();
    let gaps = [(face(1, 1).id, Gap::FaceNotFound), (face(2, 2).id, Gap::ImageNotKept)];
    for _ in 0..2 {
        store.put_gaps(&key("a"), OTHER, &gaps).await.unwrap();
    }
    embed_all(store, FIRST, OTHER).await;

    assert_eq!(two.other.switch_model(now()).await.unwrap(), SwitchOutcome::WouldLose(1));
    let lost = SubjectWithout { subject: subject(1), faces: 1, reason: Gap::FaceNotFound };
    let faces = FaceCounts { total: 4, embedded: 2, missing: 2 };
    let expected = Coverage { faces, negatives: FaceCounts::default(), without: vec![lost] };
    assert_eq!(two.other.coverage(&key("a"), OTHER).await.unwrap(), expected);

    // An image that is kept from now on makes the face one to try again.
    let source = BlobKey::of_enrolled(&tenant("a"), subject(2), face(2, 2).id).to_string();
    assert!(store.set_source(&key("a"), face(2, 2).id, &source, now()).await.unwrap());
    let again = two.other.faces_to_embed(&key("a"), OTHER, None, 9).await.unwrap();
    assert_eq!(
        again.iter().map(|face| (face.id, face.source.clone())).collect::<Vec<_>>(),
        [(face(2, 2).id, Some(source))]
    );
    embed_all(store, FIRST, OTHER).await;
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::WouldLose(1));

    store.begin_model_change(FIRST, OTHER, true, now()).await.unwrap();
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::NotComplete, "it is tried again");
    store.put_gaps(&key("a"), OTHER, &gaps[..1]).await.unwrap();
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
}

pub async fn one_process_makes_vectors_until_its_lease_ends(two: &TwoStores) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let (at, minute) = (now(), SignedDuration::from_mins(1));
    assert!(!two.one.take_model_change(one, at, at + minute).await.unwrap(), "there is nothing to do");
    two.one.begin_model_change(FIRST, OTHER, false, at).await.unwrap();
    assert!(two.one.take_model_change(one, at, at + minute).await.unwrap());
    assert!(!two.other.take_model_change(other, at + minute, at + minute + minute).await.unwrap());
    assert!(two.one.take_model_change(one, at + minute, at + minute + minute).await.unwrap(), "it goes on");
    let late = at + minute + minute + minute;
    assert!(two.other.take_model_change(other, late, late + minute).await.unwrap(), "it has ended");
    assert!(!two.one.take_model_change(one, late, late + minute).await.unwrap());
}

/// A face is stored for the model that compares with the target that the writer knows, or not at all.
pub async fn a_face_for_a_model_that_does_not_compare_is_refused(two: &TwoStores) {
    let store = &two.one;
    enrol(store, "a", 1).await;
    add(store, "a", 2).await;
    let put = async |model: &str, target: Option<&str>| {
        let (gallery, vector) = (of_model("a", model), of(model, 2, 2));
        two.other.put_face(&gallery, &vector, None, target, now()).await.unwrap()
    };
    assert_eq!(put(OTHER, None).await, VectorWriteOutcome::ModelChanged);
    store.begin_model_change(FIRST, OTHER, false, now()).await.unwrap();
    assert_eq!(put(FIRST, None).await, VectorWriteOutcome::ModelChanged, "the writer does not know the target");
    assert_eq!(put(OTHER, Some(OTHER)).await, VectorWriteOutcome::ModelChanged);
    assert_eq!(store.state(&of_model("a", OTHER)).await.unwrap().vectors, 0);
    assert_eq!(put(FIRST, Some(OTHER)).await, VectorWriteOutcome::Stored);
    embed_all(store, FIRST, OTHER).await;
    assert_eq!(store.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
    assert_eq!(put(FIRST, Some(OTHER)).await, VectorWriteOutcome::ModelChanged);
    assert_eq!(put(OTHER, None).await, VectorWriteOutcome::Stored);
}

pub async fn a_face_that_was_deleted_meanwhile_gets_no_vector(two: &TwoStores) {
    let (store, a) = (&two.one, tenant("a"));
    for number in 1..=4 {
        enrol(store, "a", number).await;
    }
    store.begin_model_change(FIRST, OTHER, false, now()).await.unwrap();
    let before = store.subject(&a, subject(1)).await.unwrap().unwrap();
    store.put_gaps(&key("a"), OTHER, &[(face(2, 2).id, Gap::ImageNotKept)]).await.unwrap();
    // What a process has embedded, as the others change it: deleted, merged, a single vector removed.
    let embedded: Vec<_> = (1..=4).map(|number| sourced(other_face(number, number))).collect();
    store.delete_subject(&a, subject(2), now()).await.unwrap().unwrap();
    store.merge_subjects(&a, subject(3), subject(1), before.updated_at).await.unwrap();
    store.remove_vectors(&key("a"), &[face(4, 4).id], now()).await.unwrap();
    let put = two.other.put_reembedded(&key("a"), OTHER, &embedded, now() + SignedDuration::from_hours(1)).await;
    assert_eq!(put.unwrap(), VectorWriteOutcome::Stored);
    let many = vec![sourced(other_face(1, 1)); MAX_VECTORS_AT_ONCE + 1];
    let put = store.put_reembedded(&key("a"), OTHER, &many, now()).await.unwrap();
    assert_eq!(put, VectorWriteOutcome::TooManyAtOnce);

    let owners =
        async |number| two.other.vectors_of_subject(&of_model("a", OTHER), subject(number)).await.unwrap().len();
    assert_eq!([owners(1).await, owners(2).await, owners(3).await, owners(4).await], [1, 0, 0, 0]);
    let after = store.subject(&a, subject(1)).await.unwrap().unwrap();
    assert_eq!(after.updated_at, before.updated_at, "it is no change of the subject");
    let left = store.faces_to_embed(&key("a"), OTHER, None, 9).await.unwrap();
    assert_eq!(left.iter().map(|face| face.subject).collect::<Vec<_>>(), [subject(1)], "under the subject that stays");
    store.erase_faces(&a).await.unwrap();
    assert_eq!(store.next_tenant_of(FIRST, None).await.unwrap(), None);
}

/// A face that comes again is tried again: what the target could not have is forgotten with the face, and only of that face.
pub async fn a_gap_ends_with_its_face(two: &TwoStores) {
    let (store, a) = (&two.one, tenant("a"));
    for (owner, number) in [("a", 1), ("a", 2), ("b", 1)] {
        enrol(store, owner, number).await;
    }
    store.begin_model_change(FIRST, OTHER, false, now()).await.unwrap();
    let left = async |owner: &str| {
        let faces = two.other.faces_to_embed(&key(owner), OTHER, None, 9).await.unwrap();
        faces.into_iter().map(|face| face.id.uuid().as_u128()).collect::<Vec<_>>()
    };
    let cannot = async || {
        for owner in ["a", "b"] {
            let gaps = [1, 2].map(|number| (face(number, number).id, Gap::FaceNotFound));
            store.put_gaps(&key(owner), OTHER, &gaps).await.unwrap();
            assert!(left(owner).await.is_empty(), "{owner}");
        }
    };
    let again = async |number| {
        let put = store.put_vectors(&key("a"), &[face(number, number)], now()).await.unwrap();
        assert_eq!(put, VectorWriteOutcome::Stored);
    };

    cannot().await;
    assert!(store.remove_enrolled(&a, subject(1), face(1, 1).id, now()).await.unwrap());
    again(1).await;
    assert_eq!(left("a").await, [1], "the face was removed");

    cannot().await;
    store.delete_subject(&a, subject(1), now()).await.unwrap().unwrap();
    add(store, "a", 1).await;
    again(1).await;
    assert_eq!(left("a").await, [1], "the subject was deleted");

    cannot().await;
    assert_eq!(store.erase_faces(&a).await.unwrap().subjects, 2);
    for number in [1, 2] {
        add(store, "a", number).await;
        again(number).await;
    }
    assert_eq!(left("a").await, [1, 2], "the tenant was erased");
    assert!(left("b").await.is_empty(), "the same id of another tenant");
}

/// `SIGHTLINE_TEST_SUBJECTS` sets the number of subjects.
fn subjects() -> u128 {
    std::env::var("SIGHTLINE_TEST_SUBJECTS").map_or(1_000, |number| number.parse().unwrap())
}

/// Searches until the end, as the service does: with the model that it read at the beginning. Returns how often each model compared.
async fn search_on(store: Relational, subjects: u128, done: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let galleries = Galleries::new(Arc::new(store), 256 << 20);
    let (mut seen, mut step) = (BTreeMap::new(), 0);
    while !done.load(Ordering::SeqCst) {
        let model = galleries.active_model().await.unwrap().unwrap();
        step += 7_919;
        let number = step % subjects + 1;
        let query = [of(&model, number, number).embedding];
        let answer = galleries.search(&of_model("a", &model), &query, 1, 0.9).await.unwrap().remove(0);
        let found: Vec<SubjectId> = answer.matches.iter().map(|found| found.subject).collect();
        assert_eq!(found, [subject(number)], "{model}");
        *seen.entry(model).or_default() += 1;
    }
    seen
}

/// Enrols further subjects until the end, as the service does: for the target first. Returns their number.
async fn enrol_on(store: Relational, first: u128, done: Arc<AtomicBool>) -> u128 {
    let mut number = first;
    while !done.load(Ordering::SeqCst) {
        add(&store, "a", number).await;
        loop {
            let FaceModels { active, target, .. } = store.face_models().await.unwrap().unwrap();
            if let Some(target) = &target {
                let vector = [of(target, number, number)];
                let put = store.put_vectors(&of_model("a", target), &vector, now()).await.unwrap();
                assert_eq!(put, VectorWriteOutcome::Stored);
            }
            let (gallery, vector) = (of_model("a", &active), of(&active, number, number));
            let put = store.put_face(&gallery, &vector, None, target.as_deref(), now()).await.unwrap();
            if put != VectorWriteOutcome::ModelChanged {
                assert_eq!(put, VectorWriteOutcome::Stored);
                break;
            }
        }
        number += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    number - first
}

/// To the other model, back, and to the other again: no search fails, none compares across models, and no enrolment is lost.
pub async fn a_model_is_switched_and_back_under_searches(two: &TwoStores) {
    let (store, subjects) = (&two.one, subjects());
    for number in 1..=subjects {
        add(store, "a", number).await;
    }
    let all: Vec<StoredVector> = (1..=subjects).map(|number| face(number, number)).collect();
    for some in all.chunks(MAX_VECTORS_AT_ONCE) {
        assert_eq!(store.put_vectors(&key("a"), some, now()).await.unwrap(), VectorWriteOutcome::Stored);
    }
    store.begin_model_change(FIRST, FIRST, false, now()).await.unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let searches = [&two.one, &two.other].map(|store| tokio::spawn(search_on(store.clone(), subjects, done.clone())));
    let enrolling = tokio::spawn(enrol_on(two.other.clone(), subjects + 1, done.clone()));

    for (active, target) in [(FIRST, OTHER), (OTHER, FIRST), (FIRST, OTHER)] {
        tokio::time::sleep(Duration::from_millis(200)).await;
        store.begin_model_change(active, target, false, now()).await.unwrap();
        while store.switch_model(now()).await.unwrap() != SwitchOutcome::Switched {
            embed_all(store, active, target).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    done.store(true, Ordering::SeqCst);

    let mut compared = BTreeSet::new();
    for search in searches {
        compared.extend(search.await.unwrap().into_keys());
    }
    assert_eq!(compared, [FIRST, OTHER].map(str::to_owned).into());
    let enrolled = enrolling.await.unwrap();
    let state = store.state(&of_model("a", OTHER)).await.unwrap();
    assert_eq!((u128::from(state.vectors), u128::from(state.subjects)), (subjects + enrolled, subjects + enrolled));
}
