//! The server, by an HTTP client: forms of the answer, the stream, and errors.

use audio_worker::speech::serve::{ServeArgs, Service, health, run};
use clap::Parser;
use platform::sse::SseParser;
use reqwest::multipart::{Form, Part};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::models::{Setup, setup};
use crate::sounds::{silence, wav};
use crate::words::{JFK, word_errors};

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    server: ServeArgs,
}

/// A running server.
struct Server {
    url: String,
    client: reqwest::Client,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(setup: &Setup, flags: &[&str]) -> Self {
        let Flags { server } = Flags::parse_from([&["test"], flags].concat());
        let service = Service::new(&server, setup.engine.clone(), setup.tools.clone());
        let health = health(&setup.engine);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            run(&service, &health, listener, CancellationToken::new()).await.unwrap();
        });
        Self { url, client: reqwest::Client::new(), _serving: AbortOnDropHandle::new(serving) }
    }

    async fn transcribe(&self, file: Vec<u8>, fields: &[(&'static str, &'static str)]) -> Response {
        let form = fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, *value));
        let form = form.part("file", Part::bytes(file).file_name("speech.wav"));
        self.client.post(format!("{}/audio/transcriptions", self.url)).multipart(form).send().await.unwrap()
    }
}

async fn error(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string(), "{body}");
    (status, body["error"]["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_form_of_the_answer_has_the_words() {
    let Some(setup) = setup("each_form_of_the_answer_has_the_words") else { return };
    let server = Server::start(&setup, &[]).await;
    let jfk = std::fs::read(setup.sample("jfk.wav")).unwrap();
    let ask = async |format| {
        let fields = [("model", "whisper-1"), ("language", "en"), ("response_format", format), ("prompt", "a speech")];
        let response = server.transcribe(jfk.clone(), &fields).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.text().await.unwrap()
    };
    let json: Value = serde_json::from_str(&ask("json").await).unwrap();
    assert_eq!(word_errors(JFK, json["text"].as_str().unwrap()), 0, "{json}");
    assert_eq!(word_errors(JFK, &ask("text").await), 0);
    let vtt = ask("vtt").await;
    assert!(vtt.starts_with("WEBVTT\n\n00:00:0") && vtt.contains(" --> "), "{vtt}");
    assert!(ask("srt").await.starts_with("1\n00:00:0"));
    let verbose: Value = serde_json::from_str(&ask("verbose_json").await).unwrap();
    assert_eq!(verbose["language"], "english");
    assert_eq!(verbose["duration"], 11.0);
    assert!(verbose["segments"][0]["no_speech_prob"].is_number() && verbose["words"].is_null(), "{verbose}");
    let fields = [("response_format", "verbose_json"), ("timestamp_granularities[]", "word"), ("language", "en")];
    let words: Value = server.transcribe(jfk.clone(), &fields).await.json().await.unwrap();
    assert_eq!(words["words"].as_array().unwrap().len(), 22, "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_each_window_and_then_the_whole() {
    let Some(setup) = setup("a_stream_has_each_window_and_then_the_whole") else { return };
    let server = Server::start(&setup, &[]).await;
    let jfk = setup.jfk();
    let sound = wav(&[jfk.clone(), silence(5), jfk].concat());
    let response = server.transcribe(sound, &[("stream", "true"), ("language", "en")]).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let events = SseParser::default().feed(&response.bytes().await.unwrap());
    let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect();
    let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    let last = events.last().unwrap();
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(last["type"], "transcript.text.done");
    assert_eq!(last["text"], deltas);
    assert_eq!(word_errors(&format!("{JFK} {JFK}"), &deltas), 0, "{deltas}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_form_of_the_interface() {
    let Some(setup) = setup("a_refusal_has_the_form_of_the_interface") else { return };
    let server = Server::start(&setup, &["--speech-max-bytes", "100KiB"]).await;
    let quiet = wav(&silence(1));
    let with = async |file: &[u8], fields: &[(&'static str, &'static str)]| {
        error(server.transcribe(file.to_vec(), fields).await).await
    };
    assert_eq!(with(&quiet, &[("model", "whisper-large")]).await, (404, "model_not_found".into()));
    assert_eq!(with(&quiet, &[("response_format", "pdf")]).await, (400, "invalid_value".into()));
    assert_eq!(with(&quiet, &[("stream", "true"), ("response_format", "srt")]).await, (400, "invalid_value".into()));
    assert_eq!(with(&quiet, &[("language", "klingon")]).await, (400, "invalid_value".into()));
    assert_eq!(with(b"", &[]).await, (400, "invalid_value".into()));
    assert_eq!(with(&b"no sound at all. ".repeat(1_000), &[]).await, (400, "not_audio".into()));
    assert_eq!(with(&wav(&silence(30)), &[]).await, (413, "too_large".into()));

    let get = async |path: &str| server.client.get(format!("{}{path}", server.url)).send().await.unwrap();
    assert_eq!(error(get("/audio/translations").await).await.0, 404);
    assert_eq!(error(get("/audio/transcriptions").await).await, (405, "method_not_allowed".into()));
    assert_eq!(error(get("/models/whisper-large").await).await, (404, "model_not_found".into()));
    let models: Value = get("/models").await.json().await.unwrap();
    assert_eq!(models["data"][0]["id"], "whisper-tiny.en");

    let nothing: Value = server.transcribe(quiet, &[]).await.json().await.unwrap();
    assert_eq!(nothing["text"], "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_asked_for_where_one_is_set() {
    let Some(setup) = setup("a_key_is_asked_for_where_one_is_set") else { return };
    let server = Server::start(&setup, &["--speech-api-key", "sk-0123456789"]).await;
    assert_eq!(error(server.transcribe(wav(&silence(1)), &[]).await).await, (401, "invalid_api_key".into()));
    let models = |key: &'static str| server.client.get(format!("{}/models", server.url)).bearer_auth(key).send();
    assert_eq!(models("sk-012345678").await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert_eq!(models("sk-0123456789").await.unwrap().status(), StatusCode::OK);
}
