//! Users as admins manage them.

use accounts::Granted;
use contracts::FrameId;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::Scope;
use store::relational::{Allowance, Role};

use crate::site::{OTHER, PASSWORD, READER, Site, face, problem, result_of};

#[tokio::test]
async fn users_are_listed_page_by_page_and_searched_by_an_admin_alone() {
    let site = Site::start().await;
    for name in ["ann", "bob", "annabel"] {
        site.user(name).await;
    }
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    let first = site.get("/v1/users?limit=2").await;
    assert_eq!(names(&first), ["annabel", "bob"]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = site.get(&format!("/v1/users?limit=10&cursor={cursor}")).await;
    assert_eq!(names(&second), ["ann", "other", "admin"]);
    assert!(second["next_cursor"].is_null());
    assert_eq!(names(&site.get("/v1/users?search=ANN").await), ["annabel", "ann"]);
    assert_eq!(names(&site.get("/v1/users?search=bob@example").await), ["bob"]);
    assert!(names(&site.get("/v1/users?search=%25").await).is_empty(), "a percent sign is one");

    let detections = store::Cursor { at: jiff::Timestamp::now(), id: "x-face-0".to_owned() }.encode();
    for path in [format!("/v1/users?cursor={detections}"), format!("/v1/audit?cursor={detections}")] {
        assert_eq!(problem(site.request(Method::GET, &path).send().await.unwrap()).await.1, "invalid", "{path}");
    }
    let id = first["items"][0]["id"].as_str().unwrap();
    for token in [OTHER, READER, &site.access_token("ann").await] {
        for (method, path) in [
            (Method::GET, "/v1/users".to_owned()),
            (Method::GET, format!("/v1/users/{id}")),
            (Method::PATCH, format!("/v1/users/{id}")),
            (Method::DELETE, format!("/v1/users/{id}")),
            (Method::GET, "/v1/audit".to_owned()),
        ] {
            let response = site.request_as(token, method.clone(), &path).json(&json!({})).send().await.unwrap();
            assert_eq!(problem(response).await.1, "forbidden", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_admin_changes_what_a_user_may() {
    let site = Site::start().await;
    let user = site.user("ann").await;
    let token = site.access_token("ann").await;
    let path = format!("/v1/users/{}", user.id);
    let change = async |body: Value| {
        let response = site.request(Method::PATCH, &path).json(&body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{body}");
        response.json::<Value>().await.unwrap()
    };
    let changed = change(json!({"api_request_quota": 3, "rate_limit_rps": "unlimited"})).await;
    assert_eq!((&changed["api_request_quota"], &changed["rate_limit_rps"]), (&json!(3), &Value::Null));
    let changed = change(json!({"api_request_quota": "default", "rate_limit_rps": 7})).await;
    assert_eq!((&changed["api_request_quota"], &changed["rate_limit_rps"]), (&json!(100), &json!(7)));

    assert_eq!(change(json!({"disabled": true})).await["disabled"], true);
    let refused = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(problem(refused).await.1, "invalid_token");
    change(json!({"disabled": false, "role": "admin"})).await;
    let token = site.access_token("ann").await;
    let list = site.request_as(&token, Method::GET, "/v1/users").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK, "an admin manages users");

    change(json!({"password": "kettle under seven clouds"})).await;
    let fields = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    assert_eq!(site.form("/v1/token", &fields).await.status(), StatusCode::BAD_REQUEST);

    for (body, hint) in [
        (json!({"api_request_quota": -1}), "api_request_quota"),
        (json!({"api_request_quota": "many"}), "api_request_quota"),
        (json!({"rate_limit_rps": 0}), "rate_limit_rps"),
        (json!({"rate_limit_rps": 1.5}), "rate_limit_rps"),
        (json!({"role": "root"}), "role"),
        (json!({"password": "x"}), "password"),
        (json!({"tenant": "shared"}), "tenant"),
    ] {
        let response = site.request(Method::PATCH, &path).json(&body).send().await.unwrap();
        let (status, _, detail) = problem(response).await;
        assert!(status.as_u16() == 422 && detail.contains(hint), "{body}: {detail}");
    }
    let nobody = format!("/v1/users/{}", FrameId::now());
    let response = site.request(Method::PATCH, &nobody).json(&json!({"disabled": true})).send().await.unwrap();
    assert_eq!(problem(response).await.1, "not_found");
}

#[tokio::test]
async fn a_deleted_user_leaves_nothing_in_any_store() {
    let site = Site::start().await;
    let user = site.user("ann").await;
    let token = site.access_token("ann").await;
    let rule = json!({"name": "faces", "condition": "true"});
    let rule = site.request_as(&token, Method::POST, "/v1/rules").json(&rule).send().await.unwrap();
    assert_eq!(rule.status(), StatusCode::CREATED);
    let body = json!({"name": "x", "scopes": ["frames:write"]});
    let made = site.request_as(&token, Method::POST, "/v1/api-tokens").json(&body).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let (mut result, frame) = (result_of(FrameId::now(), vec![face(0.9)]), FrameId::now());
    result.tenant = user.tenant.clone();
    site.index(result.clone()).await;
    let image = format!("frames/2026-01-02/{}/{frame}", user.tenant);
    let on_its_way = format!("inbox/2026-01-02/{}/{frame}", user.tenant);
    for key in [&image, &on_its_way] {
        site.deps.blobs.put(key, vec![1, 2, 3].into()).await.unwrap();
    }
    let others = result_of(FrameId::now(), vec![face(0.9)]);
    site.index(others.clone()).await;

    let deleted = site.request(Method::DELETE, &format!("/v1/users/{}", user.id)).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    for token in [token.as_str(), made["token"].as_str().unwrap()] {
        let refused = site.request_as(token, Method::GET, "/v1/users/me").send().await.unwrap();
        assert_eq!(problem(refused).await.1, "invalid_token");
    }
    let documents = &site.deps.documents;
    assert!(documents.rules(&user.tenant).await.unwrap().is_empty());
    assert!(documents.frame(&Scope::All, result.data.frame_id).await.unwrap().is_empty());
    for key in [&image, &on_its_way] {
        assert!(site.deps.blobs.get(key).await.unwrap().is_none(), "{key}");
    }
    assert!(!documents.frame(&Scope::All, others.data.frame_id).await.unwrap().is_empty(), "others keep theirs");
    let fields = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    assert_eq!(site.form("/v1/token", &fields).await.status(), StatusCode::BAD_REQUEST);
    let again = site.request(Method::DELETE, &format!("/v1/users/{}", user.id)).send().await.unwrap();
    assert_eq!(problem(again).await.1, "not_found");
    assert_ne!(site.user("ann").await.tenant, user.tenant, "the name is free, the tenant nobody's");
}

#[tokio::test]
async fn the_operators_own_user_stays() {
    let site = Site::start().await;
    let me = site.get("/v1/users/me").await;
    let path = format!("/v1/users/{}", me["id"].as_str().unwrap());
    assert_eq!(problem(site.request(Method::DELETE, &path).send().await.unwrap()).await.1, "conflict");
    let renamed = site.request(Method::PATCH, "/v1/users/me").json(&json!({"username": "root"})).send().await.unwrap();
    assert_eq!(problem(renamed).await.1, "conflict");
    assert_eq!(site.get("/v1/users/me").await, me);
}

#[tokio::test]
async fn what_happens_to_accounts_can_be_read_and_has_no_secrets() {
    let site = Site::start().await;
    let user = site.user("ann").await;
    site.access_token("ann").await;
    let wrong = "wrong-but-secret";
    site.form("/v1/token", &[("grant_type", "password"), ("username", "ann"), ("password", wrong)]).await;
    let path = format!("/v1/users/{}", user.id);
    site.request(Method::PATCH, &path).json(&json!({"role": "admin"})).send().await.unwrap();

    let page = site.get(&format!("/v1/audit?user={}", user.id)).await;
    let entries = page["items"].as_array().unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["access_changed", "sign_in_refused", "signed_in", "registered"]);
    assert_eq!((&entries[1]["address"], &entries[2]["actor_id"]), (&json!("127.0.0.1"), &json!(user.id)));
    assert!(!page.to_string().contains(wrong) && !page.to_string().contains(PASSWORD), "{page}");
    let first = site.get("/v1/audit?limit=1").await;
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_ne!(site.get(&format!("/v1/audit?limit=1&cursor={cursor}")).await["items"], first["items"]);
}

#[tokio::test]
async fn an_admin_of_a_narrower_token_sees_no_more_than_a_user() {
    let site = Site::start().await;
    let granted = Granted { role: Role::Admin, quota: Allowance::Unlimited, rate_limit: Allowance::Unlimited };
    site.user_with("boss", granted).await;
    site.index(result_of(FrameId::now(), vec![face(0.9)])).await;
    let seen = async |scope: &str| {
        let fields = [("grant_type", "password"), ("username", "boss"), ("password", PASSWORD), ("scope", scope)];
        let answer: Value = site.form("/v1/token", &fields).await.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        let list = site.request_as(&token, Method::GET, "/v1/frames").send().await.unwrap();
        list.json::<Value>().await.unwrap()["items"].as_array().unwrap().len()
    };
    assert_eq!((seen("").await, seen("detections:read").await), (1, 0));
}
