//! Requests to a test server, and checks of its responses.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::time::Instant;

use super::{ADMIN, PASSWORD, TIMEOUT, TestServer, png};

impl TestServer {
    /// A request without a credential.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// A request with the operator's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_as(ADMIN, method, path)
    }

    /// A request with this token.
    pub fn request_as(&self, token: &str, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(token)
    }

    /// The response to a GET with this token.
    pub async fn get_as(&self, token: &str, path: &str) -> Response {
        self.request_as(token, Method::GET, path).send().await.unwrap()
    }

    /// The response to a POST of JSON with this token.
    pub async fn post_as(&self, token: &str, path: &str, body: &Value) -> Response {
        self.request_as(token, Method::POST, path).json(body).send().await.unwrap()
    }

    /// The response to a PUT of JSON with this token.
    pub async fn put_as(&self, token: &str, path: &str, body: &Value) -> Response {
        self.request_as(token, Method::PUT, path).json(body).send().await.unwrap()
    }

    /// The response to a PATCH of JSON with this token.
    pub async fn patch_as(&self, token: &str, path: &str, body: &Value) -> Response {
        self.request_as(token, Method::PATCH, path).json(body).send().await.unwrap()
    }

    /// The response to a DELETE with this token.
    pub async fn delete_as(&self, token: &str, path: &str) -> Response {
        self.request_as(token, Method::DELETE, path).send().await.unwrap()
    }

    /// The response to a POST of JSON without a credential.
    pub async fn post_anonymously(&self, path: &str, body: &Value) -> Response {
        self.anonymous(Method::POST, path).json(body).send().await.unwrap()
    }

    /// The response to a form without a credential.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.anonymous(Method::POST, path).header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.unwrap()
    }

    /// A small PNG as a frame with this token.
    pub fn frame_as(&self, token: &str) -> RequestBuilder {
        let request = self.request_as(token, Method::POST, "/v1/frames").header("content-type", "image/png");
        request.body(png(9, 9, 900))
    }

    /// A PNG with the operator's token.
    pub fn post_image(&self, path_and_query: &str, image: Vec<u8>) -> RequestBuilder {
        self.request(Method::POST, path_and_query).header("content-type", "image/png").body(image)
    }

    /// Posts PNGs with `Prefer: wait` until a wait is granted: a server that has just started may not read replies yet.
    pub async fn post_image_waiting(&self, seconds: u32) -> Response {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let request = self.post_image("/v1/frames", png(64, 64, 2000)).header("prefer", format!("wait={seconds}"));
            let response = request.send().await.unwrap();
            if response.headers().contains_key("preference-applied") || Instant::now() > deadline {
                return response;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The JSON at a path, for the operator.
    pub async fn get(&self, path: &str) -> Value {
        json_of(self.get_as(ADMIN, path).await, StatusCode::OK).await
    }

    /// All items of a list, read in pages of `limit`.
    pub async fn all_items(&self, path: &str, limit: usize) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{separator}limit={limit}{cursor}")).await;
            let page_items = page["items"].as_array().unwrap().clone();
            assert!(page_items.len() <= limit);
            items.extend(page_items);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
            assert!(items.len() < 1000, "the list does not end");
        }
    }

    /// The response to a sign-in with this password.
    pub async fn sign_in_with(&self, name: &str, password: &str) -> Response {
        self.post_form("/v1/token", &[("grant_type", "password"), ("username", name), ("password", password)]).await
    }

    /// The tokens of a new session of this user.
    pub async fn sign_in(&self, name: &str) -> Value {
        json_of(self.sign_in_with(name, PASSWORD).await, StatusCode::OK).await
    }

    /// An access token of a new session of this user.
    pub async fn access_token(&self, name: &str) -> String {
        self.sign_in(name).await["access_token"].as_str().unwrap().to_owned()
    }

    /// Whether a token is refused.
    pub async fn refuses(&self, token: &str) -> bool {
        self.get_as(token, "/v1/users/me").await.status() == StatusCode::UNAUTHORIZED
    }
}

/// Checks the status and returns the body.
pub async fn json_of(response: Response, status: StatusCode) -> Value {
    let (got, url) = (response.status(), response.url().clone());
    let body = response.text().await.unwrap();
    assert_eq!(got, status, "{url}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// Checks that a response is a problem and returns its status, code and detail.
pub async fn problem(response: Response) -> (StatusCode, String, String) {
    let status = response.status();
    let media_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let body = response.text().await.unwrap();
    assert_eq!(media_type.as_deref(), Some("application/problem+json"), "{status} {body}");
    let problem: contracts::api::Problem = serde_json::from_str(&body).unwrap();
    assert_eq!(problem.status, status.as_u16());
    (status, problem.code, problem.detail)
}
