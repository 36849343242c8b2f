//! Every route that changes something, on a full disk: each refuses with `disk_full`, reads succeed, and each change succeeds once there
//! is space again, without a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::delivery::{TestClient, small_photo};
use crate::processes::{TIMEOUT, TestServer};
use crate::small_disk::SmallDisk;

const PASSWORD: &str = "lamp ostrich kettle";

/// Operations that succeed on a full disk, because they store nothing, or are answered before they store anything.
const STORE_NOTHING: [&str; 14] = [
    // In the memory of the process.
    "POST /login",
    "POST /v1/alerts/cookie",
    "POST /v1/token/introspect",
    // The response and its time must not reveal whether there is such a user.
    "POST /v1/password/forgot",
    // There is no provider in this test.
    "POST /v1/oidc/id-token",
    "POST /v1/users/me/identities",
    // The user has none.
    "DELETE /v1/users/me/identities",
    "POST /v1/faces/verify",
    "POST /v1/faces/search",
    // There is no audio pipeline.
    "PUT /v1/providers/order",
    "POST /v1/providers/{name}/{action}",
    // They only say what is there.
    "HEAD /v1/uploads/{token}",
    "OPTIONS /v1/uploads",
    "OPTIONS /v1/uploads/{token}",
];

/// Operations that are not tried: they need an enrolled or recognised face, or a model that compares faces. They write to the same databases as the other
/// routes about subjects.
const NEED_A_FACE: [&str; 5] = [
    "POST /v1/faces/subjects/{id}/images",
    "DELETE /v1/faces/subjects/{id}/images/{image}",
    "PUT /v1/faces/model",
    "POST /v1/detections/{id}/reject",
    "DELETE /v1/detections/{id}/reject",
];

/// Operations that are not tried: they need a recording, or a book that is for sale. They write to the same database as the other routes
/// about books, and the store of files has a test of a full disk of its own.
const NEED_A_RECORDING: [&str; 17] = [
    "POST /v1/books/{id}/publish",
    "POST /v1/books/{id}/hide",
    "POST /v1/books/{id}/pipeline",
    "POST /v1/books/{id}/download",
    "PUT /v1/books/{id}/cover",
    "DELETE /v1/books/{id}/cover",
    "PUT /v1/books/{id}/position",
    "PUT /v1/cart/{book}",
    "DELETE /v1/cart/{book}",
    "POST /v1/checkout",
    "POST /v1/orders/{id}/refund",
    "POST /v1/uploads",
    "POST /v1/uploads/{token}",
    "PATCH /v1/uploads/{token}",
    "PUT /v1/uploads/{token}",
    "DELETE /v1/uploads/{token}",
    "DELETE /v1/categories/{slug}",
];

/// A request that changes something.
struct Change {
    /// Method and path, as in the OpenAPI document.
    operation: &'static str,
    /// Replaces `{id}`; `{name}` is that of one stream and of one watchlist, `{slug}` that of a category.
    id: String,
    token: String,
    body: Body,
    expected: u16,
}

