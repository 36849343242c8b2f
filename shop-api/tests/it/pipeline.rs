//! What needs the audio pipeline says that it is off, to whoever may ask for it.

use contracts::BookId;
use reqwest::Method;
use serde_json::json;
use shop_api::proto::shop_v1::{
    CompleteUploadRequest, GetLedgerRequest, GetPipelineRequest, GetTranscriptRequest, ListProvidersRequest,
    MediaStatus, ProviderAction, ProviderTask, SetProviderOrderRequest, SetProviderStateRequest, WatchPipelineRequest,
};
use tonic::Code;

use crate::both::{Both, denied};
use crate::test_service::TestShop;

#[tokio::test]
async fn a_pipeline_that_is_off_says_so_in_both_protocols() {
    let shop = TestShop::start().await;
    let (user, admin) = (shop.user("ann").await, shop.admin("root").await);
    let (user, admin) = (Both::of(&shop, &user.access_token), Both::of(&shop, &admin.access_token));
    let id = BookId::now().to_string();
    let of_book = |rest: &str| format!("/v1/books/{id}/{rest}");
    let transcripts =
        ["json", "txt", "vtt", "srt"].map(|kind| (Method::GET, of_book(&format!("transcript.{kind}")), None));
    let for_users = transcripts.into_iter().chain([(Method::GET, of_book("search?q=ships"), None)]);
    for (method, path, body) in for_users {
        let (status, refused) = user.refused(method.clone(), &path, body).await;
        assert_eq!((status, refused.code.as_str()), (501, "audio_off"), "{method} {path}");
    }
    for (method, path, body) in [
        (Method::GET, of_book("pipeline"), None),
        (Method::POST, of_book("pipeline"), Some(json!({"from": "transcribe"}))),
        (Method::POST, of_book("pipeline"), Some(json!({"group": "local"}))),
        (Method::GET, "/v1/providers".to_owned(), None),
        (Method::GET, of_book("pipeline/events"), None),
        (Method::PUT, "/v1/providers/order".to_owned(), Some(json!({"task": "transcribe", "names": ["groq"]}))),
        (Method::POST, "/v1/providers/groq/disable".to_owned(), None),
        (Method::GET, "/v1/ledger".to_owned(), None),
    ] {
        let (status, refused) = user.refused(method.clone(), &path, body.clone()).await;
        assert_eq!((status, refused.code.as_str()), (403, "forbidden"), "{method} {path}");
        let (status, refused) = admin.refused(method.clone(), &path, body).await;
        assert_eq!((status, refused.code.as_str()), (501, "audio_off"), "{method} {path}");
    }
    let audio_off = (Code::Unimplemented, "audio_off".to_owned());
    let transcript = GetTranscriptRequest { audiobook_id: id.clone() };
    assert_eq!(denied(user.shop().get_transcript(user.call(transcript)).await), audio_off);
    for status in [MediaStatus::MediaProcessingTranscript, MediaStatus::MediaProcessingSummary] {
        let audiobook_id = id.clone();
        let force = CompleteUploadRequest { audiobook_id, force_status: status.into(), ..Default::default() };
        assert_eq!(denied(admin.shop().complete_upload(admin.call(force)).await), audio_off);
    }
    let (mut calls, task) = (admin.admin(), ProviderTask::Transcribe);
    let pipeline = GetPipelineRequest { audiobook_id: id.clone() };
    assert_eq!(denied(calls.get_pipeline(admin.call(pipeline)).await), audio_off);
    let watch = WatchPipelineRequest { audiobook_id: id };
    assert_eq!(denied(calls.watch_pipeline(admin.call(watch)).await), audio_off);
    let list = ListProvidersRequest { task: task.into() };
    assert_eq!(denied(calls.list_providers(admin.call(list)).await), audio_off);
    let order = SetProviderOrderRequest { task: task.into(), names: vec!["groq".to_owned()] };
    assert_eq!(denied(calls.set_provider_order(admin.call(order)).await), audio_off);
    let change = SetProviderStateRequest { name: "groq".to_owned(), action: ProviderAction::Disable.into() };
    assert_eq!(denied(calls.set_provider_state(admin.call(change)).await), audio_off);
    assert_eq!(denied(calls.get_ledger(admin.call(GetLedgerRequest::default())).await), audio_off);
}
