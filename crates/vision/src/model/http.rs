//! A detector in another process: sends the image over HTTP and receives detections.
//!
//! `docs/EXTENDING.md` describes the protocol for authors of engines. In short: `POST` with the encoded image; the
//! response is that of `detector-worker serve`:
//! `{"model": "...", "width": 1600, "height": 1158, "detections": [{"label": "face", "confidence": 0.9, "box": {...}}]}`,
//! in pixels of the upright image.
//!
//! Permanent errors: 400, 413, 415, 422, a response for another image size, a detection with values out of range, and a body of more
//! than 16 MiB. Every other failure is transient, because it can come from an engine that is down, slow, overloaded or
//! misconfigured: no connection, a timeout, any other status, and a body that is not the JSON above.

use std::sync::Arc;
use std::time::Duration;

use contracts::{Detection, DetectorName};
use futures::future::join_all;
use platform::{error_chain, one_line};
use reqwest::{Client, StatusCode, header::CONTENT_TYPE, redirect::Policy};
use serde::Deserialize;

use super::{DetectError, Detector, Image, Outcome};

/// Time limit for a connection to the engine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum size of a response in bytes, so that a faulty engine cannot fill the memory.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Maximum number of characters of an engine's reason that a message quotes.
const MAX_DETAIL: usize = 200;

/// The fields of an entry of `models.yaml` with `kind: http`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpEngine {
    /// Address that images are posted to.
    pub url: String,
    /// Time limit for a response, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Concurrent requests per inference thread.
    #[serde(default = "default_concurrency")]
    pub concurrency: usize,
}

impl HttpEngine {
    /// The URL.
    ///
    /// # Errors
    /// When it is not a URL of HTTP.
    pub fn parsed_url(&self) -> Result<reqwest::Url, String> {
        let url = reqwest::Url::parse(&self.url).map_err(|error| format!("its url is invalid: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("its url must start with http:// or https://".to_owned());
        }
        Ok(url)
    }
}

fn default_timeout_ms() -> u64 {
    10_000
}

fn default_concurrency() -> usize {
    4
}

/// The response of an engine. Further fields are ignored.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with detections")]
struct Answer {
    width: Option<u32>,
    height: Option<u32>,
    detections: Vec<Detection>,
}

/// A detector behind HTTP. It has its own runtime, so it is opened, used and dropped outside any other.
pub struct HttpDetector {
    name: DetectorName,
    model: String,
    engine: HttpEngine,
    /// The engine's URL for messages, without user, password and query.
    shown_url: String,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl HttpDetector {
    /// Creates the client. The engine need not be up yet.
    ///
    /// # Errors
    /// The address is invalid, or the system cannot create another client.
    pub fn open(name: DetectorName, model: &str, engine: &HttpEngine) -> Result<Self, String> {
        let url = engine.parsed_url()?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(Duration::from_millis(engine.timeout_ms))
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        let shown_url = format!("{}{}", url.origin().ascii_serialization(), url.path());
        Ok(Self { name, model: model.to_owned(), engine: engine.clone(), shown_url, client, runtime })
    }

    async fn request(&self, image: &Image) -> Outcome {
        let request = self.client.post(&self.engine.url).header(CONTENT_TYPE, image.media_type);
        let response = request.body(image.encoded.clone()).send().await.map_err(|error| self.unavailable(error))?;
        match response.status() {
            status if status.is_success() => parse_answer(&self.read_body(response).await?, image),
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY) => {
                let detail = self.read_body(response).await.map(|body| detail(&body)).unwrap_or_default();
                Err(DetectError::Rejected(format!("it responded with {status}{detail}")))
            }
            status => Err(DetectError::Unavailable(format!("{} responded with {status}", self.shown_url))),
        }
    }

    /// A failed request. The client's own message has the whole address, which can contain a password.
    fn unavailable(&self, error: reqwest::Error) -> DetectError {
        DetectError::Unavailable(format!("{}: {}", self.shown_url, error_chain(&error.without_url())))
    }

