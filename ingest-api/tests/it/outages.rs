//! PostgreSQL or Redis becomes unreachable under a running service, and returns.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testing::Relay;
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{PASSWORD, TIMEOUT, TestServer, backend_addresses};

/// A user with an access token and an opaque session.
struct SignedInUser {
    name: String,
    token: String,
    session: String,
}

impl SignedInUser {
    async fn create(server: &TestServer) -> Self {
        let name = format!("u{}", Uuid::new_v4().simple());
        server.create_user(&name).await;
        let token = server.access_token(&name).await;
        let login = json!({"username": name, "password": PASSWORD});
        let login = server.post_anonymously("/login", &login).await;
        let session = login.headers()["authorization"].to_str().unwrap().to_owned();
        Self { name, token, session }
    }

    async fn send_frame(&self, server: &TestServer) -> Response {
        server.frame_as(&self.token).send().await.unwrap()
    }

    async fn get_name(&self, server: &TestServer) -> Response {
        server.anonymous(Method::GET, "/getName").header("authorization", &self.session).send().await.unwrap()
    }

    async fn sign_in(&self, server: &TestServer) -> Response {
        server.sign_in_with(&self.name, PASSWORD).await
    }
}

/// Checks that the response is a 503 with `Retry-After`, within ten seconds. Returns its body.
async fn assert_retry_later(request: impl Future<Output = Response>) -> Value {
    let started = Instant::now();
    let response = request.await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(started.elapsed() < Duration::from_secs(10), "after {:?}", started.elapsed());
    let seconds: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    response.json().await.unwrap()
}

/// Repeats a request until its response has this status; until then it must be 503.
async fn wait_for_status(status: StatusCode, request: impl AsyncFn() -> Response) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let response = request().await.status();
        if response == status {
            return;
        }
        assert_eq!(response, StatusCode::SERVICE_UNAVAILABLE);
        assert!(Instant::now() < deadline, "the service does not recover");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn postgres_outage_gives_503_and_recovery_is_automatic() {
    let (database, redis) = backend_addresses();
    let mut relay = Relay::to(&database).await;
    let server = TestServer::on_backends_at(&relay.url(), &redis).await;
    let ann = SignedInUser::create(&server).await;
    assert_eq!(ann.send_frame(&server).await.status(), StatusCode::ACCEPTED);

    relay.cut().await;
    assert_eq!(assert_retry_later(ann.send_frame(&server)).await["code"], "unavailable");
    assert_eq!(assert_retry_later(ann.sign_in(&server)).await["error"], "temporarily_unavailable");
    let list = server.get_as(&ann.token, "/v1/frames").await;
    assert_eq!(
        list.status(),
        StatusCode::OK,
        "a user that was checked within a minute needs no accounts database to read"
    );

    relay.restore().await;
    wait_for_status(StatusCode::ACCEPTED, async || ann.send_frame(&server).await).await;
    wait_for_status(StatusCode::OK, async || ann.sign_in(&server).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn redis_outage_affects_opaque_sessions_only() {
    let (database, redis) = backend_addresses();
    let mut relay = Relay::to(&redis).await;
    let server = TestServer::on_backends_at(&database, &relay.url()).await;
    let ann = SignedInUser::create(&server).await;
    assert_eq!(ann.get_name(&server).await.status(), StatusCode::OK);

    relay.cut().await;
    assert_eq!(assert_retry_later(ann.get_name(&server)).await["code"], "unavailable");
    assert_eq!(ann.send_frame(&server).await.status(), StatusCode::ACCEPTED);
    assert_eq!(ann.sign_in(&server).await.status(), StatusCode::OK);

    relay.restore().await;
    wait_for_status(StatusCode::OK, async || ann.get_name(&server).await).await;
}
