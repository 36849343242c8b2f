//! Photographs that verify users: the outcome of each, and the face that the first one enrols.

use std::collections::BTreeSet;

use contracts::api::LatestPhoto;
use contracts::{FaceVerifiedEvent, SubjectId, TenantId, UploadOutcome, UserId, VectorId};
use gallery::suite::face;
use gallery::{GalleryKey, VectorStore};
use jiff::SignedDuration;
use store::Relational;
use store::relational::{
    AccessChange, DecidedUpload, NewUpload, PhotoStatus, SwitchOutcome, UploadDecision, UploadPlace, UploadedFace,
    UserWriteOutcome,
};
use uuid::Uuid;

use crate::relational::{TwoStores, later, named, now};

const MODEL: &str = "mobilefacenet_128d";

async fn user(store: &Relational, name: &str) -> (UserId, TenantId) {
    let new = named(name);
    assert_eq!(store.add_user(&new, now()).await.unwrap(), UserWriteOutcome::Stored);
    (new.id, TenantId::from_uuid(new.tenant))
}

/// The message at this offset, with this content and file.
pub fn upload(offset: i64, content: u8, file: Option<&str>) -> NewUpload {
    let place = UploadPlace { topic_id: "of a topic".to_owned(), partition: 1, offset };
    NewUpload { place, message: [content; 32], file: file.map(str::to_owned) }
}

/// The face with this number, on another photograph.
pub fn photographed(number: u128) -> UploadedFace {
    UploadedFace {
        model: MODEL.to_owned(),
        embedding: face(number, 1).embedding,
        target: None,
        target_embedding: None,
        threshold: 0.5,
        written_at: now(),
        subject: SubjectId::from_uuid(Uuid::now_v7()),
        vector: VectorId::from_uuid(Uuid::now_v7()),
    }
}

fn decided(decision: UploadDecision) -> DecidedUpload {
    match decision {
        UploadDecision::Decided(decided) => decided,
        other => panic!("it has no outcome: {other:?}"),
    }
}

async fn decide(store: &Relational, upload: &NewUpload, user: UserId, number: u128) -> UploadOutcome {
    decided(store.decide_upload(upload, user, &photographed(number), now()).await.unwrap()).outcome
}

/// Whether a user is verified, and the latest outcome.
pub type Shown = (bool, Option<UploadOutcome>);

pub async fn shown(store: &Relational, user: UserId, tenant: &TenantId) -> Shown {
    let PhotoStatus { verified, photo } = store.photo_status(user, tenant).await.unwrap();
    (verified, photo.map(|photo| photo.outcome))
}

/// Vectors and subjects of a tenant.
async fn enrolled(store: &Relational, tenant: &TenantId) -> (u64, u64) {
    let state = store.state(&GalleryKey { tenant: tenant.clone(), model: MODEL.to_owned() }).await.unwrap();
    (state.vectors, state.subjects)
}

pub async fn the_first_upload_enrols_and_later_ones_must_match(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    let (ben, of_ben) = user(&two.one, "ben").await;
    assert_eq!(two.other.verified_at(ann, &tenant).await.unwrap(), None);
    let at = now();
    let first = two.one.decide_upload(&upload(1, 1, Some("a")), ann, &photographed(1), at).await.unwrap();
    let expected = DecidedUpload {
        outcome: UploadOutcome::Enrolled,
        user: Some((ann, tenant.clone())),
        file: Some("a".to_owned()),
        decided_at: at,
    };
    assert_eq!(decided(first), expected);
    assert_eq!(two.other.verified_at(ann, &tenant).await.unwrap(), Some(at));
    for (offset, number, outcome) in [(2, 1, UploadOutcome::Matched), (3, 2, UploadOutcome::AnotherPerson)] {
        assert_eq!(decide(&two.other, &upload(offset, offset as u8, Some("b")), ann, number).await, outcome);
    }
    assert_eq!(two.one.verified_at(ann, &tenant).await.unwrap(), Some(at), "another person changes nothing");
    assert_eq!(enrolled(&two.one, &tenant).await, (1, 1));
    // Another user's face is enrolled apart.
    assert_eq!(decide(&two.one, &upload(4, 4, Some("c")), ben, 2).await, UploadOutcome::Enrolled);
    assert_eq!(enrolled(&two.one, &of_ben).await, (1, 1));
    for login in ["ANN", "ann@example.org"] {
        assert_eq!(two.other.user_named(login).await.unwrap().unwrap().id, ann);
    }
    for login in ["nobody", "", "a\u{0}nn", &"x".repeat(100_000)] {
        assert_eq!(two.other.user_named(login).await.unwrap(), None);
    }
}

