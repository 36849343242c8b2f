//! A client of the stream that parses it block by block.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;

/// Longer than any step takes, so that a test fails instead of hanging.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// One block of the stream.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Block {
    pub event: Option<String>,
    pub id: Option<String>,
    pub data: Option<Value>,
    pub comment: Option<String>,
}

impl Block {
    fn read(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "" => block.comment = Some(value.to_owned()),
                "event" => block.event = Some(value.to_owned()),
                "id" => block.id = Some(value.to_owned()),
                "data" => block.data = Some(serde_json::from_str(value).unwrap()),
                "retry" => {}
                other => panic!("unknown field {other}"),
            }
        }
        block
    }

    /// The number of its alert (see [`crate::test_stream::alert`]).
    pub fn number(&self) -> Option<u128> {
        let id = self.data.as_ref()?.get("id")?.as_str()?;
        Some(id.parse::<uuid::Uuid>().unwrap().as_u128())
    }

    pub fn is(&self, event: &str) -> bool {
        self.event.as_deref() == Some(event)
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
        // The first block has the client's cursor.
        let first = client.next().await.unwrap();
        assert!(first.id.is_some() && (first.event.is_none() || first.is("reset")), "{first:?}");
        if first.is("reset") {
            client.unread(&first);
        }
        client
    }

    fn unread(&mut self, block: &Block) {
        let data = block.data.as_ref().unwrap();
        let text = format!("event: reset\nid: {}\ndata: {data}\n\n", block.id.as_ref().unwrap());
        self.text.splice(0..0, text.into_bytes());
    }

    /// The next block; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Block> {
        tokio::time::timeout(TIMEOUT, self.read()).await.expect("no block came")
    }

    async fn read(&mut self) -> Option<Block> {
        loop {
            if let Some(end) = self.text.windows(2).position(|pair| pair == b"\n\n") {
                let text: Vec<u8> = self.text.drain(..end + 2).collect();
                let block = Block::read(std::str::from_utf8(&text[..end]).unwrap());
                self.last_id = block.id.clone().or(self.last_id.take());
                return Some(block);
            }
            // A broken connection ends the stream, too.
            self.text.extend(self.response.chunk().await.ok()??);
        }
    }

    /// The numbers of the next `count` alerts; other blocks are skipped.
    pub async fn numbers(&mut self, count: usize) -> Vec<u128> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let block = self.next().await.expect("the stream ended");
            assert!(!block.is("reset") && !block.is("slow"), "{block:?}");
            numbers.extend(block.number());
        }
        numbers
    }

    /// The next block with an event.
    pub async fn event(&mut self) -> Block {
        loop {
            let block = self.next().await.expect("the stream ended");
            if block.event.is_some() {
                return block;
            }
        }
    }
}
