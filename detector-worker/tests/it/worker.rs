//! Who looks at what, what is kept, who is told, and how much is in hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use contracts::{Event, FrameContent, Outcome, ResultEvent, TopicRole};
use detector_worker::health;

use crate::recording::{Happened, RecordingBus, Trouble};
use crate::rig::{Rig, detection, detections, fake, finds_one, frame, inbox, name, png, settings, until};

#[tokio::test(flavor = "multi_thread")]
async fn frames_for_other_detectors_are_passed_over() {
    let rig = Rig::new();
    let (mut other, mut both) = (frame("gate", png(10, 10)), frame("gate", png(20, 10)));
    other.detectors = vec![name("voice")];
    both.detectors = vec![name("voice"), name("vehicle")];
    for frame in [&other, &both] {
        rig.send(frame).await;
    }
    let worker = rig.start(vec![finds_one("face"), finds_one("vehicle")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    let [only] = results.as_slice() else { panic!("one result, not {}", results.len()) };
    assert_eq!((only.data.frame_id, only.data.detector.as_str()), (both.id, "vehicle"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_is_kept_when_something_was_found_and_the_result_says_where() {
    let rig = Rig::new();
    let (full, empty) = (frame("gate", png(50, 10)), frame("gate", png(1, 10)));
    for frame in [&full, &empty] {
        rig.send(frame).await;
    }
    let face = fake("face", |picture| {
        let found = (picture.image.width() > 1).then(|| detection("face", picture));
        Ok(found.into_iter().collect())
    });
    let worker = rig.start(vec![face], &[]);
    worker.caught_up().await;
    worker.stop().await;
    for result in rig.results().await {
        let Outcome::Ok { width, height, image, detections } = &result.data.outcome else { panic!("a failure") };
        if result.data.frame_id == empty.id {
            assert_eq!((*width, *height, image, detections.len()), (1, 10, &None, 0));
            continue;
        }
        let key = image.as_ref().unwrap();
        assert!(key.starts_with("frames/") && key.ends_with(&format!("/{}/{}", full.tenant, full.id)), "{key}");
        assert_eq!(rig.blobs.get(key).await.unwrap(), Some(png(50, 10)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_picture_is_kept_where_it_is_switched_off() {
    let rig = Rig::new();
    rig.send(&frame("gate", png(50, 10))).await;
    let worker = rig.start(vec![finds_one("face")], &["--keep-pictures", "false"]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(matches!(&rig.results().await[0].data.outcome, Outcome::Ok { image: None, .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_frame_is_fetched_from_where_it_is() {
    let rig = Rig::new();
    let mut large = frame("gate", Bytes::new());
    let key = inbox(&large);
    rig.blobs.put(&key, png(77, 10)).await.unwrap();
    large.content = FrameContent::Blob(key.clone());
    rig.send(&large).await;
    let worker = rig.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(detections(&rig.results().await[0])[0].confidence, 0.77);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_client_is_told_with_the_very_result() {
    let rig = Rig::new();
    let (mut waiting, silent) = (frame("gate", png(10, 10)), frame("gate", png(10, 10)));
    waiting.reply_to = Some("replica-1".to_owned());
    for frame in [&waiting, &silent] {
        rig.send(frame).await;
    }
    let worker = rig.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    until("the reply is there", async || !rig.all(TopicRole::Replies).await.is_empty()).await;
    let replies = rig.all(TopicRole::Replies).await;
    let [reply] = replies.as_slice() else { panic!("one reply, not {}", replies.len()) };
    let reply = ResultEvent::from_message(&reply.message).unwrap();
    let results = rig.results().await;
    let result = results.iter().find(|result| result.data.frame_id == waiting.id).unwrap();
    assert_eq!((&reply, reply.reply_to.as_deref()), (result, Some("replica-1")));
}

/// A gate that detectors wait at, and how many have been at it at once.
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

/// Frames that were delivered and not finished, at most.
fn most_in_hand(happened: &[Happened]) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    for event in happened {
        match event {
            Happened::Delivered(_) => now += 1,
            Happened::Finished(_) => now -= 1,
            Happened::Acknowledged(..) => {}
        }
        most = most.max(now);
    }
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_detector_holds_back_the_log_and_not_the_memory() {
    let rig = Rig::new();
    for _ in 0..50 {
        rig.send(&frame("gate", png(32, 32))).await;
    }
    let gate = Arc::new(Gate::default());
    let log = RecordingBus::new(rig.bus.clone(), Trouble::default());
    let waits = gate.clone();
    let slow = fake("face", move |_| {
        waits.pass();
        Ok(Vec::new())
    });
    // Each picture has 1024 pixels: three fit the budget, whatever the threads could do.
    let flags = ["--worker-frames", "9", "--worker-pixels", "3072", "--inference-threads", "8"];
    let worker = rig.start_on(Arc::new(log.clone()), rig.blobs.clone(), vec![slow], &flags);
    until("the detector is busy", async || gate.inside.load(Ordering::SeqCst) == 3).await;
    until("all are delivered that may be", async || most_in_hand(&log.so_far()) >= 9).await;
    gate.open();
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(most_in_hand(&log.so_far()), 9);
    assert_eq!(gate.most.load(Ordering::SeqCst), 3);
    assert_eq!(rig.results().await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_ready_when_the_models_are_loaded_and_not_before() {
    let rig = Rig::new();
    let settings = settings(rig.folder.path(), &[]);
    let deps = detector_worker::Deps::new(rig.bus.clone(), rig.blobs.clone());
    let health = health(&settings.config, &deps);
    let not_ready = |checks: Vec<(String, Result<(), String>)>| -> Vec<String> {
        checks.into_iter().filter(|(_, check)| check.is_err()).map(|(name, _)| name).collect()
    };
    assert_eq!(not_ready(health.run().await), ["model loaded"]);
    let stop = tokio_util::sync::CancellationToken::new();
    let detectors = vec![finds_one("face")];
    let work = detector_worker::run_with(detectors, settings.config, settings.common, deps, stop.clone());
    let running = tokio::spawn(work);
    until("everything is ready", async || not_ready(health.run().await).is_empty()).await;
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_its_model_says_what_to_do_and_ends() {
    let rig = Rig::new();
    let empty = rig.folder.path().join("models");
    let settings = settings(rig.folder.path(), &["--models-dir", empty.to_str().unwrap()]);
    let deps = detector_worker::Deps::new(rig.bus.clone(), rig.blobs.clone());
    let stop = tokio_util::sync::CancellationToken::new();
    let error = detector_worker::run(settings.config, settings.common, deps, stop).await.unwrap_err().to_string();
    assert!(error.contains("SIGHTLINE_MODELS_DIR") && error.contains("models pull"), "{error}");
}