pub async fn a_user_whose_face_is_deleted_alone_enrols_again(two: &TwoStores) {
    let ((ann, tenant), first) = (user(&two.one, "ann").await, photographed(1));
    let outcome = two.one.decide_upload(&upload(1, 1, Some("a")), ann, &first, now()).await.unwrap();
    assert_eq!(decided(outcome).outcome, UploadOutcome::Enrolled);
    assert!(two.other.remove_enrolled(&tenant, first.subject, first.vector, now()).await.unwrap());
    assert_eq!(two.one.verified_at(ann, &tenant).await.unwrap(), None);
    assert_eq!(decide(&two.other, &upload(2, 2, Some("b")), ann, 2).await, UploadOutcome::Enrolled);
    assert_eq!(enrolled(&two.one, &tenant).await, (1, 1));
}

pub async fn an_upload_that_is_delivered_again_keeps_its_outcome(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    let first = upload(1, 1, Some("a"));
    assert_eq!(two.other.upload_outcome(&first.place).await.unwrap(), None);
    for (number, store) in [(1, &two.one), (2, &two.other), (3, &two.one)] {
        assert_eq!(store.begin_upload(&first.place, now()).await.unwrap(), number, "a process begins it");
    }
    let stored = decided(two.one.decide_upload(&first, ann, &photographed(1), now()).await.unwrap());
    assert_eq!(two.other.upload_outcome(&first.place).await.unwrap(), Some(stored.clone()));
    // As if it were another person, or were refused; the process that had the partition before was faster.
    let again = two.other.decide_upload(&first, ann, &photographed(2), later()).await.unwrap();
    assert_eq!(decided(again), stored);
    let missing = NewUpload { file: None, ..first.clone() };
    for user in [Some(ann), None] {
        let refused = two.other.refuse_upload(&missing, user, UploadOutcome::FileMissing, later()).await.unwrap();
        assert_eq!(decided(refused), stored);
    }
    assert_eq!(enrolled(&two.one, &tenant).await, (1, 1));
    assert_eq!(two.other.begin_upload(&first.place, now()).await.unwrap(), 1, "they are forgotten with the outcome");
    // The same offset of another topic is another message.
    let mut elsewhere = upload(1, 2, Some("b"));
    elsewhere.place.topic_id = "of another topic".to_owned();
    assert_eq!(decide(&two.one, &elsewhere, ann, 2).await, UploadOutcome::AnotherPerson);
}

pub async fn a_second_copy_of_an_upload_changes_nothing(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    assert_eq!(decide(&two.one, &upload(1, 1, Some("a")), ann, 1).await, UploadOutcome::Enrolled);
    let copy = two.other.decide_upload(&upload(2, 1, Some("a")), ann, &photographed(2), now()).await.unwrap();
    assert_eq!(copy, UploadDecision::Copy);
    // The file of the first one is deleted.
    let late = upload(3, 1, None);
    let refused = two.other.refuse_upload(&late, Some(ann), UploadOutcome::FileMissing, now()).await.unwrap();
    assert_eq!((refused, two.one.upload_outcome(&late.place).await.unwrap()), (UploadDecision::Copy, None));
    // The same path with another file is another photograph, and another path without a file is missing.
    assert_eq!(decide(&two.one, &upload(4, 1, Some("b")), ann, 2).await, UploadOutcome::AnotherPerson);
    let refused = two.one.refuse_upload(&upload(5, 5, None), Some(ann), UploadOutcome::FileMissing, now()).await;
    assert_eq!(decided(refused.unwrap()).outcome, UploadOutcome::FileMissing);
    assert_eq!(enrolled(&two.one, &tenant).await, (1, 1));
}

/// Both instances decide at once, as two processes may while a partition moves.
pub async fn of_many_concurrent_first_uploads_one_enrols(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    let decisions = (0..20_u8).map(|number| {
        let store = [&two.one, &two.other][usize::from(number) % 2].clone();
        // Each message is delivered to both.
        let upload = upload(i64::from(number / 2), number / 2, Some("a"));
        tokio::spawn(async move { store.decide_upload(&upload, ann, &photographed(1), now()).await.unwrap() })
    });
    let decisions = futures::future::join_all(decisions).await;
    let decided: Vec<DecidedUpload> = decisions.into_iter().map(|decision| decided(decision.unwrap())).collect();
    let first: BTreeSet<_> =
        decided.iter().filter(|one| one.outcome == UploadOutcome::Enrolled).map(|one| one.decided_at).collect();
    assert_eq!(first.len(), 1, "{decided:?}");
    assert!(decided.iter().all(|one| one.outcome.is_verified()), "{decided:?}");
    assert_eq!(enrolled(&two.one, &tenant).await, (1, 1));
}

