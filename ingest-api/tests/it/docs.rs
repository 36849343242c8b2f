//! The OpenAPI document and the router tell the same.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};

use crate::site::{Site, png};

#[tokio::test]
async fn every_path_of_the_document_takes_the_methods_that_it_names_and_no_others() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["oauth2"]["flows"]["password"]["tokenUrl"], "/v1/token");
    let scopes = schemes["oauth2"]["flows"]["password"]["scopes"].as_object().unwrap();
    let named: Vec<&str> = scopes.keys().map(String::as_str).collect();
    let mut known: Vec<&str> = accounts::Right::ALL.iter().map(|right| right.name()).collect();
    known.sort_unstable();
    assert_eq!(named, known);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{}", paths.len());
    for (path, operations) in paths {
        let named: BTreeSet<String> =
            operations.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let concrete = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
        let response = site.request(Method::from_bytes(b"BREW").unwrap(), &concrete).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allow = response.headers()["allow"].to_str().unwrap();
        // HEAD comes with every GET.
        let taken: BTreeSet<String> = allow.split(',').filter(|name| *name != "HEAD").map(str::to_owned).collect();
        assert_eq!(taken, named, "{path}");
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_tells_its_refusals_with_their_headers() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await;
    let mut names = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name.to_owned()), "{name} is the name of two operations");
            let header = |status: &str| {
                let headers = operation["responses"][status]["headers"].as_object();
                headers.map(|headers| headers.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
            };
            assert_eq!(header("405"), ["Allow"], "{method} {path}");
            if path.starts_with("/healthz") || path.starts_with("/readyz") {
                continue;
            }
            if !is_open(operation) {
                assert_eq!(header("401"), ["WWW-Authenticate"], "{method} {path}");
            }
            assert_eq!(header("429"), ["Retry-After"], "{method} {path}");
            assert_eq!(header("503"), ["Retry-After"], "{method} {path}");
        }
    }
    assert!(names.len() >= 50, "{names:?}");
}

/// Whether an operation takes requests without a credential.
fn is_open(operation: &serde_json::Value) -> bool {
    let ways = operation["security"].as_array();
    ways.is_some_and(|ways| ways.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty)))
}

#[tokio::test]
async fn strangers_get_401_where_the_document_does_not_say_otherwise() {
    let site = Site::start().await;
    let document = site.get("/openapi.json").await;
    let mut open = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if is_open(operation) {
                open.insert(operation["operationId"].as_str().unwrap().to_owned());
                continue;
            }
            if ["/v1/alerts", "/alerts", "/v1/alerts/cookie"].contains(&path.as_str()) {
                continue;
            }
            let concrete = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = site.stranger(method.clone(), &concrete).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
            assert!(response.headers().contains_key("www-authenticate"), "{method} {path}");
        }
    }
    let expected = [
        "begin_oidc_login",
        "end_oidc_login",
        "forgot_password",
        "get_keys",
        "get_token",
        "hello",
        "hello_by_name",
        "is_live",
        "is_ready",
        "older_login",
        "older_register",
        "older_token",
        "register",
        "reset_password",
        "revoke_token",
        "sign_in_with_id_token",
    ];
    assert_eq!(open, expected.map(str::to_owned).into(), "nothing else is open to strangers");
}

#[tokio::test]
async fn the_bare_address_leads_to_the_documentation() {
    let site = Site::start().await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = client.get(format!("http://{}/", site.address)).send().await.unwrap();
    assert_eq!(response.headers()["location"], "/docs/");
    assert!(site.request(Method::GET, "/").send().await.unwrap().text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test]
async fn the_document_can_be_read_in_a_browser() {
    let site = Site::start().await;
    let page = site.request(Method::GET, "/docs/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test]
async fn it_says_that_it_lives_and_is_ready() {
    let site = Site::start().await;
    assert_eq!(site.get("/healthz").await["status"], "ok");
    let ready = site.get("/readyz").await;
    for name in ["bus", "documents", "blobs", "accounts"] {
        assert_eq!(ready["checks"][name], "ok", "{ready}");
    }
}

#[tokio::test]
async fn it_counts_what_it_does() {
    let site = Site::start().await;
    site.send("/v1/frames", png(9, 9, 2000)).send().await.unwrap();
    site.send("/v1/frames", b"GIF89a".to_vec()).send().await.unwrap();
    let metrics = platform::telemetry::metrics().render();
    for line in [
        "sightline_http_requests_total{route=\"/v1/frames\",method=\"POST\",status=\"202\"}",
        "sightline_http_request_seconds",
        "sightline_ingest_frames_total",
        "sightline_ingest_frame_bytes_total",
        "sightline_ingest_bytes_in_flight",
        "sightline_ingest_waiting",
        "sightline_ingest_backlog_seconds",
        "sightline_ingest_backlog_wait_seconds",
        "sightline_ingest_refusals_total{code=\"unsupported_media_type\"}",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
}
