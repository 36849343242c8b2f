//! Requests to S3 that `object_store` has no call for. They are signed in their address, as a link is.

use std::time::Duration;

use object_store::path::Path;
use object_store::signer::{SignedUrlOptions, Signer};
use quick_xml::escape::escape;
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::MediaBucket;
use crate::StoreError;
use crate::media::{MultipartId, PartFacts, other_parts};

/// How long the signature of a request counts: as far as a clock may be behind that of the server in all other requests.
const SIGNED_FOR: Duration = Duration::from_mins(15);
/// Maximum number of bytes of an answer. A page of a list has at most a thousand entries.
const MAX_ANSWER: usize = 4 << 20;
/// Pauses before the tries of a request.
const PAUSES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(2_500)];
/// Codes of S3 for parts that it does not have in this form.
const OTHER_PARTS: [&str; 3] = ["InvalidPart", "InvalidPartOrder", "EntityTooSmall"];

/// An answer of S3.
pub(super) struct Answer {
    status: StatusCode,
    /// XML.
    pub(super) body: String,
    /// What S3 calls the error; empty after a success.
    code: String,
}

/// The part of an error that a program reads. What is no error has no code.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Refusal {
    code: String,
}

impl Answer {
    fn new(status: StatusCode, body: String) -> Self {
        let refusal: Refusal = quick_xml::de::from_str(body.trim_start()).unwrap_or_default();
        Self { status, body, code: refusal.code }
    }

    /// S3 may begin an answer with 200 and end it with an error.
    fn is_success(&self) -> bool {
        self.status.is_success() && self.code.is_empty()
    }

    fn is_passing(&self) -> bool {
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || (self.status.is_success() && !self.code.is_empty())
    }

    pub(super) fn is_unknown_upload(&self) -> bool {
        self.status == StatusCode::NOT_FOUND && self.code == "NoSuchUpload"
    }

    fn shown(&self) -> String {
        format!("the answer was {} {}", self.status, self.code)
    }
}

impl MediaBucket {
    /// Makes the object of these parts. `false` if S3 does not know the upload, such as after a success.
    pub(super) async fn complete(
        &self,
        path: &Path,
        upload: &MultipartId,
        parts: &[PartFacts],
    ) -> Result<bool, StoreError> {
        let query = [("uploadId", upload.0.as_str())];
        let doing = "finishing an upload";
        let answer = self.answer(doing, &Method::POST, path, &query, Some(list_of(parts))).await?;
        if answer.is_unknown_upload() {
            return Ok(false);
        }
        if OTHER_PARTS.contains(&answer.code.as_str()) {
            return Err(other_parts(&answer.code));
        }
        if answer.is_success() { Ok(true) } else { Err(self.failed(doing, &answer.shown())) }
    }

    /// Reads a list; `None` if S3 does not know the upload.
    pub(super) async fn list(
        &self,
        doing: &str,
        path: &Path,
        query: &[(&str, &str)],
    ) -> Result<Option<String>, StoreError> {
        let answer = self.answer(doing, &Method::GET, path, query, None).await?;
        if answer.is_unknown_upload() {
            return Ok(None);
        }
        if answer.is_success() { Ok(Some(answer.body)) } else { Err(self.failed(doing, &answer.shown())) }
    }

    /// Sends a request, which must be one that may be repeated, until there is an answer that will not change.
    async fn answer(
        &self,
        doing: &str,
        method: &Method,
        path: &Path,
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, StoreError> {
        let mut last = String::new();
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.send(method, path, query, body.clone()).await {
                Ok(answer) if !answer.is_passing() => return Ok(answer),
                Ok(answer) => last = answer.shown(),
                Err(error) => last = error,
            }
        }
        Err(self.failed(doing, &last))
    }

    /// The error is for people, and has no address, which has a signature.
    async fn send(
        &self,
        method: &Method,
        path: &Path,
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, String> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let options = SignedUrlOptions::new().with_query(query);
        let signed = self.store.signed_url_opts(method.clone(), path, SIGNED_FOR, &options).await;
        let url = signed.map_err(|error| error.to_string())?;
        let told = |error: reqwest::Error| error.without_url().to_string();
        let request = self.client.request(method.clone(), url);
        let request = if let Some(body) = body { request.body(body) } else { request };
        let mut response = request.send().await.map_err(told)?;
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(told)? {
            if content.len() + chunk.len() > MAX_ANSWER {
                return Err("the answer is too long".to_owned());
            }
            content.extend_from_slice(&chunk);
        }
        Ok(Answer::new(response.status(), String::from_utf8_lossy(&content).into_owned()))
    }
}

/// The body with which S3 makes an object. `object_store` would number the parts without gaps.
fn list_of(parts: &[PartFacts]) -> String {
    let each = parts.iter().map(|part| {
        let PartFacts { number, tag, .. } = part;
        format!("<Part><PartNumber>{number}</PartNumber><ETag>&quot;{}&quot;</ETag></Part>", escape(tag.as_str()))
    });
    let each: String = each.collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{each}</CompleteMultipartUpload>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_a_success_is_an_error_that_passes() {
        let text = "<Error><Code>InternalError</Code><Message>try again</Message></Error>";
        let failed = Answer::new(StatusCode::OK, format!("  \n{text}"));
        assert!(!failed.is_success() && failed.is_passing());
        let made = "<?xml version=\"1.0\"?><CompleteMultipartUploadResult><ETag>&quot;a&quot;</ETag></CompleteMultipartUploadResult>";
        let made = Answer::new(StatusCode::OK, made.to_owned());
        assert!(made.is_success() && !made.is_passing());
        let unknown = Answer::new(StatusCode::NOT_FOUND, text.replace("InternalError", "NoSuchUpload"));
        assert!(unknown.is_unknown_upload() && !unknown.is_passing());
        let no_bucket = Answer::new(StatusCode::NOT_FOUND, text.replace("InternalError", "NoSuchBucket"));
        assert!(!no_bucket.is_unknown_upload() && !no_bucket.is_success());
    }

    #[test]
    fn the_list_of_parts_keeps_their_numbers_and_escapes_their_tags() {
        let part = |number| PartFacts { number, bytes: 1, tag: "a<".to_owned() };
        let list = list_of(&[part(1), part(7)]);
        let expected =
            "<Part><PartNumber>7</PartNumber><ETag>&quot;a&lt;&quot;</ETag></Part></CompleteMultipartUpload>";
        assert!(list.ends_with(expected), "{list}");
    }
}
