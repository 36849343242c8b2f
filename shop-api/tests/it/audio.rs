//! The audio pipeline in both protocols, with a worker that the test plays.

use std::time::Duration;

use contracts::{AssetKind, BookId, MediaStep, MediaTask, TranscriptSegment};
use futures::StreamExt as _;
use jiff::Timestamp;
use media::{Cause, Pipelines, Window, codes, transcript};
use reqwest::Method;
use serde_json::{Value, json};
use shop_api::proto::shop_v1::{
    CompleteUploadRequest, GetLedgerRequest, GetPipelineRequest, GetTranscriptRequest, ListProvidersRequest,
    MediaStatus, Pipeline, PipelineState, PipelineStep, ProviderTask, WatchPipelineRequest,
};
use store::MediaKey;
use store::relational::{AssetRecord, AssetWriteOutcome, NewCheckpoint, NewListedProvider, WindowResult};
use tokio::time::timeout;
use tonic::Code;

use crate::both::{Both, denied, on_sale};
use crate::test_service::TestShop;

/// Longest wait for a change.
const SOON: Duration = Duration::from_secs(10);
/// The hash of every recording here.
const SOURCE: [u8; 32] = [7; 32];

/// A book that is for sale, with a recording, and an admin.
async fn book(shop: &TestShop) -> (BookId, Both, Pipelines) {
    let id = on_sale(&shop.database, "Emma", 1_299).await;
    let asset = AssetRecord {
        book: id,
        kind: AssetKind::Master,
        key: MediaKey::new(id, AssetKind::Master),
        bytes: 1,
        sha256: SOURCE,
        content_type: "audio/wav".to_owned(),
        file_name: "emma.wav".to_owned(),
        duration: Some(Duration::from_secs(60)),
        stored_at: Timestamp::now(),
    };
    let stored = shop.database.put_asset(&asset, Timestamp::now()).await.unwrap();
    assert!(matches!(stored, AssetWriteOutcome::Stored { .. }), "{stored:?}");
    let admin = Both::of(shop, &shop.admin("root").await.access_token);
    (id, admin, Pipelines::new(shop.database.clone(), media::Clock::system()))
}

/// The step of a book, for the worker.
fn task(book: BookId, step: MediaStep) -> MediaTask {
    MediaTask { book, generation: 1, step, window: None }
}

/// Transcribes a book as a worker does: one window with one sentence.
async fn transcribe(pipelines: &Pipelines, book: BookId, text: &str) {
    pipelines.start(book, Some(SOURCE), None).await.unwrap();
    let held = pipelines.take_step(&task(book, MediaStep::Transcribe)).await.unwrap().unwrap();
    pipelines.plan(&held, &[Window { start: 16_000, end: 160_000 }]).await.unwrap().unwrap();
    pipelines.claim_due().await.unwrap();
    let of_window = MediaTask { window: Some(0), ..task(book, MediaStep::Transcribe) };
    let window = pipelines.take_window(&of_window).await.unwrap().unwrap();
    let segment = TranscriptSegment {
        start_ms: 0,
        end_ms: 4_000,
        text: text.to_owned(),
        words: Vec::new(),
        provider: None,
        model: None,
        flag: None,
    };
    let (provider, model) = ("here".to_owned(), "tiny".to_owned());
    let checkpoint =
        NewCheckpoint { key: [1; 32], kind: "window", provider, model, body: transcript::body(&[segment]) };
    let result =
        WindowResult { key: [1; 32], provider: "here", model: "tiny", flag: None, checkpoint: Some(&checkpoint) };
    pipelines.finish_window(&window, &result).await.unwrap().unwrap();
    let held = pipelines.take_step(&task(book, MediaStep::Transcribe)).await.unwrap().unwrap();
    pipelines.finish_step(&held).await.unwrap().unwrap();
}

async fn pipeline(admin: &Both, book: BookId) -> Pipeline {
    let request = admin.call(GetPipelineRequest { audiobook_id: book.to_string() });
    admin.admin().get_pipeline(request).await.unwrap().into_inner().pipeline.unwrap()
}

