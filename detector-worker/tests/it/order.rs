//! Order, exactly one result for each detector, and nothing finished before its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::{Event, FrameEvent, FrameId, ResultEvent, TopicRole};
use detector_worker::inference::DetectorSpec;

use crate::recording::{Happened, RecordingBus, Trouble};
use crate::rig::{Rig, detection, fake, finds_one, frame, png};

/// A detector that takes between nothing and ten milliseconds, by the picture's width.
fn dawdling(detector: &str) -> DetectorSpec {
    let label = detector.to_owned();
    fake(detector, move |picture| {
        std::thread::sleep(Duration::from_millis(u64::from(picture.image.width() * 7 % 11)));
        Ok(vec![detection(&label, picture)])
    })
}

async fn send_many(rig: &Rig, number: u32) -> Vec<FrameEvent> {
    let mut sent = Vec::new();
    for number in 0..number {
        let event = frame(&format!("gate-{}", number % 5), png(1 + number % 97, 8 + number * 13 % 200));
        rig.send(&event).await;
        sent.push(event);
    }
    sent
}

/// The frames in the order of each partition of the frames topic.
async fn frames_by_partition(rig: &Rig) -> BTreeMap<i32, Vec<FrameId>> {
    let mut found: BTreeMap<i32, Vec<FrameId>> = BTreeMap::new();
    for delivery in rig.all(TopicRole::Frames).await {
        let frame = FrameEvent::from_message(&delivery.message).unwrap();
        found.entry(delivery.position.partition).or_default().push(frame.id);
    }
    found
}

/// The frames of a detector's results in the order of each partition of the results topic.
async fn results_by_partition(rig: &Rig, detector: &str) -> BTreeMap<i32, Vec<FrameId>> {
    let mut found: BTreeMap<i32, Vec<FrameId>> = BTreeMap::new();
    for delivery in rig.all(TopicRole::Results).await {
        let result = ResultEvent::from_message(&delivery.message).unwrap();
        if result.data.detector.as_str() == detector {
            found.entry(delivery.position.partition).or_default().push(result.data.frame_id);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_has_one_result_per_detector_in_the_order_of_its_partition() {
    let rig = Rig::new();
    let sent = send_many(&rig, 80).await;
    let worker = rig.start(vec![dawdling("face"), dawdling("vehicle")], &["--inference-threads", "4"]);
    worker.caught_up().await;
    worker.stop().await;

    let frames = frames_by_partition(&rig).await;
    assert_eq!(results_by_partition(&rig, "face").await, frames);
    assert_eq!(results_by_partition(&rig, "vehicle").await, frames);
    let results = rig.results().await;
    assert_eq!(results.len(), 2 * sent.len());
    let about = |frame: &FrameEvent| results.iter().find(|result| result.data.frame_id == frame.id).unwrap().clone();
    for frame in &sent {
        let result = about(frame);
        assert_eq!((&result.tenant, &result.data.stream), (&frame.tenant, &frame.stream));
        assert_eq!((result.data.captured_at, result.data.model.as_str()), (frame.captured_at, "fake"));
    }
}

/// Checks that each frame was finished once, after all its results were acknowledged.
fn assert_finished_last(happened: &[Happened], frames: &[(bus::Position, FrameId)], results_each: usize) {
    for (position, id) in frames {
        let finished: Vec<usize> =
            (0..happened.len()).filter(|&place| happened[place] == Happened::Finished(*position)).collect();
        let [finished] = finished[..] else { panic!("{position:?} was finished {} times", finished.len()) };
        let acknowledged = Happened::Acknowledged(TopicRole::Results, id.to_string());
        let before = happened[..finished].iter().filter(|happened| **happened == acknowledged).count();
        assert_eq!(before, results_each, "results of {position:?} that were acknowledged when it was finished");
    }
}

async fn positions(rig: &Rig) -> Vec<(bus::Position, FrameId)> {
    let frames = rig.all(TopicRole::Frames).await.into_iter();
    frames.map(|frame| (frame.position, FrameEvent::from_message(&frame.message).unwrap().id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_finished_only_when_its_results_are_acknowledged() {
    let rig = Rig::new();
    send_many(&rig, 30).await;
    let log = RecordingBus::new(rig.bus.clone(), Trouble { slow: Duration::from_millis(20), ..Trouble::default() });
    let worker =
        rig.start_on(Arc::new(log.clone()), rig.blobs.clone(), vec![finds_one("face"), finds_one("vehicle")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_finished_last(&log.so_far(), &positions(&rig).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn results_the_log_does_not_take_for_now_are_sent_again_and_none_twice() {
    let rig = Rig::new();
    let sent = send_many(&rig, 60).await;
    let log = RecordingBus::new(rig.bus.clone(), Trouble { full_every: 7, lost_every: 11, ..Trouble::default() });
    let worker = rig.start_on(Arc::new(log.clone()), rig.blobs.clone(), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_finished_last(&log.so_far(), &positions(&rig).await, 1);
    assert_eq!(rig.results().await.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_keeps_the_order() {
    let rig = Rig::new();
    send_many(&rig, 60).await;
    let log = RecordingBus::new(rig.bus.clone(), Trouble { full_every: 3, ..Trouble::default() });
    let worker = rig.start_on(Arc::new(log), rig.blobs.clone(), vec![dawdling("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(results_by_partition(&rig, "face").await, frames_by_partition(&rig).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_ends_midway_has_the_rest_done_by_the_next() {
    let rig = Rig::new();
    let sent = send_many(&rig, 60).await;
    for done in [5, 20] {
        let worker = rig.start(vec![dawdling("face")], &[]);
        crate::rig::until("some results are there", async || rig.results().await.len() >= done).await;
        worker.crash().await;
    }
    let worker = rig.start(vec![dawdling("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    for frame in &sent {
        assert!(results.iter().any(|result| result.data.frame_id == frame.id), "{} was lost", frame.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_and_commits_what_is_in_hand() {
    let rig = Rig::new();
    send_many(&rig, 40).await;
    let worker = rig.start(vec![dawdling("face")], &["--worker-frames", "4"]);
    crate::rig::until("some results are there", async || !rig.results().await.is_empty()).await;
    worker.stop().await;
    let before = rig.results().await.len();
    let worker = rig.start(vec![dawdling("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(before < 40, "the stop came too late to tell");
    assert_eq!(rig.results().await.len(), 40, "work of the first worker was done again");
}
