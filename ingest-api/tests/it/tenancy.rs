//! What is one user's is nobody else's: every route, asked with somebody else's ids, answers as with ids of nothing.

use std::collections::BTreeMap;

use contracts::FrameId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::site::{Site, face, png, problem, result_of};

/// Ids of what Ann has, by the path that names them.
struct Things {
    ids: BTreeMap<&'static str, String>,
    token: String,
}

async fn of_ann(site: &Site) -> Things {
    let user = site.user("ann").await;
    let token = site.access_token("ann").await;
    let post = async |path: &str, body: Value| {
        let made = site.request_as(&token, Method::POST, path).json(&body).send().await.unwrap();
        assert!(made.status().is_success(), "{path}");
        made.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let rule = post("/v1/rules", json!({"name": "mine", "condition": "true"})).await;
    let api_token = post("/v1/api-tokens", json!({"name": "mine", "scopes": ["frames:write"]})).await;
    let sessions = site.request_as(&token, Method::GET, "/v1/sessions").send().await.unwrap();
    let sessions: Value = sessions.json().await.unwrap();
    let session = sessions["items"][0]["id"].as_str().unwrap().to_owned();

    let frame = FrameId::now();
    let mut result = result_of(frame, vec![face(0.9)]);
    result.tenant = user.tenant.clone();
    site.index(result).await;
    let ids = BTreeMap::from([
        ("/v1/frames/{id}", frame.to_string()),
        ("/v1/frames/{id}/image", frame.to_string()),
        ("/v1/detections/{id}", format!("{frame}-face-0")),
        ("/v1/rules/{id}", rule),
        ("/v1/api-tokens/{id}", api_token),
        ("/v1/sessions/{id}", session),
        ("/v1/users/{id}", user.id.to_string()),
    ]);
    Things { ids, token }
}

fn body_of(method: &Method) -> Option<Value> {
    (*method == Method::PATCH).then(|| json!({}))
}

async fn ask(site: &Site, token: &str, method: &Method, path: &str) -> (StatusCode, String, String) {
    let mut request = site.request_as(token, method.clone(), path);
    if let Some(body) = body_of(method) {
        request = request.json(&body);
    }
    problem(request.send().await.unwrap()).await
}

#[tokio::test]
async fn every_route_answers_to_somebody_elses_id_as_to_an_unknown_one() {
    let site = Site::with(&["--rate-limit-rps", "none"]).await;
    let ann = of_ann(&site).await;
    site.user("bob").await;
    let bob = site.access_token("bob").await;
    let document = site.get("/openapi.json").await;
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.contains('{') {
            continue;
        }
        let hers = ann.ids.get(path.as_str()).unwrap_or_else(|| panic!("{path} is new: give Ann one of these"));
        let unknown = match hers.split_at_checked(36) {
            Some((_, rest)) => format!("{}{rest}", Uuid::now_v7()),
            None => panic!("{hers} is no id"),
        };
        for name in operations.as_object().unwrap().keys() {
            let method = Method::from_bytes(name.to_uppercase().as_bytes()).unwrap();
            let of_hers = ask(&site, &bob, &method, &path.replace("{id}", hers)).await;
            let of_none = ask(&site, &bob, &method, &path.replace("{id}", &unknown)).await;
            let without_id = |(status, code, detail): (StatusCode, String, String), id: &str| {
                (status, code, detail.replace(id, "…"))
            };
            assert_eq!(without_id(of_hers.clone(), hers), without_id(of_none, &unknown), "{method} {path}");
            assert!([404, 403].contains(&of_hers.0.as_u16()), "{method} {path}: {of_hers:?}");
            walked += 1;
        }
    }
    assert!(walked >= 11, "{walked}");

    // Whatever Bob tried, all of it is still Ann's.
    for (path, id) in ann.ids.iter().filter(|(path, _)| !path.ends_with("/image")) {
        if ["/v1/frames/{id}", "/v1/detections/{id}", "/v1/rules/{id}"].contains(path) {
            let answer = site.request_as(&ann.token, Method::GET, &path.replace("{id}", id)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
        } else if *path != "/v1/users/{id}" {
            let list = site.request_as(&ann.token, Method::GET, path.trim_end_matches("/{id}")).send().await.unwrap();
            assert!(list.text().await.unwrap().contains(id.as_str()), "{path}");
        }
    }
}

#[tokio::test]
async fn no_list_shows_what_is_somebody_elses() {
    let site = Site::with(&["--rate-limit-rps", "none"]).await;
    let ann = of_ann(&site).await;
    site.user("bob").await;
    let bob = site.access_token("bob").await;
    let document = site.get("/openapi.json").await;
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let streams = ["/v1/alerts", "/alerts"].contains(&path.as_str());
        if path.contains('{') || operations["get"].is_null() || streams {
            continue;
        }
        let answer = site.request_as(&bob, Method::GET, path).send().await.unwrap().text().await.unwrap();
        for (kind, id) in &ann.ids {
            assert!(!answer.contains(id.as_str()), "{path} shows what {kind} names: {answer}");
        }
        walked += 1;
    }
    assert!(walked >= 12, "{walked}");

    // A cursor of Ann's list, given to Bob's, goes on in Bob's.
    let list = site.request_as(&ann.token, Method::GET, "/v1/detections").send().await.unwrap();
    let list: Value = list.json().await.unwrap();
    let newest = list["items"][0]["captured_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let cursor = store::Cursor { at: newest + std::time::Duration::from_secs(1), id: "z".to_owned() }.encode();
    let stolen = site.request_as(&bob, Method::GET, &format!("/v1/detections?cursor={cursor}")).send().await.unwrap();
    assert!(stolen.json::<Value>().await.unwrap()["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn the_same_key_of_two_users_is_two_frames() {
    let site = Site::start().await;
    for name in ["ann", "bob"] {
        site.user(name).await;
    }
    let mut frames = Vec::new();
    for name in ["ann", "bob"] {
        let token = site.access_token(name).await;
        let request = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png");
        let sent = request.header("idempotency-key", "same").body(png(9, 9, 900)).send().await.unwrap();
        frames.push(sent.json::<Value>().await.unwrap()["frame_id"].clone());
    }
    assert_ne!(frames[0], frames[1]);
}

#[tokio::test]
async fn what_is_shared_everybody_reads() {
    let site = Site::start().await;
    site.user("bob").await;
    let mut result = result_of(FrameId::now(), vec![face(0.9)]);
    result.tenant = contracts::TenantId::shared();
    let path = format!("/v1/frames/{}", result.data.frame_id);
    site.index(result).await;
    let token = site.access_token("bob").await;
    let read = site.request_as(&token, Method::GET, &path).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
}
