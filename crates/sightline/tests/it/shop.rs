//! The shop in a running `up`: books by the command, sales by REST, and kills in the middle of both.

mod buyer;
mod wave;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use self::buyer::{Buyer, admin, body_of};
use self::wave::{part_file, small_file};
use crate::processes::{TIMEOUT, TestServer, wait_until_ready};

/// A running server, and a folder for recordings.
struct Setting {
    up: TestServer,
    files: TempDir,
}

impl Setting {
    async fn start() -> Self {
        Self { up: TestServer::start(&[]).await, files: tempfile::tempdir().unwrap() }
    }

    fn small_file(&self, name: &str) -> PathBuf {
        small_file(self.files.path(), name)
    }

    /// Uploads a recording; returns the id of the book and the line about it.
    fn upload(&self, file: &Path, more: &[&str]) -> (String, String) {
        let arguments = [&["books", "upload", file.to_str().unwrap()][..], more].concat();
        let line = self.up.command(&arguments).trim().to_owned();
        (line.split(' ').next().unwrap().to_owned(), line)
    }

    /// A book that is for sale.
    fn book(&self, title: &str) -> String {
        let file = self.small_file(&format!("{title}.wav"));
        self.upload(&file, &["--title", title, "--author", "Jane Austen", "--price", "12.99"]).0
    }

    /// Reads one number from the database of the server.
    fn number(&self, sql: &str) -> i64 {
        let accounts = Connection::open(self.up.data.path().join("data/accounts.sqlite")).unwrap();
        accounts.busy_timeout(TIMEOUT).unwrap();
        accounts.query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_book_from_upload_to_download() {
    let setting = Setting::start().await;
    let file = setting.small_file("emma.wav");
    let described = ["--title", "Emma", "--author", "Jane Austen", "--price", "12.99"];
    let (book, line) = setting.upload(&file, &described);
    assert_eq!(line, format!("{book} ready 12.99 EUR Emma, Jane Austen"));
    assert_eq!(setting.upload(&file, &described).1, line, "the same command again is the same book");
    assert_eq!(setting.up.command(&["books", "list"]).trim(), line);

    let ann = Buyer::new(&setting.up, "ann").await;
    let listed = body_of(ann.send(Method::GET, "/v1/books?query=emma").await).await;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["owned"]), (&json!(book), &json!(false)));
    let preview = ann.send(Method::GET, &format!("/v1/books/{book}/preview")).await;
    assert_eq!(preview.status(), StatusCode::OK);
    assert!(preview.bytes().await.unwrap().starts_with(b"fLaC"), "a preview is an object of its own");
    let download = format!("/v1/books/{book}/download");
    let refused = ann.send(Method::POST, &download).await;
    assert_eq!(
        (refused.status(), body_of(refused).await["code"].as_str()),
        (StatusCode::FORBIDDEN, Some("not_bought"))
    );

    assert_eq!(ann.send(Method::PUT, &format!("/v1/cart/{book}")).await.status(), StatusCode::OK);
    let order = ann.checkout("one").await;
    assert_eq!((&order["status"], &order["total"]["minor"]), (&json!("paid"), &json!(1299)));
    assert_eq!(ann.checkout("one").await["id"], order["id"], "the same key is the same order");

