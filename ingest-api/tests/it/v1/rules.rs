//! Alert rules.

use contracts::{Rule, RuleId, TenantId};
use futures::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{ADMIN, OTHER, READER, TestServer, json_of, problem};

async fn create(server: &TestServer, body: Value) -> Value {
    let response = server.post_as(ADMIN, "/v1/rules", &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let rule: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/rules/{}", rule["id"].as_str().unwrap()));
    rule
}

#[tokio::test]
async fn a_rule_is_managed_by_its_owner_only() {
    let server = TestServer::start().await;
    let rule =
        create(&server, json!({"name": "sure faces", "condition": "label == \"face\" && confidence > 0.8"})).await;
    assert_eq!(rule["enabled"], true);
    assert_eq!(rule["built_in"], false);
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    assert_eq!(server.get(&path).await, rule);

    let disable = async |token: &str| server.patch_as(token, &path, &json!({"enabled": false})).await;
    assert_eq!(problem(disable(OTHER).await).await.1, "not_found");
    assert_eq!(problem(disable(READER).await).await.1, "forbidden");
    let changed = json_of(disable(ADMIN).await, StatusCode::OK).await;
    assert_eq!((&changed["enabled"], &changed["condition"]), (&json!(false), &rule["condition"]));
    let bad = server.patch_as(ADMIN, &path, &json!({"condition": "label"})).await;
    assert_eq!(problem(bad).await.1, "invalid");
    assert_eq!(server.get(&path).await, changed);

    assert_eq!(server.delete_as(ADMIN, &path).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(problem(server.delete_as(ADMIN, &path).await).await.1, "not_found");
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_kept() {
    let server = TestServer::start().await;
    let rule = create(&server, json!({"name": "before", "condition": "true"})).await;
    let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
    for round in 0..10 {
        let (name, condition) = (format!("round {round}"), format!("year == {round}"));
        let changes = [json!({"name": name}), json!({"condition": condition}), json!({"enabled": round % 2 == 0})];
        let responses = join_all(changes.iter().map(|change| server.patch_as(ADMIN, &path, change))).await;
        assert!(responses.iter().all(|response| response.status() == StatusCode::OK), "{responses:?}");
        let kept = server.get(&path).await;
        for change in changes {
            let (field, value) = change.as_object().unwrap().iter().next().unwrap();
            assert_eq!(&kept[field], value, "round {round}: {kept}");
        }
    }
}

#[tokio::test]
async fn rules_that_are_created_at_the_same_time_do_not_exceed_the_maximum() {
    let server = TestServer::start().await;
    let stored = |number: usize| Rule {
        id: RuleId::now(),
        tenant: Some(TenantId::admin()),
        name: format!("stored {number}"),
        condition: "true".to_owned(),
        enabled: true,
    };
    for number in 0..98 {
        server.deps.documents.create_rule(&stored(number)).await.unwrap();
    }
    let new: Vec<Value> = (0..20).map(|number| json!({"name": format!("new {number}"), "condition": "true"})).collect();
    let responses = join_all(new.iter().map(|rule| server.post_as(ADMIN, "/v1/rules", rule))).await;
    let created = responses.iter().filter(|response| response.status() == StatusCode::CREATED).count();
    let left = server.deps.documents.rules(&TenantId::admin()).await.unwrap().len();
    assert_eq!(left, 98 + created, "what was refused is not kept");
    assert!(left <= 100, "{left}");
}

#[tokio::test]
async fn built_in_rules_are_listed_and_read_only() {
    let server = TestServer::with_flags(&["--suspicious-vehicle", "Van"]).await;
    let rules = server.get("/v1/rules").await;
    let built_in = rules["items"].as_array().unwrap().iter().find(|rule| rule["name"] == "suspicious-vehicle").unwrap();
    assert_eq!(built_in["built_in"], true);
    assert!(built_in["condition"].as_str().unwrap().contains("van"), "{built_in}");
    let path = format!("/v1/rules/{}", built_in["id"].as_str().unwrap());
    assert_eq!(&server.get(&path).await, built_in);
    for method in [Method::PATCH, Method::DELETE] {
        let response = server.request(method, &path).json(&json!({"enabled": false})).send().await.unwrap();
        assert_eq!(problem(response).await.1, "conflict");
    }
}

#[tokio::test]
async fn rule_names_are_unique_per_tenant() {
    let server = TestServer::start().await;
    create(&server, json!({"name": "cars", "condition": "true"})).await;
    let faces = create(&server, json!({"name": "faces", "condition": "true"})).await;
    let path = format!("/v1/rules/{}", faces["id"].as_str().unwrap());
    let add = |name: &str| server.request(Method::POST, "/v1/rules").json(&json!({"name": name, "condition": "true"}));
    let rename = |name: &str| server.request(Method::PATCH, &path).json(&json!({"name": name}));
    let reserved =
        ["face-seen", "Face-Seen", " face-seen ", "face- seen", "FACE-SEEN", "face-\u{200b}seen", "face-seen\u{a0}"];
    let refused = reserved.into_iter().flat_map(|name| [add(name), rename(name)]);
    for request in refused.chain([add("faces"), rename("cars"), rename("suspicious-vehicle")]) {
        let (status, code, _) = problem(request.send().await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "rule_name_taken"));
    }
    assert_eq!(rename("faces").send().await.unwrap().status(), StatusCode::OK);
    let other = server.post_as(OTHER, "/v1/rules", &json!({"name": "faces", "condition": "true"})).await;
    assert_eq!(other.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_tenant_has_at_most_100_rules() {
    let server = TestServer::start().await;
    for number in 0..100 {
        create(&server, json!({"name": format!("r{number}"), "condition": "true"})).await;
    }
    let one_more = server.post_as(ADMIN, "/v1/rules", &json!({"name": "r", "condition": "true"})).await;
    assert_eq!(problem(one_more).await.1, "conflict");
}

/// A condition of comparisons that cost 3 steps each, and 1 to join two of them.
fn costing(comparisons: usize) -> String {
    vec!["year==1"; comparisons].join("||")
}

#[tokio::test]
async fn rules_beyond_the_budget_are_refused() {
    let server = TestServer::start().await;
    let first = create(&server, json!({"name": "first", "condition": costing(200)})).await;
    assert_eq!((&first["cost"], &first["state"], &first["reason"]), (&json!(799), &json!("active"), &Value::Null));
    for number in 2..=5 {
        create(&server, json!({"name": format!("r{number}"), "condition": costing(200)})).await;
    }
    // 5 steps are left.
    let refused = |body: Value| server.request(Method::POST, "/v1/rules").json(&body).send();
    let (status, code, detail) =
        problem(refused(json!({"name": "late", "condition": costing(2)})).await.unwrap()).await;
    assert_eq!((status, code.as_str()), (StatusCode::CONFLICT, "rules_too_costly"));
    assert!(detail.contains("costs 7 steps") && detail.contains("4000"), "{detail}");
    let alone = refused(json!({"name": "late", "condition": vec!["make == model"; 120].join(" || ")})).await.unwrap();
    let (status, code, detail) = problem(alone).await;
    assert_eq!((status, code.as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"));
    assert!(detail.contains("at most 1000"), "{detail}");

    // A disabled rule costs nothing, and cannot be enabled.
    let disabled = create(&server, json!({"name": "late", "condition": costing(2), "enabled": false})).await;
    assert_eq!(disabled["state"], "disabled");
    let enable = |rule: &Value, body: Value| {
        let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
        server.request(Method::PATCH, &path).json(&body).send()
    };
    let (_, code, _) = problem(enable(&disabled, json!({"enabled": true})).await.unwrap()).await;
    assert_eq!(code, "rules_too_costly");
    // An older rule cannot take the place of a newer one.
    let (_, code, _) = problem(enable(&first, json!({"condition": costing(202)})).await.unwrap()).await;
    assert_eq!(code, "rules_too_costly");
    let smaller = json_of(enable(&first, json!({"condition": "year == 1"})).await.unwrap(), StatusCode::OK).await;
    assert_eq!(smaller["cost"], 3);
    let enabled = json_of(enable(&disabled, json!({"enabled": true})).await.unwrap(), StatusCode::OK).await;
    assert_eq!(enabled["state"], "active");
}

#[tokio::test]
async fn older_rules_beyond_the_budget_are_shown_as_too_costly() {
    let server = TestServer::start().await;
    let stored = |name: &str, condition: String| Rule {
        id: RuleId::now(),
        tenant: Some(TenantId::admin()),
        name: name.to_owned(),
        condition,
        enabled: true,
    };
    let mut rules: Vec<Rule> = (0..6).map(|number| stored(&format!("r{number}"), costing(200))).collect();
    rules.push(stored("s", vec!["make == model"; 120].join(" || ")));
    rules.push(stored("t", "labl == 1".to_owned()));
    for rule in &rules {
        server.deps.documents.create_rule(rule).await.unwrap();
    }
    let listed = server.get("/v1/rules").await;
    let own: Vec<&Value> =
        listed["items"].as_array().unwrap().iter().filter(|rule| rule["built_in"] == false).collect();
    let states: Vec<&str> = own.iter().map(|rule| rule["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["active", "active", "active", "active", "active", "too_costly", "too_costly", "invalid"]);
    for (rule, expected) in own[5..].iter().zip(["together may cost 4000", "at most 1000", "no variable"]) {
        assert!(rule["reason"].as_str().unwrap().contains(expected), "{rule}");
        let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
        assert_eq!(&&server.get(&path).await, rule);
        // Its owner can still rename and disable it.
        let renamed = server.patch_as(ADMIN, &path, &json!({"name": format!("old {}", rule["name"])})).await;
        assert_eq!(json_of(renamed, StatusCode::OK).await["state"], rule["state"]);
        let disabled = json_of(server.patch_as(ADMIN, &path, &json!({"enabled": false})).await, StatusCode::OK).await;
        assert_eq!(disabled["state"], "disabled");
    }
}

/// Sends the head of a request; returns when the server has authorised it and requests the body.
async fn begin(server: &TestServer, token: &str, route: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "{route} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

#[tokio::test]
async fn a_rule_that_arrives_after_its_user_was_deleted_is_not_kept() {
    let server = TestServer::start().await;
    let ann = server.create_user("ann").await;
    let token = server.access_token("ann").await;
    let kept = server.post_as(&token, "/v1/rules", &json!({"name": "cars", "condition": "true"})).await;
    let kept = json_of(kept, StatusCode::CREATED).await;
    let (new, change) =
        (json!({"name": "late", "condition": "true"}).to_string(), json!({"enabled": false}).to_string());
    let path = format!("PATCH /v1/rules/{}", kept["id"].as_str().unwrap());
    let late = [
        (begin(&server, &token, "POST /v1/rules", new.len()).await, new, "401"),
        (begin(&server, &token, &path, change.len()).await, change, "404"),
    ];
    let deleted = server.delete_as(ADMIN, &format!("/v1/users/{}", ann.id)).await;
    assert!(deleted.status().is_success(), "{}", deleted.status());
    for (mut stream, body, status) in late {
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert_eq!(server.deps.documents.rules(&ann.tenant).await.unwrap(), []);
}
