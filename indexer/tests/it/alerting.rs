//! Alerts of the active rules: at most one for each rule and frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use contracts::{AlertEvent, Event, Outcome, Rule, RuleId, SubjectId, TenantId};
use store::{AlertFilter, PageRequest, TenantScope};

use crate::flaky_store::FlakyStore;
use crate::test_indexer::{TestIndexer, detection, eventually, red_audi, result};

fn rule(tenant: &TenantId, name: &str, condition: &str) -> Rule {
    Rule {
        id: RuleId::now(),
        tenant: Some(tenant.clone()),
        name: name.to_owned(),
        condition: condition.to_owned(),
        enabled: true,
    }
}

fn rules_of(alerts: &[AlertEvent]) -> Vec<&str> {
    let mut names: Vec<&str> = alerts.iter().map(|alert| alert.data.rule.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn an_alert_names_the_best_match_and_is_stored_as_sent() {
    let test = TestIndexer::new();
    let event =
        result(vec![detection("face", 0.5), detection("hat", 0.99), detection("face", 0.75), detection("face", 0.6)]);
    let indexer = test.index(&[]);
    test.publish(event.to_message()).await;
    test.indexed(&[event.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    let alerts = test.alerts().await;
    assert_eq!(rules_of(&alerts), ["face-seen"]);
    let data = &alerts[0].data;
    assert_eq!((data.confidence, data.matches), (0.75, 3));
    assert_eq!(data.detection_id, format!("{}-face-2", event.data.frame_id));
    assert_eq!(alerts[0].traceparent, event.traceparent);
    let page = PageRequest::Newest { after: None, limit: 10 };
    let kept = test.documents.alerts(&TenantScope::All, &AlertFilter::default(), &page).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].alert.data, *data);
}

/// The values are those of the golden file of alerts in `contracts`: an id must never change, or a repeated result would
/// raise a second alert.
#[tokio::test]
async fn an_alerts_id_follows_from_rule_and_frame() {
    let test = TestIndexer::new();
    let mut suv = detection("vehicle", 0.75);
    suv.attributes.set("category".parse().unwrap(), "SUV");
    let mut event = result(vec![detection("person", 0.5), suv]);
    event.data.frame_id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    let indexer = test.index(&[]);
    test.publish(event.to_message()).await;
    test.indexed(&[event.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;
    let alerts = test.alerts().await;
    assert_eq!(rules_of(&alerts), ["suspicious-vehicle"]);
    assert_eq!(alerts[0].data.id.to_string(), "f3ea00d9-36d1-8c0a-8c4d-a9ea4697597d");
}

#[tokio::test]
async fn rules_read_attributes_and_alerts_carry_them() {
    let test = TestIndexer::new();
    let conditions = [
        ("by attribute", r#"attributes.colour == "red" && attributes.doors == 4.0 && attributes.parked == true"#),
        ("by old name", r#"make == "Audi" && year >= 2020"#),
        ("another colour", r#"attributes.colour == "blue""#),
    ];
    for (name, condition) in conditions {
        test.documents.create_rule(&rule(&TenantId::admin(), name, condition)).await.unwrap();
    }
    // Only the second has attributes.
    let event = result(vec![detection("car", 0.99), red_audi()]);
    let indexer = test.index(&["--rule-suspicious-vehicle", "off"]);
    test.publish(event.to_message()).await;
    test.indexed(&[event.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    let alerts = test.alerts().await;
    assert_eq!(rules_of(&alerts), ["by attribute", "by old name"]);
    for alert in &alerts {
        assert_eq!((&alert.data.attributes, alert.data.matches), (&red_audi().attributes, 1));
    }
    let page = PageRequest::Newest { after: None, limit: 10 };
    for kept in test.documents.alerts(&TenantScope::All, &AlertFilter::default(), &page).await.unwrap() {
        assert_eq!(kept.alert.data.attributes, red_audi().attributes);
    }
    let kept = test.frame(event.data.frame_id).await;
    assert_eq!(kept[0].result.data.outcome, event.data.outcome);
}

#[tokio::test]
async fn alerts_do_not_wait_for_documents() {
    let test = TestIndexer::new();
    let store = Arc::new(FlakyStore::over(&test.documents));
    store.is_unavailable.store(true, Ordering::SeqCst);
    let indexer = test.index_into(store.clone(), &[]);
    for number in 1..=5 {
        test.publish(result(vec![detection("face", 0.9)]).to_message()).await;
        // The store has not accepted any document yet.
        eventually("its alert is on the log", async || test.alerts().await.len() == number).await;
    }
    store.is_unavailable.store(false, Ordering::SeqCst);
    test.all_finished().await;
    indexer.stop().await;
    assert_eq!(test.alerts().await.len(), 5);
}

#[tokio::test]
async fn two_detectors_of_one_frame_raise_one_alert() {
    let test = TestIndexer::new();
    let one = result(vec![detection("face", 0.5)]);
    let mut other = one.clone();
    other.id = uuid::Uuid::now_v7();
    other.data.detector = "centerface".parse().unwrap();
    let indexer = test.index(&[]);
    for event in [&one, &other] {
        test.publish(event.to_message()).await;
    }
    eventually("both results are stored", async || test.frame(one.data.frame_id).await.len() == 2).await;
    test.all_finished().await;
    indexer.stop().await;

    assert_eq!(test.alerts().await.len(), 1);
}

#[tokio::test]
async fn a_second_result_of_the_same_frame_raises_no_alert() {
    let test = TestIndexer::new();
    let first = result(Vec::new());
    let mut repeat = first.clone();
    repeat.id = uuid::Uuid::now_v7();
    repeat.data.outcome = Outcome::Ok { width: 1, height: 1, detections: vec![detection("face", 0.9)], image: None };
    let indexer = test.index(&[]);
    test.publish(first.to_message()).await;
    test.publish(repeat.to_message()).await;
    test.indexed(&[first.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    let kept = test.frame(first.data.frame_id).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].result.id, first.id);
    assert!(test.alerts().await.is_empty());
}

#[tokio::test]
async fn changed_rules_are_active_without_a_restart() {
    let test = TestIndexer::new();
    let mine = TenantId::admin();
    let indexer = test.index(&["--rule-face-seen", "off"]);
    let hats = rule(&mine, "hats", r#"label == "hat" && stream == "gate-1""#);
    let broken = rule(&mine, "broken", "labl == 1");
    let foreign = rule(&"someone-else".parse().unwrap(), "anothers", "true");
    for rule in [&hats, &broken, &foreign] {
        test.documents.create_rule(rule).await.unwrap();
    }
    let hat = || result(vec![detection("hat", 0.9), detection("face", 0.9)]);
    eventually("the rule is active", async || {
        test.publish(hat().to_message()).await;
        !test.alerts().await.is_empty()
    })
    .await;
    test.all_finished().await;
    let alerts = test.alerts().await;
    assert!(rules_of(&alerts).iter().all(|name| *name == "hats"), "{:?}", rules_of(&alerts));

    let switched_off = Rule { enabled: false, ..hats.clone() };
    test.documents.replace_rule(&hats, &switched_off).await.unwrap();
    eventually("the rule is no longer active", async || {
        let before = test.alerts().await.len();
        test.publish(hat().to_message()).await;
        test.all_finished().await;
        test.alerts().await.len() == before
    })
    .await;
    indexer.stop().await;
}

/// Every indexer reads the lists by itself, as this one does.
#[tokio::test]
async fn a_changed_watchlist_counts_within_two_seconds() {
    let test = TestIndexer::new();
    let (mine, other): (TenantId, TenantId) = (TenantId::admin(), "someone-else".parse().unwrap());
    let person = SubjectId::now();
    let (staff, guests) = ("staff".parse().unwrap(), "guests".parse().unwrap());
    for (name, condition) in [("a guest is here", r#"watchlist("guests")"#), ("staff is here", r#"watchlist("staff")"#)]
    {
        test.documents.create_rule(&rule(&mine, name, condition)).await.unwrap();
    }
    // Neither list exists, and another tenant's list of the name is another one.
    test.documents.put_watchlist(&other, &staff, &[person].into(), 9).await.unwrap();
    let indexer = test.index(&["--rule-face-seen", "off"]);
    let raised = async || {
        let before = test.alerts().await.len();
        let mut face = detection("face", 0.9);
        face.attributes.set("identity".parse().unwrap(), "subject");
        face.attributes.set("subject".parse().unwrap(), person.to_string());
        let seen = result(vec![face]);
        test.publish(seen.to_message()).await;
        test.indexed(&[seen.data.frame_id]).await;
        test.all_finished().await;
        let alerts = test.alerts().await.split_off(before);
        rules_of(&alerts).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    // The next frames raise these alerts.
    let soon = async |expected: &[&str]| {
        let changed = Instant::now();
        eventually(&format!("{expected:?} are raised"), async || raised().await == expected).await;
        assert!(changed.elapsed() < Duration::from_secs(2), "{expected:?} after {:?}", changed.elapsed());
    };
    assert!(raised().await.is_empty());

    test.documents.put_watchlist(&mine, &staff, &[person].into(), 9).await.unwrap();
    soon(&["staff is here"]).await;
    test.documents.put_watchlist(&mine, &guests, &[SubjectId::now(), person].into(), 9).await.unwrap();
    soon(&["a guest is here", "staff is here"]).await;
    test.documents.leave_watchlists(&mine, person, None).await.unwrap();
    soon(&[]).await;
    test.documents.add_to_watchlist(&mine, &guests, person, 9).await.unwrap();
    soon(&["a guest is here"]).await;
    test.documents.delete_watchlist(&mine, &guests).await.unwrap();
    soon(&[]).await;
    indexer.stop().await;
}
