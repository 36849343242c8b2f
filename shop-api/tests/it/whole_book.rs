//! A book from its upload to its download, as a client of the reference system goes.

use bytes::Bytes;
use contracts::BookId;
use reqwest::Method;
use serde_json::{Value, json};
use shop_api::proto::shop_v1::upload_chunk::Payload;
use shop_api::proto::shop_v1::{
    AddToCartRequest, AiProvider, Audiobook, CompleteUploadRequest, CreateUploadUrlRequest, GetAudiobookStatusRequest,
    GetDownloadUrlRequest, GetUploadUrlRequest, ListAudiobooksRequest, MediaStatus, UploadChunk, UploadHeader,
};
use tonic::Code;

use crate::both::{Both, as_json, denied, like_grpc, refusal};
use crate::recordings::wav;
use crate::test_service::TestShop;

/// A recording of so many seconds.
fn recording(seconds: usize) -> Vec<u8> {
    wav(44 + 16_000 * seconds)
}

/// Uploads to a link with one PUT.
async fn put(admin: &Both, link: &str, content: Vec<u8>) -> u16 {
    let request = reqwest::Client::new().put(admin.reach(link)).header("content-type", "audio/wav").body(content);
    request.send().await.unwrap().status().as_u16()
}

async fn complete(admin: &Both, audiobook_id: &str, provider: AiProvider) -> Audiobook {
    let request = CompleteUploadRequest {
        audiobook_id: audiobook_id.to_owned(),
        ai_provider: provider.into(),
        ..Default::default()
    };
    admin.shop().complete_upload(admin.call(request)).await.unwrap().into_inner().book.unwrap()
}

#[tokio::test]
async fn a_book_from_upload_to_download() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let buyer = Both::of(&shop, &shop.user("ann").await.access_token);
    let other = Both::of(&shop, &shop.user("bob").await.access_token);
    for (number, provider) in [AiProvider::Local, AiProvider::Aws].into_iter().enumerate() {
        let content = recording(2 + number);
        let create = CreateUploadUrlRequest {
            title: format!("Emma {number}"),
            author: "Jane Austen".to_owned(),
            price_cents: 1_299,
            filename: "emma.wav".to_owned(),
            content_type: "audio/wav".to_owned(),
            ..Default::default()
        };
        let link = admin.shop().create_upload_url(admin.call(create)).await.unwrap().into_inner();
        let id = link.audiobook_id.clone();
        assert!(link.max_bytes > content.len() as i64 && link.expires_at.is_some());
        let get = GetUploadUrlRequest { audiobook_id: id.clone() };
        let further = admin.shop().get_upload_url(admin.call(get)).await.unwrap().into_inner();
        assert_eq!(further.audiobook_id, id);
        let status = put(&admin, &further.upload_url, content.clone()).await;
        assert!((200..300).contains(&status), "{status}");

        let ready = complete(&admin, &id, provider).await;
        assert_eq!(ready.status, i32::from(MediaStatus::MediaReady), "{ready:?}");
        assert_eq!((ready.duration_seconds, ready.fault.as_str()), (2 + number as i64, ""));
        assert_eq!(complete(&admin, &id, provider).await, ready, "a second call changes nothing");
        let status = GetAudiobookStatusRequest { audiobook_id: id.clone() };
        let status = buyer.shop().get_audiobook_status(buyer.call(status)).await.unwrap().into_inner().status;
        assert_eq!(status, i32::from(MediaStatus::MediaReady));
        let listed = buyer.shop().list_audiobooks(buyer.call(ListAudiobooksRequest::default())).await.unwrap();
        assert_eq!(listed.into_inner().items[0].id, id);

        let url = GetDownloadUrlRequest { audiobook_id: id.clone() };
        let not_bought = (Code::PermissionDenied, "not_bought".to_owned());
        assert_eq!(denied(buyer.shop().get_download_url(buyer.call(url.clone())).await), not_bought);
        buyer.shop().add_to_cart(buyer.call(AddToCartRequest { audiobook_id: id.clone() })).await.unwrap();
        buyer.shop().checkout(buyer.call(())).await.unwrap();
        let link = buyer.shop().get_download_url(buyer.call(url.clone())).await.unwrap().into_inner();
        let download = reqwest::get(buyer.reach(&link.download_url)).await.unwrap();
        assert_eq!(download.status().as_u16(), 200);
        assert!(download.bytes().await.unwrap() == content, "the bytes are those that were uploaded");
        assert_eq!(denied(other.shop().get_download_url(other.call(url)).await), not_bought);
        let path = format!("/v1/books/{id}/download");
        let refused = other.refused(Method::POST, &path, None).await;
        assert_eq!((refused.0, refused.1.code.as_str()), (403, "not_bought"));
        let (status, by_rest) = buyer.send(Method::POST, &path, None).await;
        assert!(status == 200 && by_rest["download_url"].is_string() && by_rest["expires_at"].is_string(), "{by_rest}");
    }
}

