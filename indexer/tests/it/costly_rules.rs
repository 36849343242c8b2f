//! The rules of one tenant do not delay the alerts of the others.

use contracts::{Event, ResultEvent, Rule, RuleId, TenantId};
use metrics_exporter_prometheus::PrometheusBuilder;
use rules::{Condition, MAX_CONDITION_COST, MAX_SOURCE_BYTES, MAX_TENANT_COST};

use crate::test_indexer::{TestIndexer, detection, eventually, result};

/// Detections of each frame of the flood.
const DETECTIONS: usize = 192;
/// Frames of the flood.
const FLOOD: usize = 40;

fn flooding() -> TenantId {
    "flooding".parse().unwrap()
}

fn rule(number: usize, condition: &str) -> Rule {
    Rule {
        id: RuleId::now(),
        tenant: Some(flooding()),
        name: format!("rule {number}"),
        condition: condition.to_owned(),
        enabled: true,
    }
}

/// A comparison of two texts costs 11 steps; this costs almost as much as one rule may.
fn costly() -> String {
    let condition = vec!["make == model"; 80].join(" || ");
    let cost = Condition::compile(&condition).unwrap().cost();
    assert!((MAX_CONDITION_COST * 9 / 10..=MAX_CONDITION_COST).contains(&cost), "{cost}");
    condition
}

/// A condition of 2 KiB that joins texts to texts of 200 KB and copies them again and again.
fn joining() -> String {
    let joined = format!("({})", vec!["make"; 23].join("+"));
    let condition = format!("{} == 'x'", vec![joined; 16].join("+"));
    assert!(condition.len() <= MAX_SOURCE_BYTES, "{}", condition.len());
    condition
}

fn of_the_flood() -> ResultEvent {
    let detections = vec![detection("person", 0.9); DETECTIONS];
    ResultEvent { tenant: flooding(), ..result(detections) }
}

/// Counts work instead of measuring time: the steps of all rules for the whole flood.
#[test]
fn a_hundred_costly_rules_take_bounded_work() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(flood_does_not_delay_others()));
    let metrics = recorder.handle().render();
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} is missing: {metrics}")).parse().unwrap()
    };
    let steps = value("sightline_indexer_rule_steps_total");
    let bound = (FLOOD + 1) * DETECTIONS * (MAX_TENANT_COST as usize + 100);
    assert!(steps > 0 && steps <= bound as u64, "{steps} steps of at most {bound}");
    // Four fit; the last of the hundred does not even compile.
    assert_eq!(value("sightline_indexer_rules_too_costly"), 99 - 4);
    assert_eq!(value("sightline_indexer_rules_broken"), 1);
}

async fn flood_does_not_delay_others() {
    let test = TestIndexer::new();
    let costly = costly();
    for number in 0..99 {
        test.documents.create_rule(&rule(number, &costly)).await.unwrap();
    }
    test.documents.create_rule(&rule(99, &joining())).await.unwrap();
    let indexer = test.index(&["--rule-suspicious-vehicle", "off"]);
    for _ in 0..FLOOD {
        test.publish(of_the_flood().to_message()).await;
    }
    let other = result(vec![detection("face", 0.9)]);
    test.publish(other.to_message()).await;
    eventually("the alert of the other tenant is on the log", async || {
        test.alerts().await.iter().any(|alert| alert.data.frame_id == other.data.frame_id)
    })
    .await;
    test.all_finished().await;
    indexer.stop().await;
    // The rules that fit, the oldest ones, have raised their alerts on every frame of the flood: an empty make equals an empty model.
    let alerts = test.alerts().await;
    for number in 0..4 {
        let name = format!("rule {number}");
        assert_eq!(alerts.iter().filter(|alert| alert.data.rule == name).count(), FLOOD, "{name}");
    }
    assert_eq!(alerts.len(), 4 * FLOOD + 1);
}

/// Delivery is at least once. Which alerts a result raises depends on the rules and the result alone.
#[tokio::test]
async fn a_redelivered_result_raises_the_same_alerts() {
    let test = TestIndexer::new();
    let costly = costly();
    for number in 0..8 {
        test.documents.create_rule(&rule(number, &costly)).await.unwrap();
    }
    // More detections than the budget of a result allows: those with the highest confidence are evaluated.
    let mut event = of_the_flood();
    let contracts::Outcome::Ok { detections, .. } = &mut event.data.outcome else { unreachable!() };
    *detections = (0..400_u32).map(|number| detection("person", f64::from(number) / 400.0)).collect();
    let first = test.index(&[]);
    test.publish(event.to_message()).await;
    test.indexed(&[event.data.frame_id]).await;
    test.all_finished().await;
    first.stop().await;
    let raised = test.alerts().await;
    assert_eq!(raised.len(), 4);
    for alert in &raised {
        assert_eq!(alert.data.detection_id, format!("{}-face-399", event.data.frame_id));
        assert!((200..400).contains(&alert.data.matches), "{}", alert.data.matches);
    }

    // Another process reads it again, and remembers nothing: on a new log, with the same rules.
    let again = TestIndexer::new();
    for rule in test.documents.all_rules().await.unwrap() {
        again.documents.create_rule(&rule).await.unwrap();
    }
    let second = again.index(&[]);
    again.publish(event.to_message()).await;
    again.indexed(&[event.data.frame_id]).await;
    again.all_finished().await;
    second.stop().await;
    let mut repeated = again.alerts().await;
    for (alert, first) in repeated.iter_mut().zip(&raised) {
        alert.data.raised_at = first.data.raised_at;
    }
    assert_eq!(repeated, raised);
}
