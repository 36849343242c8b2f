//! Counts by group.

use store::{DetectionFilter, Documents, GroupBy, TenantScope};

use crate::fixture::{IndexedBuilder, car, face, result, scope, time, with_attribute};

pub async fn counted(
    store: &dyn Documents,
    scope: &TenantScope,
    filter: &DetectionFilter,
    by: GroupBy,
) -> Vec<(String, u64)> {
    let counted = store.count(scope, filter, by).await.unwrap();
    counted.items.into_iter().map(|group| (group.key, group.count)).collect()
}

fn groups(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

pub async fn counts_group_by_every_field(store: &dyn Documents) {
    let cars = [car("SUV", "Audi", "Q3"), car("SUV", "Audi", "Q5"), car("Van", "VW", "T6"), car("", "BMW", "")];
    store
        .put(&[
            result("2026-01-02T10:00:00Z", cars.to_vec()).with_stream("gate-1"),
            result("2026-01-02T10:00:00Z", vec![face(0.5)]).with_stream("gate-2"),
            result("2026-01-02T10:00:00Z", vec![face(0.5)]),
        ])
        .await
        .unwrap();
    let all = DetectionFilter::default();
    for scope in [TenantScope::All, scope("a")] {
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
    let coloured = |colour: &str| with_attribute(car("SUV", "Audi", "Q3"), "colour", colour);
    let numbers = [
        with_attribute(face(0.5), "doors", 4),
        with_attribute(face(0.5), "doors", 4),
        with_attribute(face(0.5), "doors", 1.5),
    ];
    let first =
        vec![coloured("red"), coloured("red"), coloured("blue"), with_attribute(face(0.5), "parked", true), face(0.5)];
    let put = [
        result("2026-01-02T10:00:00Z", first).with_tenant("a"),
        result("2026-01-02T10:00:00Z", numbers.to_vec()),
        result("2026-01-02T10:00:00Z", vec![coloured("green")]).with_tenant("b"),
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

pub async fn numbers_that_differ_in_any_digit_are_separate_groups(store: &dyn Documents) {
    // 0.1 + 0.2 and 0.3 differ in the 17th digit, the next two in the 16th; the last is the same number twice.
    let numbers =
        [0.1 + 0.2, 0.3, 1.234_567_890_123_456, 1.234_567_890_123_457, 1e300, -0.000_001, 12_345_678_901_234_567.0];
    let measured = |number: f64| with_attribute(face(0.5), "size", number);
    let mut detections: Vec<_> = numbers.into_iter().map(measured).collect();
    detections.extend([measured(1e300), with_attribute(face(0.5), "size", "1e+300"), measured(2.0), measured(2.0)]);
    store.put(&[result("2026-01-02T10:00:00Z", detections)]).await.unwrap();
    let group_by = GroupBy::Attribute("size".parse().unwrap());
    assert_eq!(
        counted(store, &scope("a"), &DetectionFilter::default(), group_by).await,
        groups(&[
            ("1e+300", 3),
            ("2", 2),
            ("-1e-6", 1),
            ("0.3", 1),
            ("0.30000000000000004", 1),
            ("1.234567890123456", 1),
            ("1.2345678901234568e+16", 1),
            ("1.234567890123457", 1),
        ])
    );
}

pub async fn hours_are_listed_in_order(store: &dyn Documents) {
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
        counted(store, &TenantScope::All, &DetectionFilter::default(), GroupBy::Hour).await,
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

    // Beyond the limit, the latest hours are returned.
    let more =
        async |filter: DetectionFilter| store.count(&TenantScope::All, &filter, GroupBy::Hour).await.unwrap().more;
    assert!(!more(DetectionFilter::default()).await);
    let start = time("2020-01-01T00:00:00Z");
    let hours = (0..1_005).map(|n| (start + std::time::Duration::from_secs(n * 3_600)).to_string());
    let many: Vec<_> = hours.map(|at| result(&at, vec![face(0.5)])).collect();
    store.put(&many).await.unwrap();
    let of_2020 = DetectionFilter { from: Some(start), to: Some(time("2021-01-01T00:00:00Z")), ..Default::default() };
    let read = counted(store, &TenantScope::All, &of_2020, GroupBy::Hour).await;
    assert_eq!(read.len(), 1_000);
    assert_eq!(read[0].0, "2020-01-01T05:00:00Z");
    assert!(read.is_sorted());
    assert!(more(of_2020.clone()).await);
    let exactly = DetectionFilter { from: Some(time("2020-01-01T05:00:00Z")), ..of_2020 };
    assert!(!more(exactly).await);
}

pub async fn counts_respect_scope_and_filter(store: &dyn Documents) {
    store
        .put(&[
            result("2026-01-02T10:00:00Z", vec![car("SUV", "Audi", "Q3")]).with_tenant("a").with_stream("gate-1"),
            result("2026-01-02T11:00:00Z", vec![car("SUV", "BMW", "X1")]),
            result("2026-01-02T12:00:00Z", vec![car("Van", "VW", "T6")]).with_tenant("b"),
        ])
        .await
        .unwrap();
    let all = DetectionFilter::default();
    let late = DetectionFilter { from: Some(time("2026-01-02T11:00:00Z")), ..all.clone() };
    let suv = DetectionFilter { category: Some("suv".to_owned()), ..all.clone() };
    let gate = DetectionFilter { stream: Some("gate-1".parse().unwrap()), ..all.clone() };
    for (scope, filter, expected) in [
        (TenantScope::All, &all, groups(&[("Audi", 1), ("BMW", 1), ("VW", 1)])),
        (scope("a"), &all, groups(&[("Audi", 1), ("BMW", 1)])),
        (scope("b"), &all, groups(&[("BMW", 1), ("VW", 1)])),
        (scope("b"), &suv, groups(&[("BMW", 1)])),
        (scope("b"), &gate, groups(&[])),
        (TenantScope::All, &late, groups(&[("BMW", 1), ("VW", 1)])),
        (TenantScope::All, &gate, groups(&[("Audi", 1)])),
    ] {
        assert_eq!(counted(store, &scope, filter, GroupBy::Make).await, expected, "{scope:?} {filter:?}");
    }
}
