//! A user of the shop, and the requests of its admin.

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::processes::TestServer;

const PASSWORD: &str = "lamp ostrich kettle";

/// A signed-in user.
pub struct Buyer {
    pub id: String,
    url: String,
    token: String,
}

impl Buyer {
    /// Registers and signs in.
    pub async fn new(up: &TestServer, name: &str) -> Self {
        let client = reqwest::Client::new();
        let new = json!({"email": format!("{name}@example.org"), "username": name, "password": PASSWORD});
        let made = client.post(format!("{}/v1/users", up.url)).json(&new).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
        let id = body_of(made).await["id"].as_str().unwrap().to_owned();
        let form = format!("grant_type=password&username={name}&password={}", PASSWORD.replace(' ', "+"));
        let request = client.post(format!("{}/v1/token", up.url)).body(form);
        let signed_in = request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap();
        let token = body_of(signed_in).await["access_token"].as_str().unwrap().to_owned();
        Self { id, url: up.url.clone(), token }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    pub async fn send(&self, method: Method, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    pub fn checkout_request(&self, key: &str) -> RequestBuilder {
        self.request(Method::POST, "/v1/checkout").header("idempotency-key", key)
    }

    /// Buys the cart, also if the payment is still in progress; returns the order.
    pub async fn checkout(&self, key: &str) -> Value {
        let begun = std::time::Instant::now();
        loop {
            let response = self.checkout_request(key).send().await.unwrap();
            let status = response.status();
            let body = body_of(response).await;
            let pending = ["payment_pending", "checkout_running"].iter().any(|code| body["code"] == **code);
            if !pending {
                assert_eq!(status, StatusCode::OK, "{body}");
                return body;
            }
            assert!(begun.elapsed() < crate::processes::TIMEOUT, "{body}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    /// A link to the recording of a book that it has bought.
    pub async fn link(&self, book: &str) -> String {
        let body = body_of(self.send(Method::POST, &format!("/v1/books/{book}/download")).await).await;
        let link = body["download_url"].as_str().unwrap_or_else(|| panic!("no link: {body}"));
        format!("{}{}", self.url, path_of(link))
    }
}

/// A request of the operator.
pub fn admin(up: &TestServer, method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, format!("{}{path}", up.url)).bearer_auth(&up.token)
}

/// The JSON of a response.
pub async fn body_of(response: Response) -> Value {
    response.json().await.unwrap()
}

/// An address of the server as the test reaches it: its port is not the one in the settings.
pub fn here(up: &TestServer, link: &str) -> String {
    format!("{}{}", up.url, path_of(link))
}

fn path_of(link: &str) -> &str {
    &link[link.find("/v1/").unwrap()..]
}
