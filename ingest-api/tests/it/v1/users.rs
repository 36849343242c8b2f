//! Registration and the user's own profile.

use contracts::{FaceVerifiedEvent, UploadOutcome, whole_microseconds};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::relational::{NewUpload, UploadPlace};

use crate::support::{ADMIN, OTHER, PASSWORD, READER, TestServer, json_of, problem};

async fn register(server: &TestServer, body: Value) -> reqwest::Response {
    server.post_anonymously("/v1/users", &body).await
}

#[tokio::test]
async fn a_registered_user_signs_in_and_sends_a_frame() {
    let server = TestServer::start().await;
    let new = json!({"email": "Ann@example.org", "password": PASSWORD, "username": "Ann", "full_name": "Ann Miller"});
    let user = json_of(register(&server, new).await, StatusCode::CREATED).await;
    assert_eq!((&user["username"], &user["email"]), (&json!("Ann"), &json!("Ann@example.org")));
    assert_eq!(
        (&user["role"], &user["api_request_quota"], &user["rate_limit_rps"]),
        (&json!("user"), &json!(100), &json!(10))
    );
    assert!(!user.to_string().contains("password"), "{user}");

    for name in ["ann", "ANN@EXAMPLE.ORG"] {
        let token = server.access_token(name).await;
        let me = json_of(server.get_as(&token, "/v1/users/me").await, StatusCode::OK).await;
        assert_eq!(me["id"], user["id"]);
        assert!(me["last_sign_in_at"].is_string());
        assert_eq!(server.frame_as(&token).send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn names_and_addresses_are_unique_ignoring_case() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    for (body, code) in [
        (json!({"email": "ANN@example.org", "password": PASSWORD}), "email_taken"),
        (json!({"email": "b@example.org", "username": "aNN", "password": PASSWORD}), "username_taken"),
        (json!({"email": "b@example.org", "username": "Admin", "password": PASSWORD}), "username_taken"),
    ] {
        let (status, got, detail) = problem(register(&server, body).await).await;
        assert_eq!((status, got.as_str()), (StatusCode::CONFLICT, code), "{detail}");
    }
}

#[tokio::test]
async fn registration_errors_name_the_field() {
    let server = TestServer::start().await;
    let good = json!({"email": "ann@example.org", "password": PASSWORD, "username": "ann", "full_name": "Ann"});
    let long = "x".repeat(300);
    for (field, value) in [
        ("email", json!("ann")),
        ("email", json!("a\u{0}@b")),
        ("email", json!(format!("{long}@example.org"))),
        ("email", json!(7)),
        ("email", Value::Null),
        ("password", json!("short")),
        ("password", json!("password1")),
        ("password", json!("x".repeat(129))),
        ("password", json!(["x"])),
        ("username", json!("ann miller")),
        ("username", json!("ann@home")),
        ("username", json!("")),
        ("username", json!(long)),
        ("full_name", json!("a\u{7}b")),
        ("full_name", json!(long)),
        ("api_request_quota", json!(1_000_000)),
        ("role", json!("admin")),
        ("disabled", json!(false)),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, code, detail) = problem(register(&server, body.clone()).await).await;
        assert_eq!((status.as_u16(), code.as_str()), (422, "invalid"), "{body}: {detail}");
        assert!(detail.contains(field), "{body}: {detail}");
    }
    for field in ["email", "password"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let (_, code, detail) = problem(register(&server, body).await).await;
        assert!(code == "invalid" && detail.contains(field), "{detail}");
    }
    let twice = format!(r#"{{"email": "a@b", "email": "c@d", "password": "{PASSWORD}"}}"#);
    let request = server.anonymous(Method::POST, "/v1/users").header("content-type", "application/json").body(twice);
    assert!(problem(request.send().await.unwrap()).await.2.contains("email is given twice"));
    assert_eq!(register(&server, good).await.status(), StatusCode::CREATED, "the refused requests created no user");
}

#[tokio::test]
async fn with_registration_off_only_admins_add_users() {
    let server = TestServer::with_flags(&["--registration", "off"]).await;
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    let older = json!({"username": "bob", "password": PASSWORD});
    for (path, body) in [("/v1/users", &body), ("/users", &older)] {
        let anonymous = server.post_anonymously(path, body).await;
        assert_eq!(problem(anonymous).await.1, "registration_closed", "{path}");
        let other = server.post_as(OTHER, path, body).await;
        assert_eq!(problem(other).await.1, "registration_closed", "{path}");
        let admin = server.post_as(ADMIN, path, body).await;
        assert_eq!(admin.status(), StatusCode::CREATED, "{path}");
    }
    let invalid = server.post_as("sl_none", "/v1/users", &body).await;
    assert_eq!(problem(invalid).await.1, "invalid_token");
}

#[tokio::test]
async fn only_a_full_session_changes_the_profile() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "none"]).await;
    let user = server.create_user("ann").await;
    server.create_user("bob").await;
    let token = server.access_token("ann").await;
    let change = async |token: &str, body: Value| server.patch_as(token, "/v1/users/me", &body).await;

    let changes = json!({
        "username": "anna", "full_name": "Anna", "email": "anna@example.org", "present_password": PASSWORD
    });
    let changed: Value = change(&token, changes).await.json().await.unwrap();
    assert_eq!((&changed["id"], &changed["username"]), (&json!(user.id), &json!("anna")));
    let emptied: Value = change(&token, json!({"full_name": ""})).await.json().await.unwrap();
    assert!(emptied["full_name"].is_null());
    server.sign_in("anna").await;

    for (body, code) in [
        (json!({"username": "BOB", "present_password": PASSWORD}), "username_taken"),
        (json!({"username": "other"}), "invalid"),
        (json!({"email": "bob@example.org", "present_password": PASSWORD}), "email_taken"),
        (json!({"email": "other@example.org", "present_password": "another password"}), "wrong_password"),
        (json!({"email": "other@example.org"}), "invalid"),
        (json!({"email": "anna"}), "invalid"),
        (json!({"role": "admin"}), "invalid"),
        (json!({"api_request_quota": 9}), "invalid"),
    ] {
        assert_eq!(problem(change(&token, body.clone()).await).await.1, code, "{body}");
    }
    // API tokens and sessions with fewer scopes can only read the profile.
    let fields = [("grant_type", "password"), ("username", "anna"), ("password", PASSWORD), ("scope", "frames:write")];
    let narrow: Value = server.post_form("/v1/token", &fields).await.json().await.unwrap();
    for token in [OTHER, READER, narrow["access_token"].as_str().unwrap()] {
        let read = server.get_as(token, "/v1/users/me").await;
        assert_eq!(read.status(), StatusCode::OK);
        let refused = change(token, json!({"email": "attacker@example.org"})).await;
        assert_eq!(problem(refused).await.1, "forbidden");
    }
}

