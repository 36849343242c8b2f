//! Consent: a subject has vectors while its consent holds.

use contracts::api::Consent;
use gallery::suite::{face, key, subject};
use jiff::{SignedDuration, Timestamp};
use store::relational::{
    EnrolledRecord, Gap, MergeOutcome, NewSubject, Relational, SubjectChange, SubjectWriteOutcome, VectorWriteOutcome,
};

use super::faces::{add, negative, other_model, put, size, subject_with_id, tenant};
use crate::relational::{TwoStores, now};

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
    assert_eq!(required.enrolled_without_consent(9).await.unwrap(), []);
    assert_eq!(outcome(optional, 1, 1, now()).await, VectorWriteOutcome::Stored);
    assert_eq!(required.enrolled_without_consent(9).await.unwrap(), [(gallery.tenant.clone(), subject(1))]);

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
    assert_eq!(required.enrolled_without_consent(9).await.unwrap(), []);
    assert_eq!(required.count_without_consent().await.unwrap(), (0, 0));
}

pub async fn everybody_without_a_recorded_consent_is_counted_and_listed(two: &TwoStores) {
    let (store, other) = (&two.one, &two.other);
    add(store, "b", 1..=1).await;
    add(store, "a", 1..=4).await;
    put(store, &key("b"), &[face(1, 1)]).await;
    put(store, &key("a"), &[face(1, 1), face(2, 2), face(3, 3)]).await;
    // The same person in two galleries counts once, and so does one who has a negative alone.
    put(store, &other_model("a"), &[face(2, 2), negative(4, 4)]).await;
    change(store, 3, &consent(None)).await;
    let of = |owner: &str, number| (tenant(owner), subject(number));
    let all = [of("a", 1), of("a", 2), of("a", 4), of("b", 1)];
    assert_eq!(other.enrolled_without_consent(9).await.unwrap(), all);
    assert_eq!(other.enrolled_without_consent(2).await.unwrap(), all[..2]);
    assert_eq!(other.count_without_consent().await.unwrap(), (4, 2));
}

/// The record of the subject that stays is the only one afterwards. So it must cover the faces that move, and end no later than theirs.
pub async fn a_merge_neither_gives_nor_loses_a_consent(two: &TwoStores) {
    let (optional, required, gallery) = (&two.one, two.other.clone().requiring_consent(true), key("a"));
    let soon = Some(now() + SignedDuration::from_secs(60));
    let later = Some(now() + SignedDuration::from_secs(90));
    // What is recorded of the one that stays and of the other, and whether they are merged.
    let cases = [
        (None, None, true),
        (None, Some(None), false),
        (None, Some(soon), false),
        (Some(None), None, true),
        (Some(None), Some(None), true),
        (Some(None), Some(soon), false),
        (Some(soon), None, true),
        (Some(soon), Some(None), true),
        (Some(soon), Some(soon), true),
        (Some(soon), Some(later), true),
        (Some(later), Some(soon), false),
    ];
    let read = async |number: u128| two.other.subject(&gallery.tenant, subject(number)).await.unwrap();
    let mut into = 1;
    for (stays, moves, merges) in cases {
        for (store, is_required) in [(optional, false), (&required, true)] {
            let from = into + 1;
            add(optional, "a", [into, from]).await;
            for (number, given) in [(into, stays), (from, moves)] {
                if let Some(until) = given {
                    change(optional, number, &consent(until)).await;
                }
            }
            put(optional, &gallery, &[face(into, into), face(from, from)]).await;
            let before = (read(into).await.unwrap().consent, read(from).await.unwrap().consent);

            let outcome = store.merge_subjects(&gallery.tenant, subject(from), subject(into), now()).await.unwrap();

            let expected = match stays {
                _ if !merges => MergeOutcome::ConsentDiffers,
                None if is_required => MergeOutcome::NoConsent(subject(into)),
                _ => MergeOutcome::Merged(1),
            };
            assert_eq!(outcome, expected, "{stays:?} {moves:?} {is_required}");
            assert_eq!(read(into).await.unwrap().consent, before.0, "{stays:?} {moves:?}: it is as it was given");
            let other = read(from).await;
            let is_merged = outcome == MergeOutcome::Merged(1);
            assert_eq!(other.is_none(), is_merged, "{stays:?} {moves:?}");
            assert!(is_merged || other.unwrap().consent == before.1, "{stays:?} {moves:?}: nothing is changed");
            let faces = two.other.vectors_of_subject(&gallery, subject(into)).await.unwrap().len();
            assert_eq!(faces, if is_merged { 2 } else { 1 }, "{stays:?} {moves:?}");
            into += 2;
        }
    }
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