#[tokio::test]
async fn a_stream_is_a_book_that_rest_shows_alike() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let header = UploadHeader {
        title: "Emma".to_owned(),
        author: "Jane Austen".to_owned(),
        price_cents: 1_299,
        filename: "emma.wav".to_owned(),
        content_type: "audio/wav".to_owned(),
        currency: "USD".to_owned(),
        language: "en".to_owned(),
        ..Default::default()
    };
    let mut chunks = vec![UploadChunk { payload: Some(Payload::Header(header.clone())) }];
    let content = recording(2);
    chunks.extend(
        content.chunks(7_001).map(|piece| UploadChunk { payload: Some(Payload::Data(Bytes::copy_from_slice(piece))) }),
    );
    let uploaded = admin.shop().upload_audiobook(admin.call(futures::stream::iter(chunks))).await.unwrap();
    let book = uploaded.into_inner().book.unwrap();
    assert_eq!((book.status, book.currency.as_str()), (MediaStatus::MediaReady.into(), "USD"));
    assert_eq!(like_grpc(admin.get(&format!("/v1/books/{}", book.id)).await), as_json(&book));

    // A stream that does not begin with its header, and a header that names nothing.
    let data = UploadChunk { payload: Some(Payload::Data(Bytes::from_static(b"RIFF"))) };
    let calls = [
        (vec![data.clone()], "malformed"),
        (Vec::new(), "malformed"),
        (vec![UploadChunk { payload: Some(Payload::Header(UploadHeader::default())) }, data], "invalid"),
    ];
    for (chunks, code) in calls {
        let refused = denied(admin.shop().upload_audiobook(admin.call(futures::stream::iter(chunks))).await);
        assert_eq!(refused, (Code::InvalidArgument, code.to_owned()));
    }
    assert_eq!(admin.get("/v1/books").await["items"].as_array().unwrap().len(), 1, "no refused upload left a book");
}

#[tokio::test]
async fn an_upload_without_a_price_is_published_later() {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let (status, book) =
        admin.send(Method::POST, "/v1/books", Some(json!({"title": "Emma", "author": "Jane Austen"}))).await;
    let id = book["id"].as_str().unwrap();
    let path = format!("/v1/books/{id}");
    assert_eq!((status, &book["status"]), (201, &json!("draft")));
    let pipeline = format!("{path}/pipeline");
    let refused = admin.refused(Method::POST, &pipeline, None).await;
    assert_eq!((refused.0, refused.1.code.as_str()), (409, "no_file"));
    let complete = CompleteUploadRequest { audiobook_id: id.to_owned(), ..Default::default() };
    assert_eq!(refusal(admin.shop().complete_upload(admin.call(complete)).await), refused.1);

    let (status, link): (u16, Value) = admin.send(Method::POST, &format!("{path}/upload"), None).await;
    assert_eq!((status, &link["book"]), (200, &json!(id)));
    let status = put(&admin, link["upload_url"].as_str().unwrap(), recording(2)).await;
    assert!((200..300).contains(&status), "{status}");
    let (status, done) = admin.send(Method::POST, &pipeline, None).await;
    assert_eq!((status, &done["status"], &done["duration_seconds"]), (200, &json!("draft"), &json!(2)));
    let publish = format!("{path}/publish");
    let refused = admin.refused(Method::POST, &publish, None).await;
    assert_eq!((refused.0, refused.1.code.as_str()), (409, "incomplete"));
    assert!(refused.1.text.contains("price"), "{}", refused.1.text);
    let price = json!({"price": {"minor": 500, "currency": "EUR"}});
    assert_eq!(admin.send(Method::PATCH, &path, Some(price)).await.0, 200);
    let (status, _) = admin.send(Method::POST, &publish, None).await;
    assert_eq!(status, 200);
    // Its preview may still be made.
    let (_, done) = admin.send(Method::POST, &pipeline, None).await;
    assert_eq!(done["status"], json!("ready"), "{done}");
    let force = |status: MediaStatus| CompleteUploadRequest {
        audiobook_id: id.to_owned(),
        force_status: status.into(),
        ..Default::default()
    };
    for (status, expected) in [(MediaStatus::MediaHide, "hidden"), (MediaStatus::MediaReady, "ready")] {
        admin.shop().complete_upload(admin.call(force(status))).await.unwrap();
        assert_eq!(admin.get(&path).await["status"], json!(expected));
    }
    let unknown = CompleteUploadRequest { audiobook_id: BookId::now().to_string(), ..Default::default() };
    assert_eq!(denied(admin.shop().complete_upload(admin.call(unknown)).await).0, Code::NotFound);
}
