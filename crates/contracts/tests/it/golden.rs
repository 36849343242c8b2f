//! One golden file for each event: key, headers and payload. Each decodes to the event that was encoded.

use bytes::Bytes;
use contracts::alert::AlertData;
use contracts::face_upload::FaceVerifiedData;
use contracts::media::{MediaProgress, PipelineCause, ProviderCost};
use contracts::result::ResultData;
use contracts::{
    AlertEvent, AlertId, Attributes, BoundingBox, Cause, DeadLetter, Detection, Event, FaceUpload, FaceVerifiedEvent,
    FailureCode, FrameContent, FrameEvent, FrameId, MediaProgressEvent, MediaStep, MediaTask, MediaTaskEvent, Message,
    Origin, Outcome, PipelineState, Point, ResultEvent, RuleId, TenantId, UploadOutcome, Vehicle,
};

use crate::assert_file;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn text_of(message: &Message) -> String {
    let mut lines = vec![format!("key: {}", String::from_utf8_lossy(message.key.as_deref().unwrap_or_default()))];
    lines.extend(message.headers.iter().map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value))));
    format!("{}\n\n{}\n", lines.join("\n"), String::from_utf8_lossy(&message.value))
}

fn assert_golden<E: Event + PartialEq + std::fmt::Debug>(name: &str, event: &E) {
    let message = event.to_message();
    assert_file(&format!("tests/golden/{name}.txt"), &text_of(&message));
    assert_eq!(&E::from_message(&message).unwrap(), event);
}

fn frame_id() -> FrameId {
    "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
}

fn frame() -> FrameEvent {
    FrameEvent {
        id: frame_id(),
        tenant: TenantId::shared(),
        stream: Some("gate-1".parse().unwrap()),
        captured_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        detectors: vec!["face".parse().unwrap(), "vehicle".parse().unwrap()],
        retention: Some("7".parse().unwrap()),
        content_type: "image/jpeg".to_owned(),
        content: FrameContent::Inline(Bytes::from_static(b"the bytes of a picture")),
        reply_to: Some("ingest-1".to_owned()),
        traceparent: Some(TRACE.to_owned()),
    }
}

fn face() -> Detection {
    Detection {
        label: "face".to_owned(),
        confidence: 0.9321,
        bounds: Some(BoundingBox { x: 12.5, y: 30.0, width: 64.25, height: 80.0 }),
        landmarks: vec![Point { x: 20.0, y: 50.5 }, Point { x: 60.0, y: 50.5 }],
        attributes: Attributes::default(),
    }
}

fn result(outcome: Outcome) -> ResultEvent {
    ResultEvent {
        id: "01890a5d-ac97-7000-8000-000000000001".parse().unwrap(),
        tenant: TenantId::shared(),
        key: "shared/gate-1".to_owned(),
        traceparent: Some(TRACE.to_owned()),
        reply_to: Some("ingest-1".to_owned()),
        retention: Some("7".parse().unwrap()),
        data: ResultData {
            frame_id: frame_id(),
            stream: Some("gate-1".parse().unwrap()),
            detector: "face".parse().unwrap(),
            model: "yunet_n_dynamic".to_owned(),
            captured_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            processed_at: "2026-01-02T03:04:05.7Z".parse().unwrap(),
            outcome,
        },
    }
}

#[test]
fn a_frame_matches_its_golden_file() {
    assert_golden("frame", &frame());
}

