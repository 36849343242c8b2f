//! Each result is stored once.

use contracts::{Event, FailureCode, FrameId, Outcome, TopicRole};
use jiff::{SignedDuration, Timestamp};
use store::{DetectionFilter, FrameFilter, PageRequest, TenantScope};

use crate::test_indexer::{TestIndexer, detection, eventually, result};

const NEWEST: PageRequest = PageRequest::Newest { after: None, limit: 500 };

#[tokio::test]
async fn a_result_delivered_twice_is_stored_once() {
    stored_once(&TestIndexer::new()).await;
}

/// Every result twice, in small batches.
pub async fn stored_once(test: &TestIndexer) {
    let events: Vec<_> = (0..200).map(|_| result(vec![detection("face", 0.9), detection("face", 0.8)])).collect();
    let frames: Vec<FrameId> = events.iter().map(|event| event.data.frame_id).collect();
    let indexer = test.index(&["--index-batch", "7"]);
    for event in events.iter().chain(&events) {
        test.publish(event.to_message()).await;
    }
    test.indexed(&frames).await;
    test.all_finished().await;
    indexer.stop().await;

    let kept = test.documents.frames(&TenantScope::All, &FrameFilter::default(), &NEWEST).await.unwrap();
    assert_eq!(kept.len(), 200);
    let detections = test.documents.detections(&TenantScope::All, &DetectionFilter::default(), &NEWEST).await.unwrap();
    assert_eq!(detections.len(), 400);
    assert_eq!(test.alerts().await.len(), 200);
}

#[tokio::test]
async fn empty_and_failed_results_are_stored() {
    let test = TestIndexer::new();
    let nothing = result(Vec::new());
    let mut failed = result(Vec::new());
    failed.data.outcome = Outcome::Failed { code: FailureCode::Undecodable, message: "cut off".to_owned() };
    let indexer = test.index(&[]);
    for event in [&nothing, &failed] {
        test.publish(event.to_message()).await;
    }
    test.indexed(&[nothing.data.frame_id, failed.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    assert_eq!(test.frame(failed.data.frame_id).await[0].result.data.outcome, failed.data.outcome);
    assert!(test.alerts().await.is_empty());
}

#[tokio::test]
async fn retention_counts_from_indexing() {
    let test = TestIndexer::new();
    let mut old = result(vec![detection("face", 0.9)]);
    old.data.captured_at = "2001-02-03T04:05:06Z".parse().unwrap();
    let indexer = test.index(&["--retention", "2d"]);
    test.publish(old.to_message()).await;
    test.indexed(&[old.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    assert_eq!(test.documents.sweep(in_days(1)).await.unwrap(), 0, "kept for its retention");
    assert_eq!(test.frame(old.data.frame_id).await.len(), 1);
    assert!(test.documents.sweep(in_days(3)).await.unwrap() > 0, "and not longer");
    assert!(test.frame(old.data.frame_id).await.is_empty());
}

#[tokio::test]
async fn strangers_are_kept_for_their_own_time() {
    let test = TestIndexer::new();
    let face = |identity: &str| {
        // The alert is about the most confident one.
        let mut face = detection("face", if identity == "subject" { 0.8 } else { 0.9 });
        face.attributes.set("identity".parse().unwrap(), identity);
        face
    };
    let alone = result(vec![face("unknown"), face("unchecked")]);
    let together = result(vec![face("unknown"), face("subject")]);
    let indexer = test.index(&["--retention", "9d", "--faces-strangers-retention", "2d"]);
    for event in [&alone, &together] {
        test.publish(event.to_message()).await;
    }
    test.indexed(&[alone.data.frame_id, together.data.frame_id]).await;
    test.all_finished().await;
    indexer.stop().await;

    let in_days = |days: i64| Timestamp::now() + SignedDuration::from_hours(24 * days);
    assert_eq!(test.documents.sweep(in_days(1)).await.unwrap(), 0, "kept for their time");
    // The frame with strangers alone with its two faces and its alert; of the other one, a face and the alert about it.
    assert_eq!(test.documents.sweep(in_days(3)).await.unwrap(), 6);
    assert!(test.frame(alone.data.frame_id).await.is_empty());
    let left = test.documents.detections(&TenantScope::All, &DetectionFilter::default(), &NEWEST).await.unwrap();
    let identities: Vec<_> = left.iter().map(|found| found.detection.attributes.text("identity")).collect();
    assert_eq!(identities, [Some("subject")]);
    assert_eq!(test.frame(together.data.frame_id).await.len(), 1);
}

#[tokio::test]
async fn a_result_with_a_retention_of_its_own_is_kept_for_it() {
    let test = TestIndexer::new();
    let [short, long, default] = ["1", "9", ""].map(|days| {
        let mut event = result(vec![detection("face", 0.9)]);
        event.retention = days.parse().ok();
        event
    });
    let indexer = test.index(&["--retention", "5d"]);
    for event in [&short, &long, &default] {
        test.publish(event.to_message()).await;
    }
    test.indexed(&[&short, &long, &default].map(|event| event.data.frame_id)).await;
    test.all_finished().await;
    indexer.stop().await;

    for (day, kept) in [(0, [true, true, true]), (2, [false, true, true]), (6, [false, true, false]), (10, [false; 3])]
    {
        test.documents.sweep(Timestamp::now() + SignedDuration::from_hours(24 * day)).await.unwrap();
        for (event, kept) in [&short, &long, &default].into_iter().zip(kept) {
            assert_eq!(test.frame(event.data.frame_id).await.is_empty(), !kept, "{:?} on day {day}", event.retention);
        }
    }
}

#[tokio::test]
async fn unreadable_messages_are_dead_lettered_with_origin() {
    let test = TestIndexer::new();
    let mut broken = result(vec![detection("face", 0.9)]).to_message();
    broken.value = "{".into();
    let mut without_tenant = result(vec![detection("face", 0.9)]).to_message();
    without_tenant.headers = without_tenant
        .headers
        .iter()
        .filter(|(name, _)| *name != "ce_tenant")
        .map(|(n, v)| (n.to_owned(), v.clone()))
        .collect();
    let garbage = contracts::Message { key: None, headers: contracts::Headers::new(), value: "\u{0}garbage".into() };
    let good = result(vec![detection("face", 0.9)]);

    let indexer = test.index(&[]);
    let unreadable = [broken, without_tenant, garbage];
    let mut origins = Vec::new();
    for message in &unreadable {
        let sent = test.bus.producer().send(TopicRole::Results, message.clone()).unwrap();
        origins.push(sent.await.unwrap());
    }
    test.publish(good.to_message()).await;
    test.indexed(&[good.data.frame_id]).await;
    eventually("three dead letters are on the topic", async || test.dead_letters().await.len() >= 3).await;
    test.all_finished().await;
    indexer.stop().await;

    let letters = test.dead_letters().await;
    assert_eq!(letters.len(), 3);
    for ((message, origin), code) in unreadable.iter().zip(&origins).zip(["undecodable", "undecodable", "unknown"]) {
        let of_this = letters
            .iter()
            .find(|letter| letter.origin.partition == origin.partition && letter.origin.offset == origin.offset);
        let letter = of_this.unwrap();
        assert_eq!((&letter.original, letter.cause.code.as_str()), (message, code));
        assert_eq!(letter.origin.topic, test.bus.topic(TopicRole::Results));
    }
}
