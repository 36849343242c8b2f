//! PostgreSQL or Redis goes away under a running service, and comes back.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, Url};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

use crate::site::{PASSWORD, PATIENCE, Site, png, servers};

/// A way to a server that can be cut.
struct Relay {
    port: u16,
    target: Url,
    running: JoinHandle<()>,
}

impl Relay {
    async fn to(server: &str) -> Self {
        Self::open(server.parse().unwrap(), 0).await
    }

    async fn open(target: Url, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = (target.host_str().unwrap().to_owned(), target.port().unwrap());
        let running = tokio::spawn(async move {
            // What is carried ends with this task.
            let mut carried = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                carried.spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        drop(copy_bidirectional(&mut client, &mut server).await);
                    }
                });
            }
        });
        Self { port, target, running }
    }

    /// The server's address with this way in its place.
    fn url(&self) -> String {
        let mut url = self.target.clone();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.to_string()
    }

    async fn cut(self) -> (Url, u16) {
        self.running.abort();
        drop(self.running.await);
        (self.target, self.port)
    }
}

struct Ann {
    name: String,
    token: String,
    session: String,
}

impl Ann {
    async fn signed_in(site: &Site) -> Self {
        let name = format!("u{}", Uuid::new_v4().simple());
        site.user(&name).await;
        let token = site.access_token(&name).await;
        let login = json!({"username": name, "password": PASSWORD});
        let login = site.stranger(Method::POST, "/login").json(&login).send().await.unwrap();
        let session = login.headers()["authorization"].to_str().unwrap().to_owned();
        Self { name, token, session }
    }

    async fn sends_a_frame(&self, site: &Site) -> Response {
        let request = site.request_as(&self.token, Method::POST, "/v1/frames").header("content-type", "image/png");
        request.body(png(9, 9, 900)).send().await.unwrap()
    }

    async fn asks_her_name(&self, site: &Site) -> Response {
        site.stranger(Method::GET, "/getName").header("authorization", &self.session).send().await.unwrap()
    }

    async fn signs_in(&self, site: &Site) -> Response {
        let fields = [("grant_type", "password"), ("username", self.name.as_str()), ("password", PASSWORD)];
        site.form("/v1/token", &fields).await
    }
}

/// Checks that a client is told to come back, and that it was told soon.
async fn told_to_come_back(asked: impl Future<Output = Response>) -> Value {
    let began = Instant::now();
    let answer = asked.await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    let seconds: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    answer.json().await.unwrap()
}

/// Waits until a request is answered with this status.
async fn becomes(status: StatusCode, ask: impl AsyncFn() -> Response) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await.status();
        if answer == status {
            return;
        }
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
        assert!(Instant::now() < deadline, "service does not resume");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn while_postgres_is_away_clients_are_told_to_come_back_and_service_resumes_by_itself() {
    let (database, redis) = servers();
    let relay = Relay::to(&database).await;
    let site = Site::on_servers_at(&relay.url(), &redis).await;
    let ann = Ann::signed_in(&site).await;
    assert_eq!(ann.sends_a_frame(&site).await.status(), StatusCode::ACCEPTED);

    let (target, port) = relay.cut().await;
    assert_eq!(told_to_come_back(ann.sends_a_frame(&site)).await["code"], "unavailable");
    assert_eq!(told_to_come_back(ann.signs_in(&site)).await["error"], "temporarily_unavailable");
    let list = site.request_as(&ann.token, Method::GET, "/v1/frames").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK, "what needs no accounts goes on");

    let _relay = Relay::open(target, port).await;
    becomes(StatusCode::ACCEPTED, async || ann.sends_a_frame(&site).await).await;
    becomes(StatusCode::OK, async || ann.signs_in(&site).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs postgres and redis"]
async fn while_redis_is_away_requests_go_on_and_opaque_sessions_come_back_with_it() {
    let (database, redis) = servers();
    let relay = Relay::to(&redis).await;
    let site = Site::on_servers_at(&database, &relay.url()).await;
    let ann = Ann::signed_in(&site).await;
    assert_eq!(ann.asks_her_name(&site).await.status(), StatusCode::OK);

    let (target, port) = relay.cut().await;
    assert_eq!(told_to_come_back(ann.asks_her_name(&site)).await["code"], "unavailable");
    assert_eq!(ann.sends_a_frame(&site).await.status(), StatusCode::ACCEPTED);
    assert_eq!(ann.signs_in(&site).await.status(), StatusCode::OK);

    let _relay = Relay::open(target, port).await;
    becomes(StatusCode::OK, async || ann.asks_her_name(&site).await).await;
}