    let link = ann.link(&book).await;
    let content = std::fs::read(&file).unwrap();
    let whole = reqwest::get(&link).await.unwrap();
    assert_eq!(whole.bytes().await.unwrap(), content);
    let part = reqwest::Client::new().get(&link).header("range", "bytes=100-199").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), content[100..200]);
    let ben = Buyer::new(&setting.up, "ben").await;
    assert_eq!(ben.send(Method::POST, &download).await.status(), StatusCode::FORBIDDEN);

    let refund = format!("/v1/orders/{}/refund", order["id"].as_str().unwrap());
    let refunded =
        admin(&setting.up, Method::POST, &refund).json(&json!({"reason": "asked for"})).send().await.unwrap();
    assert_eq!(body_of(refunded).await["status"], "refunded");
    let begun = Instant::now();
    while reqwest::get(&link).await.unwrap().status().is_success() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the link outlives the refund");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = setting.up.process.output();
    let token = link.rsplit('/').next().unwrap();
    assert!(!log.contains(token), "a link is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grpc_answers_on_a_port_of_its_own_and_the_web_variant_on_the_port_for_clients() {
    let up = TestServer::start(&[]).await;
    // A message without a byte asks for the server as a whole; the answer is SERVING, once the stores were asked.
    let (question, serving) = (vec![0_u8; 5], [0_u8, 0, 0, 0, 2, 8, 1]);
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    let check = format!("http://{}/grpc.health.v1.Health/Check", up.grpc);
    testing::eventually("it serves", async || {
        let request = client.post(&check).header("content-type", "application/grpc").header("te", "trailers");
        let answer = request.body(question.clone()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap() == serving[..]
    })
    .await;
    let check = format!("{}/grpc.health.v1.Health/Check", up.url);
    let request = reqwest::Client::new().post(check).header("content-type", "application/grpc-web+proto");
    let answer = request.body(question).send().await.unwrap();
    assert!(answer.bytes().await.unwrap().starts_with(&serving));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_goes_on_after_the_server_was_killed() {
    let mut setting = Setting::start().await;
    let file = part_file(setting.files.path(), "emma.wav");
    let content = std::fs::read(&file).unwrap();
    let added = admin(&setting.up, Method::POST, "/v1/books")
        .json(&json!({"title": "Emma", "author": ""}))
        .send()
        .await
        .unwrap();
    let book = body_of(added).await["id"].as_str().unwrap().to_owned();
    let upload = Upload::begin(&setting.up, &book, content.len()).await;
    // The connection stays open after this, so only the kill ends it.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let sending = upload.append(0, reqwest::Body::wrap_stream(tokio_stream::wrappers::ReceiverStream::new(receiver)));
    let sending = tokio::spawn(sending);
    for block in content[..content.len() / 2].chunks(1 << 20) {
        sender.send(Ok::<_, std::io::Error>(Bytes::copy_from_slice(block))).await.unwrap();
    }
    let durable = upload.offset_above(0).await;
    setting.up.process.kill_and_restart();
    wait_until_ready(&mut setting.up.process, &setting.up.url).await;
    drop(sender);
    assert!(sending.await.unwrap().is_err(), "the connection has ended");
    assert!(upload.offset_above(0).await >= durable, "durable bytes survive a kill");

    let (same, line) = setting.upload(&file, &["--book", &book]);
    assert_eq!(same, book);
    assert!(line.contains(" draft - Emma"), "{line}");
    let published = setting.up.command(&["books", "publish", &book, "--price", "3"]);
    assert!(published.contains(" ready 3.00 EUR Emma"), "{published}");
    assert_eq!(setting.stored(&book).await, content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_goes_on_after_the_command_was_killed() {
    let setting = Setting::start().await;
    let file = part_file(setting.files.path(), "emma.wav");
    let arguments = ["books", "upload", file.to_str().unwrap(), "--title", "Emma", "--price", "3"];
    let mut command: Command = setting.up.command_of(&arguments);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let unfinished = setting.up.data.path().join("data/media/unfinished");
    let begun = Instant::now();
    while !has_part(&unfinished) && first.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < TIMEOUT, "no part is stored");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let line = setting.up.command(&arguments);
    assert!(line.contains(" ready 3.00 EUR Emma"), "{line}");
    let listed = setting.up.command(&["books", "list"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert_eq!(setting.stored(listed.split(' ').next().unwrap()).await, std::fs::read(&file).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_cannot_be_uploaded_is_refused_by_name() {
    let setting = Setting::start().await;
    let text = setting.files.path().join("text.mp3");
    std::fs::write(&text, "this is no sound at all. ".repeat(1000)).unwrap();
    let refused = |arguments: &[&str]| {
        let (success, printed, stderr) = setting.up.outcome(&[&["books", "upload"][..], arguments].concat());
        assert!(!success, "{printed}");
        stderr
    };
    let text = text.to_str().unwrap();
    assert!(refused(&[text, "--title", "Text"]).contains("not_audio"));
    assert!(refused(&[text, "--title", "Text", "--price", "a lot"]).contains("such as 12.99"));
    assert!(refused(&["missing.mp3", "--title", "Text"]).contains("missing.mp3 cannot be read"));
    assert!(refused(&[text]).contains("--title"));
    let nobody = "0198f2a4-0000-7000-8000-000000000001";
    let file = setting.small_file("emma.wav");
    assert!(refused(&[file.to_str().unwrap(), "--book", nobody]).contains("not_found"));
    let emma = setting.book("Emma");
    let other = setting.files.path().join("other.wav");
    std::fs::write(&other, wave::wave(8_000, 3)).unwrap();
    let same_title = ["--title", "Emma", "--author", "Jane Austen"];
    let stderr = refused(&[&[other.to_str().unwrap()][..], &same_title].concat());
    assert!(stderr.contains("another recording") && stderr.contains(&emma), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_checkout_that_a_kill_interrupts_is_one_order_one_payment_and_one_book() {
    const ROUNDS: usize = 6;
    let mut setting = Setting::start().await;
    let ann = Buyer::new(&setting.up, "ann").await;
    for round in 0..ROUNDS {
        let book = setting.book(&format!("Volume {round}"));
        assert_eq!(ann.send(Method::PUT, &format!("/v1/cart/{book}")).await.status(), StatusCode::OK);
        let key = format!("round {round}");
        let (request, pause) = (ann.checkout_request(&key), Duration::from_millis(4 * round as u64));
        let interrupted = tokio::spawn(request.send());
        tokio::time::sleep(pause).await;
        setting.up.process.kill_and_restart();
        wait_until_ready(&mut setting.up.process, &setting.up.url).await;
        drop(interrupted.await);
        assert_eq!(ann.checkout(&key).await["status"], "paid", "round {round}");
    }
    let rounds = i64::try_from(ROUNDS).unwrap();
    for counted in [
        "SELECT COUNT(*) FROM orders WHERE status = 'paid'",
        "SELECT COUNT(*) FROM payments",
        "SELECT COUNT(*) FROM mock_payments WHERE state = 'paid'",
        "SELECT COUNT(*) FROM entitlements WHERE revoked_at IS NULL",
    ] {
        assert_eq!(setting.number(counted), rounds, "{counted}");
    }
    assert_eq!(setting.number("SELECT COUNT(*) FROM orders WHERE status = 'pending'"), 0);
    let purchases = body_of(ann.send(Method::GET, "/v1/purchases").await).await;
    assert_eq!(purchases["items"].as_array().unwrap().len(), ROUNDS);
    let cart = body_of(ann.send(Method::GET, "/v1/cart").await).await;
    assert!(cart["items"].as_array().unwrap().is_empty(), "{cart}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_deleted_user_only_the_orders_are_kept_and_they_do_not_name_it() {
    let setting = Setting::start().await;
    let book = setting.book("Emma");
    let ann = Buyer::new(&setting.up, "ann").await;
    assert_eq!(ann.send(Method::PUT, &format!("/v1/cart/{book}")).await.status(), StatusCode::OK);
    let order = ann.checkout("one").await;
    let position = json!({"position_ms": 1000});
    let put = ann.request(Method::PUT, &format!("/v1/books/{book}/position")).json(&position).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let deleted = admin(&setting.up, Method::DELETE, &format!("/v1/users/{}", ann.id)).send().await.unwrap();
    assert!(deleted.status().is_success(), "{deleted:?}");

    let kept = body_of(admin(&setting.up, Method::GET, "/v1/kept-orders").send().await.unwrap()).await;
    let kept = kept["items"].as_array().unwrap();
    assert_eq!((kept.len(), &kept[0]["id"], &kept[0]["total"]), (1, &order["id"], &order["total"]));
    assert!(!kept[0].to_string().contains(&ann.id), "{kept:?}");
    let (success, printed, stderr) = setting.up.outcome(&["erase", "check", &ann.id]);
    assert!(success, "{printed}{stderr}");
    for table in
        ["orders", "carts", "cart_lines", "entitlements", "positions", "payments", "kept_orders", "media_uploads"]
    {
        assert!(!printed.contains(&format!("accounts {table} ")), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_has_the_books_with_their_recordings() {
    let mut setting = Setting::start().await;
    let book = setting.book("Emma");
    let (backup, data) = (setting.files.path().join("backup"), tempfile::tempdir().unwrap());
    setting.up.command(&["backup", backup.to_str().unwrap()]);
    assert!(setting.up.process.stop(), "{}", setting.up.process.output());
    let restored = Command::new(env!("CARGO_BIN_EXE_sightline"))
        .args(["restore", backup.to_str().unwrap(), "--data-dir"])
        .arg(data.path().join("data"))
        .env_clear()
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let up = TestServer::start_in(data, &[]).await;
    let restored = Setting { up, files: setting.files };
    assert_eq!(restored.stored(&book).await, std::fs::read(restored.files.path().join("Emma.wav")).unwrap());
}

impl Setting {
    /// The recording of a book, as an admin downloads it.
    async fn stored(&self, book: &str) -> Bytes {
        let link = admin(&self.up, Method::POST, &format!("/v1/books/{book}/download")).send().await.unwrap();
        let link = buyer::here(&self.up, body_of(link).await["download_url"].as_str().unwrap());
        reqwest::get(link).await.unwrap().bytes().await.unwrap()
    }
}

/// Whether a part of an upload is stored.
fn has_part(unfinished: &Path) -> bool {
    let uploads = std::fs::read_dir(unfinished).into_iter().flatten().filter_map(Result::ok);
    let mut files =
        uploads.flat_map(|upload| std::fs::read_dir(upload.path()).into_iter().flatten()).filter_map(Result::ok);
    files.any(|file| file.file_name().to_string_lossy().starts_with("part-"))
}

/// An upload by tus.
struct Upload {
    url: String,
}

impl Upload {
    async fn begin(up: &TestServer, book: &str, length: usize) -> Self {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;

        let metadata = format!("book {},filename {}", STANDARD.encode(book), STANDARD.encode("emma.wav"));
        let request = admin(up, Method::POST, "/v1/uploads").header("tus-resumable", "1.0.0");
        let request = request.header("upload-length", length).header("upload-metadata", metadata);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        Self { url: format!("{}{}", up.url, response.headers()["location"].to_str().unwrap()) }
    }

    fn append(
        &self,
        offset: u64,
        body: reqwest::Body,
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + Send + use<> {
        let request = reqwest::Client::new().patch(&self.url).header("tus-resumable", "1.0.0");
        let request = request.header("upload-offset", offset).header("content-type", "application/offset+octet-stream");
        request.body(body).send()
    }

    /// Waits until more bytes than these are durable; returns their number.
    async fn offset_above(&self, least: u64) -> u64 {
        let begun = Instant::now();
        loop {
            let request = reqwest::Client::new().head(&self.url).header("tus-resumable", "1.0.0");
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let offset: u64 = response.headers()["upload-offset"].to_str().unwrap().parse().unwrap();
            if offset > least {
                return offset;
            }
            assert!(begun.elapsed() < TIMEOUT, "nothing is durable");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_has_a_part_in_the_document_of_all_routes() {
    let up = TestServer::start(&[]).await;
    let document =
        async |path: &str| -> Value { body_of(reqwest::get(format!("{}{path}", up.url)).await.unwrap()).await };
    let (all, shop) = (document("/openapi.json").await, document("/v1/books/openapi.json").await);
    let paths = shop["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/checkout") && paths.contains_key("/v1/media/{token}"), "{paths:?}");
    for (path, operations) in paths {
        assert_eq!(all["paths"][path], *operations, "{path}");
    }
}
