//! The requests about faces, as the operator.

use anyhow::{Context, ensure};
use bytes::Bytes;
use contracts::SubjectId;
use contracts::api::{EnrolledFace, FaceSearch, SubjectView};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::latency::services::Services;

/// A client.
pub struct Api {
    http: reqwest::Client,
    subjects: String,
    search: String,
    token: String,
}

impl Api {
    /// A client of these services.
    pub fn new(services: &Services) -> anyhow::Result<Self> {
        let address = |path: &str| format!("{}/v1/faces/{path}", services.url);
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { http, subjects: address("subjects"), search: address("search"), token: services.token.clone() })
    }

    /// A new subject.
    pub async fn subject(&self) -> anyhow::Result<SubjectId> {
        let created: SubjectView = self.send(self.http.post(&self.subjects).json(&json!({}))).await?;
        Ok(created.id)
    }

    /// Enrols the face of a photograph.
    pub async fn enrol(&self, subject: SubjectId, photo: &Bytes) -> anyhow::Result<()> {
        let path = format!("{}/{subject}/images", self.subjects);
        let _: EnrolledFace = self.send(self.http.post(path).body(photo.clone())).await?;
        Ok(())
    }

    /// The people that the face of a photograph may be.
    pub async fn search(&self, photo: &Bytes) -> anyhow::Result<FaceSearch> {
        self.send(self.http.post(&self.search).body(photo.clone())).await
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let response = request.bearer_auth(&self.token).send().await?;
        let (status, body) = (response.status(), response.text().await?);
        ensure!(status.is_success(), "{status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("an unknown response: {body}"))
    }
}
