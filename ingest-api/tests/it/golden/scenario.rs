//! Uses every operation once, on a server with an OpenID provider.

use std::sync::Arc;

use contracts::{BlobKey, BlobKind, FrameId, Outcome};
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use store::{FrameSpan, SentFrames};
use testing::openid_provider::{TestProvider, with};

use super::Exchanges;
use super::exchange::Exchange;
use crate::openid::code_flow::start_sign_in;
use crate::support::{PASSWORD, TestServer, alert_of, car_result, faces_result, png, refusing_redis};

const NEW_PASSWORD: &str = "kettle under seven clouds";

/// Runs all requests. Returns the OpenAPI document and the recorded exchanges.
pub async fn run() -> (Value, Exchanges) {
    let provider = TestProvider::start().await;
    let flags = provider.flags();
    let flags = flags.iter().map(String::as_str).chain(["--rate-limit-rps", "none"]);
    let server = TestServer::with_flags(&flags.collect::<Vec<_>>()).await;
    let document = server.get("/openapi.json").await;
    let mut scenario = Scenario { server, provider, exchanges: Exchanges::new() };
    scenario.service().await;
    scenario.frames().await;
    scenario.detections_and_alerts().await;
    scenario.rules().await;
    scenario.account().await;
    scenario.administration().await;
    scenario.identities().await;
    scenario.passwords().await;
    scenario.older_accounts().await;
    scenario.errors().await;
    (document, scenario.exchanges)
}

struct Scenario {
    server: TestServer,
    provider: Arc<TestProvider>,
    exchanges: Exchanges,
}

impl Scenario {
    /// Sends a request under the id of its operation and returns the JSON of the response.
    async fn record(&mut self, operation: &str, request: RequestBuilder) -> Value {
        let (exchange, body) = Exchange::record(&self.server.client, request).await;
        self.exchanges.insert(operation.to_owned(), exchange);
        body
    }

    async fn get(&mut self, operation: &str, path: &str) -> Value {
        let request = self.server.request(Method::GET, path);
        self.record(operation, request).await
    }

    async fn get_as(&mut self, operation: &str, token: &str, path: &str) -> Value {
        let request = self.server.request_as(token, Method::GET, path);
        self.record(operation, request).await
    }

    async fn post(&mut self, operation: &str, path: &str, body: &Value) -> Value {
        let request = self.server.request(Method::POST, path).json(body);
        self.record(operation, request).await
    }

    async fn post_as(&mut self, operation: &str, token: &str, path: &str, body: &Value) -> Value {
        let request = self.server.request_as(token, Method::POST, path).json(body);
        self.record(operation, request).await
    }

    async fn post_anonymously(&mut self, operation: &str, path: &str, body: &Value) -> Value {
        let request = self.server.anonymous(Method::POST, path).json(body);
        self.record(operation, request).await
    }

    async fn post_form(&mut self, operation: &str, path: &str, fields: &[(&str, &str)]) -> Value {
        let request = form(self.server.anonymous(Method::POST, path), fields);
        self.record(operation, request).await
    }

    async fn service(&mut self) {
        self.get("is_live", "/healthz").await;
        self.get("is_ready", "/readyz").await;
        let degraded = TestServer::with_redis_at(&refusing_redis().await).await;
        let request = degraded.request(Method::GET, "/readyz");
        self.record("is_ready.degraded", request).await;
        self.get("get_keys", "/.well-known/jwks.json").await;
        self.get("hello", "/v1/hello").await;
        self.get("hello_by_name", "/v2/hello?name=Ann").await;
    }

    async fn frames(&mut self) {
        let path = "/v1/frames?stream=gate-1&captured_at=2026-01-02T03:04:05Z";
        let request = self.server.post_image(path, png(9, 9, 900)).header("idempotency-key", "k");
        self.record("send_frame", request).await;

        let worker = self.server.spawn_worker();
        drop(self.server.post_image_waiting(10).await);
        let request = self.server.post_image(path, png(9, 9, 900)).header("prefer", "wait=10");
        self.record("send_frame.wait", request).await;
        worker.abort();

        let mut result = faces_result(7);
        let id = result.data.frame_id;
        let key = BlobKey::new(BlobKind::Frames, Timestamp::UNIX_EPOCH, &result.tenant, id);
        if let Outcome::Ok { image, .. } = &mut result.data.outcome {
            *image = Some(key);
        }
        let alert = alert_of(id, Timestamp::from_second(1_767_225_607).unwrap());
        self.server.index_with_alerts(result, vec![alert]).await;
        self.get("list_frames", "/v1/frames?limit=1").await;
        self.get("get_frame", &format!("/v1/frames/{id}")).await;
    }

