//! Counts, expiry, rules.

use contracts::{Rule, RuleId};
use store::{DetectionFilter, Documents, GroupBy, RulePut, Scope, StoreError};

use super::lists::NEWEST;
use super::writes::everything;
use crate::fixture::{But, car, face, result, scope, tenant, time, with};

async fn counted(store: &dyn Documents, scope: &Scope, filter: &DetectionFilter, by: GroupBy) -> Vec<(String, u64)> {
    let counted = store.count(scope, filter, by).await.unwrap();
    counted.into_iter().map(|group| (group.key, group.count)).collect()
}

fn groups(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

pub async fn counts_group_by_every_field(store: &dyn Documents) {
    let cars = [car("SUV", "Audi", "Q3"), car("SUV", "Audi", "Q5"), car("Van", "VW", "T6"), car("", "BMW", "")];
    store
        .put(&[
            result("2026-01-02T10:00:00Z", cars.to_vec()).on("gate-1"),
            result("2026-01-02T10:00:00Z", vec![face(0.5)]).on("gate-2"),
            result("2026-01-02T10:00:00Z", vec![face(0.5)]),
        ])
        .await
        .unwrap();
    let all = DetectionFilter::default();
    for scope in [Scope::All, scope("a")] {
        for (by, expected) in [
            (GroupBy::Make, groups(&[("Audi", 2), ("BMW", 1), ("VW", 1)])),
            (GroupBy::Model, groups(&[("Q3", 1), ("Q5", 1), ("T6", 1)])),
            (GroupBy::Category, groups(&[("SUV", 2), ("Van", 1)])),
            (GroupBy::Label, groups(&[("car", 4), ("face", 2)])),
            (GroupBy::Stream, groups(&[("gate-1", 4), ("gate-2", 1)])),
            (GroupBy::Hour, groups(&[("2026-01-02T10:00:00Z", 6)])),
        ] {
            assert_eq!(counted(store, &scope, &all, by.clone()).await, expected, "{by:?} {scope:?}");
        }
    }
}

pub async fn counts_group_by_any_attribute(store: &dyn Documents) {
    let coloured = |colour: &str| with(car("SUV", "Audi", "Q3"), "colour", colour);
    let numbers = [with(face(0.5), "doors", 4), with(face(0.5), "doors", 4), with(face(0.5), "doors", 1.5)];
    let first = vec![coloured("red"), coloured("red"), coloured("blue"), with(face(0.5), "parked", true), face(0.5)];
    let put = [
        result("2026-01-02T10:00:00Z", first).of("a"),
        result("2026-01-02T10:00:00Z", numbers.to_vec()),
        result("2026-01-02T10:00:00Z", vec![coloured("green")]).of("b"),
    ];
    store.put(&put).await.unwrap();
    for (name, expected) in [
        ("colour", groups(&[("red", 2), ("blue", 1)])),
        ("doors", groups(&[("4", 2), ("1.5", 1)])),
        ("parked", groups(&[("true", 1)])),
        ("make", groups(&[("Audi", 3)])),
        ("year", groups(&[("2020", 3)])),
        ("missing", groups(&[])),
    ] {
        let group_by = GroupBy::Attribute(name.parse().unwrap());
        assert_eq!(counted(store, &scope("a"), &DetectionFilter::default(), group_by).await, expected, "{name}");
    }
}

pub async fn hours_are_counted_in_their_order(store: &dyn Documents) {
    let mut batch = Vec::new();
    for at in [
        "2026-01-02T10:59:59.999999Z",
        "2026-01-02T11:00:00Z",
        "2026-01-02T11:30:00Z",
        "2026-01-03T00:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1969-12-31T23:00:00Z",
        "1969-12-31T22:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "9990-06-01T05:59:59.999999Z",
    ] {
        batch.push(result(at, vec![face(0.5)]));
    }
    store.put(&batch).await.unwrap();
    assert_eq!(
        counted(store, &Scope::All, &DetectionFilter::default(), GroupBy::Hour).await,
        groups(&[
            ("1969-12-31T22:00:00Z", 1),
            ("1969-12-31T23:00:00Z", 2),
            ("1970-01-01T00:00:00Z", 1),
            ("2026-01-02T10:00:00Z", 1),
            ("2026-01-02T11:00:00Z", 2),
            ("2026-01-03T00:00:00Z", 1),
            ("9990-06-01T05:00:00Z", 1),
        ])
    );

    // Of more hours than are returned, the latest are.
    let start = time("2020-01-01T00:00:00Z");
    let hours = (0..1_005).map(|n| (start + std::time::Duration::from_secs(n * 3_600)).to_string());
    let many: Vec<_> = hours.map(|at| result(&at, vec![face(0.5)])).collect();
    store.put(&many).await.unwrap();
    let of_2020 = DetectionFilter { from: Some(start), to: Some(time("2021-01-01T00:00:00Z")), ..Default::default() };
    let read = counted(store, &Scope::All, &of_2020, GroupBy::Hour).await;
    assert_eq!(read.len(), 1_000);
    assert_eq!(read[0].0, "2020-01-01T05:00:00Z");
    assert!(read.is_sorted());
}

pub async fn counts_keep_to_scope_and_filter(store: &dyn Documents) {
    store
        .put(&[
            result("2026-01-02T10:00:00Z", vec![car("SUV", "Audi", "Q3")]).of("a").on("gate-1"),
            result("2026-01-02T11:00:00Z", vec![car("SUV", "BMW", "X1")]),
            result("2026-01-02T12:00:00Z", vec![car("Van", "VW", "T6")]).of("b"),
        ])
        .await
        .unwrap();
    let all = DetectionFilter::default();
    let late = DetectionFilter { from: Some(time("2026-01-02T11:00:00Z")), ..all.clone() };
    let suv = DetectionFilter { category: Some("suv".to_owned()), ..all.clone() };
    let gate = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..all.clone() };
    for (scope, filter, expected) in [
        (Scope::All, &all, groups(&[("Audi", 1), ("BMW", 1), ("VW", 1)])),
        (scope("a"), &all, groups(&[("Audi", 1), ("BMW", 1)])),
        (scope("b"), &all, groups(&[("BMW", 1), ("VW", 1)])),
        (scope("b"), &suv, groups(&[("BMW", 1)])),
        (scope("b"), &gate, groups(&[])),
        (Scope::All, &late, groups(&[("BMW", 1), ("VW", 1)])),
        (Scope::All, &gate, groups(&[("Audi", 1)])),
    ] {
        assert_eq!(counted(store, &scope, filter, GroupBy::Make).await, expected, "{scope:?} {filter:?}");
    }
}

