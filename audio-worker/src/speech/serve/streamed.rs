//! An answer as a stream of server-sent events: the words of each window as soon as they are there, and then all of them.

use std::convert::Infallible;
use std::time::Duration;

use api_kit::upload::Reservation;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::usage;
use super::error::OpenAiError;
use super::transcription::Words;

/// What a request holds until its last event.
pub(super) struct Held {
    /// Its place among the requests.
    pub _place: OwnedSemaphorePermit,
    /// The bytes of its file.
    pub _bytes: Reservation,
}

struct State {
    words: Words,
    text: String,
    duration: Duration,
    _held: Held,
}

/// The events, as they come.
pub(super) fn response(words: Words, duration: Duration, held: Held) -> Response {
    let state = State { words, text: String::new(), duration, _held: held };
    let events = stream::unfold(Some(state), |state| async move { Some(next_event(state?).await) });
    let events = events.map(|event| Ok::<_, Infallible>(Bytes::from(format!("data: {event}\n\n"))));
    let headers = [(CONTENT_TYPE, "text/event-stream; charset=utf-8"), (CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(events)).into_response()
}

/// The next event, and the state after it: none after the last one.
async fn next_event(mut state: State) -> (Value, Option<State>) {
    while let Some(window) = state.words.next().await {
        let text = match window {
            Ok((_, judged)) => judged.heard.text(),
            Err(error) => return (OpenAiError::from(error).json(), None),
        };
        if text.is_empty() {
            continue;
        }
        let delta = if state.text.is_empty() { text } else { format!(" {text}") };
        state.text.push_str(&delta);
        return (json!({"type": "transcript.text.delta", "delta": delta}), Some(state));
    }
    let usage = usage(state.duration);
    (json!({"type": "transcript.text.done", "text": state.text, "usage": usage}), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::engine::Judged;
    use crate::speech::error::SpeechError;
    use crate::speech::heard::{Heard, HeardSegment};
    use crate::speech::recording::RecordingError;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    fn window(text: &str) -> Result<(Duration, Judged), RecordingError> {
        let segments = vec![HeardSegment { text: text.to_owned(), ..HeardSegment::default() }];
        Ok((Duration::ZERO, Judged { heard: Heard { language: None, segments }, flag: None }))
    }

    async fn events(windows: Vec<Result<(Duration, Judged), RecordingError>>) -> Vec<Value> {
        let permits = Arc::new(Semaphore::new(1));
        let all = api_kit::upload::BytesInFlight::new(1, 1, metrics::gauge!("test"));
        let request = axum::extract::Request::new(Body::empty());
        let limits =
            api_kit::upload::BodyLimits { bytes: 1, idle: Duration::from_secs(1), total: Duration::from_secs(1) };
        let body = api_kit::upload::IncomingBody::begin(request, limits, &all).unwrap();
        let held = Held { _place: permits.clone().try_acquire_owned().unwrap(), _bytes: body.into_reservation() };
        let response = response(stream::iter(windows).boxed(), Duration::from_millis(10_500), held);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert_eq!(permits.available_permits(), 1, "the place is free after the last event");
        let text = String::from_utf8(body.to_vec()).unwrap();
        text.split_terminator("\n\n")
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
            .collect()
    }

    #[tokio::test]
    async fn the_last_event_has_the_text_of_all() {
        let events = events(vec![window("Ask not."), window(""), window("Ask.")]).await;
        let deltas: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!((deltas.as_str(), events.len()), ("Ask not. Ask.", 3));
        assert_eq!(events[2]["type"], "transcript.text.done");
        assert_eq!(events[2]["text"], "Ask not. Ask.");
        assert_eq!(events[2]["usage"], json!({"type": "duration", "seconds": 11}));
    }

    #[tokio::test]
    async fn a_failure_in_the_middle_is_an_event() {
        let failed = Err(RecordingError::Speech(SpeechError::Failed("broken".to_owned())));
        let events = events(vec![window("Ask not."), failed, window("Ask.")]).await;
        assert_eq!(events.len(), 2);
        assert_eq!(events[1]["error"]["type"], "server_error");
    }
}
