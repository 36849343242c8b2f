//! Accounts and sessions as older clients know them, and two versions side by side.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{OTHER, PASSWORD, Site, problem};

/// What the reference's own instructions ask for.
const DEMO: &[&str] = &["--password-min-length", "6", "--password-refuse-common", "off"];

#[tokio::test]
async fn the_references_own_flow_works_as_it_is_written() {
    let site = Site::with(DEMO).await;
    let new = json!({"user_name": "ann", "password": "123456", "api_request_quota": 1_000_000, "role": "admin"});
    let made = site.stranger(Method::POST, "/users").json(&new).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made: Value = made.json().await.unwrap();
    assert_eq!((&made["username"], &made["api_request_quota"]), (&json!("ann"), &json!(100)));

    let fields = [
        ("grant_type", ""),
        ("username", "ann"),
        ("password", "123456"),
        ("scope", ""),
        ("client_id", ""),
        ("client_secret", ""),
    ];
    let answer = site.form("/token", &fields).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    let token = answer["access_token"].as_str().unwrap();
    let me = site.request_as(token, Method::GET, "/users/me/").send().await.unwrap();
    let me: Value = me.json().await.unwrap();
    assert_eq!((&me["id"], &me["disabled"]), (&made["id"], &json!(false)));
    let stats = site.request_as(token, Method::GET, "/stats").send().await.unwrap();
    assert_eq!(stats.status(), StatusCode::OK);

    let wrong = site.form("/token", &[("username", "ann"), ("password", "654321")]).await;
    assert_eq!(wrong.headers()["www-authenticate"], "Bearer");
    let (status, code, _) = problem(wrong).await;
    assert_eq!((status, code.as_str()), (StatusCode::UNAUTHORIZED, "wrong_password"));
    let missing = site.form("/token", &[("username", "ann")]).await;
    assert!(problem(missing).await.2.contains("password"));
    let other = site.form("/token", &[("grant_type", "refresh_token"), ("username", "ann"), ("password", "x")]).await;
    assert!(problem(other).await.2.contains("grant_type"));
    let twice = site.stranger(Method::POST, "/users").json(&json!({"username": "ANN", "password": "123456"}));
    assert_eq!(problem(twice.send().await.unwrap()).await.1, "username_taken");
}

#[tokio::test]
async fn an_opaque_session_is_given_in_header_and_body_and_stands_for_its_user() {
    let site = Site::with(&["--rate-limit-rps", "none"]).await;
    site.user("ann").await;
    let login = json!({"username": "ann", "password": PASSWORD});
    let answer = site.stranger(Method::POST, "/login").json(&login).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let header = answer.headers()["authorization"].to_str().unwrap().to_owned();
    let session = answer.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    assert_eq!(header, session);
    assert!(uuid::Uuid::try_parse(&session).is_ok());

    let asked = |method: Method, path: &str, header: &str| site.stranger(method, path).header("authorization", header);
    let bearer = format!("Bearer {session}");
    let named = async |header: &str| {
        let answer = asked(Method::GET, "/getName", header).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(named(&session).await, "");
    for (method, header, name) in
        [(Method::POST, &session, "Ann"), (Method::PUT, &bearer, "Anna"), (Method::PATCH, &session, "Ann Miller")]
    {
        let answer = asked(method, "/setName", header).json(&json!({"name": name})).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"name": name}));
        assert_eq!(named(&bearer).await, name);
    }
    let form = asked(Method::POST, "/setName", &session).header("content-type", "application/x-www-form-urlencoded");
    form.body("name=Ann+M").send().await.unwrap();
    let token = site.access_token("ann").await;
    let me = site.request_as(&token, Method::GET, "/v1/users/me").send().await.unwrap();
    assert_eq!(me.json::<Value>().await.unwrap()["full_name"], "Ann M", "it is the profile's");
    let bad = asked(Method::POST, "/setName", &session).json(&json!({"name": "a\u{0}"})).send().await.unwrap();
    assert!(problem(bad).await.2.contains("name"));

    for header in ["", "nonsense", "Basic eA==", &uuid::Uuid::nil().to_string(), &format!("Bearer {token}"), OTHER] {
        let answer = asked(Method::GET, "/getName", header).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{header}");
    }
    let frames = asked(Method::GET, "/v1/frames", &bearer).send().await.unwrap();
    assert_eq!(frames.status(), StatusCode::UNAUTHORIZED, "it is good for nothing else");
    let wrong = json!({"username": "ann", "password": "wrong"});
    let wrong = site.stranger(Method::POST, "/login").json(&wrong).send().await.unwrap();
    assert_eq!(wrong.headers()["www-authenticate"], "Bearer");
    assert_eq!(problem(wrong).await.1, "wrong_password");
}

#[tokio::test]
async fn signing_out_everywhere_ends_opaque_sessions_and_so_does_their_time() {
    let site = Site::start().await;
    site.user("ann").await;
    let log_in = async || {
        let form = site.form("/login", &[("user_name", "ann"), ("password", PASSWORD)]).await;
        form.headers()["authorization"].to_str().unwrap().to_owned()
    };
    let session = log_in().await;
    let ask = async |session: &str| {
        let request = site.stranger(Method::GET, "/getName").header("authorization", session);
        request.send().await.unwrap().status()
    };
    assert_eq!(ask(&session).await, StatusCode::OK);
    let token = site.access_token("ann").await;
    site.request_as(&token, Method::DELETE, "/v1/sessions").send().await.unwrap();
    assert_eq!(ask(&session).await, StatusCode::UNAUTHORIZED);
    assert_eq!(ask(&log_in().await).await, StatusCode::OK);
}

#[tokio::test]
async fn two_versions_of_an_endpoint_live_side_by_side() {
    let site = Site::start().await;
    let ask = async |path: &str| site.stranger(Method::GET, path).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(ask("/v1/hello").await, json!({"message": "Hello, world!"}));
    assert_eq!(ask("/v2/hello?name=Ann").await, json!({"message": "Hello, Ann!", "name": "Ann"}));
}

#[tokio::test]
async fn a_closed_room_has_none_of_it() {
    let site = Site::with(&["--compat", "off"]).await;
    for path in ["/users", "/token", "/login", "/setName", "/v1/hello", "/v2/hello"] {
        let answer = site.stranger(Method::POST, path).send().await.unwrap();
        assert_eq!(problem(answer).await.1, "unknown_path", "{path}");
    }
}
