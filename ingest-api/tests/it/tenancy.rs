//! Tenants are isolated: every route responds to an id of another tenant as to an unknown id.

use std::collections::BTreeMap;

use contracts::FrameId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestServer, face, problem, result_of};

/// One item of Ann's for each path with an id.
struct ItemsOfAnn {
    ids: BTreeMap<&'static str, String>,
    token: String,
}

async fn create_items(server: &TestServer) -> ItemsOfAnn {
    let user = server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let post = async |path: &str, body: Value| {
        let created = server.post_as(&token, path, &body).await;
        assert!(created.status().is_success(), "{path}");
        created.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let rule = post("/v1/rules", json!({"name": "mine", "condition": "true"})).await;
    let api_token = post("/v1/api-tokens", json!({"name": "mine", "scopes": ["frames:write"]})).await;
    let sessions = server.get_as(&token, "/v1/sessions").await;
    let sessions: Value = sessions.json().await.unwrap();
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();

    let frame = FrameId::now();
    let mut result = result_of(frame, vec![face(0.9)]);
    result.tenant = user.tenant.clone();
    server.index(result).await;
    // A stream has a name instead of an id; this one looks like an id, to be found in lists.
    let stream = Uuid::now_v7().to_string();
    let path = format!("/v1/streams/{stream}");
    assert_eq!(server.put_as(&token, &path, &json!({"detectors": ["face"]})).await.status(), StatusCode::OK);
    let ids = BTreeMap::from([
        ("/v1/frames/{id}", frame.to_string()),
        ("/v1/frames/{id}/image", frame.to_string()),
        ("/v1/detections/{id}", format!("{frame}-face-0")),
        ("/v1/rules/{id}", rule),
        ("/v1/streams/{name}", stream.clone()),
        ("/v1/streams/{name}/state", stream),
        ("/v1/api-tokens/{id}", api_token),
        ("/v1/sessions/{id}", session),
        ("/v1/users/{id}", user.id.to_string()),
    ]);
    ItemsOfAnn { ids, token }
}

async fn ask(server: &TestServer, token: &str, method: &Method, path: &str) -> (StatusCode, String, String) {
    let mut request = server.request_as(token, method.clone(), path);
    if *method == Method::PATCH {
        request = request.json(&json!({}));
    }
    problem(request.send().await.unwrap()).await
}

#[tokio::test]
async fn ids_of_other_tenants_look_unknown() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "none"]).await;
    let ann = create_items(&server).await;
    server.create_user("bob").await;
    let bob = server.access_token("bob").await;
    let document = server.get("/openapi.json").await;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.contains('{') {
            continue;
        }
        let of_other_tenant =
            ann.ids.get(path.as_str()).unwrap_or_else(|| panic!("{path} is new: create an item for it"));
        let unknown = match of_other_tenant.split_at_checked(36) {
            Some((_, rest)) => format!("{}{rest}", Uuid::now_v7()),
            None => panic!("{of_other_tenant} has no UUID"),
        };
        for name in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            // A name is unique within its tenant: a PUT makes a stream of Bob's own.
            if method == Method::PUT {
                continue;
            }
            let path_of = |id: &str| path.replace("{id}", id).replace("{name}", id);
            let for_other_tenant = ask(&server, &bob, &method, &path_of(of_other_tenant)).await;
            let for_unknown = ask(&server, &bob, &method, &path_of(&unknown)).await;
            let without_id = |(status, code, detail): (StatusCode, String, String), id: &str| {
                (status, code, detail.replace(id, "…"))
            };
            assert_eq!(
                without_id(for_other_tenant.clone(), of_other_tenant),
                without_id(for_unknown, &unknown),
                "{method} {path}"
            );
            assert!([404, 403].contains(&for_other_tenant.0.as_u16()), "{method} {path}: {for_other_tenant:?}");
            checked += 1;
        }
    }
    assert!(checked >= 11, "{checked}");

    a_stream_of_the_same_name_is_another_one(&server, &ann, &bob).await;

    // After all of Bob's attempts Ann's items are unchanged.
    for (path, id) in ann.ids.iter().filter(|(path, _)| !path.ends_with("/image") && !path.ends_with("/state")) {
        if ["/v1/frames/{id}", "/v1/detections/{id}", "/v1/rules/{id}", "/v1/streams/{name}"].contains(path) {
            let response = server.get_as(&ann.token, &path.replace("{id}", id).replace("{name}", id)).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
        } else if *path != "/v1/users/{id}" {
            let list = server.get_as(&ann.token, path.trim_end_matches("/{id}")).await;
            assert!(list.text().await.unwrap().contains(id.as_str()), "{path}");
        }
    }
}

