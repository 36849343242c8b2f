//! Detectors of a frame, kept images, replies, and the number of frames in flight.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use contracts::{
    Attributes, BlobKind, Detection, Event, FrameContent, Outcome, ResultEvent, TopicRole, Vehicle, whole_microseconds,
};
use detector_worker::health;
use platform::CheckResult;
use vision::model::Findings;

use crate::harness::{TestWorker, detection, detections, fake, finds_one, frame, inbox, name, png, settings, until};
use crate::recording::{BusEvent, Faults, RecordingBus};

#[tokio::test(flavor = "multi_thread")]
async fn frames_for_other_detectors_are_skipped() {
    let setup = TestWorker::new();
    let (mut other, mut both) = (frame("gate", png(10, 10)), frame("gate", png(20, 10)));
    other.detectors = vec![name("voice")];
    both.detectors = vec![name("voice"), name("vehicle")];
    for frame in [&other, &both] {
        setup.send(frame).await;
    }
    let worker = setup.start(vec![finds_one("face"), finds_one("vehicle")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    let [only] = results.as_slice() else { panic!("one result, not {}", results.len()) };
    assert_eq!((only.data.frame_id, only.data.detector.as_str()), (both.id, "vehicle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_a_detection_are_published() {
    let setup = TestWorker::new();
    setup.send(&frame("gate", png(50, 10))).await;
    let mut attributes = Attributes::from(Vehicle { make: Some("Audi".to_owned()), ..Vehicle::default() });
    attributes.set("colour".parse().unwrap(), "red");
    let expected = attributes.clone();
    let car = fake("vehicle", move |image| {
        Ok(vec![Detection { attributes: attributes.clone(), ..detection("car", image) }].into())
    });
    let worker = setup.start(vec![car], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(detections(&setup.results().await[0])[0].attributes, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_detections_is_kept_under_the_key_of_the_result() {
    let setup = TestWorker::new();
    let (full, empty) = (frame("gate", png(50, 10)), frame("gate", png(1, 10)));
    for frame in [&full, &empty] {
        setup.send(frame).await;
    }
    let face = fake("face", |image| {
        let found = (image.pixels.width() > 1).then(|| detection("face", image));
        Ok(found.into_iter().collect::<Vec<_>>().into())
    });
    let worker = setup.start(vec![face], &[]);
    worker.caught_up().await;
    worker.stop().await;
    for result in setup.results().await {
        let Outcome::Ok { width, height, image, detections } = &result.data.outcome else { panic!("a failure") };
        if result.data.frame_id == empty.id {
            assert_eq!((*width, *height, image, detections.len()), (1, 10, &None, 0));
            continue;
        }
        let key = image.as_ref().unwrap();
        assert!(key.is_of(BlobKind::Frames, &full.tenant, full.id), "{key}");
        assert_eq!(setup.blobs.get(key).await.unwrap(), Some(png(50, 10)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_image_is_kept_when_the_setting_is_off() {
    let setup = TestWorker::new();
    setup.send(&frame("gate", png(50, 10))).await;
    let worker = setup.start(vec![finds_one("face")], &["--keep-images", "false"]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(matches!(&setup.results().await[0].data.outcome, Outcome::Ok { image: None, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_frame_is_fetched_from_the_blob_store() {
    let setup = TestWorker::new();
    let mut large = frame("gate", Bytes::new());
    let key = inbox(&large);
    setup.blobs.put(&key, png(77, 10)).await.unwrap();
    large.content = FrameContent::Blob(key.clone());
    setup.send(&large).await;
    let worker = setup.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(detections(&setup.results().await[0])[0].confidence, 0.77);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_gets_the_result_as_a_reply() {
    let setup = TestWorker::new();
    let (mut waiting, silent) = (frame("gate", png(10, 10)), frame("gate", png(10, 10)));
    waiting.reply_to = Some("replica-1".to_owned());
    for frame in [&waiting, &silent] {
        setup.send(frame).await;
    }
    let worker = setup.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    until("the reply is sent", async || !setup.all(TopicRole::Replies).await.is_empty()).await;
    let replies = setup.all(TopicRole::Replies).await;
    let [reply] = replies.as_slice() else { panic!("one reply, not {}", replies.len()) };
    let reply = ResultEvent::from_message(&reply.message).unwrap();
    let results = setup.results().await;
    let result = results.iter().find(|result| result.data.frame_id == waiting.id).unwrap();
    assert_eq!((&reply, reply.reply_to.as_deref()), (result, Some("replica-1")));
    let processed_at = reply.data.processed_at;
    assert_eq!(whole_microseconds(processed_at), processed_at, "a reply has the time that the stores keep");
}

/// Detectors wait until this gate opens. It counts the waiting ones.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.most.fetch_max(1 + self.inside.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        let closed = self.open.lock().unwrap();
        drop(self.opened.wait_while(closed, |open| !*open).unwrap());
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Greatest number of frames that were delivered and not finished.
fn most_in_flight(events: &[BusEvent]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for event in events {
        match event {
            BusEvent::Delivered(_) => now += 1,
            BusEvent::Finished(_) => now -= 1,
            BusEvent::Acknowledged(..) => {}
        }
        most = most.max(now);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_detector_pauses_the_deliveries() {
    let setup = TestWorker::new();
    for _ in 0..50 {
        setup.send(&frame("gate", png(32, 32))).await;
    }
    let gate = Arc::new(Gate::default());
    let log = RecordingBus::new(setup.bus.clone(), Faults::default());
    let waiting = gate.clone();
    let slow = fake("face", move |_| {
        waiting.pass();
        Ok(Findings::default())
    });
    // Each image has 1024 pixels: only three fit into the budget, although there are more threads.
    let flags = ["--worker-frames", "9", "--worker-pixels", "3072", "--inference-threads", "8"];
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![slow], &flags);
    until("the detector is busy", async || gate.inside.load(Ordering::SeqCst) == 3).await;
    until("the bus has delivered all it may", async || most_in_flight(&log.recorded()) >= 9).await;
    gate.open();
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(most_in_flight(&log.recorded()), 9);
    assert_eq!(gate.most.load(Ordering::SeqCst), 3);
    assert_eq!(setup.results().await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_ready_once_the_models_are_loaded() {
    let setup = TestWorker::new();
    let settings = settings(setup.folder.path(), &[]);
    let deps = detector_worker::Deps::new(setup.bus.clone(), setup.blobs.clone());
    let health = health(&settings.config, &deps);
    let not_ready = |checks: Vec<(String, CheckResult)>| -> Vec<String> {
        checks.into_iter().filter(|(_, check)| *check != CheckResult::Ok).map(|(name, _)| name).collect()
    };
    assert_eq!(not_ready(health.run().await), ["model loaded"]);
    let stop = tokio_util::sync::CancellationToken::new();
    let detectors = vec![finds_one("face")];
    let work = detector_worker::run_with(detectors, None, settings.config, settings.common, deps, stop.clone());
    let running = tokio::spawn(work);
    until("every check passes", async || not_ready(health.run().await).is_empty()).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_model_ends_with_the_remedy() {
    let setup = TestWorker::new();
    let empty = setup.folder.path().join("models");
    let settings = settings(setup.folder.path(), &["--models-dir", empty.to_str().unwrap()]);
    let deps = detector_worker::Deps::new(setup.bus.clone(), setup.blobs.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let error = detector_worker::run(settings.config, settings.common, deps, stop).await.unwrap_err().to_string();
    assert!(error.contains("SIGHTLINE_MODELS_DIR") && error.contains("models pull"), "{error}");
}
