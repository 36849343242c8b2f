//! Recordings, and clients that upload and download them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::both::Both;
use crate::test_service::TestShop;

/// Bytes of a part of an upload.
pub const PART: usize = 8 << 20;

/// A WAV file of `bytes` bytes (an even number): noise, 8,000 samples a second.
pub fn wav(bytes: usize) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let data = bytes - 44;
    let mut file = [&b"RIFF"[..], &length(36 + data), b"WAVEfmt ", &length(16)].concat();
    // PCM, one channel, samples and bytes a second, bytes and bits of a sample.
    for field in [&[1_u8, 0, 1, 0][..], &length(8_000), &length(16_000), &[2, 0, 16, 0], b"data", &length(data)] {
        file.extend_from_slice(field);
    }
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    file.extend((0..data).map(|_| random.u8(..)));
    file
}

/// The strong entity tag of a file.
pub fn etag(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Metadata of tus.
pub fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).collect();
    pairs.join(",")
}

/// An upload by tus.
pub struct Upload {
    http: reqwest::Client,
    url: String,
    /// The path with the token.
    pub path: String,
    /// The id of the book.
    pub book: String,
}

impl Upload {
    /// The upload of a new book for 12.99 EUR.
    pub async fn begin(shop: &TestShop, admin: &Both, length: usize) -> Self {
        let described =
            metadata(&[("title", "Emma"), ("author", "Jane Austen"), ("price", "1299"), ("filename", "Emma.wav")]);
        Self::begin_with(shop, admin, &[("upload-length", &length.to_string()), ("upload-metadata", &described)]).await
    }

    /// With these headers.
    pub async fn begin_with(shop: &TestShop, admin: &Both, headers: &[(&str, &str)]) -> Self {
        let mut request = admin.request(Method::POST, "/v1/uploads").header("tus-resumable", "1.0.0");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{:?}", response.text().await);
        assert_eq!(response.headers()["tus-resumable"], "1.0.0");
        let path = response.headers()["location"].to_str().unwrap().to_owned();
        let body: Value = response.json().await.unwrap();
        assert!(body["upload_url"].as_str().unwrap().ends_with(&path));
        let book = body["book"].as_str().unwrap().to_owned();
        Self { http: reqwest::Client::new(), url: shop.url.clone(), path, book }
    }

    /// A request of the protocol.
    pub fn request(&self, method: Method) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{}", self.url, self.path)).header("tus-resumable", "1.0.0")
    }

    /// The headers of `HEAD`.
    pub async fn head(&self) -> HeaderMap {
        let response = self.request(Method::HEAD).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["cache-control"], "no-store");
        response.headers().clone()
    }

    /// The durable bytes.
    pub async fn offset(&self) -> usize {
        self.head().await["upload-offset"].to_str().unwrap().parse().unwrap()
    }

    /// A PATCH. Other headers are added by the caller.
    pub fn patch(&self, offset: usize, body: &[u8]) -> reqwest::RequestBuilder {
        let request = self.request(Method::PATCH).header("upload-offset", offset.to_string());
        request.header("content-type", "application/offset+octet-stream").body(body.to_vec())
    }

    /// Appends bytes, which must succeed.
    pub async fn append(&self, offset: usize, body: &[u8]) {
        let response = self.patch(offset, body).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(status, StatusCode::NO_CONTENT, "{:?}", response.text().await);
        assert_eq!(headers["upload-offset"], (offset + body.len()).to_string());
        assert!(headers.contains_key("upload-expires") && headers["tus-resumable"] == "1.0.0");
    }

    /// A PATCH of which only some bytes are sent.
    pub async fn begin_patch(&self, offset: usize, declared: usize, sent: &[u8]) -> TcpStream {
        let head = format!(
            "PATCH {} HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nupload-offset: {offset}\r\ncontent-length: {declared}\r\n\
             content-type: application/offset+octet-stream\r\n\r\n",
            self.path
        );
        begin(&self.url, &head, sent).await
    }

    /// Completes the book, which must become ready.
    pub async fn complete(&self, admin: &Both) {
        let (status, book) = admin.send(Method::POST, &format!("/v1/books/{}/pipeline", self.book), None).await;
        assert_eq!((status, &book["status"]), (200, &json!("ready")), "{book}");
    }
}

/// A request of which the head and some bytes of the body are sent.
pub async fn begin(url: &str, head: &str, sent: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(url.trim_start_matches("http://")).await.unwrap();
    client.write_all(&[head.as_bytes(), sent].concat()).await.unwrap();
    client
}

/// The status line and the first bytes after it.
pub async fn answer_of(client: &mut TcpStream) -> String {
    let mut head = vec![0; 4_096];
    let length = client.read(&mut head).await.unwrap();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

/// A client that has asked for a file and reads nothing of it yet. Its buffer is small.
pub async fn slow_reader(url: &str, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut client = socket.connect(url.trim_start_matches("http://").parse().unwrap()).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client
}

/// A book that is for sale, with this recording. Returns its id.
pub async fn book_for_sale(shop: &TestShop, admin: &Both, recording: &[u8]) -> String {
    let upload = Upload::begin(shop, admin, recording.len()).await;
    upload.append(0, recording).await;
    upload.complete(admin).await;
    upload.book
}

/// Buys a book. Returns the id of the order.
pub async fn buy(user: &Both, book: &str) -> String {
    assert_eq!(user.put(&format!("/v1/cart/{book}")).await.0, 200);
    let (status, order) = user.send(Method::POST, "/v1/checkout", None).await;
    assert!((200..300).contains(&status), "{status}: {order}");
    order["id"].as_str().unwrap().to_owned()
}

/// The path of a link to a book.
pub async fn link(user: &Both, book: &str) -> String {
    let (status, link) = user.send(Method::POST, &format!("/v1/books/{book}/download"), None).await;
    assert_eq!(status, 200, "{link}");
    let url = link["download_url"].as_str().unwrap();
    url[url.find("/v1/media/").unwrap()..].to_owned()
}
