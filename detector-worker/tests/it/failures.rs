//! Permanent failures become failed results and dead letters; transient ones are retried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{
    BlobKey, BlobKind, Event, FailureCode, FrameContent, FrameEvent, Headers, Message, Outcome, SubjectId, TenantId,
    TopicRole, groups,
};
use detector_worker::crash_log::CrashLog;
use store::{Blobs, StoreError};
use vision::model::DetectError;

use crate::harness::{TestWorker, detection, detections, fake, finds_one, frame, inbox, png, until};
use crate::recording::{BusEvent, Faults, RecordingBus};

fn failure(outcome: &Outcome) -> FailureCode {
    match outcome {
        Outcome::Failed { code, .. } => *code,
        Outcome::Ok { .. } => panic!("it succeeded"),
    }
}

/// Publishes a bad frame between two good ones. It must fail with this code and get a dead letter; the others must succeed.
async fn assert_fails(bad: FrameEvent, code: FailureCode, flags: &[&str]) {
    let setup = TestWorker::new();
    let (before, after) = (frame("gate", png(10, 10)), frame("gate", png(20, 10)));
    setup.send(&before).await;
    let position = setup.send(&bad).await;
    setup.send(&after).await;
    let log = RecordingBus::new(setup.bus.clone(), Faults::default());
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![finds_one("face")], flags);
    worker.caught_up().await;
    worker.stop().await;

    let results = setup.results().await;
    let order: Vec<_> = results.iter().map(|result| result.data.frame_id).collect();
    assert_eq!(order, [before.id, bad.id, after.id]);
    assert_eq!(failure(&results[1].data.outcome), code);
    let letters = setup.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("one dead letter, not {}", letters.len()) };
    assert_eq!(letter.cause.code, code.as_str());
    assert_eq!((letter.origin.partition, letter.origin.offset), (position.partition, position.offset));
    assert_eq!(letter.origin.topic, setup.bus.topic(TopicRole::Frames));
    assert_eq!(letter.original, bad.to_message());
    let about_bad = |event: &BusEvent| match event {
        BusEvent::Acknowledged(TopicRole::Results, subject) => *subject == bad.id.to_string(),
        BusEvent::Acknowledged(role, _) => *role == TopicRole::FramesDlq,
        BusEvent::Finished(finished) => *finished == position,
        BusEvent::Delivered(_) => false,
    };
    let events: Vec<BusEvent> = log.recorded().into_iter().filter(about_bad).collect();
    assert!(
        matches!(
            events[..],
            [
                BusEvent::Acknowledged(TopicRole::Results, _),
                BusEvent::Acknowledged(TopicRole::FramesDlq, _),
                BusEvent::Finished(_)
            ]
        ),
        "not in the order failed result, dead letter, finished: {events:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_image_is_dead_lettered() {
    let whole = png(60, 60);
    assert_fails(frame("gate", whole.slice(..whole.len() / 2)), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_flipped_bits_is_dead_lettered() {
    let mut damaged = png(60, 60).to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    assert_fails(frame("gate", damaged.into()), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_bytes_are_dead_lettered() {
    assert_fails(frame("gate", Bytes::from_static(b"<html>")), FailureCode::Undecodable, &[]).await;
    assert_fails(frame("gate", Bytes::new()), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_too_many_pixels_is_dead_lettered() {
    assert_fails(frame("gate", png(60, 60)), FailureCode::TooLarge, &["--max-frame-pixels", "3599"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_dead_lettered() {
    let mut gone = frame("gate", Bytes::new());
    gone.content = FrameContent::Blob(inbox(&gone));
    assert_fails(gone, FailureCode::Missing, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_outside_the_inbox_is_never_read() {
    let other = frame("gate", Bytes::new());
    let mut forged = frame("gate", Bytes::new());
    let kept = BlobKey::new(BlobKind::Frames, jiff::Timestamp::now(), &forged.tenant, forged.id);
    for key in [inbox(&other), kept] {
        forged.content = FrameContent::Blob(key);
        assert_fails(forged.clone(), FailureCode::Missing, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_blob_key_is_dead_lettered_without_result() {
    let keys = ["frames/2026-01-02/tenant/secret", "inbox/../frames/x", "inbox//x", "inbox/ü"];
    let setup = TestWorker::new();
    for key in keys {
        let mut message = frame("gate", Bytes::new()).to_message();
        message.headers.push("ce_dataref", key);
        setup.send_message(message).await;
    }
    let worker = setup.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(setup.results().await.is_empty());
    let letters = setup.dead_letters().await;
    assert_eq!(letters.len(), keys.len());
    assert!(letters.iter().all(|letter| letter.cause.code == "invalid_event"), "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_frame_event_is_dead_lettered_without_result() {
    let setup = TestWorker::new();
    let message = Message { key: None, headers: Headers::new().with("ce_type", "other"), value: "hello".into() };
    let position = setup.send_message(message.clone()).await;
    setup.send(&frame("gate", png(10, 10))).await;
    let worker = setup.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(setup.results().await.len(), 1);
    let letters = setup.dead_letters().await;
    assert_eq!((letters.len(), letters[0].cause.code.as_str()), (1, "invalid_event"));
    assert_eq!((letters[0].origin.offset, &letters[0].original), (position.offset, &message));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_one_detector_keeps_the_result_of_the_other() {
    let setup = TestWorker::new();
    setup.send(&frame("gate", png(10, 10))).await;
    let refusing = fake("vehicle", |_| Err(DetectError::Rejected("the image is refused".to_owned())));
    let worker = setup.start(vec![finds_one("face"), refusing], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    assert_eq!(detections(&results[0]).len(), 1);
    assert_eq!(failure(&results[1].data.outcome), FailureCode::Rejected);
    assert_eq!(setup.dead_letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_retried_without_dead_letters() {
    let setup = TestWorker::new();
    for _ in 0..5 {
        setup.send(&frame("gate", png(10, 10))).await;
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let engine = fake("face", move |image| {
        if counted.fetch_add(1, Ordering::SeqCst) < 12 {
            return Err(DetectError::Unavailable("down".to_owned()));
        }
        Ok(vec![detection("face", image)].into())
    });
    let worker = setup.start(vec![engine], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(setup.results().await.iter().all(|result| detections(result).len() == 1));
    assert_eq!((setup.results().await.len(), setup.dead_letters().await.len()), (5, 0));
    assert_eq!(calls.load(Ordering::SeqCst), 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_without_pixels_does_not_block_a_retry() {
    let setup = TestWorker::new();
    let (retrying, suspect) = (frame("gate", png(60, 60)), frame("street", png(60, 60)));
    setup.send(&retrying).await;
    let position = setup.send(&suspect).await;
    // An earlier process crashed while the second frame was in native code.
    let group = groups::detector_worker(&["face".parse().unwrap()]);
    let topic_id = setup.bus.topic_id(TopicRole::Frames).await.unwrap();
    let earlier = CrashLog::open(&setup.folder.path().join("state"), &group, &topic_id, |_| 0).unwrap();
    std::mem::forget(earlier.enter(position));
    drop(earlier);

    // The first frame has reserved all pixels and retries until both are in flight.
    let calls = AtomicUsize::new(0);
    let engine = fake("face", move |image| match calls.fetch_add(1, Ordering::SeqCst) {
        0..3 => Err(DetectError::Unavailable("down".to_owned())),
        _ => Ok(vec![detection("face", image)].into()),
    });
    let worker = setup.start(vec![engine], &["--worker-pixels", "3600"]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(setup.results().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_fails_and_a_lost_device_ends_the_worker() {
    let setup = TestWorker::new();
    let bad = frame("gate", png(13, 13));
    setup.send(&bad).await;
    setup.send(&frame("gate", png(10, 10))).await;
    let refusing_some = fake("face", |image| match image.pixels.width() {
        13 => Err(DetectError::Inference("an unsupported shape".to_owned())),
        _ => Ok(vec![detection("face", image)].into()),
    });
    let worker = setup.start(vec![refusing_some], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    assert_eq!((results[0].data.frame_id, failure(&results[0].data.outcome)), (bad.id, FailureCode::Rejected));
    assert_eq!(detections(&results[1]).len(), 1);

    setup.send(&frame("gate", png(10, 10))).await;
    let lost = fake("face", |_| Err(DetectError::Inference("the device was lost".to_owned())));
    let error = setup.start(vec![lost], &[]).error().await;
    assert!(error.contains("the device was lost") && error.contains("SIGHTLINE_EXECUTION_PROVIDER"), "{error}");
    assert_eq!(setup.dead_letters().await.len(), 1, "a device failure dead-lettered a frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_panics_fails_its_image_and_continues() {
    let setup = TestWorker::new();
    setup.send(&frame("gate", png(13, 13))).await;
    setup.send(&frame("gate", png(10, 10))).await;
    let nervous = fake("face", |image| {
        assert!(image.pixels.width() != 13, "thirteen!");
        Ok(vec![detection("face", image)].into())
    });
    let worker = setup.start(vec![nervous], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    assert_eq!(failure(&results[0].data.outcome), FailureCode::Rejected);
    assert_eq!(detections(&results[1]).len(), 1);
}

/// A blob store that is unavailable for the first calls.
struct FlakyBlobs {
    inner: Arc<dyn Blobs>,
    down_for: AtomicUsize,
    sweeps: AtomicU64,
}

impl FlakyBlobs {
    fn connect(&self) -> Result<(), StoreError> {
        let down = self.down_for.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if down { Err(StoreError::Unavailable("the connection is down".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Blobs for FlakyBlobs {
    fn describe(&self) -> String {
        "flaky".to_owned()
    }

    async fn put(&self, key: &BlobKey, content: Bytes) -> Result<(), StoreError> {
        self.connect()?;
        self.inner.put(key, content).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Option<Bytes>, StoreError> {
        self.connect()?;
        self.inner.get(key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    async fn sweep(&self, kind: BlobKind, age: Duration) -> Result<u64, StoreError> {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        self.inner.sweep(kind, age).await
    }

    async fn delete_enrolled(&self, tenant: &TenantId, subject: SubjectId) -> Result<u64, StoreError> {
        self.inner.delete_enrolled(tenant, subject).await
    }

    async fn delete_tenant(&self, kind: BlobKind, tenant: &TenantId) -> Result<u64, StoreError> {
        self.inner.delete_tenant(kind, tenant).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_store_that_is_down_is_retried_without_dead_letters() {
    let setup = TestWorker::new();
    let mut large = frame("gate", Bytes::new());
    let key = inbox(&large);
    setup.blobs.put(&key, png(40, 10)).await.unwrap();
    large.content = FrameContent::Blob(key);
    setup.send(&large).await;
    let flaky = FlakyBlobs { inner: setup.blobs.clone(), down_for: 4.into(), sweeps: 0.into() };
    let worker = setup.start_on(setup.bus.clone(), Arc::new(flaky), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = setup.results().await;
    assert_eq!((results.len(), detections(&results[0]).len()), (1, 1));
    assert!(matches!(&results[0].data.outcome, Outcome::Ok { image: Some(_), .. }));
    assert!(setup.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_the_consumer_group_is_retried() {
    let setup = TestWorker::new();
    setup.send(&frame("gate", png(40, 10))).await;
    let log = RecordingBus::new(setup.bus.clone(), Faults { failed_joins: 2, ..Faults::default() });
    let worker = setup.start_on(log.bus(), setup.blobs.clone(), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(setup.results().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_images_are_deleted_and_new_ones_kept() {
    let setup = TestWorker::new();
    let frame = frame("gate", Bytes::new());
    let keys = |at| BlobKind::OF_FRAMES.map(|kind| BlobKey::new(kind, at, &frame.tenant, frame.id));
    let (old, young) = (keys("2020-01-02T03:04:05Z".parse().unwrap()), keys(jiff::Timestamp::now()));
    for key in old.iter().chain(&young) {
        setup.blobs.put(key, "x".into()).await.unwrap();
    }
    let worker = setup.start(vec![finds_one("face")], &[]);
    for key in &old {
        until("old images are deleted", async || setup.blobs.get(key).await.unwrap().is_none()).await;
    }
    for key in &young {
        assert!(setup.blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    worker.stop().await;
}
