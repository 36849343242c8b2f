//! The OpenAPI document agrees with the router.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::support::{ADMIN, TestServer};

#[tokio::test]
async fn router_and_document_agree_on_methods() {
    let server = TestServer::start().await;
    let document = server.get("/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["oauth2"]["flows"]["password"]["tokenUrl"], "/v1/token");
    let scopes = schemes["oauth2"]["flows"]["password"]["scopes"].as_object().unwrap();
    let documented: Vec<&str> = scopes.keys().map(String::as_str).collect();
    let mut known: Vec<&str> = accounts::Scope::ALL.iter().map(|right| right.name()).collect();
    known.sort_unstable();
    assert_eq!(documented, known);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{}", paths.len());
    for (path, operations) in paths {
        let documented: BTreeSet<String> =
            operations.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        let concrete = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057").replace("{name}", "gate-1");
        let response = server.request(Method::from_bytes(b"BREW").unwrap(), &concrete).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        let allow = response.headers()["allow"].to_str().unwrap();
        // Every GET route also accepts HEAD.
        let accepted: BTreeSet<String> = allow.split(',').filter(|name| *name != "HEAD").map(str::to_owned).collect();
        assert_eq!(accepted, documented, "{path}");
        for (method, operation) in operations.as_object().unwrap() {
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            assert!(!operation["responses"].as_object().unwrap().is_empty(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn operations_have_unique_ids_and_documented_errors() {
    let server = TestServer::start().await;
    let document = server.get("/openapi.json").await;
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

#[tokio::test]
async fn attribute_parameters_are_documented() {
    let server = TestServer::start().await;
    let document = server.get("/openapi.json").await;
    let parameter = |path: &str, name: &str| {
        let parameters = document["paths"][path]["get"]["parameters"].as_array().unwrap();
        parameters.iter().find(|parameter| parameter["name"] == name).unwrap().clone()
    };
    let pattern = r"^attributes\.[a-z][a-z0-9_]{0,31}$";
    let filters = parameter("/v1/detections", "attributes");
    assert_eq!(
        (&filters["in"], &filters["style"], &filters["explode"], &filters["required"]),
        (&json!("query"), &json!("form"), &json!(true), &json!(false))
    );
    assert_eq!(
        filters["schema"],
        json!({
            "type": "object", "propertyNames": {"type": "string", "pattern": pattern},
            "additionalProperties": {"type": "string", "maxLength": 256}, "maxProperties": 16,
        })
    );
    let group = parameter("/v1/stats", "group_by");
    assert_eq!(group["required"], false);
    let fields = ["make", "model", "category", "label", "stream", "hour"];
    let expected = json!([{"type": "string", "enum": fields}, {"type": "string", "pattern": pattern}]);
    assert_eq!((&group["schema"]["anyOf"], &group["schema"]["default"]), (&expected, &json!("make")));
}

/// Whether an operation needs no credential.
fn is_open(operation: &serde_json::Value) -> bool {
    let ways = operation["security"].as_array();
    ways.is_some_and(|ways| ways.iter().any(|way| way.as_object().is_some_and(serde_json::Map::is_empty)))
}

#[tokio::test]
async fn anonymous_requests_get_401_unless_documented() {
    let server = TestServer::start().await;
    let document = server.get("/openapi.json").await;
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
            let concrete = path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057").replace("{name}", "gate-1");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let response = server.anonymous(method.clone(), &concrete).send().await.unwrap();
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
    assert_eq!(open, expected.map(str::to_owned).into(), "no other operation is open");
}

#[tokio::test]
async fn the_root_redirects_to_the_documentation() {
    let server = TestServer::start().await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = client.get(format!("http://{}/", server.address)).send().await.unwrap();
    assert_eq!(response.headers()["location"], "/docs/");
    assert!(server.get_as(ADMIN, "/").await.text().await.unwrap().contains("swagger-ui"));
}

#[tokio::test]
async fn swagger_ui_is_served() {
    let server = TestServer::start().await;
    let page = server.get_as(ADMIN, "/docs/").await;
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.text().await.unwrap().contains("swagger-ui"));
    for file in ["index.css", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"] {
        assert_eq!(server.get_as(ADMIN, &format!("/docs/{file}")).await.status(), StatusCode::OK, "{file}");
    }
    let start = server.get_as(ADMIN, "/docs/swagger-initializer.js").await.text().await.unwrap();
    assert!(start.contains("/openapi.json"), "{start}");
    assert_eq!(server.get_as(ADMIN, "/docs/swagger-ui.js").await.status(), StatusCode::NOT_FOUND);
}
