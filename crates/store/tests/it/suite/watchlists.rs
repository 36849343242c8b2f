//! Watchlists of tenants.

use std::collections::BTreeSet;

use contracts::{SubjectId, WatchlistName};
use futures::future::join_all;
use store::PutWatchlistOutcome::{Full, Stored};
use store::{Documents, WatchlistMemberOutcome as Member};

use crate::fixture::tenant;

const MOST: usize = 10;

fn name(name: &str) -> WatchlistName {
    name.parse().unwrap()
}

/// New ids, in their order.
fn subjects<const N: usize>() -> [SubjectId; N] {
    let mut ids = [(); N].map(|()| SubjectId::now());
    ids.sort_unstable();
    ids
}

async fn put(store: &dyn Documents, owner: &str, list: &str, members: &[SubjectId]) {
    let members = members.iter().copied().collect();
    assert_eq!(store.put_watchlist(&tenant(owner), &name(list), &members, MOST).await.unwrap(), Stored);
}

/// The subjects of a list; `None` if it does not exist.
async fn members(store: &dyn Documents, owner: &str, list: &str) -> Option<Vec<SubjectId>> {
    let found = store.watchlist(&tenant(owner), &name(list)).await.unwrap()?;
    assert_eq!(found.name, name(list));
    Some(found.subjects.into_iter().collect())
}

async fn revision(store: &dyn Documents, owner: &str, list: &str) -> String {
    let found = store.watchlist(&tenant(owner), &name(list)).await.unwrap().unwrap();
    let all = store.watchlist_revisions().await.unwrap();
    let listed = all.into_iter().find(|one| one.tenant == tenant(owner) && one.name == name(list)).unwrap();
    assert_eq!(found.revision, listed.revision);
    found.revision
}

pub async fn a_tenant_sets_changes_and_deletes_its_watchlists(store: &dyn Documents) {
    let [one, two, three] = subjects();
    put(store, "a", "staff", &[two, one]).await;
    put(store, "a", "guests", &[]).await;
    put(store, "b", "staff", &[three]).await;
    let lists = store.watchlists(&tenant("a")).await.unwrap();
    let names: Vec<&str> = lists.iter().map(|list| list.name.as_str()).collect();
    assert_eq!((names, &lists[1].subjects), (vec!["guests", "staff"], &BTreeSet::from([one, two])));
    put(store, "a", "staff", &[three]).await;
    assert_eq!(members(store, "a", "staff").await, Some(vec![three]));

    let (a, guests, missing) = (tenant("a"), name("guests"), name("missing"));
    for _ in 0..2 {
        assert_eq!(store.add_to_watchlist(&a, &guests, one, MOST).await.unwrap(), Member::Stored);
        assert_eq!(members(store, "a", "guests").await, Some(vec![one]));
    }
    assert_eq!(store.add_to_watchlist(&a, &missing, one, MOST).await.unwrap(), Member::NoList);
    assert_eq!(store.remove_from_watchlist(&a, &missing, one).await.unwrap(), Member::NoList);
    assert_eq!(store.remove_from_watchlist(&a, &guests, two).await.unwrap(), Member::NotOnList);
    assert_eq!(store.remove_from_watchlist(&a, &guests, one).await.unwrap(), Member::Stored);
    assert_eq!(members(store, "a", "guests").await, Some(vec![]));

    assert!(store.delete_watchlist(&a, &name("staff")).await.unwrap());
    assert!(!store.delete_watchlist(&a, &name("staff")).await.unwrap());
    assert_eq!(members(store, "a", "staff").await, None);
    assert_eq!(members(store, "b", "staff").await, Some(vec![three]));
    store.delete_tenant(&tenant("b")).await.unwrap();
    let left: Vec<_> = store.watchlist_revisions().await.unwrap().into_iter().map(|list| list.name).collect();
    assert_eq!(left, [guests]);
}

