//! The order of results, one result per detector, and frames finished only after their acknowledgements.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::{Event, FrameEvent, FrameId, ResultEvent, TopicRole};
use vision::inference::DetectorSpec;

use crate::harness::{TestWorker, detection, fake, finds_one, frame, png, until};
use crate::recording::{BusEvent, Faults, RecordingBus};

/// A detector that takes 0 to 10 milliseconds, depending on the width of the image.
fn uneven(detector: &str) -> DetectorSpec {
    let label = detector.to_owned();
    fake(detector, move |image| {
        std::thread::sleep(Duration::from_millis(u64::from(image.pixels.width() * 7 % 11)));
        Ok(vec![detection(&label, image)].into())
    })
}

async fn send_many(setup: &TestWorker, number: u32) -> Vec<FrameEvent> {
    let mut sent = Vec::new();
    for number in 0..number {
        let event = frame(&format!("gate-{}", number % 5), png(1 + number % 97, 8 + number * 13 % 200));
        setup.send(&event).await;
        sent.push(event);
    }
    sent
}

/// The ids of the frames, by partition of the frames topic and in its order.
async fn frames_by_partition(setup: &TestWorker) -> BTreeMap<i32, Vec<FrameId>> {
    let mut found: BTreeMap<i32, Vec<FrameId>> = BTreeMap::new();
    for delivery in setup.all(TopicRole::Frames).await {
        let frame = FrameEvent::from_message(&delivery.message).unwrap();
        found.entry(delivery.position.partition).or_default().push(frame.id);
    }
    found
}

/// The frame ids of a detector's results, by partition of the results topic and in its order.
async fn results_by_partition(setup: &TestWorker, detector: &str) -> BTreeMap<i32, Vec<FrameId>> {
    let mut found: BTreeMap<i32, Vec<FrameId>> = BTreeMap::new();
    for delivery in setup.all(TopicRole::Results).await {
        let result = ResultEvent::from_message(&delivery.message).unwrap();
        if result.data.detector.as_str() == detector {
            found.entry(delivery.position.partition).or_default().push(result.data.frame_id);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_has_one_result_per_detector_in_order() {
    let setup = TestWorker::new();
    let sent = send_many(&setup, 80).await;
    let worker = setup.start(vec![uneven("face"), uneven("vehicle")], &["--inference-threads", "4"]);
    worker.caught_up().await;
    worker.stop().await;

    let frames = frames_by_partition(&setup).await;
    assert_eq!(results_by_partition(&setup, "face").await, frames);
    assert_eq!(results_by_partition(&setup, "vehicle").await, frames);
    let results = setup.results().await;
    assert_eq!(results.len(), 2 * sent.len());
    let about = |frame: &FrameEvent| results.iter().find(|result| result.data.frame_id == frame.id).unwrap().clone();
    for frame in &sent {
        let result = about(frame);
        assert_eq!((&result.tenant, &result.data.stream), (&frame.tenant, &frame.stream));
        assert_eq!((result.data.captured_at, result.data.model.as_str()), (frame.captured_at, "fake"));
    }
}

/// Asserts that each frame was finished once, after all its results were acknowledged.
fn assert_finished_last(events: &[BusEvent], frames: &[(bus::Position, FrameId)], results_each: usize) {
    for (position, id) in frames {
        let finished: Vec<usize> =
            (0..events.len()).filter(|&index| events[index] == BusEvent::Finished(*position)).collect();
        let [finished] = finished[..] else { panic!("{position:?} was finished {} times", finished.len()) };
        let acknowledged = BusEvent::Acknowledged(TopicRole::Results, id.to_string());
        let before = events[..finished].iter().filter(|event| **event == acknowledged).count();
        assert_eq!(before, results_each, "results of {position:?} acknowledged before it was finished");
    }
}

async fn positions(setup: &TestWorker) -> Vec<(bus::Position, FrameId)> {
    let frames = setup.all(TopicRole::Frames).await.into_iter();
    frames.map(|frame| (frame.position, FrameEvent::from_message(&frame.message).unwrap().id)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_finished_only_when_its_results_are_acknowledged() {
    let setup = TestWorker::new();
    send_many(&setup, 30).await;
    let log = RecordingBus::new(setup.bus.clone(), Faults { slow: Duration::from_millis(20), ..Faults::default() });
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![finds_one("face"), finds_one("vehicle")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_finished_last(&log.recorded(), &positions(&setup).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn unacknowledged_results_are_retried_without_duplicates() {
    let setup = TestWorker::new();
    let sent = send_many(&setup, 60).await;
    let log = RecordingBus::new(setup.bus.clone(), Faults { full_every: 7, lost_every: 11, ..Faults::default() });
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_finished_last(&log.recorded(), &positions(&setup).await, 1);
    assert_eq!(setup.results().await.len(), sent.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_keeps_the_order() {
    let setup = TestWorker::new();
    send_many(&setup, 60).await;
    let log = RecordingBus::new(setup.bus.clone(), Faults { full_every: 3, ..Faults::default() });
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![uneven("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(results_by_partition(&setup, "face").await, frames_by_partition(&setup).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_worker_finishes_the_work_of_a_crashed_one() {
    let setup = TestWorker::new();
    let sent = send_many(&setup, 60).await;
    for done in [5, 20] {
        let worker = setup.start(vec![uneven("face")], &[]);
        until("some results are published", async || setup.results().await.len() >= done).await;
        worker.crash().await;
    }
    let worker = setup.start(vec![uneven("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    for frame in &sent {
        assert!(results.iter().any(|result| result.data.frame_id == frame.id), "{} was lost", frame.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_and_commits_the_frames_in_flight() {
    let setup = TestWorker::new();
    send_many(&setup, 40).await;
    let worker = setup.start(vec![uneven("face")], &["--worker-frames", "4"]);
    until("some results are published", async || !setup.results().await.is_empty()).await;
    worker.stop().await;
    let before = setup.results().await.len();
    let worker = setup.start(vec![uneven("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(before < 40, "the stop came too late to show anything");
    assert_eq!(setup.results().await.len(), 40, "frames of the first worker were processed again");
}
