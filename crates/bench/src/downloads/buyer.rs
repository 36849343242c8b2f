//! A user who has bought a book.

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::{RequestBuilder, Url};
use serde_json::{Value, json};

use crate::latency::services::Services;

const USERNAME: &str = "buyer";
const PASSWORD: &str = "lamp ostrich kettle";

/// The user.
pub struct Buyer {
    http: reqwest::Client,
    url: String,
    token: String,
    book: String,
}

impl Buyer {
    /// The operator sells a book with this recording, and a new user buys it.
    pub async fn with_book(services: &Services, recording: &Bytes) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(300)).build()?;
        let (url, admin) = (services.url.clone(), services.token.clone());
        let post = |path: &str| http.post(format!("{url}{path}"));
        let body = json!({"title": "Emma", "author": "Jane Austen", "price": {"minor": 1299, "currency": "EUR"}});
        let book = text(&sent(post("/v1/books").bearer_auth(&admin).json(&body)).await?, "id")?;
        let upload = sent(post(&format!("/v1/books/{book}/upload")).bearer_auth(&admin)).await?;
        // The server does not know under which address it is reached here.
        let path = path_of(&text(&upload, "upload_url")?)?;
        sent(http.put(format!("{url}{path}")).body(recording.clone())).await?;
        let made = sent(post(&format!("/v1/books/{book}/pipeline")).bearer_auth(&admin)).await?;
        ensure!(text(&made, "status")? == "ready", "the book is not ready: {made}");

        let body = json!({"email": "buyer@example.org", "username": USERNAME, "password": PASSWORD});
        sent(post("/v1/users").json(&body)).await?;
        let form = [("grant_type", "password"), ("username", USERNAME), ("password", PASSWORD)];
        let token = text(&sent(post("/v1/token").form(&form)).await?, "access_token")?;
        sent(http.put(format!("{url}/v1/cart/{book}")).bearer_auth(&token)).await?;
        sent(post("/v1/checkout").bearer_auth(&token)).await?;
        Ok(Self { http, url, token, book })
    }

    /// The path of a new link to the recording.
    pub async fn link(&self) -> anyhow::Result<String> {
        let request = self.http.post(format!("{}/v1/books/{}/download", self.url, self.book)).bearer_auth(&self.token);
        path_of(&text(&sent(request).await?, "download_url")?)
    }
}

async fn sent(request: RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await?;
    let (status, body) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "{status}: {body}");
    Ok(serde_json::from_str(&body).unwrap_or_default())
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    let text = value.get(name).and_then(Value::as_str).with_context(|| format!("there is no {name} in {value}"))?;
    Ok(text.to_owned())
}

fn path_of(link: &str) -> anyhow::Result<String> {
    Ok(Url::parse(link).context("a link that is no address")?.path().to_owned())
}
