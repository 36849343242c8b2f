//! Accounts and opaque sessions on the routes of older clients.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{OTHER, PASSWORD, TestServer, json_of, problem};

/// Settings of the reference system's demo.
const DEMO: &[&str] = &["--password-min-length", "6", "--password-refuse-common", "off"];

#[tokio::test]
async fn the_documented_flow_of_older_clients_works() {
    let server = TestServer::with_flags(DEMO).await;
    let new = json!({"user_name": "ann", "password": "123456", "api_request_quota": 1_000_000, "role": "admin"});
    let user = json_of(server.post_anonymously("/users", &new).await, StatusCode::CREATED).await;
    assert_eq!((&user["username"], &user["api_request_quota"]), (&json!("ann"), &json!(100)));

    let fields = [
        ("grant_type", ""),
        ("username", "ann"),
        ("password", "123456"),
        ("scope", ""),
        ("client_id", ""),
        ("client_secret", ""),
    ];
    let tokens = json_of(server.post_form("/token", &fields).await, StatusCode::OK).await;
    let token = tokens["access_token"].as_str().unwrap();
    let me = json_of(server.get_as(token, "/users/me/").await, StatusCode::OK).await;
    assert_eq!((&me["id"], &me["disabled"]), (&user["id"], &json!(false)));
    let stats = server.get_as(token, "/stats").await;
    assert_eq!(stats.status(), StatusCode::OK);

    let wrong = server.post_form("/token", &[("username", "ann"), ("password", "654321")]).await;
    assert_eq!(wrong.headers()["www-authenticate"], "Bearer");
    let (status, code, _) = problem(wrong).await;
    assert_eq!((status, code.as_str()), (StatusCode::UNAUTHORIZED, "wrong_password"));
    let missing = server.post_form("/token", &[("username", "ann")]).await;
    assert!(problem(missing).await.2.contains("password"));
    let other =
        server.post_form("/token", &[("grant_type", "refresh_token"), ("username", "ann"), ("password", "x")]).await;
    assert!(problem(other).await.2.contains("grant_type"));
    let twice = server.post_anonymously("/users", &json!({"username": "ANN", "password": "123456"})).await;
    assert_eq!(problem(twice).await.1, "username_taken");
}

#[tokio::test]
async fn an_opaque_session_identifies_its_user() {
    let server = TestServer::with_flags(&["--rate-limit-rps", "none"]).await;
    server.create_user("ann").await;
    let login = json!({"username": "ann", "password": PASSWORD});
    let response = server.post_anonymously("/login", &login).await;
    assert_eq!(response.status(), StatusCode::OK);
    let header = response.headers()["authorization"].to_str().unwrap().to_owned();
    let session = response.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
    assert_eq!(header, session);
    assert!(uuid::Uuid::try_parse(&session).is_ok());

    let request =
        |method: Method, path: &str, header: &str| server.anonymous(method, path).header("authorization", header);
    let bearer = format!("Bearer {session}");
    let get_name = async |header: &str| {
        let response = request(Method::GET, "/getName", header).send().await.unwrap();
        response.json::<Value>().await.unwrap()["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(get_name(&session).await, "");
    for (method, header, name) in
        [(Method::POST, &session, "Ann"), (Method::PUT, &bearer, "Anna"), (Method::PATCH, &session, "Ann Miller")]
    {
        let response = request(method, "/setName", header).json(&json!({"name": name})).send().await.unwrap();
        assert_eq!(response.json::<Value>().await.unwrap(), json!({"name": name}));
        assert_eq!(get_name(&bearer).await, name);
    }
    let form = request(Method::POST, "/setName", &session).header("content-type", "application/x-www-form-urlencoded");
    form.body("name=Ann+M").send().await.unwrap();
    let token = server.access_token("ann").await;
    let me = server.get_as(&token, "/v1/users/me").await;
    assert_eq!(me.json::<Value>().await.unwrap()["full_name"], "Ann M", "setName changes the profile");
    let bad = request(Method::POST, "/setName", &session).json(&json!({"name": "a\u{0}"})).send().await.unwrap();
    assert!(problem(bad).await.2.contains("name"));

    for header in ["", "nonsense", "Basic eA==", &uuid::Uuid::nil().to_string(), &format!("Bearer {token}"), OTHER] {
        let response = request(Method::GET, "/getName", header).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{header}");
    }
    let frames = request(Method::GET, "/v1/frames", &bearer).send().await.unwrap();
    assert_eq!(
        frames.status(),
        StatusCode::UNAUTHORIZED,
        "an opaque session is valid on the compatibility routes only"
    );
    let wrong = json!({"username": "ann", "password": "wrong"});
    let wrong = server.post_anonymously("/login", &wrong).await;
    assert_eq!(wrong.headers()["www-authenticate"], "Bearer");
    assert_eq!(problem(wrong).await.1, "wrong_password");
}

#[tokio::test]
async fn signing_out_everywhere_ends_opaque_sessions() {
    let server = TestServer::start().await;
    server.create_user("ann").await;
    let log_in = async || {
        let form = server.post_form("/login", &[("user_name", "ann"), ("password", PASSWORD)]).await;
        form.headers()["authorization"].to_str().unwrap().to_owned()
    };
    let session = log_in().await;
    let status = async |session: &str| {
        let request = server.anonymous(Method::GET, "/getName").header("authorization", session);
        request.send().await.unwrap().status()
    };
    assert_eq!(status(&session).await, StatusCode::OK);
    let token = server.access_token("ann").await;
    server.delete_as(&token, "/v1/sessions").await;
    assert_eq!(status(&session).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&log_in().await).await, StatusCode::OK);
}