pub async fn a_subject_leaves_the_watchlists_of_its_tenant(store: &dyn Documents) {
    let [one, two, three] = subjects();
    put(store, "a", "first", &[one, two]).await;
    put(store, "a", "second", &[one]).await;
    put(store, "a", "third", &[three]).await;
    put(store, "b", "first", &[one]).await;

    assert_eq!(store.leave_watchlists(&tenant("a"), one, Some(two)).await.unwrap(), 2);
    assert_eq!(members(store, "a", "first").await, Some(vec![two]), "it is on the list once");
    assert_eq!(members(store, "a", "second").await, Some(vec![two]));
    assert_eq!(members(store, "a", "third").await, Some(vec![three]));
    assert_eq!(store.leave_watchlists(&tenant("a"), one, Some(two)).await.unwrap(), 0);
    assert_eq!(store.leave_watchlists(&tenant("a"), two, None).await.unwrap(), 2);
    assert_eq!(members(store, "a", "first").await, Some(vec![]));
    assert_eq!(members(store, "b", "first").await, Some(vec![one]), "another tenant's list");
}

pub async fn watchlists_and_their_subjects_are_bounded(store: &dyn Documents) {
    let [one, two, three] = subjects();
    let (a, first, empty) = (tenant("a"), name("first"), BTreeSet::new());
    for list in ["first", "second"] {
        assert_eq!(store.put_watchlist(&a, &name(list), &empty, 2).await.unwrap(), Stored);
    }
    assert_eq!(store.put_watchlist(&a, &name("third"), &empty, 2).await.unwrap(), Full);
    assert_eq!(store.put_watchlist(&a, &first, &BTreeSet::from([one]), 2).await.unwrap(), Stored, "it exists");
    assert_eq!(store.put_watchlist(&tenant("b"), &first, &empty, 2).await.unwrap(), Stored, "another tenant");
    assert_eq!(store.add_to_watchlist(&a, &first, two, 2).await.unwrap(), Member::Stored);
    assert_eq!(store.add_to_watchlist(&a, &first, three, 2).await.unwrap(), Member::Full);
    assert_eq!(store.add_to_watchlist(&a, &first, one, 2).await.unwrap(), Member::Stored, "it is there already");
    assert_eq!(members(store, "a", "first").await, Some(vec![one, two]));

    let lists: Vec<WatchlistName> = (0..8).map(|number| name(&format!("at-once-{number}"))).collect();
    let c = tenant("c");
    let at_once = join_all(lists.iter().map(|list| store.put_watchlist(&c, list, &empty, 3))).await;
    let stored = at_once.into_iter().filter(|put| *put.as_ref().unwrap() == Stored).count();
    assert!(stored <= 3, "{stored}");
    assert_eq!(store.watchlists(&c).await.unwrap().len(), stored);
    let second = name("second");
    let added = join_all((0..8).map(|_| store.add_to_watchlist(&a, &second, SubjectId::now(), 5))).await;
    assert_eq!(added.into_iter().filter(|added| *added.as_ref().unwrap() == Member::Stored).count(), 5);
    assert_eq!(members(store, "a", "second").await.unwrap().len(), 5);
}

pub async fn every_change_of_a_watchlist_has_another_revision(store: &dyn Documents) {
    let [one, two] = subjects();
    let (a, staff) = (tenant("a"), name("staff"));
    let mut revisions = BTreeSet::new();
    put(store, "a", "staff", &[]).await;
    revisions.insert(revision(store, "a", "staff").await);
    put(store, "a", "staff", &[one]).await;
    revisions.insert(revision(store, "a", "staff").await);
    store.leave_watchlists(&a, one, Some(two)).await.unwrap();
    revisions.insert(revision(store, "a", "staff").await);
    store.add_to_watchlist(&a, &staff, one, MOST).await.unwrap();
    revisions.insert(revision(store, "a", "staff").await);
    store.remove_from_watchlist(&a, &staff, one).await.unwrap();
    revisions.insert(revision(store, "a", "staff").await);
    store.delete_watchlist(&a, &staff).await.unwrap();
    put(store, "a", "staff", &[two]).await;
    revisions.insert(revision(store, "a", "staff").await);
    assert_eq!(revisions.len(), 6);
}
