//! Alerts by the rules in force: at most one per rule and frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::{AlertEvent, Event, Outcome, Rule, RuleId, TenantId};
use store::{AlertFilter, Paged, Scope};

use crate::unsteady::Unsteady;
use crate::world::{World, eventually, result, seen};

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
async fn an_alert_tells_of_the_surest_match_and_is_kept_as_it_was_sent() {
    let world = World::new();
    let event = result(vec![seen("face", 0.5), seen("hat", 0.99), seen("face", 0.75), seen("face", 0.6)]);
    let indexer = world.index(&[]);
    world.publish(event.to_message()).await;
    world.indexed(&[event.data.frame_id]).await;
    world.all_finished().await;
    indexer.stop().await;

    let alerts = world.alerts().await;
    assert_eq!(rules_of(&alerts), ["face-seen"]);
    let data = &alerts[0].data;
    assert_eq!((data.confidence, data.matches), (0.75, 3));
    assert_eq!(data.detection_id, format!("{}-face-2", event.data.frame_id));
    assert_eq!(alerts[0].traceparent, event.traceparent);
    let page = Paged::Newest { after: None, limit: 10 };
    let kept = world.documents.alerts(&Scope::All, &AlertFilter::default(), &page).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].alert.data, *data);
}

#[tokio::test]
async fn an_alert_waits_for_no_document() {
    let world = World::new();
    let store = Arc::new(Unsteady::over(&world.documents));
    store.away.store(true, Ordering::SeqCst);
    let indexer = world.index_into(store.clone(), &[]);
    for number in 1..=5 {
        world.publish(result(vec![seen("face", 0.9)]).to_message()).await;
        // The store has taken none of those before it.
        eventually("its alert is on the log", async || world.alerts().await.len() == number).await;
    }
    store.away.store(false, Ordering::SeqCst);
    world.all_finished().await;
    indexer.stop().await;
    assert_eq!(world.alerts().await.len(), 5);
}

#[tokio::test]
async fn two_detectors_that_see_the_same_face_raise_one_alert() {
    let world = World::new();
    let one = result(vec![seen("face", 0.5)]);
    let mut other = one.clone();
    other.id = uuid::Uuid::now_v7();
    other.data.detector = "centerface".parse().unwrap();
    let indexer = world.index(&[]);
    for event in [&one, &other] {
        world.publish(event.to_message()).await;
    }
    eventually("both results are there", async || world.frame(one.data.frame_id).await.len() == 2).await;
    world.all_finished().await;
    indexer.stop().await;

    assert_eq!(world.alerts().await.len(), 1);
}

#[tokio::test]
async fn a_repeat_of_the_work_under_another_id_is_ignored_and_raises_nothing() {
    let world = World::new();
    let first = result(Vec::new());
    let mut repeat = first.clone();
    repeat.id = uuid::Uuid::now_v7();
    repeat.data.outcome = Outcome::Ok { width: 1, height: 1, detections: vec![seen("face", 0.9)], image: None };
    let indexer = world.index(&[]);
    world.publish(first.to_message()).await;
    world.publish(repeat.to_message()).await;
    world.indexed(&[first.data.frame_id]).await;
    world.all_finished().await;
    indexer.stop().await;

    let kept = world.frame(first.data.frame_id).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].result.id, first.id);
    assert!(world.alerts().await.is_empty());
}

#[tokio::test]
async fn a_change_of_rules_is_in_force_without_a_restart() {
    let world = World::new();
    let mine = TenantId::admin();
    let indexer = world.index(&["--rule-face-seen", "off"]);
    let mut hats = rule(&mine, "hats", r#"label == "hat" && stream == "gate-1""#);
    let broken = rule(&mine, "broken", "labl == 1");
    let anothers = rule(&"someone-else".parse().unwrap(), "anothers", "true");
    for rule in [&hats, &broken, &anothers] {
        world.documents.put_rule(rule).await.unwrap();
    }
    let hat = || result(vec![seen("hat", 0.9), seen("face", 0.9)]);
    eventually("the rule is in force", async || {
        world.publish(hat().to_message()).await;
        !world.alerts().await.is_empty()
    })
    .await;
    world.all_finished().await;
    let alerts = world.alerts().await;
    assert!(rules_of(&alerts).iter().all(|name| *name == "hats"), "{:?}", rules_of(&alerts));

    hats.enabled = false;
    world.documents.put_rule(&hats).await.unwrap();
    eventually("the rule is in force no more", async || {
        let before = world.alerts().await.len();
        world.publish(hat().to_message()).await;
        world.all_finished().await;
        world.alerts().await.len() == before
    })
    .await;
    indexer.stop().await;
}