    async fn detections_and_alerts(&mut self) {
        let mut result = car_result(8, "Audi", "SUV");
        result.data.captured_at = Timestamp::from_second(1_767_225_608).unwrap();
        self.server.index(result).await;
        let id = FrameId::from_position("test", 0, 7);
        self.get("list_detections", "/v1/detections?limit=2").await;
        self.get("get_detection", &format!("/v1/detections/{id}-face-1")).await;
        let body = json!({
            "stream": "gate-1", "captured_at": "2026-01-02T03:04:05Z", "label": "car", "confidence": 0.75,
            "box": {"x": 1, "y": 2, "width": 3, "height": 4}, "make": "Audi", "model": "Q3", "category": "SUV", "year": 2020,
        });
        self.post("send_detection", "/v1/detections", &body).await;
        self.get("count_detections", "/v1/stats?group_by=label&from=2026-01-01T00:00:00Z").await;
        self.get("list_alerts", "/v1/alerts/history?limit=1").await;
        self.get("older_list_detections", "/detections").await;
        self.get("older_count_detections", "/stats").await;
    }

    async fn rules(&mut self) {
        let body = json!({"name": "sure faces", "condition": "confidence > 0.8"});
        let rule = self.post("make_rule", "/v1/rules", &body).await;
        let path = format!("/v1/rules/{}", rule["id"].as_str().unwrap());
        self.get("list_rules", "/v1/rules").await;
        self.get("get_rule", &path).await;
        let request = self.server.request(Method::PATCH, &path).json(&json!({"enabled": false}));
        self.record("change_rule", request).await;
    }

    async fn account(&mut self) {
        let body = json!({
            "email": "ann@example.org", "username": "ann", "full_name": "Ann Miller", "password": PASSWORD,
        });
        self.post_anonymously("register", "/v1/users", &body).await;
        let fields = [("grant_type", "password"), ("username", "ann"), ("password", PASSWORD)];
        let grant = self.post_form("get_token", "/v1/token", &fields).await;
        let fields = [("grant_type", "refresh_token"), ("refresh_token", text(&grant, "refresh_token"))];
        let grant = self.post_form("get_token.refresh", "/v1/token", &fields).await;
        let token = text(&grant, "access_token");
        let request = form(self.server.request(Method::POST, "/v1/token/introspect"), &[("token", token)]);
        self.record("introspect_token", request).await;

        self.get_as("get_me", token, "/v1/users/me").await;
        let change = json!({"full_name": "Ann B. Miller"});
        let request = self.server.request_as(token, Method::PATCH, "/v1/users/me").json(&change);
        self.record("change_me", request).await;
        self.get_as("get_quota", token, "/v1/users/me/quota").await;
        self.get_as("list_sessions", token, "/v1/sessions").await;
        let body = json!({"name": "gate camera", "scopes": ["frames:write"], "expires_at": "2100-01-01T00:00:00Z"});
        self.post_as("make_api_token", token, "/v1/api-tokens", &body).await;
        self.get_as("list_api_tokens", token, "/v1/api-tokens").await;
        self.get_as("older_get_me", token, "/users/me/").await;
        self.streams(token).await;
        let fields = [("token", text(&grant, "refresh_token"))];
        self.post_form("revoke_token", "/v1/token/revoke", &fields).await;
    }

    async fn streams(&mut self, token: &str) {
        let path = "/v1/streams/gate-1";
        let request = self.server.request_as(token, Method::PUT, path).json(&json!({"detectors": ["face"]}));
        self.record("set_stream", request).await;
        let report = json!({
            "state": "failed", "since": "2026-01-02T03:04:05Z", "frames_per_second": 4.9, "frames_sent": 1200,
            "frames_skipped": 800, "frames_dropped": 3, "last_error": "401 Unauthorized; trying again in a minute",
        });
        let request = self.server.request_as(token, Method::PUT, &format!("{path}/state")).json(&report);
        self.record("report_stream_state", request).await;
        let me: Value = self.server.get_as(token, "/v1/users/me").await.json().await.unwrap();
        let sent = SentFrames {
            tenant: self.server.deps.accounts_service.user(text(&me, "id").parse().unwrap()).await.unwrap().tenant,
            stream: "gate-1".parse().unwrap(),
            captured_at: Timestamp::from_second(1_767_225_600).unwrap(),
            span: FrameSpan { frames: 120, ..FrameSpan::of(FrameId::now(), Timestamp::now()) },
        };
        self.server.deps.documents.record_frames(&[sent], 10).await.unwrap();
        self.get_as("get_stream", token, path).await;
        self.get_as("list_streams", token, "/v1/streams").await;
    }

