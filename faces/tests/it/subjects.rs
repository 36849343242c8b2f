//! Subjects, without a model.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::test_service::TestService;

#[tokio::test]
async fn subjects_are_created_read_changed_and_deleted() {
    let service = TestService::start(None).await;
    let new = json!({"name": "Ann", "external_id": "7", "metadata": {"team": "red"}});
    let (status, made) = service.json("a", Method::POST, "/v1/faces/subjects", new).await;
    assert_eq!((status, &made["name"], &made["metadata"]["team"]), (StatusCode::CREATED, &json!("Ann"), &json!("red")));
    let path = format!("/v1/faces/subjects/{}", made["id"].as_str().unwrap());
    assert_eq!(service.get("a", &path).await, (StatusCode::OK, made));

    let (_, changed) = service.json("a", Method::PATCH, &path, json!({"name": "Anna", "external_id": null})).await;
    assert_eq!((&changed["name"], changed.get("external_id")), (&json!("Anna"), None));
    assert_eq!(changed["metadata"], json!({"team": "red"}), "it was not named");

    let (status, receipt) = service.send("a", Method::DELETE, &path, Vec::new()).await;
    assert_eq!((status, receipt), (StatusCode::OK, json!({"enrolled": 0, "negatives": 0, "models": []})));
    assert_eq!(service.refused("a", Method::GET, &path, Vec::new()).await, (404, "not_found".to_owned()));
    assert_eq!(service.refused("a", Method::DELETE, &path, Vec::new()).await, (404, "not_found".to_owned()));
}

#[tokio::test]
async fn the_list_has_every_subject_once() {
    let service = TestService::start(None).await;
    for number in 0..7 {
        service.subject("a", &number.to_string()).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = service.get("a", &format!("/v1/faces/subjects?limit=3{cursor}")).await;
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["6", "5", "4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn another_tenant_finds_and_changes_nothing() {
    let service = TestService::start(None).await;
    let id = service.subject("a", "Ann").await;
    let path = format!("/v1/faces/subjects/{id}");
    let not_found = (404, "not_found".to_owned());
    for (method, path, body) in [
        (Method::GET, path.clone(), ""),
        (Method::PATCH, path.clone(), r#"{"name": "Eve"}"#),
        (Method::DELETE, path.clone(), ""),
        (Method::POST, format!("{path}/images"), "not read"),
        (Method::POST, format!("/v1/faces/verify?subject={id}"), "not read"),
    ] {
        let refused = service.refused("b", method.clone(), &path, body.as_bytes().to_vec()).await;
        assert_eq!(refused, not_found, "{method} {path}");
    }
    assert_eq!(service.get("b", "/v1/faces/subjects").await.1["items"], json!([]));
    assert_eq!(service.get("a", &path).await.1["name"], "Ann");
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let service = TestService::start(None).await;
    let subjects = "/v1/faces/subjects";
    let id = service.subject("a", "Ann").await;
    let images = format!("{subjects}/{id}/images");
    let long = json!({"name": "n".repeat(513)}).to_string();
    let cases: [(&str, Method, &str, &str, (u16, &str)); 12] = [
        ("a", Method::POST, subjects, r#"{"name": "a\u0000b"}"#, (422, "invalid")),
        ("a", Method::POST, subjects, r#"{"external_id": " "}"#, (422, "invalid")),
        ("a", Method::POST, subjects, "{", (422, "invalid")),
        ("a", Method::POST, subjects, r#"{"nam": "Ann"}"#, (422, "invalid")),
        ("a", Method::POST, subjects, &long, (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects?limit=0", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects?cursor=x", "", (422, "invalid")),
        ("a", Method::GET, "/v1/faces/subjects/1", "", (422, "invalid")),
        ("a:faces:read", Method::POST, subjects, "{}", (403, "forbidden")),
        ("a:faces:write", Method::GET, subjects, "", (403, "forbidden")),
        ("a", Method::POST, &images, "text", (415, "unsupported_media_type")),
        ("a", Method::POST, "/v1/faces/search", "text", (503, "no_face_model")),
    ];
    for (token, method, path, body, (status, code)) in cases {
        let refused = service.refused(token, method.clone(), path, body.as_bytes().to_vec()).await;
        assert_eq!(refused, (status, code.to_owned()), "{method} {path} {body}");
    }
    let taken = json!({"external_id": "7"});
    service.json("a", Method::POST, subjects, taken.clone()).await;
    let refused = service.refused("a", Method::POST, subjects, taken.to_string().into_bytes()).await;
    assert_eq!(refused, (409, "external_id_taken".to_owned()));
    assert_eq!(service.json("b", Method::POST, subjects, taken).await.0, StatusCode::CREATED, "of another tenant");
}
