//! The example of two versions of one route, and the switch that removes all compatibility routes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{TestServer, problem};

#[tokio::test]
async fn two_versions_of_a_route_coexist() {
    let server = TestServer::start().await;
    let ask =
        async |path: &str| server.anonymous(Method::GET, path).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(ask("/v1/hello").await, json!({"message": "Hello, world!"}));
    assert_eq!(ask("/v2/hello?name=Ann").await, json!({"message": "Hello, Ann!", "name": "Ann"}));
}

#[tokio::test]
async fn with_compat_off_older_routes_are_404() {
    let server = TestServer::with_flags(&["--compat", "off"]).await;
    for path in ["/users", "/token", "/login", "/setName", "/v1/hello", "/v2/hello"] {
        let response = server.anonymous(Method::POST, path).send().await.unwrap();
        assert_eq!(problem(response).await.1, "unknown_path", "{path}");
    }
}
