//! Users of a running server: registration, sign-in, sending; the operator's commands; the startup message.

use std::io::Write;
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::processes::{TestServer, free_port};

const PASSWORD: &str = "lamp ostrich kettle";

async fn token_form(up: &TestServer, name: &str, password: &str) -> reqwest::Response {
    // Builds the form by hand, because names and passwords of these tests need no escaping except spaces.
    let body = format!("grant_type=password&username={name}&password={}", password.replace(' ', "+"));
    let request = reqwest::Client::new().post(format!("{}/v1/token", up.url)).body(body);
    request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
}

async fn sign_in(up: &TestServer, name: &str, password: &str) -> String {
    let response = token_form(up, name, password).await;
    assert_eq!(response.status(), StatusCode::OK, "{name}");
    response.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned()
}

async fn request(up: &TestServer, token: &str, method: Method, path: &str) -> reqwest::Response {
    reqwest::Client::new().request(method, format!("{}{path}", up.url)).bearer_auth(token).send().await.unwrap()
}

/// Runs a command with this standard input; returns its standard output.
fn fed(up: &TestServer, arguments: &[&str], input: &str) -> String {
    let mut command = up.command_of(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_session_survive_a_kill() {
    let mut up = TestServer::start(&[]).await;
    let new = json!({"email": "ann@example.org", "username": "ann", "password": PASSWORD});
    let made = reqwest::Client::new().post(format!("{}/v1/users", up.url)).json(&new).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let token = sign_in(&up, "ann", PASSWORD).await;
    let detection = reqwest::Client::new().post(format!("{}/v1/detections", up.url)).bearer_auth(&token);
    let sent = detection.json(&json!({"label": "car"})).send().await.unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);

    up.process.kill_and_restart();
    crate::processes::wait_until_ready(&mut up.process, &up.url).await;
    let quota: Value = request(&up, &token, Method::GET, "/v1/users/me/quota").await.json().await.unwrap();
    assert_eq!(
        (&quota["used"], &quota["limit"]),
        (&json!(1), &json!(100)),
        "the token is still valid, and the used quota was kept"
    );
    let stream = request(&up, &token, Method::GET, "/v1/alerts").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let me: Value = request(&up, &up.token, Method::GET, "/v1/users/me").await.json().await.unwrap();
    assert_eq!(me["username"], "admin", "the admin's token is that of the admin user");
    assert!(up.process.stop(), "{}", up.process.output());
    assert!(!up.process.output().contains(PASSWORD) && !up.process.output().contains(&token), "a secret is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_adds_lists_and_changes_users() {
    let up = TestServer::start(&[("SIGHTLINE_REGISTRATION", "off".to_owned())]).await;
    let printed = up.command(&["user", "add", "ann@example.org", "--username", "ann", "--quota", "7"]);
    assert!(printed.contains("quota 7"), "{printed}");
    let password = printed.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    sign_in(&up, "ann", password).await;
    fed(&up, &["user", "add", "bob@example.org", "--role", "admin", "--password-stdin"], &format!("{PASSWORD}\n"));
    sign_in(&up, "bob@example.org", PASSWORD).await;

    let listed = up.command(&["user", "list"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    let found = up.command(&["user", "list", "BOB", "--json"]);
    let found: Value = serde_json::from_str(found.trim()).unwrap();
    assert_eq!((&found["email"], &found["role"]), (&json!("bob@example.org"), &json!("admin")));

    let printed = up.command(&["user", "set", "Ann", "--quota", "unlimited", "--rate-limit", "50"]);
    assert!(printed.contains("quota unlimited, 50/s"), "{printed}");
    fed(&up, &["user", "set", "ann", "--password-stdin"], "kettle under seven clouds\n");
    assert_eq!(token_form(&up, "ann", password).await.status(), StatusCode::BAD_REQUEST);
    up.command(&["user", "set", "ann", "--disabled", "yes"]);
    assert_eq!(token_form(&up, "ann", "kettle under seven clouds").await.status(), StatusCode::BAD_REQUEST);
    fed(&up, &["user", "set", "admin", "--password-stdin"], &format!("{PASSWORD}\n"));
    sign_in(&up, "admin", PASSWORD).await;

    let (success, _, stderr) = up.outcome(&["user", "set", "nobody", "--quota", "1"]);
    assert!(!success && stderr.contains("user list"), "{stderr}");
    let (success, _, stderr) = up.outcome(&["user", "set", "ann"]);
    assert!(!success && stderr.contains("nothing to change"), "{stderr}");
    let (success, _, stderr) = up.outcome(&["user", "add", "ann@example.org"]);
    assert!(!success && stderr.contains("email_taken"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabling_a_user_closes_its_open_stream() {
    use tokio_stream::StreamExt;

    let up = TestServer::start(&[]).await;
    let printed = up.command(&["user", "add", "ann@example.org"]);
    let password = printed.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    let token = sign_in(&up, "ann@example.org", password).await;
    let stream = request(&up, &token, Method::GET, "/v1/alerts").await;
    assert_eq!(stream.status(), StatusCode::OK);
    let started = std::time::Instant::now();
    up.command(&["user", "set", "ann@example.org", "--disabled", "yes"]);
    let mut pieces = stream.bytes_stream();
    let ended = async { while pieces.next().await.is_some_and(|piece| piece.is_ok()) {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("the stream ends");
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn the_services_refuse_to_start_without_database_and_redis() {
    let closed_port = format!("127.0.0.1:{}", free_port());
    for service in ["ingest-api", "alert-stream"] {
        let all = [
            ("SIGHTLINE_KAFKA_BROKERS", closed_port.clone()),
            ("SIGHTLINE_MONGODB_URI", format!("mongodb://{closed_port}/?replicaSet=rs0")),
            ("SIGHTLINE_BLOB_URL", "file:///tmp".to_owned()),
            ("SIGHTLINE_ADMIN_TOKEN", "t".repeat(32)),
            ("SIGHTLINE_ADMIN_ADDR", "off".to_owned()),
        ];
        let refused = |besides: &[(&str, String)]| {
            let mut command = std::process::Command::new("timeout");
            command.args(["60", &crate::processes::program(service)]).env_clear();
            command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
            for (name, value) in all.iter().chain(besides) {
                command.env(name, value);
            }
            let output = command.output().unwrap();
            assert!(!output.status.success(), "{service}");
            String::from_utf8(output.stderr).unwrap()
        };
        let redis = ("SIGHTLINE_REDIS_URL", format!("redis://{closed_port}"));
        let database = ("SIGHTLINE_DATABASE_URL", format!("postgres://user:hidden@{closed_port}/sightline"));
        assert!(refused(std::slice::from_ref(&redis)).contains("SIGHTLINE_DATABASE_URL"), "{service}");
        assert!(refused(std::slice::from_ref(&database)).contains("SIGHTLINE_REDIS_URL"), "{service}");
        let unreachable = refused(&[database, redis]);
        assert!(
            unreachable.contains("SIGHTLINE_DATABASE_URL") && !unreachable.contains("hidden"),
            "{service}: {unreachable}"
        );
    }
}