#[tokio::test]
async fn how_far_a_book_is_is_the_same_in_both_protocols() {
    let shop = TestShop::with_audio().await;
    let (id, admin, pipelines) = book(&shop).await;
    let path = format!("/v1/books/{id}/pipeline");
    assert_eq!(admin.refused(Method::GET, &path, None).await.0, 404, "nothing has begun");
    let (status, _) = admin.send(Method::POST, &path, Some(json!({"wait_seconds": 0}))).await;
    assert_eq!(status, 200);
    let held = pipelines.take_step(&task(id, MediaStep::Transcribe)).await.unwrap().unwrap();
    let cause = Cause::new(codes::NO_PROVIDER, "cloud");
    pipelines.fail_step(&held, &cause).await.unwrap().unwrap();

    let (rest, grpc) = (admin.get(&path).await, pipeline(&admin, id).await);
    assert_eq!((&rest["step"], &rest["state"]), (&json!("transcribe"), &json!("failed")));
    assert_eq!((grpc.step(), grpc.state()), (PipelineStep::Transcribe, PipelineState::Failed));
    assert_eq!((&rest["cause"]["message"], &rest["cause"]["action"]), (&json!(grpc.cause), &json!(grpc.advice)));
    assert!(grpc.cause.contains("cloud") && !grpc.advice.is_empty(), "{grpc:?}");

    // Resuming needs no argument, and a failure is told as soon as it happens.
    let (status, resumed) = admin.send(Method::POST, &path, Some(json!({"wait_seconds": 0}))).await;
    assert_eq!((status, &resumed["id"]), (200, &json!(id)));
    assert_eq!(pipeline(&admin, id).await.state(), PipelineState::Due);
    let waiting = tokio::spawn({
        let (admin, path) = (admin.clone(), path.clone());
        async move { admin.refused(Method::POST, &path, Some(json!({"wait_seconds": 30}))).await }
    });
    // The request may resume it before or after a failure.
    let failing = async {
        while !waiting.is_finished() {
            if let Some(held) = pipelines.take_step(&task(id, MediaStep::Transcribe)).await.unwrap() {
                pipelines.fail_step(&held, &cause).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, failing).await.unwrap();
    let (status, refused) = waiting.await.unwrap();
    assert_eq!((status, refused.code.as_str()), (409, "pipeline_failed"));
    assert!(refused.text.contains("cloud"), "{}", refused.text);
}

#[tokio::test]
async fn a_step_that_was_not_reached_is_refused_in_both_protocols() {
    let shop = TestShop::with_audio().await;
    let (id, admin, pipelines) = book(&shop).await;
    pipelines.start(id, Some(SOURCE), None).await.unwrap();
    let body = json!({"from": "summarise", "wait_seconds": 0});
    let (status, refused) = admin.refused(Method::POST, &format!("/v1/books/{id}/pipeline"), Some(body)).await;
    assert_eq!((status, refused.code.as_str()), (409, "step_not_reached"));
    let force = CompleteUploadRequest {
        audiobook_id: id.to_string(),
        force_status: MediaStatus::MediaProcessingSummary.into(),
        ..Default::default()
    };
    let refused = denied(admin.shop().complete_upload(admin.call(force)).await);
    assert_eq!(refused, (Code::FailedPrecondition, "step_not_reached".to_owned()));
}

#[tokio::test]
async fn a_value_out_of_its_range_is_refused_by_name() {
    let shop = TestShop::with_audio().await;
    let (id, admin, pipelines) = book(&shop).await;
    let begun = pipelines.start(id, Some(SOURCE), None).await.unwrap();
    for (field, value) in [("budget_micro", json!(-1)), ("wait_seconds", json!(31)), ("group", json!("a\0"))] {
        let body = Some(json!({ field: value }));
        let (status, refused) = admin.refused(Method::POST, &format!("/v1/books/{id}/pipeline"), body).await;
        assert_eq!((status, refused.code.as_str()), (422, "invalid"), "{field}");
        assert!(refused.text.contains(field), "{}", refused.text);
    }
    assert_eq!(shop.database.pipeline(id).await.unwrap(), Some(begun), "nothing has changed");
    for query in ["provider=", "provider=a%00", &format!("provider={}", "x".repeat(129))] {
        let (status, refused) = admin.refused(Method::GET, &format!("/v1/ledger?{query}"), None).await;
        assert_eq!((status, refused.code.as_str()), (422, "invalid"), "{query}");
    }
    // Nothing may be spent, which is another thing.
    let free = json!({"budget_micro": 0, "wait_seconds": 0});
    assert_eq!(admin.send(Method::POST, &format!("/v1/books/{id}/pipeline"), Some(free)).await.0, 200);
    assert_eq!(shop.database.pipeline(id).await.unwrap().and_then(|known| known.budget_micro), Some(0));
}

#[tokio::test]
async fn a_transcript_is_for_those_who_have_bought_the_book() {
    let shop = TestShop::with_audio().await;
    let (id, admin, pipelines) = book(&shop).await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let form = |form: &str| format!("/v1/books/{id}/transcript.{form}");
    let (status, refused) = admin.refused(Method::GET, &form("txt"), None).await;
    assert_eq!((status, refused.code.as_str()), (404, "no_transcript"));
    transcribe(&pipelines, id, "It was late.").await;
    let (status, refused) = ann.refused(Method::GET, &form("txt"), None).await;
    assert_eq!((status, refused.code.as_str()), (403, "not_bought"));
    let request = || GetTranscriptRequest { audiobook_id: id.to_string() };
    let refused = denied(ann.shop().get_transcript(ann.call(request())).await);
    assert_eq!(refused, (Code::PermissionDenied, "not_bought".to_owned()));

    assert_eq!(ann.put(&format!("/v1/cart/{id}")).await.0, 200);
    assert_eq!(ann.send(Method::POST, "/v1/checkout", None).await.0, 200);
    let segments = ann.get(&form("json")).await["segments"].clone();
    assert_eq!((&segments[0]["start_ms"], &segments[0]["provider"]), (&json!(1_000), &json!("here")));
    for (kind, media_type, content) in [
        ("txt", "text/plain", "It was late.\n"),
        ("vtt", "text/vtt", "00:00:01.000 --> 00:00:05.000"),
        ("srt", "application/x-subrip", "00:00:01,000 --> 00:00:05,000"),
    ] {
        let file = ann.request(Method::GET, &form(kind)).send().await.unwrap();
        assert!(file.headers()["content-type"].to_str().unwrap().starts_with(media_type), "{kind}");
        let text = file.text().await.unwrap();
        assert!(text.contains(content), "{kind}: {text}");
    }
    let sent = ann.shop().get_transcript(ann.call(request())).await.unwrap().into_inner();
    assert_eq!(sent.transcript, "It was late.\n");
    let (status, refused) = ann.refused(Method::GET, &format!("/v1/books/{id}/search?q=night"), None).await;
    assert_eq!((status, refused.code.as_str()), (404, "no_transcript"), "its sentences are not embedded yet");
}

#[tokio::test]
async fn a_watcher_sees_the_changes_in_both_protocols() {
    let shop = TestShop::with_audio().await;
    let (id, admin, pipelines) = book(&shop).await;
    pipelines.start(id, Some(SOURCE), None).await.unwrap();
    let watch = admin.call(WatchPipelineRequest { audiobook_id: id.to_string() });
    let mut watched = admin.admin().watch_pipeline(watch).await.unwrap().into_inner();
    let events = admin.request(Method::GET, &format!("/v1/books/{id}/pipeline/events")).send().await.unwrap();
    let mut events = events.bytes_stream();
    let mut next = async || {
        let message = timeout(SOON, watched.message()).await.unwrap().unwrap().unwrap();
        let event = timeout(SOON, events.next()).await.unwrap().unwrap().unwrap();
        let event = String::from_utf8(event.to_vec()).unwrap();
        let data = event.strip_prefix("event: progress\ndata: ").unwrap().trim().to_owned();
        let data: Value = serde_json::from_str(&data).unwrap();
        (message.pipeline.unwrap().state(), data["state"].as_str().unwrap().to_owned())
    };
    assert_eq!(next().await, (PipelineState::Due, "due".to_owned()));
    pipelines.take_step(&task(id, MediaStep::Transcribe)).await.unwrap().unwrap();
    assert_eq!(next().await, (PipelineState::Running, "running".to_owned()));
}

#[tokio::test]
async fn providers_are_listed_ordered_and_disabled_in_both_protocols() {
    let shop = TestShop::with_audio().await;
    let (_, admin, pipelines) = book(&shop).await;
    let of_worker = |name, place| NewListedProvider {
        task: MediaStep::Transcribe,
        name,
        group: "local",
        kind: "openai",
        model: Some("m"),
        host: None,
        place,
        missing: None,
    };
    let told = [of_worker("here", 0), of_worker("groq", 1)];
    shop.database.put_provider_list(&told, pipelines.now()).await.unwrap();
    let names = |list: &Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&admin.get("/v1/providers").await), ["here", "groq"]);
    let order = json!({"task": "transcribe", "names": ["groq"]});
    let (status, ordered) = admin.send(Method::PUT, "/v1/providers/order", Some(order)).await;
    assert_eq!((status, names(&ordered)), (200, vec!["groq".to_owned(), "here".to_owned()]));
    let wrong = json!({"task": "describe", "names": ["groq"]});
    let (status, refused) = admin.refused(Method::PUT, "/v1/providers/order", Some(wrong)).await;
    assert_eq!((status, refused.code.as_str()), (422, "invalid"));

    let (status, disabled) = admin.send(Method::POST, "/v1/providers/groq/disable", None).await;
    assert_eq!((status, &disabled["state"]), (200, &json!("disabled")));
    assert_eq!(admin.refused(Method::POST, "/v1/providers/nobody/disable", None).await.0, 404);
    let list = ListProvidersRequest { task: ProviderTask::Transcribe.into() };
    let listed = admin.admin().list_providers(admin.call(list)).await.unwrap().into_inner().providers;
    let listed: Vec<&str> = listed.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(listed, ["groq", "here"]);
    let ledger = admin.admin().get_ledger(admin.call(GetLedgerRequest::default())).await.unwrap().into_inner();
    assert!(ledger.entries.is_empty() && ledger.next_page_token.is_empty(), "{ledger:?}");
    assert!(admin.get("/v1/ledger").await["items"].as_array().unwrap().is_empty());
}