    async fn administration(&mut self) {
        let users = self.get("list_users", "/v1/users?search=ann").await;
        let id = users["items"][0]["id"].as_str().unwrap().to_owned();
        self.get("get_user", &format!("/v1/users/{id}")).await;
        let change = json!({"api_request_quota": 3, "rate_limit_rps": "unlimited"});
        let request = self.server.request(Method::PATCH, &format!("/v1/users/{id}")).json(&change);
        self.record("change_user", request).await;
        self.get("list_audit", &format!("/v1/audit?user={id}&limit=2")).await;
    }

    async fn identities(&mut self) {
        let token = self.server.access_token("ann").await;
        let claims = self.provider.claims();
        let body = json!({"id_token": self.provider.key.token(&claims), "present_password": PASSWORD});
        self.post_as("link_identity", &token, "/v1/users/me/identities", &body).await;
        self.get_as("list_identities", &token, "/v1/users/me/identities").await;
        let body = json!({"id_token": self.provider.key.token(&claims)});
        self.post_anonymously("sign_in_with_id_token", "/v1/oidc/id-token", &body).await;

        let sign_in = start_sign_in(self.server.address, "").await;
        let claims = with(&claims, "nonce", json!(sign_in.params()["nonce"]));
        let tokens = json!({
            "access_token": "at", "token_type": "Bearer", "id_token": self.provider.key.token(&claims),
        });
        self.provider.queue_response(200, tokens);
        let path = format!("/v1/oidc/callback?code=abc&state={}", sign_in.params()["state"]);
        let request = self.server.anonymous(Method::GET, &path).header("cookie", &sign_in.cookie);
        self.record("end_oidc_login", request).await;
    }

    async fn passwords(&mut self) {
        let token = self.server.access_token("ann").await;
        let body = json!({"present_password": PASSWORD, "new_password": NEW_PASSWORD});
        self.post_as("change_password", &token, "/v1/users/me/password", &body).await;
        let body = json!({"email": "ann@example.org"});
        self.post_anonymously("forgot_password", "/v1/password/forgot", &body).await;
        let body = json!({"token": self.server.mailer.next_reset_token().await, "password": PASSWORD});
        self.post_anonymously("reset_password", "/v1/password/reset", &body).await;
    }

    async fn older_accounts(&mut self) {
        let body = json!({"user_name": "bob", "password": PASSWORD, "email": "bob@example.org", "full_name": "Bob"});
        self.post_anonymously("older_register", "/users", &body).await;
        let fields = [("grant_type", ""), ("username", "bob"), ("password", PASSWORD), ("scope", "")];
        self.post_form("older_token", "/token", &fields).await;
        let body = json!({"username": "bob", "password": PASSWORD});
        let session = self.post_anonymously("older_login", "/login", &body).await;
        let token = text(&session, "token");
        for (operation, method) in
            [("older_set_name", Method::POST), ("older_put_name", Method::PUT), ("older_patch_name", Method::PATCH)]
        {
            let request = self.server.request_as(token, method, "/setName").json(&json!({"name": "Bob B."}));
            self.record(operation, request).await;
        }
        self.get_as("older_get_name", token, "/getName").await;
    }

    async fn errors(&mut self) {
        let unauthorized = self.server.anonymous(Method::GET, "/v1/frames");
        let fields = [("grant_type", "password"), ("username", "ann"), ("password", "wrong")];
        let refused = form(self.server.anonymous(Method::POST, "/v1/token"), &fields);
        for (name, request) in [("problem", unauthorized), ("oauth_error", refused)] {
            let (exchange, success, _) = Exchange::record_any(&self.server.client, request).await;
            assert!(!success, "{}", exchange.text);
            self.exchanges.insert(name.to_owned(), exchange);
        }
    }
}

fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    request.header("content-type", "application/x-www-form-urlencoded").body(body)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}
