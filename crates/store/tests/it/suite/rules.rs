//! Rules of tenants.

use contracts::Rule;
use store::{Documents, PutRuleOutcome, StoreError};

use crate::fixture::{rule, tenant};

pub async fn a_tenant_creates_replaces_and_deletes_its_rules(store: &dyn Documents) {
    let (zebra, apple, foreign) = (rule("a", "zebra"), rule("a", "apple"), rule("b", "foreign"));
    for rule in [&zebra, &apple, &foreign] {
        store.put_rule(rule).await.unwrap();
    }
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [apple.clone(), zebra.clone()]);
    assert_eq!(store.rules(&tenant("c")).await.unwrap(), []);
    assert_eq!(store.all_rules().await.unwrap(), [apple.clone(), foreign.clone(), zebra.clone()]);

    let changed = Rule { name: "mango ü".to_owned(), enabled: false, ..apple.clone() };
    store.put_rule(&changed).await.unwrap();
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [changed.clone(), zebra.clone()]);

    let stolen = Rule { id: foreign.id, ..rule("a", "stolen") };
    assert!(matches!(store.put_rule(&stolen).await, Err(StoreError::Fatal(_))));
    let built_in = Rule { tenant: None, ..rule("a", "face seen") };
    assert!(matches!(store.put_rule(&built_in).await, Err(StoreError::Fatal(_))));

    assert!(!store.delete_rule(&tenant("a"), foreign.id).await.unwrap());
    assert!(store.delete_rule(&tenant("a"), zebra.id).await.unwrap());
    assert!(!store.delete_rule(&tenant("a"), zebra.id).await.unwrap());
    assert_eq!(store.all_rules().await.unwrap(), [foreign, changed]);
}

pub async fn rule_names_are_unique_within_a_tenant(store: &dyn Documents) {
    let (first, other) = (rule("a", "faces"), rule("a", "cars"));
    for rule in [&first, &other, &rule("b", "faces")] {
        assert_eq!(store.put_rule(rule).await.unwrap(), PutRuleOutcome::Stored);
    }
    let renamed = Rule { name: "faces".to_owned(), ..other.clone() };
    for taken in [&rule("a", "faces"), &renamed] {
        assert_eq!(store.put_rule(taken).await.unwrap(), PutRuleOutcome::NameTaken);
    }
    let switched = Rule { enabled: false, ..first };
    assert_eq!(store.put_rule(&switched).await.unwrap(), PutRuleOutcome::Stored);
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [other, switched]);

    let same = [(); 8].map(|()| rule("a", "at once"));
    let put = futures::future::join_all(same.iter().map(|rule| store.put_rule(rule))).await;
    assert_eq!(put.into_iter().filter(|put| *put.as_ref().unwrap() == PutRuleOutcome::Stored).count(), 1);
}
