//! Registering, and one's own profile.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{ADMIN, OTHER, PASSWORD, READER, Site, png, problem};

async fn register(site: &Site, body: Value) -> reqwest::Response {
    site.stranger(Method::POST, "/v1/users").json(&body).send().await.unwrap()
}

#[tokio::test]
async fn whoever_registers_signs_in_and_sends_a_frame() {
    let site = Site::start().await;
    let new = json!({"email": "Ann@example.org", "password": PASSWORD, "username": "Ann", "full_name": "Ann Miller"});
    let response = register(&site, new).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let user: Value = response.json().await.unwrap();
    assert_eq!((&user["username"], &user["email"]), (&json!("Ann"), &json!("Ann@example.org")));
    assert_eq!(
        (&user["role"], &user["api_request_quota"], &user["rate_limit_rps"]),
        (&json!("user"), &json!(100), &json!(10))
    );
    assert!(!user.to_string().contains("password"), "{user}");

    for name in ["ann", "ANN@EXAMPLE.ORG"] {
        let token = site.access_token(name).await;
        let me = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
        let me: Value = me.json().await.unwrap();
        assert_eq!(me["id"], user["id"]);
        assert!(me["last_sign_in_at"].is_string());
        let frame = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png");
        assert_eq!(frame.body(png(9, 9, 900)).send().await.unwrap().status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_name_or_address_is_one_users_alone_in_any_case() {
    let site = Site::start().await;
    site.user("ann").await;
    for (body, code) in [
        (json!({"email": "ANN@example.org", "password": PASSWORD}), "email_taken"),
        (json!({"email": "b@example.org", "username": "aNN", "password": PASSWORD}), "username_taken"),
        (json!({"email": "b@example.org", "username": "Admin", "password": PASSWORD}), "username_taken"),
    ] {
        let (status, got, detail) = problem(register(&site, body).await).await;
        assert_eq!((status, got.as_str()), (StatusCode::CONFLICT, code), "{detail}");
    }
}

#[tokio::test]
async fn every_bad_field_of_a_registration_is_named() {
    let site = Site::start().await;
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
        let (status, code, detail) = problem(register(&site, body.clone()).await).await;
        assert_eq!((status.as_u16(), code.as_str()), (422, "invalid"), "{body}: {detail}");
        assert!(detail.contains(field), "{body}: {detail}");
    }
    for field in ["email", "password"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let (_, code, detail) = problem(register(&site, body).await).await;
        assert!(code == "invalid" && detail.contains(field), "{detail}");
    }
    let twice = format!(r#"{{"email": "a@b", "email": "c@d", "password": "{PASSWORD}"}}"#);
    let request = site.stranger(Method::POST, "/v1/users").header("content-type", "application/json").body(twice);
    assert!(problem(request.send().await.unwrap()).await.2.contains("email is given twice"));
    assert_eq!(register(&site, good).await.status(), StatusCode::CREATED, "nobody of that name was made by the others");
}

#[tokio::test]
async fn where_registration_is_closed_only_an_admin_adds_users() {
    let site = Site::with(&["--registration", "off"]).await;
    let body = json!({"email": "ann@example.org", "password": PASSWORD});
    let older = json!({"username": "bob", "password": PASSWORD});
    for (path, body) in [("/v1/users", &body), ("/users", &older)] {
        let stranger = site.stranger(Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(problem(stranger).await.1, "registration_closed", "{path}");
        let other = site.request_as(OTHER, Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(problem(other).await.1, "registration_closed", "{path}");
        let admin = site.request_as(ADMIN, Method::POST, path).json(body).send().await.unwrap();
        assert_eq!(admin.status(), StatusCode::CREATED, "{path}");
    }
    let nobody = site.request_as("sl_none", Method::POST, "/v1/users").json(&body).send().await.unwrap();
    assert_eq!(problem(nobody).await.1, "invalid_token");
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner_and_not_by_its_programs() {
    let site = Site::with(&["--rate-limit-rps", "none"]).await;
    let user = site.user("ann").await;
    site.user("bob").await;
    let token = site.access_token("ann").await;
    let change = |token: &str, body: Value| site.request_as(token, Method::PATCH, "/v1/users/me").json(&body).send();

    let wanted = json!({
        "username": "anna", "full_name": "Anna", "email": "anna@example.org", "present_password": PASSWORD
    });
    let changed: Value = change(&token, wanted).await.unwrap().json().await.unwrap();
    assert_eq!((&changed["id"], &changed["username"]), (&json!(user.id), &json!("anna")));
    let emptied: Value = change(&token, json!({"full_name": ""})).await.unwrap().json().await.unwrap();
    assert!(emptied["full_name"].is_null());
    site.sign_in("anna").await;

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
        assert_eq!(problem(change(&token, body.clone()).await.unwrap()).await.1, code, "{body}");
    }
    // A program's token, and a sign-in for less, may read who it works for and no more.
    let fields = [("grant_type", "password"), ("username", "anna"), ("password", PASSWORD), ("scope", "frames:write")];
    let narrow: Value = site.form("/v1/token", &fields).await.json().await.unwrap();
    for token in [OTHER, READER, narrow["access_token"].as_str().unwrap()] {
        let read = site.request_as(token, Method::GET, "/v1/users/me").send().await.unwrap();
        assert_eq!(read.status(), StatusCode::OK);
        assert_eq!(problem(change(token, json!({"email": "thief@example.org"})).await.unwrap()).await.1, "forbidden");
    }
}

#[tokio::test]
async fn the_operators_token_stands_for_the_operators_user() {
    let site = Site::start().await;
    let me = site.get("/v1/users/me").await;
    assert_eq!((&me["username"], &me["role"]), (&json!("admin"), &json!("admin")));
    assert!(me["api_request_quota"].is_null() && me["rate_limit_rps"].is_null());
    let quota = site.get("/v1/users/me/quota").await;
    assert!(quota["limit"].is_null() && quota["remaining"].is_null());
}

#[tokio::test]
async fn while_the_database_is_away_whoever_is_signed_in_goes_on_and_others_are_told_to_come_back() {
    let site = Site::start().await;
    site.user("ann").await;
    let token = site.access_token("ann").await;
    let me = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(me.status(), StatusCode::OK);
    site.deps.directory.database.close().await;

    let list = site.request_as(&token, Method::GET, "/v1/frames").send().await.unwrap();
    assert_eq!(list.status(), StatusCode::OK, "a good token asks no database");
    let operator = site.request_as(ADMIN, Method::GET, "/v1/frames").send().await.unwrap();
    assert_eq!(operator.status(), StatusCode::OK);
    let new = register(&site, json!({"email": "b@example.org", "password": PASSWORD})).await;
    let frame = site.request_as(&token, Method::POST, "/v1/frames").header("content-type", "image/png");
    let frame = frame.body(png(9, 9, 900)).send().await.unwrap();
    let profile = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
    for answer in [new, frame, profile] {
        assert!(answer.headers().contains_key("retry-after"));
        let (status, code, _) = problem(answer).await;
        assert_eq!((status, code.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "unavailable"));
    }
    let fields = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
    let sign_in = site.form("/v1/token", &fields).await;
    assert_eq!(sign_in.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(sign_in.headers().contains_key("retry-after"));
    assert_eq!(sign_in.json::<Value>().await.unwrap()["error"], "temporarily_unavailable");
}
