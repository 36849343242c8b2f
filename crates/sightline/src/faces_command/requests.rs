//! The requests of an enrolment. Each is repeated while a retry may succeed, which is harmless: an external id belongs to one subject, and
//! the server stores an image of a subject once.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use contracts::SubjectId;
use contracts::api::Page;
use platform::retry::Backoff;
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::json;

use crate::client::{Client, Refusal, WrongServer};
use crate::sending::deadline::{Deadline, Failure, PauseTooLong, ServerAbsent};
use crate::sending::image_file::media_type;
use crate::sending::responses::{Tried, body};

const SUBJECTS: &str = "/v1/faces/subjects";
/// Codes of problems that decide what follows.
const EXTERNAL_ID_TAKEN: &str = "external_id_taken";
const NO_FACE_MODEL: [&str; 2] = ["no_face_model", "face_model_unusable"];
/// Longest time of a request, with its image.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Pauses before a retry, where the server asks for no longer one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The server does not have the routes.
#[derive(Debug, thiserror::Error)]
#[error("the server does not recognise faces; is it an older version, or a service without them? {0}")]
struct NoFaces(Refusal);

/// How the server has an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was stored now.
    New,
    /// It was stored before.
    Before,
}

/// What is read of a subject.
#[derive(Debug, Deserialize)]
struct Subject {
    id: SubjectId,
    external_id: Option<String>,
}

/// A server, and how long an image waits for it.
pub struct Requests<'a> {
    client: &'a Client,
    wait: Option<u64>,
}

impl<'a> Requests<'a> {
    /// Requests to this server; `wait` is `--wait`.
    pub const fn new(client: &'a Client, wait: Option<u64>) -> Self {
        Self { client, wait }
    }

    /// The subject with this external id. One that does not exist is created, with this name too.
    pub async fn subject(&self, name: &str) -> anyhow::Result<SubjectId> {
        let new = json!({"external_id": name, "name": name});
        let error = match self.ask::<Subject>(|| Ok(self.client.post(SUBJECTS)?.json(&new))).await {
            Ok((_, subject)) => return Ok(subject.id),
            Err(error) => error,
        };
        match error.downcast::<Refusal>() {
            Ok(refusal) if refusal.code == EXTERNAL_ID_TAKEN => self.known_subject(name).await,
            Ok(refusal) if [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&refusal.status) => {
                Err(NoFaces(refusal).into())
            }
            Ok(refusal) => Err(refusal.into()),
            Err(error) => Err(error),
        }
    }

    async fn known_subject(&self, name: &str) -> anyhow::Result<SubjectId> {
        let query = [("external_id", name)];
        let (_, page) = self.ask::<Page<Subject>>(|| Ok(self.client.get(SUBJECTS)?.query(&query))).await?;
        // Compared here too: an image must never go to somebody else.
        let known = page.items.into_iter().find(|subject| subject.external_id.as_deref() == Some(name));
        Ok(known.context("the server no longer has the subject with this external id; run the command again")?.id)
    }

    /// Adds an image to a subject.
    pub async fn add_image(&self, subject: SubjectId, content: &Bytes) -> anyhow::Result<Stored> {
        let path = format!("{SUBJECTS}/{subject}/images");
        let content_type = media_type(content).unwrap_or("application/octet-stream");
        let (status, _) = self
            .ask::<IgnoredAny>(|| {
                Ok(self.client.post(&path)?.header("content-type", content_type).body(content.clone()))
            })
            .await?;
        Ok(if status == StatusCode::CREATED { Stored::New } else { Stored::Before })
    }

    /// Sends a request until it succeeds; returns the status and the body of the response.
    ///
    /// # Errors
    /// [`Refusal`] when a retry cannot succeed. Others when the time limit passes, or the server cannot be reached at all.
    async fn ask<T: DeserializeOwned>(
        &self,
        request: impl Fn() -> anyhow::Result<RequestBuilder>,
    ) -> anyhow::Result<(StatusCode, T)> {
        let mut deadline = Deadline::new(self.wait);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let timeout = deadline.begin_request(REQUEST_TIMEOUT);
            match self.ask_once(request()?.timeout(timeout)).await? {
                Ok(answer) => return Ok(answer),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    async fn ask_once<T: DeserializeOwned>(&self, request: RequestBuilder) -> Tried<(StatusCode, T)> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Failure::Unanswered(self.client.connection_error(&error).await?))),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(body(response).await?.map(|answer| (status, answer)));
        }
        let refusal = Refusal::read(response).await;
        if refusal.is_transient() && !refuses_all(&refusal) {
            return Ok(Err(Failure::Refused(refusal.pause, refusal.to_string())));
        }
        Err(refusal.into())
    }
}

/// Whether an error ends the command, because every other image would have the same.
pub fn ends_all(error: &anyhow::Error) -> bool {
    error.is::<WrongServer>()
        || error.is::<ServerAbsent>()
        || error.is::<PauseTooLong>()
        || error.is::<NoFaces>()
        || error.downcast_ref::<Refusal>().is_some_and(refuses_all)
}

/// Whether the credential or the server is unfit for every request.
fn refuses_all(refusal: &Refusal) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&refusal.status)
        || NO_FACE_MODEL.contains(&refusal.code.as_str())
}