    async fn read_body(&self, mut response: reqwest::Response) -> Result<Vec<u8>, DetectError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unavailable(error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                // Permanent, because the response would be as large on every retry and block the partition.
                return Err(DetectError::Rejected(format!("its response is longer than {MAX_ANSWER_BYTES} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The reason in an error response, `{"detail": "…"}`, as a continuation of a message; empty without one.
fn detail(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        detail: String,
    }
    let Ok(Refusal { detail }) = serde_json::from_slice(body) else { return String::new() };
    format!(": {}", one_line(&detail).chars().take(MAX_DETAIL).collect::<String>())
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

    fn detect(&mut self, batch: &[Arc<Image>]) -> Vec<Outcome> {
        let rounds = batch.chunks(self.max_batch());
        rounds
            .flat_map(|round| self.runtime.block_on(join_all(round.iter().map(|image| self.request(image)))))
            .collect()
    }
}

fn parse_answer(body: &[u8], image: &Image) -> Outcome {
    // A body in another form comes from a misconfigured engine and does not depend on the image.
    let response: Answer = serde_json::from_slice(body)
        .map_err(|error| DetectError::Unavailable(format!("its response is invalid: {}", one_line(&error))))?;
    let (width, height) = (image.pixels.width(), image.pixels.height());
    let (engine_width, engine_height) = (response.width.unwrap_or(width), response.height.unwrap_or(height));
    if (engine_width, engine_height) != (width, height) {
        return Err(DetectError::Rejected(format!(
            "it decoded {engine_width}x{engine_height} pixels, but the upright image has {width}x{height}"
        )));
    }
    match response.detections.iter().find_map(|detection| detection.check().err()) {
        Some(fault) => Err(DetectError::Rejected(format!("its response is invalid: {fault}"))),
        None => Ok(response.detections.into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::HeaderMap;
    use axum::routing::post;
    use bytes::Bytes;

    use super::*;
    use crate::pixels::Pixels;

    const FACE: &str = r#"{"model":"m","width":2,"height":1,"detections":
        [{"label":"face","confidence":0.9,"box":{"x":0,"y":0,"width":1,"height":1}}]}"#;

    /// Further fields of a detection.
    const CAR: &str = r#""make":"Audi","year":2020,"attributes":{"colour":"red","doors":4,"parked":true},"box""#;

    /// An engine whose response depends on the first byte of the image.
    fn engine() -> String {
        let handler = |headers: HeaderMap, body: Bytes| async move {
            assert_eq!(headers[CONTENT_TYPE], "image/png");
            match body.first() {
                Some(b'f') => (StatusCode::OK, FACE.to_owned()),
                Some(b's') => (StatusCode::OK, FACE.replace("\"width\":2", "\"width\":9")),
                Some(b'n') => (StatusCode::OK, FACE.replace("0.9", "7.5")),
                Some(b'a') => (StatusCode::OK, FACE.replace("\"box\"", CAR)),
                Some(b'l') => (StatusCode::OK, FACE.replace("\"box\"", CAR).replace("red", &"r".repeat(300))),
                Some(b'h') => (StatusCode::OK, "<html>".to_owned()),
                Some(b'b') => (StatusCode::OK, " ".repeat(MAX_ANSWER_BYTES) + FACE),
                Some(b'r') => (StatusCode::UNPROCESSABLE_ENTITY, r#"{"detail": "no such\ncolour space"}"#.to_owned()),
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

    fn image(encoded: &'static str) -> Arc<Image> {
        let pixels = Pixels::from_rgb(2, 1, vec![0; 6]).unwrap();
        Arc::new(Image { pixels, encoded: encoded.into(), media_type: "image/png", embed_faces: false })
    }

    #[test]
    fn a_batch_returns_one_outcome_per_image_and_permanent_errors_are_about_the_image() {
        let batch: Vec<_> = ["f", "r", "x", "s", "n", "h", "b"].map(image).into();
        let responses = detector(&engine()).detect(&batch);
        let is_permanent =
            |response: &Outcome| response.as_ref().is_err_and(|error| matches!(error, DetectError::Rejected(_)));
        let [face, refused, busy, other_size, out_of_range, html, too_long] = responses.as_slice() else {
            panic!("{responses:?}")
        };
        assert_eq!(face.as_ref().unwrap().detections[0].label, "face");
        for response in [refused, other_size, out_of_range, too_long] {
            assert!(is_permanent(response), "{response:?}");
        }
        let refusal = refused.as_ref().unwrap_err().to_string();
        assert!(refusal.contains("422") && refusal.contains("no such") && !refusal.contains('\n'), "{refusal}");
        for response in [busy, html] {
            assert_eq!(response.as_ref().unwrap_err().failure_code(), None, "{response:?}");
        }
        let unavailable = busy.as_ref().unwrap_err().to_string();
        assert!(unavailable.contains("/detect responded with 503"), "{unavailable}");
    }

    #[test]
    fn attributes_of_an_engine_are_kept_within_their_bounds() {
        let responses = detector(&engine()).detect(&["a", "l"].map(image));
        let found = &responses[0].as_ref().unwrap().detections[0].attributes;
        assert_eq!((found.make(), found.vehicle().year), (Some("Audi"), Some(2020)));
        let expected: [(&str, contracts::AttributeValue); 3] =
            [("colour", "red".into()), ("doors", 4.into()), ("parked", true.into())];
        for (name, value) in expected {
            assert_eq!(found.get(name), Some(&value));
        }
        let refused = responses[1].as_ref().unwrap_err();
        assert!(matches!(refused, DetectError::Rejected(reason) if reason.contains("colour")), "{refused}");
    }

    #[test]
    fn an_engine_that_is_down_is_transient_and_hides_its_password() {
        let responses = detector("http://name:secret@127.0.0.1:1/detect").detect(&[image("f")]);
        let error = responses[0].as_ref().unwrap_err();
        assert!(matches!(error, DetectError::Unavailable(_)) && !error.to_string().contains("secret"), "{error}");
        assert!(error.to_string().contains("http://127.0.0.1:1/detect"), "{error}");
    }

    #[test]
    fn an_invalid_address_is_refused_at_once() {
        for url in ["", "engine:8000/detect", "ftp://engine/detect"] {
            let engine = HttpEngine { url: url.to_owned(), timeout_ms: 1, concurrency: 1 };
            assert!(HttpDetector::open("face".parse().unwrap(), "elsewhere", &engine).is_err(), "{url}");
        }
    }
}
