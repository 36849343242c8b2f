//! The API of the server: frames, and the state of a stream.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use contracts::api::{Problem, StreamReport};
use contracts::{DetectorName, StreamName};
use platform::sending::{UNKNOWN_DETECTOR, UNKNOWN_DETECTOR_HINT};
use platform::{one_line, retry, root_cause};
use reqwest::{Certificate, Identity, RequestBuilder, Response, StatusCode};
use serde::{Deserialize, Serialize};

use crate::queue::Image;
use crate::redact::{add_secret, redact};
use crate::source::SecretText;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest time of a request.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Pause after a refusal that names none.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);
/// What is read of a body, in bytes.
const LONGEST_BODY: usize = 16 * 1024;
/// Code of the problem for a key that a frame with another image has.
const KEY_REUSED: &str = "idempotency_key_reused";
/// What TLS says when one side does not trust the other.
const TLS_REFUSALS: [&str; 2] = ["invalid peer certificate", "received fatal alert: CertificateRequired"];

/// The server and what a client needs for it. Passed on to the processes of the sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Its address.
    pub url: String,
    /// An API token with the scope `frames:write`.
    pub token: SecretText,
    /// Certificate authority to trust in addition to the system's, PEM.
    #[serde(default)]
    pub cacert: Option<PathBuf>,
    /// Certificate of this client, PEM.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// A client of the server. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    server: Server,
}

/// Why a frame was not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// A retry may succeed after this time.
    Later {
        /// What the server asks for.
        pause: Duration,
        /// Whether the server answered at all.
        is_answer: bool,
        /// Why.
        reason: String,
    },
    /// This frame is never accepted.
    Frame {
        /// The code of the problem; empty for an answer without one.
        code: String,
        /// Why.
        reason: String,
    },
    /// No frame is accepted with this token, from this client, or with these detectors.
    All(String),
}

impl Refusal {
    /// Whether the server has a frame with this key already, with another image.
    pub fn is_known_key(&self) -> bool {
        matches!(self, Self::Frame { code, .. } if code == KEY_REUSED)
    }
}

impl Api {
    /// A client of this server.
    ///
    /// # Errors
    /// When a certificate or a key cannot be used.
    pub fn new(server: Server) -> anyhow::Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("sightline-camera/", env!("CARGO_PKG_VERSION")))
            // A redirect would make a GET of a POST, and its answer looks like an acknowledgement.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(REQUEST_LIMIT);
        if let Some(path) = &server.cacert {
            for authority in Certificate::from_pem_bundle(&read(path)?).with_context(|| path.display().to_string())? {
                builder = builder.add_root_certificate(authority);
            }
        }
        if let (Some(cert), Some(key)) = (&server.cert, &server.key) {
            let pem = [read(cert)?, b"\n".to_vec(), read(key)?].concat();
            // The cause is not shown, because it might quote the key.
            let identity = Identity::from_pem(&pem).map_err(|_| {
                anyhow::anyhow!("{} and {} are no certificate and key in PEM form", cert.display(), key.display())
            })?;
            builder = builder.identity(identity);
        }
        add_secret(server.token.expose());
        settings::check_token(server.token.expose()).map_err(anyhow::Error::msg)?;
        ensure!(!server.token.expose().is_empty(), "there is no token: set SIGHTLINE_TOKEN");
        let http = builder.build().context("the certificates and keys cannot be used")?;
        Ok(Self { http, server })
    }

    /// Sends an image; returns after the server has stored it, or after this time. The key makes it safe to repeat.
    pub async fn send(
        &self,
        stream: &StreamName,
        detectors: &[DetectorName],
        image: &Image,
        limit: Duration,
    ) -> Result<(), Refusal> {
        let mut query = vec![("stream", stream.to_string()), ("captured_at", image.captured_at.to_string())];
        if !detectors.is_empty() {
            let names: Vec<&str> = detectors.iter().map(DetectorName::as_str).collect();
            query.push(("detectors", names.join(",")));
        }
        let request = self.authorised(self.http.post(self.url("/v1/frames")).query(&query));
        let request = request.header("content-type", "image/jpeg").header("idempotency-key", &image.key).timeout(limit);
        match request.body(image.jpeg.clone()).send().await {
            Ok(response) if response.status().is_success() => match beginning(response).await {
                text if text.contains("\"frame_id\"") => Ok(()),
                text => Err(Refusal::All(self.not_sightline(&text))),
            },
            Ok(response) if response.status().is_redirection() => {
                Err(Refusal::All(self.not_sightline(&response.status().to_string())))
            }
            Ok(response) => Err(refusal(response).await),
            Err(error) => Err(self.unanswered(&error)),
        }
    }

    fn not_sightline(&self, answer: &str) -> String {
        let answer: String = answer.chars().take(60).collect();
        let server = redact(&self.server.url);
        redact(&one_line(&format_args!(
            "{server} does not answer as Sightline does; check the address of the server: {answer}"
        )))
    }

    /// Reports the state of a stream; returns the status, and the pause after which a busy server wants it again. An older server does
    /// not know the route, and answers 404.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn report(
        &self,
        stream: &StreamName,
        report: &StreamReport,
    ) -> Result<(StatusCode, Option<Duration>), String> {
        let url = self.url(&format!("/v1/streams/{stream}/state"));
        let response = self.authorised(self.http.put(url)).json(report).send().await;
        let response = response.map_err(|error| root_cause(&error))?;
        let status = response.status();
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let pause = is_busy.then(|| retry::after(response.headers()).unwrap_or(DEFAULT_PAUSE));
        Ok((status, pause))
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), String> {
        let answered = self.http.get(self.url("/healthz")).send().await.and_then(Response::error_for_status);
        answered.map(drop).map_err(|error| root_cause(&error))
    }

    fn authorised(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(self.server.token.expose())
    }

    /// A path below that of the server, which a reverse proxy may have.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url.trim_end_matches('/'))
    }

    fn unanswered(&self, error: &reqwest::Error) -> Refusal {
        let (cause, server) = (root_cause(error), redact(&self.server.url));
        if TLS_REFUSALS.iter().any(|text| cause.contains(text)) {
            return Refusal::All(format!("{server}: {cause}; check --cacert, --cert and --key"));
        }
        let reason = if error.is_timeout() && !error.is_connect() {
            format!("{server} did not answer in time")
        } else {
            format!("{server} cannot be reached: {cause}")
        };
        Refusal::Later { pause: Duration::ZERO, is_answer: false, reason }
    }
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The beginning of a body, which may have no end.
async fn beginning(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(part)) = response.chunk().await {
        body.extend_from_slice(&part);
        if body.len() >= LONGEST_BODY {
            break;
        }
    }
    body.truncate(LONGEST_BODY);
    String::from_utf8_lossy(&body).into_owned()
}