pub async fn what_expired_is_not_returned_even_before_it_is_swept(store: &dyn Documents) {
    let gone = result("2026-01-02T10:00:00Z", vec![face(0.5)]).on("gate-1").alerting("face seen").expired();
    store.put(std::slice::from_ref(&gone)).await.unwrap();

    assert_eq!(everything(store).await, [0, 0, 0]);
    assert!(store.frame(&Scope::All, gone.frame()).await.unwrap().is_empty());
    let id = format!("{}-face-0", gone.frame()).parse().unwrap();
    assert_eq!(store.detection(&Scope::All, &id).await.unwrap(), None);
    for scope in [Scope::All, scope("a")] {
        assert_eq!(counted(store, &scope, &DetectionFilter::default(), GroupBy::Label).await, []);
        let gate = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..Default::default() };
        assert!(store.detections(&scope, &gate, &NEWEST).await.unwrap().is_empty());
    }
}

pub async fn a_sweep_deletes_only_what_expired(store: &dyn Documents) {
    let gone = result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).alerting("face seen").expired();
    let kept = result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).alerting("face seen");
    store.put(&[gone, kept]).await.unwrap();

    let swept = store.sweep(jiff::Timestamp::now()).await.unwrap();

    // 0 where the database sweeps by itself, in its own time.
    assert!(swept == 5 || swept == 0, "{swept}");
    assert_eq!(everything(store).await, [1, 3, 1]);
    assert_eq!(store.sweep(jiff::Timestamp::now()).await.unwrap(), 0);
}

pub async fn rules_are_made_replaced_and_deleted_by_their_tenant(store: &dyn Documents) {
    let rule = |owner: &str, name: &str| Rule {
        id: RuleId::now(),
        tenant: Some(tenant(owner)),
        name: name.to_owned(),
        condition: "label == \"face\" && confidence > 0.8".to_owned(),
        enabled: true,
    };
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

pub async fn no_two_rules_of_a_tenant_get_the_same_name(store: &dyn Documents) {
    let rule = |owner: &str, name: &str| Rule {
        id: RuleId::now(),
        tenant: Some(tenant(owner)),
        name: name.to_owned(),
        condition: "true".to_owned(),
        enabled: true,
    };
    let (first, other) = (rule("a", "faces"), rule("a", "cars"));
    for rule in [&first, &other, &rule("b", "faces")] {
        assert_eq!(store.put_rule(rule).await.unwrap(), RulePut::Stored);
    }
    let renamed = Rule { name: "faces".to_owned(), ..other.clone() };
    for taken in [&rule("a", "faces"), &renamed] {
        assert_eq!(store.put_rule(taken).await.unwrap(), RulePut::NameTaken);
    }
    let switched = Rule { enabled: false, ..first };
    assert_eq!(store.put_rule(&switched).await.unwrap(), RulePut::Stored);
    assert_eq!(store.rules(&tenant("a")).await.unwrap(), [other, switched]);

    let same = [(); 8].map(|()| rule("a", "at once"));
    let put = futures::future::join_all(same.iter().map(|rule| store.put_rule(rule))).await;
    assert_eq!(put.into_iter().filter(|put| *put.as_ref().unwrap() == RulePut::Stored).count(), 1);
}

pub async fn what_a_tenant_had_is_deleted_and_nothing_else(store: &dyn Documents) {
    let alerting = |owner: &str| result("2026-01-02T10:00:00Z", vec![face(0.5); 3]).of(owner).alerting("face seen");
    let rule = |owner: &str| Rule {
        id: RuleId::now(),
        tenant: Some(tenant(owner)),
        name: "faces".to_owned(),
        condition: "true".to_owned(),
        enabled: true,
    };
    let (gone, kept, shared) = (alerting("a"), alerting("b"), alerting("shared"));
    store.put(&[gone.clone(), gone.again(), kept, shared]).await.unwrap();
    let kept = rule("b");
    for rule in [&rule("a"), &kept] {
        store.put_rule(rule).await.unwrap();
    }

    assert_eq!(store.delete_tenant(&tenant("a")).await.unwrap(), 1 + 1 + 3 + 1);

    assert_eq!(everything(store).await, [2, 6, 2]);
    assert!(store.frame(&Scope::All, gone.frame()).await.unwrap().is_empty());
    assert_eq!(store.all_rules().await.unwrap(), [kept]);
    assert_eq!(store.delete_tenant(&tenant("a")).await.unwrap(), 0);
}

pub async fn a_store_that_works_says_so(store: &dyn Documents) {
    store.check().await.unwrap();
    assert!(!store.describe().is_empty());
    assert_eq!(store.put(&[]).await.unwrap(), []);
}
