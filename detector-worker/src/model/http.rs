//! A detector that is an engine elsewhere: the picture's bytes go out by HTTP, detections come back.
//!
//! The engine is sent `POST` with the bytes as they came and answers what `detector-worker serve` answers:
//! `{"model": "...", "width": 1600, "height": 1158, "detections": [{"label": "face", "confidence": 0.9, "box": {...}}]}`,
//! in pixels of the upright picture. An engine that is down, slow, overloaded or set up wrongly is worth another try; only
//! what it says about this very picture is final.

use std::sync::Arc;
use std::time::Duration;

use contracts::{Detection, DetectorName};
use futures::future::join_all;
use reqwest::{Client, StatusCode, header::CONTENT_TYPE, redirect::Policy};
use serde::Deserialize;

use super::{DetectError, Detector, Outcome, Picture};
use crate::runtime::one_line;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// More than any honest answer; a runaway engine must not fill the memory.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Where an engine is and what it may take, from `models.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpEngine {
    /// The address pictures are posted to.
    pub url: String,
    /// Longest wait for an answer, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Pictures on their way to the engine at once.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
}

fn default_timeout_ms() -> u64 {
    10_000
}

fn default_concurrency() -> usize {
    4
}

/// What an engine answers. Fields beyond these are ignored.
#[derive(Debug, Deserialize)]
struct Answer {
    width: Option<u32>,
    height: Option<u32>,
    detections: Vec<Detection>,
}

/// A detector that asks an engine. To be opened, used and dropped outside any async runtime: it brings its own.
pub struct HttpDetector {
    name: DetectorName,
    model: String,
    engine: HttpEngine,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl HttpDetector {
    /// Prepares for asking the engine; it need not be up yet.
    ///
    /// # Errors
    /// The address is none, or the system has no room for another client.
    pub fn open(name: DetectorName, model: &str, engine: &HttpEngine) -> Result<Self, String> {
        let url = reqwest::Url::parse(&engine.url).map_err(|error| format!("its url is not one: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its url must start with http:// or https://".to_owned());
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_millis(engine.timeout_ms))
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        Ok(Self { name, model: model.to_owned(), engine: engine.clone(), client, runtime })
    }

    async fn ask(&self, picture: &Picture) -> Outcome {
        let request = self.client.post(&self.engine.url).header(CONTENT_TYPE, picture.media_type);
        // Without the address, which may carry a password.
        let unavailable = |error: reqwest::Error| DetectError::Unavailable(one_line(&error.without_url()));
        let response = request.body(picture.encoded.clone()).send().await.map_err(unavailable)?;
        match response.status() {
            status if status.is_success() => read(&body(response).await?, picture),
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY) => Err(DetectError::Refused(format!("it answered {status}"))),
            status => Err(DetectError::Unavailable(format!("it answered {status}"))),
        }
    }
}

impl Detector for HttpDetector {
    fn name(&self) -> &DetectorName {
        &self.name
    }

    fn model(&self) -> &str {
        &self.model
    }

    fn max_batch(&self) -> usize {
        self.engine.concurrency.max(1)
    }

    fn detect(&mut self, batch: &[Arc<Picture>]) -> Vec<Outcome> {
        let rounds = batch.chunks(self.max_batch());
        rounds
            .flat_map(|round| self.runtime.block_on(join_all(round.iter().map(|picture| self.ask(picture)))))
            .collect()
    }
}

async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, DetectError> {
    let mut bytes = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| DetectError::Unavailable(one_line(&error.without_url())))?
    {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(DetectError::Refused(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn read(body: &[u8], picture: &Picture) -> Outcome {
    // No answer at all is an engine set up wrongly, and no fault of the picture.
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|error| DetectError::Unavailable(format!("its answer is not one: {error}")))?;
    let (width, height) = (picture.image.width(), picture.image.height());
    let seen = (answer.width.unwrap_or(width), answer.height.unwrap_or(height));
    if seen != (width, height) {
        let (seen_width, seen_height) = seen;
        return Err(DetectError::Refused(format!(
            "it saw {seen_width}x{seen_height} pixels where the upright picture has {width}x{height}"
        )));
    }
    match answer.detections.iter().find_map(|detection| detection.check().err()) {
        Some(fault) => Err(DetectError::Refused(format!("its answer makes no sense: {fault}"))),
        None => Ok(answer.detections),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::post;
    use bytes::Bytes;

    use super::*;
    use crate::image::Image;

    const FACE: &str = r#"{"model":"m","width":2,"height":1,"detections":
        [{"label":"face","confidence":0.9,"box":{"x":0,"y":0,"width":1,"height":1}}]}"#;

    /// An engine that answers by the picture's first byte.
    fn engine() -> String {
        let handler = |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers[CONTENT_TYPE], "image/png");
            match body.first() {
                Some(b'f') => (StatusCode::OK, FACE.to_owned()),
                Some(b's') => (StatusCode::OK, FACE.replace("\"width\":2", "\"width\":9")),
                Some(b'n') => (StatusCode::OK, FACE.replace("0.9", "7.5")),
                Some(b'h') => (StatusCode::OK, "<html>".to_owned()),
                Some(b'r') => (StatusCode::UNPROCESSABLE_ENTITY, String::new()),
                _ => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
            }
        };
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                axum::serve(listener, Router::new().route("/detect", post(handler))).await.unwrap();
            });
        });
        format!("http://{}/detect", receiver.recv().unwrap())
    }

    fn detector(url: &str) -> HttpDetector {
        let engine = HttpEngine { url: url.to_owned(), timeout_ms: 10_000, concurrency: 2 };
        HttpDetector::open("face".parse().unwrap(), "elsewhere", &engine).unwrap()
    }

    fn picture(encoded: &'static str) -> Arc<Picture> {
        let image = Image::from_rgb(2, 1, vec![0; 6]).unwrap();
        Arc::new(Picture { image, encoded: encoded.into(), media_type: "image/png" })
    }

    #[test]
    fn each_picture_has_its_own_answer_and_only_what_concerns_it_is_final() {
        let batch: Vec<_> = ["f", "r", "x", "s", "n", "h"].map(picture).into();
        let answers = detector(&engine()).detect(&batch);
        let final_refusal =
            |answer: &Outcome| answer.as_ref().is_err_and(|error| matches!(error, DetectError::Refused(_)));
        let [face, refused, busy, other_size, nonsense, html] = answers.as_slice() else { panic!("{answers:?}") };
        assert_eq!(face.as_ref().unwrap()[0].label, "face");
        for answer in [refused, other_size, nonsense] {
            assert!(final_refusal(answer), "{answer:?}");
        }
        for answer in [busy, html] {
            assert_eq!(answer.as_ref().unwrap_err().failure(), None, "{answer:?}");
        }
    }

    #[test]
    fn an_engine_that_is_down_is_worth_another_try_and_its_password_stays_out_of_the_message() {
        let answers = detector("http://name:secret@127.0.0.1:1/detect").detect(&[picture("f")]);
        let error = answers[0].as_ref().unwrap_err();
        assert!(matches!(error, DetectError::Unavailable(_)) && !error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_at_once() {
        for url in ["", "engine:8000/detect", "ftp://engine/detect"] {
            let engine = HttpEngine { url: url.to_owned(), timeout_ms: 1, concurrency: 1 };
            assert!(HttpDetector::open("face".parse().unwrap(), "elsewhere", &engine).is_err(), "{url}");
        }
    }
}