pub async fn a_disabled_or_deleted_user_gets_no_vector(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    assert_eq!(decide(&two.one, &upload(1, 1, Some("a")), ann, 1).await, UploadOutcome::Enrolled);
    let (ben, of_ben) = user(&two.one, "ben").await;
    let disable = AccessChange { disabled: Some(true), ..AccessChange::default() };
    assert!(two.one.change_access(ben, &disable, now(), later()).await.unwrap());
    let refused = two.other.decide_upload(&upload(2, 2, Some("b")), ben, &photographed(2), now()).await.unwrap();
    let refused = decided(refused);
    assert_eq!((refused.outcome, refused.user), (UploadOutcome::UnknownUser, None));
    let refused = two.other.refuse_upload(&upload(3, 3, None), Some(ben), UploadOutcome::NoFace, now()).await;
    assert_eq!(decided(refused.unwrap()).outcome, UploadOutcome::UnknownUser);
    assert_eq!(enrolled(&two.one, &of_ben).await, (0, 0));

    two.one.erase_faces(&tenant).await.unwrap();
    assert!(two.one.delete_user(ann, now(), later()).await.unwrap());
    assert_eq!(two.other.upload_outcome(&upload(1, 1, None).place).await.unwrap(), None, "it is deleted with the user");
    assert_eq!(decide(&two.other, &upload(1, 1, Some("a")), ann, 1).await, UploadOutcome::UnknownUser);
    assert_eq!(enrolled(&two.one, &tenant).await, (0, 0));
}

pub async fn a_face_of_another_model_is_not_compared(two: &TwoStores) {
    let (ann, tenant) = user(&two.one, "ann").await;
    let of_new_model = UploadedFace { model: "face_reid_0095".to_owned(), ..photographed(1) };
    assert_eq!(decide(&two.one, &upload(1, 1, Some("a")), ann, 1).await, UploadOutcome::Enrolled);
    let later_one = two.one.decide_upload(&upload(2, 2, Some("b")), ann, &of_new_model, now()).await.unwrap();
    assert_eq!(decided(later_one).outcome, UploadOutcome::OtherModel);
    // Who deletes the subject begins anew, with the model that compares then.
    let subject = two.one.subjects(&tenant, None, 9).await.unwrap()[0].id;
    assert_eq!(shown(&two.other, ann, &tenant).await, (true, Some(UploadOutcome::OtherModel)));
    two.one.delete_subject(&tenant, subject, now()).await.unwrap().unwrap();
    assert_eq!(two.other.verified_at(ann, &tenant).await.unwrap(), None);
    assert_eq!(shown(&two.other, ann, &tenant).await, (false, None), "it is about the deleted face");
    // A photograph from before the deletion, which was read before it, does not enrol the person again.
    let earlier = UploadedFace { written_at: now() - SignedDuration::from_secs(60), ..photographed(1) };
    let refused = two.other.decide_upload(&upload(9, 9, Some("z")), ann, &earlier, now()).await.unwrap();
    assert_eq!(decided(refused).outcome, UploadOutcome::FileMissing);
    let of_new_model = UploadedFace { written_at: now(), ..of_new_model };
    let anew = two.one.decide_upload(&upload(3, 3, Some("c")), ann, &of_new_model, now()).await.unwrap();
    assert_eq!(anew, UploadDecision::ModelChanged, "the other one compares still");
    two.one.begin_model_change(MODEL, "face_reid_0095", true, now()).await.unwrap();
    assert_eq!(two.one.switch_model(now()).await.unwrap(), SwitchOutcome::Switched);
    let anew = two.one.decide_upload(&upload(3, 3, Some("c")), ann, &of_new_model, now()).await.unwrap();
    assert_eq!(decided(anew).outcome, UploadOutcome::Enrolled);
    assert!(two.other.verified_at(ann, &tenant).await.unwrap().is_some());
}

