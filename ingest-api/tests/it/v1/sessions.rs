//! Sessions of the signed-in user.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{TestServer, problem};

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    server.create_user("bob").await;
    let (phone, laptop) = (server.access_token("ann").await, server.access_token("ann").await);
    let bob = server.access_token("bob").await;
    let list = async || {
        let response = server.get_as(&laptop, "/v1/sessions").await;
        response.json::<Value>().await.unwrap()["items"].as_array().unwrap().clone()
    };
    let sessions = list().await;
    assert_eq!(sessions.len(), 2);
    assert_eq!((&sessions[0]["current"], &sessions[1]["current"]), (&json!(true), &json!(false)), "newest first");
    assert_eq!(sessions[0]["address"], "127.0.0.1");

    let path = format!("/v1/sessions/{}", sessions[1]["id"].as_str().unwrap());
    let foreign = server.delete_as(&bob, &path).await;
    assert_eq!(problem(foreign).await.1, "not_found");
    assert_eq!(list().await.len(), 2);
    let ended = server.delete_as(&laptop, &path).await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert!(server.refuses(&phone).await && !server.refuses(&laptop).await);

    let ended = server.delete_as(&laptop, "/v1/sessions").await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert!(server.refuses(&laptop).await && !server.refuses(&bob).await);
    server.access_token("ann").await;
}
