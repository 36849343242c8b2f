//! What can never work is failed and buried; what may work later is done later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use contracts::{Event, FailureCode, FrameContent, FrameEvent, Headers, Message, Outcome, TenantId, TopicRole, groups};
use detector_worker::journal::Journal;
use detector_worker::model::DetectError;
use store::{Blobs, StoreError};

use crate::recording::{Happened, RecordingBus, Trouble};
use crate::rig::{Rig, detection, detections, fake, finds_one, frame, inbox, png, until};

fn failure(outcome: &Outcome) -> FailureCode {
    match outcome {
        Outcome::Failed { code, .. } => *code,
        Outcome::Ok { .. } => panic!("it did not fail"),
    }
}

/// Sends a frame between two sound ones and checks that it fails with this code, is buried, and harms neither neighbour.
async fn assert_fails(bad: FrameEvent, code: FailureCode, flags: &[&str]) {
    let rig = Rig::new();
    let (before, after) = (frame("gate", png(10, 10)), frame("gate", png(20, 10)));
    rig.send(&before).await;
    let position = rig.send(&bad).await;
    rig.send(&after).await;
    let log = RecordingBus::new(rig.bus.clone(), Trouble::default());
    let worker = rig.start_on(Arc::new(log.clone()), rig.blobs.clone(), vec![finds_one("face")], flags);
    worker.caught_up().await;
    worker.stop().await;

    let results = rig.results().await;
    let order: Vec<_> = results.iter().map(|result| result.data.frame_id).collect();
    assert_eq!(order, [before.id, bad.id, after.id]);
    assert_eq!(failure(&results[1].data.outcome), code);
    let letters = rig.dead_letters().await;
    let [letter] = letters.as_slice() else { panic!("one dead letter, not {}", letters.len()) };
    assert_eq!(letter.cause.code, code.as_str());
    assert_eq!((letter.origin.partition, letter.origin.offset), (position.partition, position.offset));
    assert_eq!(letter.origin.topic, rig.bus.topic(TopicRole::Frames));
    assert_eq!(letter.original, bad.to_message());
    let about_it = |happened: &Happened| match happened {
        Happened::Acknowledged(TopicRole::Results, subject) => *subject == bad.id.to_string(),
        Happened::Acknowledged(role, _) => *role == TopicRole::FramesDlq,
        Happened::Finished(finished) => *finished == position,
        Happened::Delivered(_) => false,
    };
    let happened: Vec<Happened> = log.so_far().into_iter().filter(about_it).collect();
    assert!(
        matches!(
            happened[..],
            [
                Happened::Acknowledged(TopicRole::Results, _),
                Happened::Acknowledged(TopicRole::FramesDlq, _),
                Happened::Finished(_)
            ]
        ),
        "failed result, dead letter, finished: {happened:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_picture_fails_and_is_buried() {
    let whole = png(60, 60);
    assert_fails(frame("gate", whole.slice(..whole.len() / 2)), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_with_flipped_bits_fails_and_is_buried() {
    let mut damaged = png(60, 60).to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    assert_fails(frame("gate", damaged.into()), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_fails_and_is_buried() {
    assert_fails(frame("gate", Bytes::from_static(b"<html>")), FailureCode::Undecodable, &[]).await;
    assert_fails(frame("gate", Bytes::new()), FailureCode::Undecodable, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_with_too_many_pixels_fails_and_is_buried() {
    assert_fails(frame("gate", png(60, 60)), FailureCode::TooLarge, &["--max-frame-pixels", "3599"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_is_gone_fails_and_is_buried() {
    let mut gone = frame("gate", Bytes::new());
    gone.content = FrameContent::Blob(inbox(&gone));
    assert_fails(gone, FailureCode::Missing, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_outside_the_inbox_is_never_read() {
    for key in ["frames/2026-01-02/tenant/secret", "inbox/../frames/x", "inbox//x", "inbox/ü"] {
        let mut sly = frame("gate", Bytes::new());
        sly.content = FrameContent::Blob(key.to_owned());
        assert_fails(sly, FailureCode::Missing, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_frame_is_buried_without_a_result() {
    let rig = Rig::new();
    let message = Message { key: None, headers: Headers::new().with("ce_type", "other"), value: "hello".into() };
    let position = rig.send_message(message.clone()).await;
    rig.send(&frame("gate", png(10, 10))).await;
    let worker = rig.start(vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(rig.results().await.len(), 1);
    let letters = rig.dead_letters().await;
    assert_eq!((letters.len(), letters[0].cause.code.as_str()), (1, "invalid_event"));
    assert_eq!((letters[0].origin.offset, &letters[0].original), (position.offset, &message));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_detector_refuses_the_other_still_sees() {
    let rig = Rig::new();
    rig.send(&frame("gate", png(10, 10))).await;
    let refusing = fake("vehicle", |_| Err(DetectError::Refused("too ugly".to_owned())));
    let worker = rig.start(vec![finds_one("face"), refusing], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    assert_eq!(detections(&results[0]).len(), 1);
    assert_eq!(failure(&results[1].data.outcome), FailureCode::Rejected);
    assert_eq!(rig.dead_letters().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_is_waited_for_and_nothing_is_buried() {
    let rig = Rig::new();
    for _ in 0..5 {
        rig.send(&frame("gate", png(10, 10))).await;
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let engine = fake("face", move |picture| {
        if counted.fetch_add(1, Ordering::SeqCst) < 12 {
            return Err(DetectError::Unavailable("down".to_owned()));
        }
        Ok(vec![detection("face", picture)])
    });
    let worker = rig.start(vec![engine], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert!(rig.results().await.iter().all(|result| detections(result).len() == 1));
    assert_eq!((rig.results().await.len(), rig.dead_letters().await.len()), (5, 0));
    assert_eq!(calls.load(Ordering::SeqCst), 17);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspect_that_finds_no_room_does_not_hold_up_who_asks_again() {
    let rig = Rig::new();
    let (asking, suspect) = (frame("gate", png(60, 60)), frame("street", png(60, 60)));
    rig.send(&asking).await;
    let position = rig.send(&suspect).await;
    // A process that died while the second frame was in native code.
    let group = groups::detector_worker(&["face".parse().unwrap()]);
    let incarnation = rig.bus.incarnation(TopicRole::Frames).await.unwrap();
    let dead = Journal::open(&rig.folder.path().join("state"), &group, &incarnation, |_| 0).unwrap();
    std::mem::forget(dead.enter(position));
    drop(dead);

    // The first frame has the only room and asks until both are under way.
    let calls = AtomicUsize::new(0);
    let engine = fake("face", move |picture| match calls.fetch_add(1, Ordering::SeqCst) {
        0..3 => Err(DetectError::Unavailable("down".to_owned())),
        _ => Ok(vec![detection("face", picture)]),
    });
    let worker = rig.start(vec![engine], &["--worker-pixels", "3600"]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(rig.results().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_the_network_cannot_take_fails_and_a_device_that_is_lost_ends_the_worker() {
    let rig = Rig::new();
    let bad = frame("gate", png(13, 13));
    rig.send(&bad).await;
    rig.send(&frame("gate", png(10, 10))).await;
    let picky = fake("face", |picture| match picture.image.width() {
        13 => Err(DetectError::Inference("a shape it cannot take".to_owned())),
        _ => Ok(vec![detection("face", picture)]),
    });
    let worker = rig.start(vec![picky], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    assert_eq!((results[0].data.frame_id, failure(&results[0].data.outcome)), (bad.id, FailureCode::Rejected));
    assert_eq!(detections(&results[1]).len(), 1);

    rig.send(&frame("gate", png(10, 10))).await;
    let lost = fake("face", |_| Err(DetectError::Inference("the device is gone".to_owned())));
    let error = rig.start(vec![lost], &[]).error().await;
    assert!(error.contains("the device is gone") && error.contains("SIGHTLINE_EXECUTION_PROVIDER"), "{error}");
    assert_eq!(rig.dead_letters().await.len(), 1, "a frame was buried for the device's fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_panics_fails_its_picture_and_goes_on() {
    let rig = Rig::new();
    rig.send(&frame("gate", png(13, 13))).await;
    rig.send(&frame("gate", png(10, 10))).await;
    let nervous = fake("face", |picture| {
        assert!(picture.image.width() != 13, "thirteen!");
        Ok(vec![detection("face", picture)])
    });
    let worker = rig.start(vec![nervous], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    assert_eq!(failure(&results[0].data.outcome), FailureCode::Rejected);
    assert_eq!(detections(&results[1]).len(), 1);
}

/// Pictures behind a line that is down for the first few calls.
struct Flaky {
    inner: Arc<dyn Blobs>,
    down_for: AtomicUsize,
    sweeps: AtomicU64,
}

impl Flaky {
    fn line(&self) -> Result<(), StoreError> {
        let down = self.down_for.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if down { Err(StoreError::Unavailable("the line is down".to_owned())) } else { Ok(()) }
    }
}

#[async_trait]
impl Blobs for Flaky {
    fn describe(&self) -> String {
        "flaky".to_owned()
    }

    async fn put(&self, key: &str, content: Bytes) -> Result<(), StoreError> {
        self.line()?;
        self.inner.put(key, content).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.line()?;
        self.inner.get(key).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key).await
    }

    async fn sweep(&self, kind: &str, age: Duration) -> Result<u64, StoreError> {
        self.sweeps.fetch_add(1, Ordering::SeqCst);
        self.inner.sweep(kind, age).await
    }

    async fn delete_tenant(&self, kind: &str, tenant: &TenantId) -> Result<u64, StoreError> {
        self.inner.delete_tenant(kind, tenant).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_store_that_is_down_is_waited_for_and_nothing_is_buried() {
    let rig = Rig::new();
    let mut large = frame("gate", Bytes::new());
    let key = inbox(&large);
    rig.blobs.put(&key, png(40, 10)).await.unwrap();
    large.content = FrameContent::Blob(key);
    rig.send(&large).await;
    let flaky = Flaky { inner: rig.blobs.clone(), down_for: 4.into(), sweeps: 0.into() };
    let worker = rig.start_on(rig.bus.clone(), Arc::new(flaky), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    let results = rig.results().await;
    assert_eq!((results.len(), detections(&results[0]).len()), (1, 1));
    assert!(matches!(&results[0].data.outcome, Outcome::Ok { image: Some(_), .. }));
    assert!(rig.dead_letters().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_group_cannot_be_joined_yet_is_waited_for() {
    let rig = Rig::new();
    rig.send(&frame("gate", png(40, 10))).await;
    let log = RecordingBus::new(rig.bus.clone(), Trouble { unjoinable: 2, ..Trouble::default() });
    let worker = rig.start_on(Arc::new(log), rig.blobs.clone(), vec![finds_one("face")], &[]);
    worker.caught_up().await;
    worker.stop().await;
    assert_eq!(rig.results().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_pictures_are_swept_and_young_ones_stay() {
    let rig = Rig::new();
    let old = ["frames/2020-01-02/tenant/a", "inbox/2020-01-02/b"];
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let young = [format!("frames/{today}/tenant/a"), format!("inbox/{today}/b")];
    for key in old.into_iter().chain(young.iter().map(String::as_str)) {
        rig.blobs.put(key, "x".into()).await.unwrap();
    }
    let worker = rig.start(vec![finds_one("face")], &[]);
    for key in old {
        until("old pictures are gone", async || rig.blobs.get(key).await.unwrap().is_none()).await;
    }
    for key in &young {
        assert!(rig.blobs.get(key).await.unwrap().is_some(), "{key}");
    }
    worker.stop().await;
}
