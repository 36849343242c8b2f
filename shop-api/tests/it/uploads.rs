//! Uploads: by tus, by one PUT, and by a stream of gRPC.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::stream;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use shop_api::proto::shop_v1::upload_chunk::Payload;
use shop_api::proto::shop_v1::{MediaStatus, UploadChunk, UploadHeader};
use testing::eventually;
use tokio::io::AsyncWriteExt;

use crate::both::{Both, answer};
use crate::recordings::{PART, Upload, answer_of, begin, book_for_sale, etag, link, metadata, wav};
use crate::test_service::TestShop;

async fn with_admin() -> (TestShop, Both) {
    let shop = TestShop::start().await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    (shop, admin)
}

/// The status and the code of a refusal.
async fn refusal(request: reqwest::RequestBuilder) -> (u16, String) {
    let (status, problem) = answer(request.send().await.unwrap()).await;
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// The recording of a book, as an admin reads it.
async fn stored(shop: &TestShop, admin: &Both, book: &str) -> (String, Vec<u8>) {
    let path = link(admin, book).await;
    let response = reqwest::get(format!("{}{path}", shop.url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    (response.headers()["etag"].to_str().unwrap().to_owned(), response.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn an_upload_survives_cuts_at_random_bytes() {
    let (shop, admin) = with_admin().await;
    let recording = wav(2 * PART + 345_678);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    let (mut random, mut at) = (fastrand::Rng::with_seed(13), 0);
    for _ in 0..20 {
        let most = recording.len() - 1 - at;
        let end = at + random.usize(..=most.min(2 << 20));
        drop(upload.begin_patch(at, recording.len() - at, &recording[at..end]).await);
        eventually("what arrived before a cut is stored", async || upload.offset().await == end).await;
        at = end;
    }
    upload.append(at, &recording[at..]).await;
    assert_eq!(upload.offset().await, recording.len());
    upload.complete(&admin).await;
    let (tag, content) = stored(&shop, &admin, &upload.book).await;
    assert!(content == recording, "{} bytes", content.len());
    assert_eq!(tag, etag(&recording));
}

#[tokio::test]
async fn patches_of_any_size_make_progress() {
    let (shop, admin) = with_admin().await;
    let recording = wav(PART + 4_444);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    let mut at = 0;
    for size in [1, 63, 64, 65, 100_000, 0, 8_000_000, 300_000, recording.len()] {
        let end = recording.len().min(at + size);
        upload.append(at, &recording[at..end]).await;
        at = end;
    }
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await, (etag(&recording), recording));
}

#[tokio::test]
async fn many_small_patches_take_the_room_of_one() {
    let (shop, admin) = with_admin().await;
    let recording = wav(50_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    for at in (0..40_000).step_by(10_000) {
        upload.append(at, &recording[at..at + 10_000]).await;
        assert_eq!(shop.unfinished("tail-").len(), 1, "{at}");
    }
    upload.append(40_000, &recording[40_000..]).await;
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await, (etag(&recording), recording));
}

#[tokio::test]
async fn a_wrong_checksum_changes_nothing() {
    let (shop, admin) = with_admin().await;
    let recording = wav(PART + 1_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    upload.append(0, &recording[..500]).await;
    let sum = format!("sha256 {}", STANDARD.encode(Sha256::digest(&recording[500..])));
    let mut damaged = recording[500..].to_vec();
    damaged[PART / 2] ^= 1;
    let patch = upload.patch(500, &damaged).header("upload-checksum", &sum);
    assert_eq!(refusal(patch).await, refused(460, "checksum_mismatch"));
    assert_eq!(upload.offset().await, 500);
    let sent = upload.patch(500, &recording[500..]).header("upload-checksum", "md5 AAAA").send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::BAD_REQUEST);
    let sent = upload.patch(500, &recording[500..]).header("upload-checksum", &sum).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await.0, etag(&recording));
}

#[tokio::test]
async fn bytes_at_another_offset_are_refused() {
    let (shop, admin) = with_admin().await;
    let recording = wav(10_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    upload.append(0, &recording[..4_000]).await;
    for offset in [0, 3_999, 4_001, 9_999] {
        let (status, problem) = answer(upload.patch(offset, &recording[..10]).send().await.unwrap()).await;
        assert_eq!((status, &problem["code"]), (409, &Value::from("offset_mismatch")), "{offset}");
        assert_eq!(problem["facts"]["offset"], "4000");
    }
    assert_eq!(refusal(upload.patch(4_000, &recording)).await, refused(413, "upload_too_large"));
    assert_eq!(upload.offset().await, 4_000);
    upload.append(4_000, &recording[4_000..]).await;
    assert_eq!(refusal(upload.patch(10_000, &[0])).await, refused(409, "upload_complete"));
    upload.append(10_000, &[]).await;
}

#[tokio::test]
async fn a_newer_request_takes_an_upload_over() {
    let (shop, admin) = with_admin().await;
    let recording = wav(PART + 100_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    let mut older = upload.begin_patch(0, recording.len(), &recording[..PART + 10]).await;
    eventually("the first part is durable", async || upload.offset().await == PART).await;
    upload.append(PART, &recording[PART..]).await;
    older.write_all(&vec![0; recording.len() - PART - 10]).await.unwrap();
    let answer = answer_of(&mut older).await;
    assert!(answer.starts_with("HTTP/1.1 409") && answer.contains("upload_busy"), "{answer}");
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await.0, etag(&recording));
}

#[tokio::test]
async fn a_length_may_come_later_and_not_change() {
    let (shop, admin) = with_admin().await;
    let recording = wav(5_000);
    let described = metadata(&[("title", "Emma"), ("price", "1299")]);
    let headers = [("upload-defer-length", "1"), ("upload-metadata", described.as_str())];
    let upload = Upload::begin_with(&shop, &admin, &headers).await;
    assert_eq!(upload.head().await["upload-defer-length"], "1");
    upload.append(0, &recording[..2_000]).await;
    let patch = |length: &str| upload.patch(2_000, &recording[2_000..]).header("upload-length", length);
    assert_eq!(refusal(patch("1999")).await, refused(409, "length_mismatch"));
    assert_eq!(patch("5000").send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(upload.head().await["upload-length"], "5000");
    upload.complete(&admin).await;

    let endless = Upload::begin_with(&shop, &admin, &headers).await;
    endless.append(0, &recording).await;
    endless.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &endless.book).await.0, etag(&recording), "its completion tells its end");
}

#[tokio::test]
async fn the_protocol_is_that_of_tus() {
    let (shop, admin) = with_admin().await;
    let upload = Upload::begin(&shop, &admin, 10_000).await;
    let url = format!("{}{}", shop.url, upload.path);
    let http = reqwest::Client::new();
    for url in [&url, &format!("{}/v1/uploads", shop.url)] {
        let abilities = http.request(Method::OPTIONS, url).send().await.unwrap();
        assert_eq!(abilities.status(), StatusCode::NO_CONTENT);
        assert_eq!(abilities.headers()["tus-version"], "1.0.0");
        let extensions = abilities.headers()["tus-extension"].to_str().unwrap();
        assert!(extensions.starts_with("creation,") && extensions.contains(",checksum,"), "{extensions}");
        assert_eq!(abilities.headers()["tus-checksum-algorithm"], "sha1,sha256");
    }
    let old = http.head(&url).header("tus-resumable", "0.2.2").send().await.unwrap();
    assert_eq!((old.status().as_u16(), &old.headers()["tus-version"]), (412, &"1.0.0".parse().unwrap()));
    assert_eq!(refusal(http.patch(&url).header("upload-offset", "0")).await, refused(412, "tus_version"));
    let untyped = upload.request(Method::PATCH).header("upload-offset", "0").header("content-type", "audio/wav");
    assert_eq!(refusal(untyped).await, refused(415, "unsupported_media_type"));
    let nowhere = upload.request(Method::PATCH).header("content-type", "application/offset+octet-stream");
    assert_eq!(refusal(nowhere).await, refused(400, "malformed"));

    let head = upload.head().await;
    assert_eq!((&head["upload-length"], &head["upload-offset"]), (&"10000".parse().unwrap(), &"0".parse().unwrap()));
    assert!(head["upload-metadata"].to_str().unwrap().contains(&metadata(&[("filename", "Emma.wav")])));
    let overridden = upload.request(Method::POST).header("x-http-method-override", "PATCH").body(vec![1; 100]);
    let overridden = overridden.header("upload-offset", "0").header("content-type", "application/offset+octet-stream");
    assert_eq!(overridden.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(upload.offset().await, 100);
    assert_eq!(refusal(upload.request(Method::POST)).await, refused(400, "malformed"));

    assert_eq!(upload.request(Method::DELETE).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(refusal(upload.request(Method::DELETE)).await, refused(404, "upload_gone"));
}

#[tokio::test]
async fn a_put_stores_the_whole_file_or_nothing() {
    let (shop, admin) = with_admin().await;
    let recording = wav(PART + 2_222);
    let upload = Upload::begin_with(
        &shop,
        &admin,
        &[("upload-defer-length", "1"), ("upload-metadata", &metadata(&[("title", "Emma"), ("price", "1299")]))],
    )
    .await;
    let url = format!("{}{}", shop.url, upload.path);
    let head = format!("PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", upload.path, recording.len());
    drop(begin(&shop.url, &head, &recording[..PART + 1]).await);
    let http = reqwest::Client::new();
    let range = http.put(&url).header("content-range", "bytes 0-9/100").body(vec![0; 10]);
    assert_eq!(refusal(range).await, refused(400, "malformed"));
    assert_eq!(refusal(http.put(&url).body("")).await, refused(422, "empty_upload"));
    assert_eq!(upload.offset().await, 0);
    let put = http.put(&url).body(recording.clone()).send().await.unwrap();
    assert_eq!((put.status(), put.headers()["etag"].to_str().unwrap()), (StatusCode::OK, etag(&recording).as_str()));
    assert_eq!(refusal(http.put(&url).body(recording.clone())).await, refused(409, "upload_complete"));
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await, (etag(&recording), recording));
}

#[tokio::test]
async fn a_put_that_breaks_off_again_and_again_takes_the_room_of_one() {
    let (shop, admin) = with_admin().await;
    let recording = wav(PART + 2_222);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    let head = format!("PUT {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", upload.path, recording.len());
    let mut before = Vec::new();
    for _ in 0..3 {
        let put = begin(&shop.url, &head, &recording[..PART + 1]).await;
        eventually("its part is the only one", async || {
            let parts = shop.unfinished("part-");
            parts.len() == 1 && parts != before
        })
        .await;
        before = shop.unfinished("part-");
        drop(put);
    }
    let url = format!("{}{}", shop.url, upload.path);
    let put = reqwest::Client::new().put(&url).body(recording.clone()).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    assert_eq!(shop.unfinished("part-"), Vec::<String>::new());
    upload.complete(&admin).await;
    assert_eq!(stored(&shop, &admin, &upload.book).await, (etag(&recording), recording));
}

#[tokio::test]
async fn a_stream_of_grpc_is_a_book() {
    let (shop, admin) = with_admin().await;
    let recording = wav(3_000_000);
    let header = UploadHeader {
        title: "Emma".to_owned(),
        author: "Jane Austen".to_owned(),
        price_cents: 1_299,
        filename: "Emma.wav".to_owned(),
        content_type: "audio/wav".to_owned(),
        ..Default::default()
    };
    let chunks = recording.chunks(1 << 20).map(|chunk| Payload::Data(chunk.to_vec().into()));
    let chunks: Vec<_> = [Payload::Header(header)].into_iter().chain(chunks).collect();
    let chunks = chunks.into_iter().map(|payload| UploadChunk { payload: Some(payload) });
    let sent = admin.shop().upload_audiobook(admin.call(stream::iter(chunks))).await.unwrap().into_inner();
    let book = sent.book.unwrap();
    assert_eq!(book.status(), MediaStatus::MediaReady);
    assert_eq!(stored(&shop, &admin, &book.id).await, (etag(&recording), recording));
}

#[tokio::test]
async fn an_upload_that_is_nothing_is_refused() {
    let (_shop, admin) = with_admin().await;
    let begin = |headers: &[(&str, &str)]| {
        let request = admin.request(Method::POST, "/v1/uploads").header("tus-resumable", "1.0.0");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    let emma = metadata(&[("title", "Emma")]);
    assert_eq!(
        refusal(begin(&[("upload-length", "0"), ("upload-metadata", &emma)])).await,
        refused(422, "empty_upload")
    );
    let most = refusal(begin(&[("upload-length", "9223372036854775807"), ("upload-metadata", &emma)])).await;
    assert_eq!(most, refused(413, "upload_too_large"));
    assert_eq!(refusal(begin(&[("upload-metadata", &emma)])).await, refused(400, "malformed"));
    assert_eq!(refusal(begin(&[("upload-length", "10")])).await, refused(422, "invalid"));
    let unknown = metadata(&[("book", "01890a5d-ac96-774b-bcce-b302099a8057")]);
    assert_eq!(
        refusal(begin(&[("upload-length", "10"), ("upload-metadata", &unknown)])).await,
        refused(404, "not_found")
    );
    let path = metadata(&[("title", "Emma"), ("filename", "../../etc/passwd")]);
    assert_eq!(refusal(begin(&[("upload-length", "10"), ("upload-metadata", &path)])).await, refused(422, "invalid"));
}

#[tokio::test]
async fn only_admins_begin_uploads() {
    let (shop, _) = with_admin().await;
    let ann = Both::of(&shop, &shop.user("ann").await.access_token);
    let begin =
        |request: reqwest::RequestBuilder| request.header("tus-resumable", "1.0.0").header("upload-length", "10");
    let refusals = [(ann, 403), (Both::of(&shop, "nobody"), 401)];
    for (caller, status) in refusals {
        let response = begin(caller.request(Method::POST, "/v1/uploads")).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["tus-resumable"], "1.0.0", "also on a refusal");
    }
}

#[tokio::test]
async fn a_forged_or_foreign_link_uploads_nothing() {
    let (shop, admin) = with_admin().await;
    let recording = wav(5_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    let token = upload.path.trim_start_matches("/v1/uploads/").to_owned();
    let http = reqwest::Client::new();
    let send = async |token: &str| {
        let url = format!("{}/v1/uploads/{token}", shop.url);
        let put = refusal(http.put(&url).body(recording.clone())).await;
        let head = http.head(&url).header("tus-resumable", "1.0.0").send().await.unwrap();
        (put, head.status().as_u16())
    };
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..100 {
        let mut forged = token.clone().into_bytes();
        let at = random.usize(..forged.len());
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(send(&String::from_utf8(forged).unwrap()).await, (refused(404, "link_invalid"), 404));
    }
    let book = book_for_sale(&shop, &admin, &recording).await;
    let media = link(&admin, &book).await;
    let access = shop.admin("other").await.access_token;
    for foreign in [media.trim_start_matches("/v1/media/"), &access, "x", "a.b.c"] {
        assert_eq!(send(foreign).await, (refused(404, "link_invalid"), 404));
    }
    shop.clock.advance(Duration::from_secs(25 * 3_600));
    assert_eq!(send(&token).await.1, 404, "it has expired");
}

#[tokio::test]
async fn an_upload_that_nobody_continues_ends() {
    let shop = TestShop::with(&["--media-upload-lifetime", "1h"]).await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let recording = wav(10_000);
    let upload = Upload::begin(&shop, &admin, recording.len()).await;
    for (from, to) in [(0, 4_000), (4_000, 5_000)] {
        upload.append(from, &recording[from..to]).await;
        shop.clock.advance(Duration::from_secs(50 * 60));
        assert_eq!(upload.offset().await, to, "bytes came within the hour");
    }
    shop.clock.advance(Duration::from_secs(20 * 60));
    assert_eq!(upload.request(Method::HEAD).send().await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_memory_of_uploads_is_shared() {
    let shop = TestShop::with(&["--shop-upload-bytes", "16MiB"]).await;
    let admin = Both::of(&shop, &shop.admin("root").await.access_token);
    let recording = wav(2 * PART);
    let (one, other) = (Upload::begin(&shop, &admin, 2 * PART).await, Upload::begin(&shop, &admin, 2 * PART).await);
    let held = one.begin_patch(0, 2 * PART, &recording[..PART + 1]).await;
    eventually("the first part is durable", async || one.offset().await == PART).await;
    assert_eq!(refusal(other.patch(0, &recording)).await, refused(429, "share_in_use"));
    drop(held);
    eventually("the memory is free again", async || {
        other.patch(0, &recording).send().await.unwrap().status() == StatusCode::NO_CONTENT
    })
    .await;
}
