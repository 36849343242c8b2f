//! Downloads by links: ranges, versions, and the end of a link.

use std::time::{Duration, Instant};

use accounts::Actor;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use store::relational::AccessChange;
use testing::eventually;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::both::{Both, answer};
use crate::recordings::{Upload, answer_of, book_for_sale, buy, etag, link, slow_reader, wav};
use crate::test_service::TestShop;

/// A shop, an admin, a buyer, the recording of a book and the path of a link to it.
struct Sold {
    shop: TestShop,
    admin: Both,
    ann: Both,
    recording: Vec<u8>,
    book: String,
    order: String,
    path: String,
}

impl Sold {
    async fn start(bytes: usize) -> Self {
        Self::with(bytes, &[]).await
    }

    async fn with(bytes: usize, flags: &[&str]) -> Self {
        let shop = TestShop::with(flags).await;
        let admin = Both::of(&shop, &shop.admin("root").await.access_token);
        let ann = Both::of(&shop, &shop.user("ann").await.access_token);
        let recording = wav(bytes);
        let book = book_for_sale(&shop, &admin, &recording).await;
        let order = buy(&ann, &book).await;
        let path = link(&ann, &book).await;
        Self { shop, admin, ann, recording, book, order, path }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.shop.url));
        request.headers(HeaderMap::from_iter(headers)).send().await.unwrap()
    }

    /// Status and body of a GET with these headers.
    async fn get(&self, headers: &[(HeaderName, &str)]) -> (u16, Vec<u8>) {
        let response = self.ask(Method::GET, &self.path, headers).await;
        (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
    }

    /// Status of a GET, and the code of its problem.
    async fn refused(&self, path: &str) -> (u16, String) {
        let (status, problem) = answer(self.ask(Method::GET, path, &[]).await).await;
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn invalid_link() -> (u16, String) {
    (404, "link_invalid".to_owned())
}

fn head<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn ranges_at_random_are_byte_equal() {
    let sold = Sold::start(3_000_000).await;
    let (length, mut random) = (sold.recording.len(), fastrand::Rng::with_seed(17));
    for _ in 0..300 {
        let first = random.usize(..length);
        let last = first + random.usize(..=(length - 1 - first).min(400_000));
        let response = sold.ask(Method::GET, &sold.path, &[(RANGE, &format!("bytes={first}-{last}"))]).await;
        assert_eq!(response.status(), 206);
        assert_eq!(head(&response, "content-range").unwrap(), format!("bytes {first}-{last}/{length}"));
        assert!(response.bytes().await.unwrap() == sold.recording[first..=last], "{first}-{last}");
    }
    let suffix = sold.get(&[(RANGE, "bytes=-1000")]).await;
    assert!(suffix == (206, sold.recording[length - 1_000..].to_vec()));
}

#[tokio::test]
async fn a_whole_file_has_the_headers_of_a_file() {
    let sold = Sold::start(1_000_000).await;
    let tag = etag(&sold.recording);
    for method in [Method::GET, Method::HEAD] {
        let response = sold.ask(method.clone(), &sold.path, &[]).await;
        assert_eq!(response.status(), 200);
        assert_eq!(head(&response, "etag"), Some(tag.as_str()));
        assert_eq!(head(&response, "accept-ranges"), Some("bytes"));
        assert_eq!(head(&response, "content-length"), Some("1000000"));
        assert_eq!(head(&response, "cache-control"), Some("private, no-cache"));
        let name = head(&response, "content-disposition").unwrap();
        assert!(name.starts_with("attachment;") && name.contains("Emma.wav"), "{name}");
        let body = response.bytes().await.unwrap();
        assert!(if method == Method::HEAD { body.is_empty() } else { body == sold.recording });
    }
}

#[tokio::test]
async fn conditions_are_those_of_rfc_9110() {
    let sold = Sold::start(100_000).await;
    let tag = &*etag(&sold.recording);
    let range = (RANGE, "bytes=10-19");
    let part = (206, sold.recording[10..20].to_vec());
    let whole = (200, sold.recording.clone());
    assert!(sold.get(&[range.clone(), (IF_RANGE, tag)]).await == part);
    assert!(sold.get(&[range.clone(), (IF_RANGE, "\"another\"")]).await == whole);
    assert!(sold.get(&[range.clone(), (IF_RANGE, &format!("W/{tag}"))]).await == whole);
    assert!(sold.get(&[(RANGE, "bytes=0-1,5-6")]).await == whole, "several ranges");
    assert_eq!(sold.get(&[(IF_NONE_MATCH, tag)]).await, (304, Vec::new()));
    assert!(sold.get(&[(IF_NONE_MATCH, "\"another\"")]).await == whole);
    assert_eq!(sold.get(&[(IF_MATCH, "\"another\"")]).await.0, 412);
    let outside = sold.ask(Method::GET, &sold.path, &[(RANGE, "bytes=100000-")]).await;
    assert_eq!((outside.status().as_u16(), head(&outside, "content-range")), (416, Some("bytes */100000")));
    assert_eq!(sold.ask(Method::HEAD, &sold.path, &[range]).await.status(), 200, "HEAD has no ranges");
}

#[tokio::test]
async fn forged_foreign_and_expired_links_read_nothing() {
    let sold = Sold::start(50_000).await;
    let token = sold.path.trim_start_matches("/v1/media/");
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..200 {
        let mut forged = token.as_bytes().to_vec();
        let at = random.usize(..forged.len());
        forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
        let path = format!("/v1/media/{}", String::from_utf8(forged).unwrap());
        assert_eq!(sold.refused(&path).await, invalid_link(), "{at}");
    }
    let upload = Upload::begin(&sold.shop, &sold.admin, 10).await;
    let access = sold.shop.user("bob").await.access_token;
    for foreign in [upload.path.trim_start_matches("/v1/uploads/"), &access, "x", "a.b.c", &"a".repeat(5_000)] {
        assert_eq!(sold.refused(&format!("/v1/media/{foreign}")).await, invalid_link());
    }
    assert_eq!(sold.get(&[]).await.0, 200);
    sold.shop.clock.advance(Duration::from_secs(11 * 60));
    assert_eq!(sold.refused(&sold.path).await, invalid_link(), "it has expired");
}

#[tokio::test]
async fn a_refund_ends_a_download_in_progress() {
    let sold = Sold::start(24 << 20).await;
    let mut reader = slow_reader(&sold.shop.url, &sold.path).await;
    assert!(answer_of(&mut reader).await.starts_with("HTTP/1.1 200"));
    let refund = format!("/v1/orders/{}/refund", sold.order);
    let (status, order) = sold.admin.send(Method::POST, &refund, Some(json!({"reason": "asked for"}))).await;
    assert_eq!(status, 200, "{order}");
    let refunded = Instant::now();
    assert_eq!(sold.refused(&sold.path).await, invalid_link());
    assert!(refunded.elapsed() < Duration::from_secs(1), "{:?}", refunded.elapsed());
    // The next look comes when the client reads on, at the latest half a second after the last one.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let read = read_to_end(&mut reader).await;
    assert!(read < sold.recording.len(), "{read} bytes");
}

#[tokio::test]
async fn a_disabled_user_reads_nothing_more() {
    let sold = Sold::start(50_000).await;
    let user = sold.shop.user("cleo").await;
    let cleo = Both::of(&sold.shop, &user.access_token);
    buy(&cleo, &sold.book).await;
    let path = link(&cleo, &sold.book).await;
    assert_eq!(sold.ask(Method::GET, &path, &[]).await.status(), 200);
    let change = AccessChange { disabled: Some(true), ..AccessChange::default() };
    sold.shop.accounts.change_access(user.id, &change, &Actor::default()).await.unwrap();
    eventually("the link is refused", async || sold.refused(&path).await == invalid_link()).await;
}

#[tokio::test]
async fn only_buyers_and_admins_get_a_link() {
    let sold = Sold::start(50_000).await;
    let bob = Both::of(&sold.shop, &sold.shop.user("bob").await.access_token);
    let (status, refusal) = bob.refused(Method::POST, &format!("/v1/books/{}/download", sold.book), None).await;
    assert_eq!((status, refusal.code.as_str()), (403, "not_bought"));
    assert!(link(&sold.admin, &sold.book).await.starts_with("/v1/media/"));
    assert!(link(&sold.ann, &sold.book).await.starts_with("/v1/media/"));
}

#[tokio::test]
async fn slow_readers_keep_no_others_out() {
    let sold = Sold::start(8 << 20).await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut reader = slow_reader(&sold.shop.url, &sold.path).await;
        assert!(answer_of(&mut reader).await.starts_with("HTTP/1.1 200"));
        slow.push(reader);
    }
    assert!(sold.get(&[]).await == (200, sold.recording.clone()));
    let read = read_to_end(&mut slow[0]).await;
    assert!(read > sold.recording.len() - 8_192, "{read} bytes: a slow reader gets everything");
}

#[tokio::test]
async fn files_that_are_read_at_the_same_time_are_bounded() {
    let sold = Sold::with(24 << 20, &["--shop-downloads", "4"]).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut reader = slow_reader(&sold.shop.url, &sold.path).await;
        assert!(answer_of(&mut reader).await.starts_with("HTTP/1.1 200"));
        held.push(reader);
    }
    let (status, problem): (u16, Value) = answer(sold.ask(Method::GET, &sold.path, &[]).await).await;
    assert_eq!((status, &problem["code"]), (429, &json!("share_in_use")));
    assert_eq!(sold.ask(Method::HEAD, &sold.path, &[]).await.status(), 200, "HEAD reads no file");
    drop(held);
    eventually("the places are free again", async || sold.get(&[]).await.0 == 200).await;
}

/// The number of bytes until the end of a connection, or until it is reset.
async fn read_to_end(reader: &mut TcpStream) -> usize {
    let (mut read, mut buffer) = (0, vec![0; 64 << 10]);
    while let Ok(more @ 1..) = reader.read(&mut buffer).await {
        read += more;
    }
    read
}