#[tokio::test]
async fn the_outcome_of_a_photograph_is_shown_to_its_user_alone() {
    let server = TestServer::start().await;
    let ann = server.create_user("ann").await;
    server.create_user("bob").await;
    let (of_ann, of_bob) = (server.access_token("ann").await, server.access_token("bob").await);
    let place = UploadPlace { topic_id: "of a topic".to_owned(), partition: 2, offset: 7 };
    let upload = NewUpload { place, message: [1; 32], file: None };
    let at = whole_microseconds(Timestamp::now());
    let database = server.database().await;
    database.refuse_upload(&upload, Some(ann.id), UploadOutcome::NoFace, at).await.unwrap();

    let me = json_of(server.get_as(&of_ann, "/v1/users/me").await, StatusCode::OK).await;
    let id = FaceVerifiedEvent::id_at("of a topic", 2, 7);
    let expected = json!({"id": id, "outcome": "no_face", "decided_at": at});
    assert_eq!((&me["verified"], &me["photo"]), (&json!(false), &expected));
    for token in [of_bob.as_str(), ADMIN] {
        let me = json_of(server.get_as(token, "/v1/users/me").await, StatusCode::OK).await;
        assert_eq!(me.get("photo"), None, "{me}");
    }
    let seen = server.get(&format!("/v1/users/{}", ann.id)).await;
    assert_eq!((&seen["username"], seen.get("photo")), (&json!("ann"), None), "an admin sees none");
    database.close().await;
}

#[tokio::test]
async fn the_operator_token_is_the_operator_user() {
    let server = TestServer::start().await;
    let me = server.get("/v1/users/me").await;
    assert_eq!((&me["username"], &me["role"]), (&json!("admin"), &json!("admin")));
    assert!(me["api_request_quota"].is_null() && me["rate_limit_rps"].is_null());
    let quota = server.get("/v1/users/me/quota").await;
    assert!(quota["limit"].is_null() && quota["remaining"].is_null());
}

#[tokio::test]
async fn a_database_outage_keeps_signed_in_users_working() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let me = server.get_as(&token, "/v1/users/me").await;
    assert_eq!(me.status(), StatusCode::OK);
    server.deps.accounts_service.close().await;

    let list = server.get_as(&token, "/v1/frames").await;
    assert_eq!(list.status(), StatusCode::OK, "a verified access token needs no database");
    let operator = server.get_as(ADMIN, "/v1/frames").await;
    assert_eq!(operator.status(), StatusCode::OK);
    let new = register(&server, json!({"email": "b@example.org", "password": PASSWORD})).await;
    let frame = server.frame_as(&token).send().await.unwrap();
    let profile = server.get_as(&token, "/v1/users/me").await;
    for response in [new, frame, profile] {
        assert!(response.headers().contains_key("retry-after"));
        let (status, code, _) = problem(response).await;
        assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    }
    let sign_in = server.sign_in_with("ann", PASSWORD).await;
    assert_eq!(sign_in.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(sign_in.headers().contains_key("retry-after"));
    assert_eq!(sign_in.json::<Value>().await.unwrap()["error"], "temporarily_unavailable");
}