/// Bob sets up, reports and deletes a stream of the name that Ann's has.
async fn a_stream_of_the_same_name_is_another_one(server: &TestServer, ann: &ItemsOfAnn, bob: &str) {
    let path = format!("/v1/streams/{}", ann.ids["/v1/streams/{name}"]);
    let before: Value = server.get_as(&ann.token, &path).await.json().await.unwrap();
    assert_eq!(before["detectors"], json!(["face"]));
    let set: Value = server.put_as(bob, &path, &json!({})).await.json().await.unwrap();
    assert_eq!(set["detectors"], Value::Null);
    let report = json!({"state": "failed", "since": "2026-01-02T03:04:05Z"});
    let reported = server.put_as(bob, &format!("{path}/state"), &report).await;
    assert_eq!(reported.status(), StatusCode::NO_CONTENT);
    assert_eq!(server.delete_as(bob, &path).await.status(), StatusCode::NO_CONTENT);
    let after: Value = server.get_as(&ann.token, &path).await.json().await.unwrap();
    assert_eq!(after, before);
}

#[tokio::test]
async fn no_list_shows_items_of_another_tenant() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "none"]).await;
    let ann = create_items(&server).await;
    server.create_user("bob").await;
    let bob = server.access_token("bob").await;
    let document = server.get("/openapi.json").await;
    let mut checked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let streams = ["/v1/alerts", "/alerts"].contains(&path.as_str());
        if path.contains('{') || operations["get"].is_null() || streams {
            continue;
        }
        let response = server.get_as(&bob, path).await.text().await.unwrap();
        for (kind, id) in &ann.ids {
            assert!(!response.contains(id.as_str()), "{path} shows an item of {kind}: {response}");
        }
        checked += 1;
    }
    assert!(checked >= 12, "{checked}");

    // A cursor from Ann's list continues in Bob's list when Bob sends it.
    let list = server.get_as(&ann.token, "/v1/detections").await;
    let list: Value = list.json().await.unwrap();
    let newest = list["items"][0]["captured_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let cursor = store::PageCursor { at: newest + std::time::Duration::from_secs(1), id: "z".to_owned() };
    let cursor = cursor.encode(store::List::Detections);
    let stolen = server.get_as(&bob, &format!("/v1/detections?cursor={cursor}")).await;
    assert!(stolen.json::<Value>().await.unwrap()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_same_key_of_two_users_is_two_frames() {
    let server = TestServer::start().await;
    for name in ["ann", "bob"] {
        server.create_user(name).await;
    }
    let mut frames = Vec::new();
    for name in ["ann", "bob"] {
        let token = server.access_token(name).await;
        let sent = server.frame_as(&token).header("idempotency-key", "same").send().await.unwrap();
        frames.push(sent.json::<Value>().await.unwrap()["frame_id"].clone());
    }
    assert_ne!(frames[0], frames[1]);
}

#[tokio::test]
async fn shared_frames_are_readable_by_everyone() {
    let server = TestServer::start().await;
    server.create_user("bob").await;
    let mut result = result_of(FrameId::now(), vec![face(0.9)]);
    result.tenant = contracts::TenantId::shared();
    let path = format!("/v1/frames/{}", result.data.frame_id);
    server.index(result).await;
    let token = server.access_token("bob").await;
    let read = server.get_as(&token, &path).await;
    assert_eq!(read.status(), StatusCode::OK);
}
