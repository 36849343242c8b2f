//! Rules of tenants.

use contracts::Rule;
use store::{Documents, PutRuleOutcome, StoreError};

use crate::fixture::{rule, tenant};

pub async fn a_tenant_creates_replaces_and_deletes_its_rules(store: &dyn Documents) {
    let (zebra, apple, foreign) = (rule("a", "zebra"), rule("a", "apple"), rule("b", "foreign"));
    for rule in [&zebra, &apple, &foreign] {
        store.create_rule(rule).await.unwrap();
    }
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [apple.clone(), zebra.clone()]);
    assert_eq!(store.rules(&tenant("c")).await.unwrap(), []);
    assert_eq!(store.all_rules().await.unwrap(), [apple.clone(), foreign.clone(), zebra.clone()]);

    let changed = Rule { name: "mango ü".to_owned(), enabled: false, ..apple.clone() };
    assert_eq!(store.replace_rule(&apple, &changed).await.unwrap(), PutRuleOutcome::Stored);
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [changed.clone(), zebra.clone()]);
    let late = Rule { condition: "false".to_owned(), ..apple.clone() };
    assert_eq!(store.replace_rule(&apple, &late).await.unwrap(), PutRuleOutcome::Changed);
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [changed.clone(), zebra.clone()]);

    let stolen = Rule { id: foreign.id, ..rule("a", "stolen") };
    assert!(matches!(store.create_rule(&stolen).await, Err(StoreError::Fatal(_))));
    assert_eq!(store.replace_rule(&stolen, &stolen).await.unwrap(), PutRuleOutcome::NotFound);
    let built_in = Rule { tenant: None, ..rule("a", "face seen") };
    assert!(matches!(store.create_rule(&built_in).await, Err(StoreError::Fatal(_))));
    assert!(matches!(store.replace_rule(&built_in, &built_in).await, Err(StoreError::Fatal(_))));

    assert!(!store.delete_rule(&tenant("a"), foreign.id).await.unwrap());
    assert!(store.delete_rule(&tenant("a"), zebra.id).await.unwrap());
    assert!(!store.delete_rule(&tenant("a"), zebra.id).await.unwrap());
    assert_eq!(store.all_rules().await.unwrap(), [foreign, changed]);
}

pub async fn rule_names_are_unique_within_a_tenant(store: &dyn Documents) {
    let (first, other) = (rule("a", "faces"), rule("a", "cars"));
    for rule in [&first, &other, &rule("b", "faces")] {
        assert_eq!(store.create_rule(rule).await.unwrap(), PutRuleOutcome::Stored);
    }
    let renamed = Rule { name: "faces".to_owned(), ..other.clone() };
    assert_eq!(store.create_rule(&rule("a", "faces")).await.unwrap(), PutRuleOutcome::NameTaken);
    assert_eq!(store.replace_rule(&other, &renamed).await.unwrap(), PutRuleOutcome::NameTaken);
    let switched = Rule { enabled: false, ..first.clone() };
    assert_eq!(store.replace_rule(&first, &switched).await.unwrap(), PutRuleOutcome::Stored);
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [other, switched]);

    let same = [(); 8].map(|()| rule("a", "at once"));
    let put = futures::future::join_all(same.iter().map(|rule| store.create_rule(rule))).await;
    assert_eq!(put.into_iter().filter(|put| *put.as_ref().unwrap() == PutRuleOutcome::Stored).count(), 1);
}

/// A change may be on its way while its user is deleted. The rule would otherwise stay for ever.
pub async fn a_changed_rule_does_not_return_after_its_deletion(store: &dyn Documents) {
    let (erased, deleted) = (rule("a", "faces"), rule("b", "faces"));
    for rule in [&erased, &deleted] {
        assert_eq!(store.create_rule(rule).await.unwrap(), PutRuleOutcome::Stored);
    }
    store.delete_tenant(&tenant("a")).await.unwrap();
    assert!(store.delete_rule(&tenant("b"), deleted.id).await.unwrap());
    for rule in [erased, deleted] {
        let changed = Rule { enabled: false, ..rule.clone() };
        assert_eq!(store.replace_rule(&rule, &changed).await.unwrap(), PutRuleOutcome::NotFound);
    }
    assert_eq!(store.all_rules().await.unwrap(), []);
}