enum Body {
    None,
    Json(Value),
    Form(Vec<(&'static str, String)>),
    Image(Bytes),
}

impl Change {
    fn new(operation: &'static str, token: &str, body: Body, expected: u16) -> Self {
        Self { operation, id: String::new(), token: token.to_owned(), body, expected }
    }

    fn of(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    async fn send(&self, client: &TestClient) -> reqwest::Response {
        let (method, path) = self.operation.split_once(' ').unwrap();
        let url = format!(
            "{}{}",
            client.url,
            path.replace("{id}", &self.id).replace("{name}", "gate-1").replace("{slug}", "crime")
        );
        let mut request = client.http.request(method.parse::<Method>().unwrap(), url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        let request = match &self.body {
            Body::None => request,
            Body::Json(body) => request.json(body),
            Body::Form(fields) => request.form(fields),
            Body::Image(image) => request.header("content-type", "image/png").body(image.clone()),
        };
        request.send().await.unwrap()
    }
}

/// Users with everything that the changes change.
struct Prepared {
    access_token: String,
    refresh_token: String,
    /// Of the session that one of the changes ends.
    ending_token: String,
    opaque_session: String,
    /// Of another user, whose sessions end and who resets the password.
    eve_token: String,
    reset_token: String,
    /// Ids by the last folder of their path.
    ids: BTreeMap<&'static str, String>,
}

async fn json_of(response: reqwest::Response) -> Value {
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

async fn sign_in(client: &TestClient, user: &str) -> Value {
    let form =
        vec![("grant_type", "password".to_owned()), ("username", user.to_owned()), ("password", PASSWORD.to_owned())];
    json_of(Change::new("POST /v1/token", "", Body::Form(form), 200).send(client).await).await
}

async fn prepare(up: &TestServer, client: &TestClient) -> Prepared {
    let add = async |operation, token: &str, body: Value| {
        json_of(Change::new(operation, token, Body::Json(body), 201).send(client).await).await
    };
    let user = |name: &str| json!({"email": format!("{name}@example.org"), "username": name, "password": PASSWORD});
    add("POST /v1/users", "", user("ann")).await;
    add("POST /v1/users", "", user("eve")).await;
    let other = add("POST /v1/users", "", user("bob")).await;
    let (session, ending) = (sign_in(client, "ann").await, sign_in(client, "ann").await);
    let access_token = text(&session["access_token"]);
    let rule = json!({"name": "sure faces", "condition": "confidence > 0.8"});
    let rule = add("POST /v1/rules", &access_token, rule).await;
    let stream = Change::new("PUT /v1/streams/{name}", &access_token, Body::Json(json!({})), 200).send(client).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let api_token = json!({"name": "gate camera", "scopes": ["frames:write"]});
    let api_token = add("POST /v1/api-tokens", &access_token, api_token).await;
    let login = json!({"username": "ann", "password": PASSWORD});
    let opaque_session = text(&add("POST /login", "", login).await["token"]);
    let ending_token = text(&ending["access_token"]);
    let sessions = client.http.get(format!("{}/v1/sessions", client.url)).bearer_auth(&ending_token);
    let sessions = json_of(sessions.send().await.unwrap()).await;
    let current = sessions["items"].as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
    let forgot = Body::Json(json!({"email": "eve@example.org"}));
    Change::new("POST /v1/password/forgot", "", forgot, 202).send(client).await;
    let subject = add("POST /v1/faces/subjects", &access_token, json!({"name": "A person"})).await;
    let merged = add("POST /v1/faces/subjects", &access_token, json!({"name": "The same person"})).await;
    let book = add("POST /v1/books", &up.token, json!({"title": "Emma", "author": "Jane Austen"})).await;
    let members = Body::Json(json!({"subjects": [subject["id"]]}));
    let list = Change::new("PUT /v1/faces/watchlists/{name}", &access_token, members, 200).send(client).await;
    assert_eq!(list.status(), StatusCode::OK);
    let ids = [
        ("rules", &rule),
        ("api-tokens", &api_token),
        ("users", &other),
        ("sessions", current),
        ("subjects", &subject),
        ("merged subjects", &merged),
        ("books", &book),
    ];
    Prepared {
        access_token,
        refresh_token: text(&session["refresh_token"]),
        ending_token,
        opaque_session,
        eve_token: text(&sign_in(client, "eve").await["access_token"]),
        reset_token: reset_token(up).await,
        ids: ids.into_iter().map(|(folder, item)| (folder, text(&item["id"]))).collect(),
    }
}

/// The reset token in the log output, where mails are written without a mail server.
async fn reset_token(up: &TestServer) -> String {
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        let output = up.process.output();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if let Some(found) = output.split(|c| !is_part(c)).find(|word| word.starts_with("slp_")) {
            return found.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no mail with a reset token: {}", up.process.output());
}

/// Every change, in an order in which each succeeds after the others.
fn changes(up: &TestServer, prepared: &Prepared, small: &Bytes, large: &Bytes) -> Vec<Change> {
    let Prepared { access_token: ann, opaque_session, ids, .. } = prepared;
    let operator = &up.token;
    let name = || Body::Json(json!({"name": "Ann B."}));
    let refresh = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", prepared.refresh_token.clone())];
    let password = |user: &str| {
        let password = ("password", PASSWORD.to_owned());
        Body::Form(vec![("grant_type", "password".to_owned()), ("username", user.to_owned()), password])
    };
    let user = |name: &str| json!({"username": name, "email": format!("{name}@example.org"), "password": PASSWORD});
    let rule = || Body::Json(json!({"name": "other faces", "condition": "confidence > 0.9"}));
    let report = json!({"state": "connected", "since": "2026-01-02T03:04:05Z"});
    let reset = json!({"token": prepared.reset_token, "password": PASSWORD});
    let new_password = json!({"present_password": PASSWORD, "new_password": PASSWORD});
    vec![
        Change::new("POST /v1/frames", operator, Body::Image(small.clone()), 202),
        Change::new("POST /v1/frames", operator, Body::Image(large.clone()), 202),
        Change::new("POST /v1/frames", ann, Body::Image(small.clone()), 202),
        Change::new("POST /v1/detections", operator, Body::Json(json!({"label": "car"})), 202),
        Change::new("POST /v1/detections", ann, Body::Json(json!({"label": "car"})), 202),
        Change::new("POST /v1/rules", ann, rule(), 201),
        Change::new("PATCH /v1/rules/{id}", ann, Body::Json(json!({"enabled": false})), 200).of(&ids["rules"]),
        Change::new("DELETE /v1/rules/{id}", ann, Body::None, 204).of(&ids["rules"]),
        Change::new("PUT /v1/streams/{name}", ann, Body::Json(json!({"detectors": ["face"]})), 200),
        Change::new("PUT /v1/streams/{name}/state", ann, Body::Json(report), 204),
        Change::new("DELETE /v1/streams/{name}", ann, Body::None, 204),
        Change::new("POST /v1/faces/subjects", ann, Body::Json(json!({"name": "Another person"})), 201),
        Change::new("PATCH /v1/faces/subjects/{id}", ann, Body::Json(json!({"name": "B."})), 200).of(&ids["subjects"]),
        Change::new("PUT /v1/faces/watchlists/{name}/subjects/{id}", ann, Body::None, 204).of(&ids["merged subjects"]),
        Change::new("DELETE /v1/faces/watchlists/{name}/subjects/{id}", ann, Body::None, 204).of(&ids["subjects"]),
        Change::new("PUT /v1/faces/watchlists/{name}", ann, Body::Json(json!({"subjects": []})), 200),
        Change::new("DELETE /v1/faces/watchlists/{name}", ann, Body::None, 204),
        Change::new(
            "POST /v1/faces/subjects/{id}/merge",
            ann,
            Body::Json(json!({"from": ids["merged subjects"]})),
            200,
        )
        .of(&ids["subjects"]),
        Change::new("DELETE /v1/faces/subjects/{id}", ann, Body::None, 200).of(&ids["subjects"]),
        Change::new("POST /v1/books", operator, Body::Json(json!({"title": "Persuasion", "author": ""})), 201),
        Change::new("PATCH /v1/books/{id}", operator, Body::Json(json!({"language": "en"})), 200).of(&ids["books"]),
        Change::new("POST /v1/books/{id}/upload", operator, Body::None, 200).of(&ids["books"]),
        Change::new("DELETE /v1/books/{id}", operator, Body::None, 204).of(&ids["books"]),
        Change::new("PUT /v1/categories/{slug}", operator, Body::Json(json!({"label": "Crime"})), 200),
        Change::new("POST /setName", opaque_session, name(), 200),
        Change::new("PUT /setName", opaque_session, name(), 200),
        Change::new("PATCH /setName", opaque_session, name(), 200),
        Change::new("POST /v1/users/me/photo", ann, Body::Image(small.clone()), 202),
        Change::new("PATCH /v1/users/me", ann, Body::Json(json!({"full_name": "Ann B. Miller"})), 200),
        Change::new("POST /v1/api-tokens", ann, Body::Json(json!({"name": "b", "scopes": ["frames:write"]})), 201),
        Change::new("DELETE /v1/api-tokens/{id}", ann, Body::None, 204).of(&ids["api-tokens"]),
        Change::new("DELETE /v1/sessions/{id}", ann, Body::None, 204).of(&ids["sessions"]),
        Change::new("POST /v1/users", "", Body::Json(user("cid")), 201),
        Change::new("POST /users", "", Body::Json(user("dan")), 201),
        Change::new("PATCH /v1/users/{id}", operator, Body::Json(json!({"api_request_quota": 3})), 200)
            .of(&ids["users"]),
        Change::new("DELETE /v1/users/{id}", operator, Body::None, 204).of(&ids["users"]),
        Change::new("POST /token", "", password("ann"), 200),
        Change::new("POST /v1/token", "", password("ann"), 200),
        Change::new("POST /v1/token", "", Body::Form(refresh), 200),
        Change::new("POST /v1/token/revoke", "", Body::Form(vec![("token", prepared.ending_token.clone())]), 200),
        Change::new("POST /v1/users/me/password", ann, Body::Json(new_password), 204),
        Change::new("DELETE /v1/sessions", &prepared.eve_token, Body::None, 204),
        Change::new("POST /v1/password/reset", "", Body::Json(reset), 204),
    ]
}

/// Fails for an operation that changes something and that this test does not know.
fn assert_complete(document: &Value, changes: &[Change]) {
    let known =
        changes.iter().map(|change| change.operation).chain(STORE_NOTHING).chain(NEED_A_FACE).chain(NEED_A_RECORDING);
    let known: BTreeSet<&str> = known.collect();
    let paths = document["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let changing: BTreeSet<String> = all.filter(|operation| !operation.starts_with("GET ")).collect();
    assert_eq!(changing, known.iter().map(|name| (*name).to_owned()).collect(), "add a request to this test");
}

/// An image of random pixels, too large for a message of the log.
fn large_image() -> Bytes {
    let mut pixels = vec![0; 700 * 700 * 3];
    fastrand::Rng::with_seed(1).fill(&mut pixels);
    let image = image::RgbImage::from_raw(700, 700, pixels).unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner().into()
}

/// What is wrong with the response to a change on a full disk.
async fn fault(change: &Change, client: &TestClient) -> Option<String> {
    let response = change.send(client).await;
    let (status, retry) = (response.status(), response.headers().contains_key("retry-after"));
    let body = response.text().await.unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    // The token endpoints answer with the codes of RFC 6749.
    let is_oauth = ["POST /v1/token", "POST /v1/token/revoke"].contains(&change.operation);
    let (code, detail) = if is_oauth { ("error", "error_description") } else { ("code", "detail") };
    let expected = if is_oauth { "temporarily_unavailable" } else { "disk_full" };
    let says_what_to_do = answer[detail].as_str().is_some_and(|detail| detail.contains("free space"));
    let right = status == StatusCode::SERVICE_UNAVAILABLE && answer[code] == expected && retry && says_what_to_do;
    (!right).then(|| format!("{}: {status}: {body}", change.operation))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_on_a_full_disk_is_refused_as_disk_full() {
    let name = "every_change_on_a_full_disk_is_refused_as_disk_full";
    let Some(small) = small_photo(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(name, &folder.path().join("data")) else { return };
    let uploads = folder.path().join("data/uploads");
    std::fs::create_dir(&uploads).unwrap();
    let settings = [
        ("SIGHTLINE_SIGN_INS_PER_ADDRESS", "1000".to_owned()),
        ("SIGHTLINE_RATE_LIMIT_RPS", "1000".to_owned()),
        ("SIGHTLINE_FACES_UPLOADS_DIR", uploads.to_str().unwrap().to_owned()),
    ];
    let mut up = TestServer::start_in(folder, &settings).await;
    let client = TestClient::new(&up.url, &up.token);
    let prepared = prepare(&up, &client).await;
    let changes = changes(&up, &prepared, &small, &large_image());
    assert_complete(&client.json("/openapi.json").await, &changes);
    let frame = client.send(&small).await;
    client.results(frame).await;

    disk.fill();
    let mut faults = Vec::new();
    for change in &changes {
        // The log may have freed a segment in the meantime.
        disk.fill();
        faults.extend(fault(change, &client).await);
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for path in [
        "/v1/frames",
        "/v1/detections",
        "/v1/stats",
        "/v1/rules",
        "/v1/alerts/history",
        "/v1/users",
        "/v1/audit",
        "/v1/books",
    ] {
        client.json(path).await;
    }
    client.results(frame).await;
    up.process.assert_running();

    disk.make_room();
    for change in &changes {
        let response = change.send(&client).await;
        let status = response.status();
        let body = response.text().await.unwrap();
        if status != change.expected {
            faults.push(format!("{}: {status}: {body}", change.operation));
        }
    }
    assert!(faults.is_empty(), "with space again: {}", faults.join("\n"));
    assert!(up.process.stop(), "{}", up.process.output());
}
