//! Subjects: adding, finding, listing, and how many there may be.

use std::collections::BTreeSet;

use contracts::SubjectId;
use gallery::suite::subject;
use jiff::SignedDuration;
use store::PageCursor;
use store::relational::{AccessChange, MergeOutcome, NewSubject, Relational, SubjectChange, SubjectWriteOutcome};

use super::faces::{add, named, subject_with_id, tenant};
use crate::relational::{TwoStores, later, now};

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
    assert!(two.one.delete_user(ann, now(), later()).await.unwrap());
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