async fn refusal(response: Response) -> Refusal {
    let (status, pause) = (response.status(), retry::after(response.headers()));
    refused(status, pause, &beginning(response).await)
}

/// What an answer with an error means.
fn refused(status: StatusCode, pause: Option<Duration>, text: &str) -> Refusal {
    let (detail, code) = match serde_json::from_str::<Problem>(text) {
        Ok(problem) => (format!("{} ({})", problem.detail, problem.code), problem.code),
        Err(_) => (text.chars().take(200).collect(), String::new()),
    };
    // A proxy may show the request with its token.
    let reason = redact(&one_line(&format_args!("{status}: {detail}")));
    match status {
        // Each frame of the source names the same detectors.
        _ if code == UNKNOWN_DETECTOR => Refusal::All(format!("{reason}; {UNKNOWN_DETECTOR_HINT}")),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Refusal::All(reason),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => later(pause, reason),
        status if status.is_server_error() => later(pause, reason),
        _ => Refusal::Frame { code, reason },
    }
}

fn later(pause: Option<Duration>, reason: String) -> Refusal {
    Refusal::Later { pause: pause.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE), is_answer: true, reason }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(status: StatusCode, code: &str, detail: &str) -> Refusal {
        let problem =
            json!({"type": "about:blank", "title": "", "status": status.as_u16(), "code": code, "detail": detail});
        refused(status, None, &problem.to_string())
    }

    #[test]
    fn the_code_of_a_problem_decides_and_not_its_words() {
        let of_frame = StatusCode::UNPROCESSABLE_ENTITY;
        assert!(matches!(problem(of_frame, "unknown_detector", "any words"), Refusal::All(_)));
        let words = "stream: a name like (idempotency_key_reused), the detectors are face";
        let invalid = problem(of_frame, "invalid", words);
        assert!(matches!(&invalid, Refusal::Frame { code, .. } if code == "invalid"), "{invalid:?}");
        assert!(!invalid.is_known_key());
        assert!(problem(of_frame, "idempotency_key_reused", "any words").is_known_key());
        let other = refused(of_frame, None, "<h1>(idempotency_key_reused)</h1> the detectors are ");
        assert!(matches!(&other, Refusal::Frame { code, .. } if code.is_empty()) && !other.is_known_key(), "{other:?}");
    }

    #[test]
    fn a_pause_is_that_of_the_server_within_an_hour() {
        for (asked, expected) in [(None, 1), (Some(30), 30), (Some(1_000_000), 3_600)] {
            let refusal = refused(StatusCode::SERVICE_UNAVAILABLE, asked.map(Duration::from_secs), "");
            let Refusal::Later { pause, is_answer: true, .. } = refusal else { panic!("{refusal:?}") };
            assert_eq!(pause.as_secs(), expected);
        }
    }
}