pub async fn a_user_sees_the_latest_outcome_of_its_own(two: &TwoStores) {
    let ((ann, tenant), (ben, of_ben)) = (user(&two.one, "ann").await, user(&two.one, "ben").await);
    let (at, earlier) = (now(), now() - SignedDuration::from_secs(60));
    let refuse = async |offset: i64, user: UserId, outcome: UploadOutcome, at| {
        let upload = upload(offset, offset as u8, None);
        decided(two.one.refuse_upload(&upload, Some(user), outcome, at).await.unwrap());
    };
    assert_eq!(shown(&two.other, ann, &tenant).await, (false, None));
    // Of two at the same time, the one with the later message counts, also if it was stored before.
    refuse(5, ann, UploadOutcome::NoFace, at).await;
    refuse(4, ann, UploadOutcome::FaceTooDark, at).await;
    refuse(6, ann, UploadOutcome::FaceTurned, earlier).await;
    let id = FaceVerifiedEvent::id_at("of a topic", 1, 5);
    let photo = LatestPhoto { id, outcome: UploadOutcome::NoFace, decided_at: at };
    let expected = PhotoStatus { verified: false, photo: Some(photo) };
    assert_eq!(two.other.photo_status(ann, &tenant).await.unwrap(), expected);
    assert_eq!(shown(&two.other, ben, &of_ben).await, (false, None), "it is not Ben's");
    refuse(7, ben, UploadOutcome::SeveralFaces, at).await;
    assert_eq!(shown(&two.other, ben, &of_ben).await, (false, Some(UploadOutcome::SeveralFaces)));
    assert_eq!(two.other.photo_status(ann, &tenant).await.unwrap(), expected, "it is not Ann's");

    for (offset, number, outcome) in
        [(11, 1, UploadOutcome::Enrolled), (12, 1, UploadOutcome::Matched), (13, 2, UploadOutcome::AnotherPerson)]
    {
        assert_eq!(decide(&two.one, &upload(offset, offset as u8, Some("a")), ann, number).await, outcome);
        assert_eq!(shown(&two.other, ann, &tenant).await, (true, Some(outcome)));
    }
}

pub async fn a_shown_outcome_ends_with_the_face_the_user_and_its_time(two: &TwoStores) {
    let ((ann, tenant), (ben, of_ben)) = (user(&two.one, "ann").await, user(&two.one, "ben").await);
    for (offset, number, outcome) in
        [(1, 1, UploadOutcome::Enrolled), (2, 1, UploadOutcome::Matched), (3, 2, UploadOutcome::AnotherPerson)]
    {
        assert_eq!(decide(&two.one, &upload(offset, offset as u8, Some("a")), ann, number).await, outcome);
    }
    let subject = two.one.subjects(&tenant, None, 9).await.unwrap()[0].id;
    two.one.delete_subject(&tenant, subject, now()).await.unwrap().unwrap();
    assert_eq!(shown(&two.other, ann, &tenant).await, (false, None), "it compared with the face");
    for (offset, user) in [(4, ann), (5, ben)] {
        let upload = upload(offset, offset as u8, None);
        decided(two.one.refuse_upload(&upload, Some(user), UploadOutcome::FileMissing, now()).await.unwrap());
    }
    let missing = (false, Some(UploadOutcome::FileMissing));
    assert_eq!(shown(&two.other, ann, &tenant).await, missing, "it says nothing about the face");
    assert!(two.one.delete_user(ann, now(), later()).await.unwrap());
    assert_eq!(shown(&two.other, ann, &tenant).await, (false, None));
    assert_eq!(shown(&two.other, ben, &of_ben).await, missing);
    two.one.sweep(now() + SignedDuration::from_hours(24 * 63)).await.unwrap();
    assert_eq!(shown(&two.other, ben, &of_ben).await, (false, None), "its time is over");
}

/// `tables` names those in which a row has this text; each database is searched in its own way.
pub async fn a_deleted_subject_is_only_among_the_former_ones(
    store: &Relational,
    tables: impl AsyncFn(String) -> Vec<String>,
) {
    let ((ann, tenant), first) = (user(store, "ann").await, photographed(1));
    let outcome = store.decide_upload(&upload(1, 1, Some("a")), ann, &first, now()).await.unwrap();
    assert_eq!(decided(outcome).outcome, UploadOutcome::Enrolled);
    let known = tables(first.subject.to_string()).await;
    assert!(known.contains(&"user_faces".to_owned()), "the search finds what is there: {known:?}");
    store.delete_subject(&tenant, first.subject, now()).await.unwrap().unwrap();
    assert_eq!(tables(first.subject.to_string()).await, ["face_former_subjects"]);
}

pub async fn outcomes_are_kept_as_long_as_a_message_can_come_again(two: &TwoStores) {
    let at = now();
    let of_nobody = upload(1, 1, None);
    two.one.refuse_upload(&of_nobody, None, UploadOutcome::UnknownUser, at).await.unwrap();
    let days = |number: i64| at + SignedDuration::from_hours(24 * number);
    two.one.sweep(days(61)).await.unwrap();
    assert!(two.other.upload_outcome(&of_nobody.place).await.unwrap().is_some());
    two.one.begin_upload(&upload(2, 2, None).place, at).await.unwrap();
    assert_eq!(two.one.sweep(days(63)).await.unwrap(), 2);
    assert_eq!(two.other.upload_outcome(&of_nobody.place).await.unwrap(), None);
}
