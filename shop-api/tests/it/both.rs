//! A client of one user that speaks both protocols, and what tests compare of their answers.

use contracts::{BookId, BookStatus, Currency, Money};
use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Map, Value, json};
use shop_api::proto::shop_v1::admin_service_client::AdminServiceClient;
use shop_api::proto::shop_v1::shop_service_client::ShopServiceClient;
use shop_api::proto::shop_v1::{Audiobook, MediaStatus};
use shop_api::proto::time;
use store::Relational;
use store::relational::{BookWriteOutcome, NewBook};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt;

use crate::test_service::TestShop;

/// A refusal: its stable code, its text, and the values that it has for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub text: String,
    pub facts: Vec<(String, String)>,
}

/// A user with a client for each protocol.
#[derive(Clone)]
pub struct Both {
    url: String,
    token: String,
    http: reqwest::Client,
    channel: Channel,
}

impl Both {
    pub fn of(shop: &TestShop, token: &str) -> Self {
        Self { url: shop.url.clone(), token: token.to_owned(), http: reqwest::Client::new(), channel: shop.channel() }
    }

    pub fn shop(&self) -> ShopServiceClient<Channel> {
        ShopServiceClient::new(self.channel.clone())
    }

    pub fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    /// A call with the user's token.
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        request
    }

    /// A call with the user's token and further metadata.
    pub fn call_with<T>(&self, message: T, name: &'static str, value: &str) -> Request<T> {
        let mut request = self.call(message);
        request.metadata_mut().insert(name, value.parse().unwrap());
        request
    }

    /// A request of REST, to which a test may add headers.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// The status and the body of a request; `null` for an answer without one.
    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        answer(request.send().await.unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub async fn put(&self, path: &str) -> (u16, Value) {
        self.send(Method::PUT, path, None).await
    }

    /// Why REST refuses a request.
    pub async fn refused(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Refusal) {
        let sent = format!("{method} {path}");
        let (status, problem) = self.send(method, path, body).await;
        assert!(status >= 400, "{sent}: {status} {problem}");
        (status, of_problem(&problem))
    }

    /// A link of the server, under the address at which the test reaches it.
    pub fn reach(&self, link: &str) -> String {
        let path = link.find("/v1/").map_or(link, |start| &link[start..]);
        format!("{}{path}", self.url)
    }
}

pub async fn answer(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    (status, body)
}

/// The refusal in a problem.
pub fn of_problem(problem: &Value) -> Refusal {
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    let facts = problem["facts"].as_object().cloned().unwrap_or_default();
    let facts = facts.into_iter().map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()));
    Refusal { code: text("code"), text: text("detail"), facts: facts.collect() }
}

/// The refusal in a status of gRPC.
pub fn of_status(status: &Status) -> Refusal {
    let details = status.get_error_details();
    let info = details.error_info();
    let mut facts: Vec<_> = info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default();
    facts.sort();
    let code = info.map(|info| info.reason.clone()).unwrap_or_default();
    Refusal { code, text: status.message().to_owned(), facts }
}

/// The code and the reason of a call that was refused.
pub fn denied<T>(result: Result<Response<T>, Status>) -> (Code, String) {
    match result {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), of_status(&status).code),
    }
}

/// The refusal of a call.
pub fn refusal<T>(result: Result<Response<T>, Status>) -> Refusal {
    of_status(&result.map(|_| ()).unwrap_err())
}

pub fn euro(minor: i64) -> Money {
    Money { minor, currency: Currency::EUR }
}

/// A book that is stored as it is, without a recording.
pub async fn shelve(database: &Relational, title: &str, price: Option<Money>, status: BookStatus) -> BookId {
    let new = NewBook {
        id: BookId::now(),
        title: title.to_owned(),
        author: "Jane Austen".to_owned(),
        language: Some("en".to_owned()),
        price,
        description: Some(format!("The story of {title}.")),
        categories: Vec::new(),
        status,
    };
    let written = database.create_book(&new, None, Timestamp::now()).await.unwrap();
    assert!(matches!(written, BookWriteOutcome::Stored(_)), "{title}");
    new.id
}

/// A book that is for sale.
pub async fn on_sale(database: &Relational, title: &str, minor: i64) -> BookId {
    shelve(database, title, Some(euro(minor)), BookStatus::Ready).await
}

/// A message as the JSON that REST has for the same book. Fields without a value are left out there.
pub fn as_json(book: &Audiobook) -> Value {
    let status = MediaStatus::try_from(book.status).unwrap();
    let status = match status {
        MediaStatus::MediaReady => "ready",
        MediaStatus::MediaHide => "hidden",
        MediaStatus::MediaDeteted => "deleted",
        _ => "draft or processing",
    };
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("id", json!(book.id));
    set("title", json!(book.title));
    set("author", json!(book.author));
    set("status", json!(status));
    set("categories", json!(book.categories));
    set("owned", json!(book.owned));
    set("version", json!(book.version));
    for (name, sent) in [("created_at", &book.created_at), ("updated_at", &book.updated_at)] {
        set(name, json!(time(sent.as_ref().unwrap()).unwrap()));
    }
    if !book.currency.is_empty() {
        set("price", json!({"minor": book.price_cents, "currency": book.currency}));
    }
    if book.duration_seconds != 0 {
        set("duration_seconds", json!(book.duration_seconds));
    }
    for (name, text) in [
        ("language", &book.language),
        ("description", &book.ai_description),
        ("content_type", &book.content_type),
        ("cover_url", &book.cover_url),
        ("preview_url", &book.preview_url),
        ("fault", &book.fault),
    ] {
        if !text.is_empty() {
            set(name, json!(text));
        }
    }
    Value::Object(fields)
}

/// The same of REST, with the two statuses that gRPC does not tell apart as one.
pub fn like_grpc(mut book: Value) -> Value {
    if ["draft", "processing"].iter().any(|status| book["status"] == *status) {
        book["status"] = json!("draft or processing");
    }
    book
}

/// The ids of the items of a list.
pub fn ids(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}
