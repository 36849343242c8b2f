//! A client of the stream that parses it event by event.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// Time limit for each step, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// One event of the stream.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct SseEvent {
    pub name: Option<String>,
    pub id: Option<String>,
    pub data: Option<Value>,
    pub comment: Option<String>,
}

impl SseEvent {
    fn read(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "" => event.comment = Some(value.to_owned()),
                "event" => event.name = Some(value.to_owned()),
                "id" => event.id = Some(value.to_owned()),
                "data" => event.data = Some(serde_json::from_str(value).unwrap()),
                "retry" => {}
                other => panic!("unknown field {other}"),
            }
        }
        event
    }

    /// The number of its alert: the alert's id as an integer.
    pub fn number(&self) -> Option<u128> {
        let id = self.data.as_ref()?.get("id")?.as_str()?;
        Some(id.parse::<uuid::Uuid>().unwrap().as_u128())
    }

    pub fn is(&self, event: &str) -> bool {
        self.name.as_deref() == Some(event)
    }
}

/// An open stream.
pub struct SseClient {
    response: Response,
    text: Vec<u8>,
    /// The id to resume with.
    pub last_id: Option<String>,
}

/// A request to the stream.
pub fn request(address: SocketAddr, path_and_query: &str, token: &str) -> RequestBuilder {
    reqwest::Client::new().get(format!("http://{address}{path_and_query}")).bearer_auth(token)
}

impl SseClient {
    /// Streams everything from now on.
    pub async fn listen(address: SocketAddr, token: &str) -> Self {
        Self::send(request(address, "/v1/alerts", token)).await
    }

    /// Resumes after an id.
    pub async fn resume(address: SocketAddr, token: &str, id: &str) -> Self {
        Self::send(request(address, "/v1/alerts", token).header("Last-Event-ID", id)).await
    }

    pub async fn send(request: RequestBuilder) -> Self {
        let response = tokio::time::timeout(TIMEOUT, request.send()).await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut client = Self { response, text: Vec::new(), last_id: None };
        // The first event has the client's cursor.
        let first = client.next().await.unwrap();
        assert!(first.id.is_some() && (first.name.is_none() || first.is("reset")), "{first:?}");
        if first.is("reset") {
            client.unread(&first);
        }
        client
    }

    fn unread(&mut self, event: &SseEvent) {
        let data = event.data.as_ref().unwrap();
        let text = format!("event: reset\nid: {}\ndata: {data}\n\n", event.id.as_ref().unwrap());
        self.text.splice(0..0, text.into_bytes());
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<SseEvent> {
        tokio::time::timeout(TIMEOUT, self.read()).await.expect("no event came")
    }

    async fn read(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = SseEvent::read(std::str::from_utf8(&text[..end]).unwrap());
                self.last_id = event.id.clone().or(self.last_id.take());
                return Some(event);
            }
            // A broken connection ends the stream, too.
            self.text.extend(self.response.chunk().await.ok()??);
        }
    }

    /// The numbers of the next `count` alerts; other events are skipped.
    pub async fn numbers(&mut self, count: usize) -> Vec<u128> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let event = self.next().await.expect("the stream ended");
            assert!(!event.is("reset") && !event.is("slow"), "{event:?}");
            numbers.extend(event.number());
        }
        numbers
    }

    /// The next event with a name.
    pub async fn named_event(&mut self) -> SseEvent {
        loop {
            let event = self.next().await.expect("the stream ended");
            if event.name.is_some() {
                return event;
            }
        }
    }
}
