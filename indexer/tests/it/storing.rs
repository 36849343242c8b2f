//! Results become documents, once.

use contracts::{Event, FailureCode, FrameId, Outcome, TopicRole};
use jiff::{SignedDuration, Timestamp};
use store::{DetectionFilter, FrameFilter, Paged, Scope};

use crate::world::{World, eventually, result, seen};

const NEWEST: Paged = Paged::Newest { after: None, limit: 500 };

#[tokio::test]
async fn every_result_is_kept_once_however_often_it_is_delivered() {
    kept_once(&World::new()).await;
}

/// Every result twice, in small batches.
pub async fn kept_once(world: &World) {
    let events: Vec<_> = (0..200).map(|_| result(vec![seen("face", 0.9), seen("face", 0.8)])).collect();
    let frames: Vec<FrameId> = events.iter().map(|event| event.data.frame_id).collect();
    let indexer = world.index(&["--index-batch", "7"]);
    for event in events.iter().chain(&events) {
        world.publish(event.to_message()).await;
    }
    world.indexed(&frames).await;
    world.all_finished().await;
    indexer.stop().await;

    let kept = world.documents.frames(&Scope::All, &FrameFilter::default(), &NEWEST).await.unwrap();
    assert_eq!(kept.len(), 200);
    let detections = world.documents.detections(&Scope::All, &DetectionFilter::default(), &NEWEST).await.unwrap();
    assert_eq!(detections.len(), 400);
    assert_eq!(world.alerts().await.len(), 200);
}

#[tokio::test]
async fn nothing_found_and_failed_are_results_too() {
    let world = World::new();
    let nothing = result(Vec::new());
    let mut failed = result(Vec::new());
    failed.data.outcome = Outcome::Failed { code: FailureCode::Undecodable, message: "cut off".to_owned() };
    let indexer = world.index(&[]);
    for event in [&nothing, &failed] {
        world.publish(event.to_message()).await;
    }
    world.indexed(&[nothing.data.frame_id, failed.data.frame_id]).await;
    world.all_finished().await;
    indexer.stop().await;

    assert_eq!(world.frame(failed.data.frame_id).await[0].result.data.outcome, failed.data.outcome);
    assert!(world.alerts().await.is_empty());
}

#[tokio::test]
async fn retention_counts_from_the_indexing_and_not_from_the_capture() {
    let world = World::new();
    let mut old = result(vec![seen("face", 0.9)]);
    old.data.captured_at = "2001-02-03T04:05:06Z".parse().unwrap();
    let indexer = world.index(&["--retention", "2d"]);
    world.publish(old.to_message()).await;
    world.indexed(&[old.data.frame_id]).await;
    world.all_finished().await;
    indexer.stop().await;

    let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    assert_eq!(world.documents.sweep(in_days(1)).await.unwrap(), 0, "kept for its retention");
    assert_eq!(world.frame(old.data.frame_id).await.len(), 1);
    assert!(world.documents.sweep(in_days(3)).await.unwrap() > 0, "and not longer");
    assert!(world.frame(old.data.frame_id).await.is_empty());
}

#[tokio::test]
async fn what_is_neither_an_event_nor_a_vehicle_is_buried_whole_with_its_origin() {
    let world = World::new();
    let mut broken = result(vec![seen("face", 0.9)]).to_message();
    broken.value = "{".into();
    let mut without_tenant = result(vec![seen("face", 0.9)]).to_message();
    without_tenant.headers = without_tenant
        .headers
        .iter()
        .filter(|(name, _)| *name != "ce_tenant")
        .map(|(n, v)| (n.to_owned(), v.clone()))
        .collect();
    let garbage = contracts::Message { key: None, headers: contracts::Headers::new(), value: "\u{0}garbage".into() };
    let good = result(vec![seen("face", 0.9)]);

    let indexer = world.index(&[]);
    let poison = [broken, without_tenant, garbage];
    let mut origins = Vec::new();
    for message in &poison {
        let sent = world.bus.producer().send(TopicRole::Results, message.clone()).unwrap();
        origins.push(sent.await.unwrap());
    }
    world.publish(good.to_message()).await;
    world.indexed(&[good.data.frame_id]).await;
    eventually("three letters are there", async || world.dead_letters().await.len() >= 3).await;
    world.all_finished().await;
    indexer.stop().await;

    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 3);
    for ((message, origin), code) in poison.iter().zip(&origins).zip(["undecodable", "undecodable", "unknown"]) {
        let of_this = letters
            .iter()
            .find(|letter| letter.origin.partition == origin.partition && letter.origin.offset == origin.offset);
        let letter = of_this.unwrap();
        assert_eq!((&letter.original, letter.cause.code.as_str()), (message, code));
        assert_eq!(letter.origin.topic, world.bus.topic(TopicRole::Results));
    }
}
