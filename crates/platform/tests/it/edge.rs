//! Headers of every response: request id, security headers, CORS.

use http::Method;
use platform::config::HttpArgs;
use platform::http::Limits;
use reqwest::{Client, Response};
use serde_json::Value;

use crate::certificates::Authority;
use crate::test_server::{TestServer, client, plain};

fn any_client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn answer_and_problem_have_the_same_request_id() {
    let server = TestServer::start(&plain(), Limits::default()).await;
    let client = any_client();
    let given = client.get(server.url("http", "/refused")).header("x-request-id", "camera-7/42").send().await.unwrap();
    assert_eq!(header(&given, "x-request-id"), Some("camera-7/42"));
    let problem: Value = serde_json::from_str(&given.text().await.unwrap()).unwrap();
    assert_eq!(problem["request_id"], "camera-7/42");

    let invalid = client.get(server.url("http", "/refused")).header("x-request-id", "a b\"c").send().await.unwrap();
    let made = header(&invalid, "x-request-id").unwrap().to_owned();
    assert_eq!(made.len(), 36, "{made}");
    let problem: Value = serde_json::from_str(&invalid.text().await.unwrap()).unwrap();
    assert_eq!(problem["request_id"], made.as_str());
    let nowhere = client.get(server.url("http", "/nowhere")).send().await.unwrap();
    assert!(header(&nowhere, "x-request-id").is_some());
}

#[tokio::test]
async fn security_headers_are_set_and_hsts_only_over_tls() {
    let server = TestServer::start(&plain(), Limits::default()).await;
    let response = any_client().get(server.url("http", "/")).send().await.unwrap();
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    assert_eq!(header(&response, "content-security-policy"), Some("frame-ancestors 'none'"));
    assert_eq!(header(&response, "referrer-policy"), Some("no-referrer"));
    assert_eq!(header(&response, "strict-transport-security"), None);

    let authority = Authority::new();
    let (server, _folder) = TestServer::encrypted(&authority).await;
    let client = client(&authority).build().unwrap();
    let response = client.get(server.url("https", "/")).send().await.unwrap();
    assert_eq!(header(&response, "strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(header(&response, "x-content-type-options"), Some("nosniff"));
    let url = format!("https://localhost:{}/", server.address.port());
    let response = client.get(url).send().await.unwrap();
    assert_eq!(header(&response, "strict-transport-security"), None, "all local servers share that name");
}

#[tokio::test]
async fn handlers_see_that_the_client_uses_tls() {
    let authority = Authority::new();
    let (server, _folder) = TestServer::encrypted(&authority).await;
    let request = client(&authority).build().unwrap().get(server.url("https", "/proto"));
    assert_eq!(request.header("x-forwarded-proto", "http").send().await.unwrap().text().await.unwrap(), "https");
}

/// The preflight of a POST.
async fn preflight(server: &TestServer, origin: &str) -> Response {
    let request = any_client().request(Method::OPTIONS, server.url("http", "/length"));
    request.header("origin", origin).header("access-control-request-method", "POST").send().await.unwrap()
}

async fn get_from(server: &TestServer, origin: &str) -> Response {
    any_client().get(server.url("http", "/")).header("origin", origin).send().await.unwrap()
}

#[tokio::test]
async fn without_origins_every_cross_origin_request_is_rejected() {
    let server = TestServer::start(&plain(), Limits::default()).await;
    assert_eq!(preflight(&server, "https://app.example.com").await.status(), 405);
    let response = get_from(&server, "https://app.example.com").await;
    assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control-")), "{response:?}");
    assert_eq!(header(&response, "vary"), None);
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_call() {
    let cors_origins = vec!["https://app.example.com".to_owned(), "http://localhost:5173".to_owned()];
    let server = TestServer::start(&HttpArgs { cors_origins, ..plain() }, Limits::default()).await;
    let allowed = preflight(&server, "https://app.example.com").await;
    assert_eq!(allowed.status(), 200);
    assert_eq!(header(&allowed, "access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(header(&allowed, "access-control-allow-credentials"), Some("true"));
    assert!(header(&allowed, "access-control-allow-methods").unwrap().contains("POST"));
    for name in ["authorization", "cache-control", "last-event-id"] {
        assert!(header(&allowed, "access-control-allow-headers").unwrap().contains(name), "{name}");
    }
    let response = get_from(&server, "http://localhost:5173").await;
    assert_eq!(header(&response, "access-control-allow-origin"), Some("http://localhost:5173"));
    assert_eq!(header(&response, "vary"), Some("origin"));
    assert_eq!(response.text().await.unwrap(), "hello");

    for stranger in ["https://evil.example.com", "http://app.example.com", "null"] {
        for response in [preflight(&server, stranger).await, get_from(&server, stranger).await] {
            assert_eq!(header(&response, "access-control-allow-origin"), None, "{stranger}");
        }
    }
}

#[tokio::test]
async fn options_without_a_preflight_reach_their_route() {
    let cors_origins = vec!["https://app.example.com".to_owned()];
    let server = TestServer::start(&HttpArgs { cors_origins, ..plain() }, Limits::default()).await;
    let response = any_client().request(Method::OPTIONS, server.url("http", "/length")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, Some("POST")));
}

#[tokio::test]
async fn with_a_star_any_page_may_call_without_credentials() {
    let server =
        TestServer::start(&HttpArgs { cors_origins: vec!["*".to_owned()], ..plain() }, Limits::default()).await;
    let response = get_from(&server, "https://app.example.com").await;
    assert_eq!(header(&response, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&response, "access-control-allow-credentials"), None);
}
