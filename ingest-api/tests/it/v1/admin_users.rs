//! User administration and the audit log.

use accounts::UserAccess;
use contracts::{BlobKey, BlobKind, FrameId, SubjectId, VectorId};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::TenantScope;
use store::relational::{Role, UserLimit};

use crate::support::{ADMIN, OTHER, PASSWORD, READER, TestServer, face, json_of, problem, result_of};

#[tokio::test]
async fn only_admins_list_and_search_users() {
    let server = TestServer::start().await;
    for name in ["ann", "bob", "annabel"] {
        server.create_user(name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let first = server.get("/v1/users?limit=2").await;
    assert_eq!(names(&first), ["annabel", "bob"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/v1/users?limit=10&cursor={cursor}")).await;
    assert_eq!(names(&second), ["ann", "other", "admin"]);
    assert!(second["next_cursor"].is_null());
    assert_eq!(names(&server.get("/v1/users?search=ANN").await), ["annabel", "ann"]);
    assert_eq!(names(&server.get("/v1/users?search=bob@example").await), ["bob"]);
    assert!(names(&server.get("/v1/users?search=%25").await).is_empty(), "a percent sign is no wildcard");

    let made_up = store::PageCursor { at: jiff::Timestamp::now(), id: "x-face-0".to_owned() };
    for (path, list) in [("/v1/users", store::List::Users), ("/v1/audit", store::List::Audit)] {
        let refused = server.get_as(ADMIN, &format!("{path}?cursor={}", made_up.encode(list))).await;
        assert_eq!(problem(refused).await.1, "invalid", "{path}");
    }
    let id = first["items"][0]["id"].as_str().unwrap();
    for token in [OTHER, READER, &server.access_token("ann").await] {
        for (method, path) in [
            (Method::GET, "/v1/users".to_owned()),
            (Method::GET, format!("/v1/users/{id}")),
            (Method::PATCH, format!("/v1/users/{id}")),
            (Method::DELETE, format!("/v1/users/{id}")),
            (Method::GET, "/v1/audit".to_owned()),
        ] {
            let response = server.request_as(token, method.clone(), &path).json(&json!({})).send().await.unwrap();
            assert_eq!(problem(response).await.1, "forbidden", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_admin_changes_role_limits_and_password() {
    let server = TestServer::start().await;
    let user = server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let path = format!("/v1/users/{}", user.id);
    let change = async |body: Value| {
        let response = server.patch_as(ADMIN, &path, &body).await;
        assert_eq!(response.status(), StatusCode::OK, "{body}");
        response.json::<Value>().await.unwrap()
    };
    let changed = change(json!({"api_request_quota": 3, "rate_limit_rps": "unlimited"})).await;
    assert_eq!((&changed["api_request_quota"], &changed["rate_limit_rps"]), (&json!(3), &Value::Null));
    let changed = change(json!({"api_request_quota": "default", "rate_limit_rps": 7})).await;
    assert_eq!((&changed["api_request_quota"], &changed["rate_limit_rps"]), (&json!(100), &json!(7)));

    assert_eq!(change(json!({"disabled": true})).await["disabled"], true);
    let refused = server.get_as(&token, "/v1/users/me").await;
    assert_eq!(problem(refused).await.1, "invalid_token");
    change(json!({"disabled": false, "role": "admin"})).await;
    let token = server.access_token("ann").await;
    let list = server.get_as(&token, "/v1/users").await;
    assert_eq!(list.status(), StatusCode::OK, "an admin manages users");

    change(json!({"password": "kettle under seven clouds"})).await;
    assert_eq!(server.sign_in_with("ann", PASSWORD).await.status(), StatusCode::BAD_REQUEST);

    for (body, hint) in [
        (json!({"api_request_quota": -1}), "api_request_quota"),
        (json!({"api_request_quota": "many"}), "api_request_quota"),
        (json!({"rate_limit_rps": 0}), "rate_limit_rps"),
        (json!({"rate_limit_rps": 1.5}), "rate_limit_rps"),
        (json!({"role": "root"}), "role"),
        (json!({"password": "x"}), "password"),
        (json!({"tenant": "shared"}), "tenant"),
    ] {
        let response = server.patch_as(ADMIN, &path, &body).await;
        let (status, _, detail) = problem(response).await;
        assert!(status.as_u16() == 422 && detail.contains(hint), "{body}: {detail}");
    }
    let unknown = format!("/v1/users/{}", FrameId::now());
    let response = server.patch_as(ADMIN, &unknown, &json!({"disabled": true})).await;
    assert_eq!(problem(response).await.1, "not_found");
}

#[tokio::test]
async fn deleting_a_user_erases_every_store() {
    let server = TestServer::start().await;
    let user = server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let rule = json!({"name": "faces", "condition": "true"});
    let rule = server.post_as(&token, "/v1/rules", &rule).await;
    assert_eq!(rule.status(), StatusCode::CREATED);
    let stream = server.put_as(&token, "/v1/streams/gate-1", &json!({})).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let body = json!({"name": "x", "scopes": ["frames:write"]});
    let api_token = json_of(server.post_as(&token, "/v1/api-tokens", &body).await, StatusCode::CREATED).await;
    let (mut result, frame) = (result_of(FrameId::now(), vec![face(0.9)]), FrameId::now());
    result.tenant = user.tenant.clone();
    server.index(result.clone()).await;
    let of_frames = BlobKind::OF_FRAMES.map(|kind| BlobKey::new(kind, jiff::Timestamp::now(), &user.tenant, frame));
    let enrolled = BlobKey::of_enrolled(&user.tenant, SubjectId::now(), VectorId::now());
    let keys: Vec<BlobKey> = of_frames.into_iter().chain([enrolled]).collect();
    for key in &keys {
        server.deps.blobs.put(key, vec![1, 2, 3].into()).await.unwrap();
    }
    let others = result_of(FrameId::now(), vec![face(0.9)]);
    server.index(others.clone()).await;

    let deleted = server.delete_as(ADMIN, &format!("/v1/users/{}", user.id)).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    for token in [token.as_str(), api_token["token"].as_str().unwrap()] {
        let refused = server.get_as(token, "/v1/users/me").await;
        assert_eq!(problem(refused).await.1, "invalid_token");
    }
    let documents = &server.deps.documents;
    assert!(documents.rules(&user.tenant).await.unwrap().is_empty());
    assert!(documents.streams(&user.tenant, None, 10).await.unwrap().is_empty());
    assert!(documents.frame(&TenantScope::All, result.data.frame_id).await.unwrap().is_empty());
    for key in &keys {
        assert!(server.deps.blobs.get(key).await.unwrap().is_none(), "{key}");
    }
    assert!(
        !documents.frame(&TenantScope::All, others.data.frame_id).await.unwrap().is_empty(),
        "other users keep their frames"
    );
    assert_eq!(server.sign_in_with("ann", PASSWORD).await.status(), StatusCode::BAD_REQUEST);
    let again = server.delete_as(ADMIN, &format!("/v1/users/{}", user.id)).await;
    assert_eq!(problem(again).await.1, "not_found");
    assert_ne!(server.create_user("ann").await.tenant, user.tenant, "a new user of that name has a new tenant");
}

#[tokio::test]
async fn the_operator_user_cannot_be_deleted_or_renamed() {
    let server = TestServer::start().await;
    let me = server.get("/v1/users/me").await;
    let path = format!("/v1/users/{}", me["id"].as_str().unwrap());
    assert_eq!(problem(server.delete_as(ADMIN, &path).await).await.1, "conflict");
    let renamed = server.patch_as(ADMIN, "/v1/users/me", &json!({"username": "root"})).await;
    assert_eq!(problem(renamed).await.1, "conflict");
    for lockout in [json!({"disabled": true}), json!({"role": "user"})] {
        assert_eq!(problem(server.patch_as(ADMIN, &path, &lockout).await).await.1, "conflict", "{lockout}");
    }
    assert_eq!(server.get("/v1/users/me").await, me);
}

#[tokio::test]
async fn the_audit_log_is_readable_and_has_no_secrets() {
    let server = TestServer::start().await;
    let user = server.create_user("ann").await;
    server.access_token("ann").await;
    let wrong = "wrong-but-secret";
    server.sign_in_with("ann", wrong).await;
    let path = format!("/v1/users/{}", user.id);
    server.patch_as(ADMIN, &path, &json!({"role": "admin"})).await;

    let page = server.get(&format!("/v1/audit?user={}", user.id)).await;
    let entries = page["items"].as_array().unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["access_changed", "sign_in_refused", "signed_in", "registered"]);
    assert_eq!((&entries[1]["address"], &entries[2]["actor_id"]), (&json!("127.0.0.1"), &json!(user.id)));
    assert!(!page.to_string().contains(wrong) && !page.to_string().contains(PASSWORD), "{page}");
    let first = server.get("/v1/audit?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_ne!(server.get(&format!("/v1/audit?limit=1&cursor={cursor}")).await["items"], first["items"]);
}

#[tokio::test]
async fn an_admin_token_of_less_scope_sees_only_its_own() {
    let server = TestServer::start().await;
    let granted = UserAccess { role: Role::Admin, quota: UserLimit::Unlimited, rate_limit: UserLimit::Unlimited };
    server.create_user_with("boss", granted).await;
    server.index(result_of(FrameId::now(), vec![face(0.9)])).await;
    let seen = async |scope: &str| {
        let fields = [("grant_type", "password"), ("username", "boss"), ("password", PASSWORD), ("scope", scope)];
        let response: Value = server.post_form("/v1/token", &fields).await.json().await.unwrap();
        let token = response["access_token"].as_str().unwrap().to_owned();
        let list = server.get_as(&token, "/v1/frames").await;
        list.json::<Value>().await.unwrap()["items"].as_array().unwrap().len()
    };
    assert_eq!((seen("").await, seen("detections:read").await), (1, 0));
}