#[test]
fn a_large_frame_refers_to_a_blob() {
    let content = FrameContent::Blob("inbox/2026-01-02/shared/01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap());
    assert_golden(
        "frame_by_reference",
        &FrameEvent { content, stream: None, detectors: Vec::new(), retention: None, ..frame() },
    );
}

#[test]
fn a_result_matches_its_golden_file() {
    let image = Some("frames/2026-01-02/shared/01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap());
    assert_golden("result_ok", &result(Outcome::Ok { width: 640, height: 480, detections: vec![face()], image }));
}

#[test]
fn a_result_with_attributes_matches_its_golden_file() {
    let mut attributes = Attributes::from(Vehicle { category: Some("car".to_owned()), ..Vehicle::default() });
    attributes.set("colour".parse().unwrap(), "white");
    let car = Detection { label: "car".to_owned(), landmarks: Vec::new(), attributes, ..face() };
    let mut event = result(Outcome::Ok { width: 640, height: 480, detections: vec![car], image: None });
    event.data.detector = "vehicle".parse().unwrap();
    event.data.model = "yolox_nano".to_owned();
    assert_golden("result_vehicle", &event);
}

#[test]
fn a_failed_result_matches_its_golden_file() {
    let message = "the JPEG ends in the middle".to_owned();
    assert_golden("result_failed", &result(Outcome::Failed { code: FailureCode::Undecodable, message }));
}

#[test]
fn an_alert_matches_its_golden_file() {
    let rule = RuleId::built_in("suspicious-vehicle");
    let vehicle = Vehicle {
        category: Some("SUV".to_owned()),
        make: Some("Audi".to_owned()),
        model: Some("Q3".to_owned()),
        year: Some(2020),
    };
    let data = AlertData {
        id: AlertId::of(&rule, &frame_id()),
        rule: "suspicious-vehicle".to_owned(),
        rule_id: rule,
        frame_id: frame_id(),
        stream: None,
        detector: "vehicle".parse().unwrap(),
        detection_id: format!("{}-vehicle-0", frame_id()),
        label: "vehicle".to_owned(),
        confidence: 1.0,
        bounds: None,
        attributes: vehicle.into(),
        matches: 1,
        captured_at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        raised_at: "2026-01-02T03:04:05.9Z".parse().unwrap(),
    };
    assert_golden("alert", &AlertEvent { tenant: TenantId::shared(), traceparent: None, data });
}

#[test]
fn an_upload_and_its_outcome_match_their_golden_files() {
    let upload = FaceUpload { username: "ann".to_owned(), path: "gate/1.jpg".to_owned(), user_id: None };
    assert_golden("face_upload", &upload);
    let user = "01890a5d-ac97-7000-8000-000000000002".parse().unwrap();
    assert_golden("face_upload_by_id", &FaceUpload { user_id: Some(user), ..upload.clone() });
    let data = FaceVerifiedData {
        username: upload.username,
        path: upload.path,
        user_id: Some(user),
        verified: true,
        outcome: UploadOutcome::Enrolled,
        decided_at: "2026-01-02T03:04:05.9Z".parse().unwrap(),
    };
    let id = FaceVerifiedEvent::id_at("of a topic", 3, 4711);
    let tenant = Some(TenantId::from_uuid("01890a5d-ac97-7000-8000-000000000003".parse().unwrap()));
    assert_golden("face_verified", &FaceVerifiedEvent { id, tenant, data: data.clone() });
    let outcome = UploadOutcome::UnknownUser;
    let data = FaceVerifiedData { user_id: None, verified: false, outcome, ..data };
    assert_golden("face_not_verified", &FaceVerifiedEvent { id, tenant: None, data });
}

#[test]
fn tasks_of_a_book_and_its_progress_match_their_golden_files() {
    let book = "01890a5d-ac97-7000-8000-000000000004".parse().unwrap();
    let task = MediaTask { book, generation: 2, step: MediaStep::Transcribe, window: Some(17) };
    let published_at = "2026-01-02T03:04:05.9Z".parse().unwrap();
    let event = MediaTaskEvent { task, published_at, traceparent: Some(TRACE.to_owned()) };
    assert_golden("media_task_window", &event);
    let task = MediaTask { step: MediaStep::Summarise, window: None, ..task };
    assert_golden("media_task_step", &MediaTaskEvent { task, traceparent: None, ..event });
    let data = MediaProgress {
        book,
        generation: 2,
        step: MediaStep::Transcribe,
        state: PipelineState::Waiting,
        revision: 41,
        windows_done: 17,
        windows_total: Some(180),
        provider: Some("groq".to_owned()),
        cost: vec![ProviderCost { currency: "USD".to_owned(), micro: 10_500 }],
        cause: Some(PipelineCause {
            code: "cooling".to_owned(),
            message: "every provider of this step is paused after failures".to_owned(),
            action: "wait, or enable another provider".to_owned(),
        }),
        resumes_at: Some("2026-01-02T03:04:35.9Z".parse().unwrap()),
        at: published_at,
    };
    let id = "01890a5d-ac97-7000-8000-000000000005".parse().unwrap();
    assert_golden("media_progress_waiting", &MediaProgressEvent { id, data: data.clone() });
    let (step, state) = (MediaStep::Done, PipelineState::Done);
    let data = MediaProgress { step, state, provider: None, cost: Vec::new(), cause: None, resumes_at: None, ..data };
    assert_golden("media_progress_done", &MediaProgressEvent { id, data });
}

#[test]
fn a_dead_letter_contains_the_whole_original() {
    let letter = DeadLetter {
        cause: Cause { code: "undecodable".to_owned(), message: "the JPEG ends in the middle".to_owned() },
        origin: Origin { topic: "sightline.frames".to_owned(), partition: 3, offset: 4711 },
        at: "2026-01-02T03:04:06Z".parse().unwrap(),
        original: frame().to_message(),
    };
    let message = letter.to_message();
    assert_file("tests/golden/dead_letter.txt", &text_of(&message));
    assert_eq!(DeadLetter::from_message(&message).unwrap(), letter);
    assert_eq!(FrameEvent::from_message(&letter.original).unwrap(), frame());
}

#[test]
fn an_event_of_another_type_is_refused() {
    let error = ResultEvent::from_message(&frame().to_message()).unwrap_err().to_string();
    assert_eq!(error, r#"event type is "sightline.frame.v1", expected "sightline.result.v1""#);
}

#[test]
fn a_result_with_an_invalid_box_is_refused() {
    let broken = Detection { bounds: Some(BoundingBox { x: 0.0, y: 0.0, width: -1.0, height: 1.0 }), ..face() };
    let event = result(Outcome::Ok { width: 1, height: 1, detections: vec![broken], image: None });
    let error = ResultEvent::from_message(&event.to_message()).unwrap_err().to_string();
    assert!(error.contains("detections[0]"), "{error}");
}

#[test]
fn a_frame_with_an_invalid_blob_key_is_refused() {
    let mut message = frame().to_message();
    message.headers.push("ce_dataref", "inbox/../frames/x");
    let error = FrameEvent::from_message(&message).unwrap_err().to_string();
    assert!(error.contains("header ce_dataref: a blob key must be"), "{error}");
}

#[test]
fn a_result_with_an_invalid_image_key_keeps_its_detections() {
    let event = result(Outcome::Ok { width: 1, height: 1, detections: vec![face()], image: None });
    let mut message = event.to_message();
    let mut payload: serde_json::Value = serde_json::from_slice(&message.value).unwrap();
    payload["image"] = "../secret".into();
    message.value = serde_json::to_vec(&payload).unwrap().into();
    assert_eq!(ResultEvent::from_message(&message).unwrap(), event);
}

#[test]
fn every_topic_names_an_event_that_exists() {
    let topics = contracts::Topics::parse(contracts::topics::DEFAULT).unwrap().with_audio(true);
    let known = [
        FrameEvent::TYPE,
        ResultEvent::TYPE,
        AlertEvent::TYPE,
        FaceUpload::TYPE,
        FaceVerifiedEvent::TYPE,
        MediaTaskEvent::TYPE,
        MediaProgressEvent::TYPE,
        contracts::dead_letter::TYPE,
    ];
    for topic in topics.iter() {
        assert!(known.contains(&topic.event.as_str()), "{}", topic.event);
        assert_eq!(topic.event == contracts::dead_letter::TYPE, topic.role.as_str().ends_with("_dlq"));
    }
    for (role, event) in [
        (FrameEvent::ROLE, FrameEvent::TYPE),
        (ResultEvent::ROLE, ResultEvent::TYPE),
        (AlertEvent::ROLE, AlertEvent::TYPE),
        (FaceUpload::ROLE, FaceUpload::TYPE),
        (FaceVerifiedEvent::ROLE, FaceVerifiedEvent::TYPE),
        (MediaTaskEvent::ROLE, MediaTaskEvent::TYPE),
        (MediaProgressEvent::ROLE, MediaProgressEvent::TYPE),
    ] {
        assert_eq!(topics.get(role).event, event);
    }
}
