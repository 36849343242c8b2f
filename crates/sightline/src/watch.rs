//! `sightline watch`: prints alerts as JSON lines, and resumes after a lost connection without missing or repeating alerts.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use platform::retry::Backoff;
use tokio_stream::StreamExt;

use crate::client::{Client, ClientArgs, ErrorResponse, read_error};
use crate::out;
use crate::reported::Reported;
use platform::sse::{SseEvent, SseParser};
use platform::{error_line, one_line};

/// Prints alerts as they are raised
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    client: ClientArgs,

    /// Only alerts of this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,

    /// Only alerts about this label
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,

    /// Only alerts of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,

    /// Start after this cursor, an id from the event stream
    #[arg(long, value_name = "CURSOR")]
    last_event_id: Option<String>,

    /// End after this many alerts
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Time without a byte after which a connection counts as lost; the server sends a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// Pauses between attempts to connect.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Watch {
    /// Runs until interrupted, or until `--count` alerts were printed.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let mut last_id = self.last_event_id.clone();
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut reported = Reported::default();
        while left > 0 {
            match self.connect(&client, last_id.as_deref()).await? {
                Ok(response) => {
                    reported.connected().into_iter().for_each(error_line);
                    if print_until_disconnected(response, &mut last_id, &mut left).await? {
                        backoff.reset();
                    }
                }
                Err(reason) => reported.failed(reason).into_iter().for_each(error_line),
            }
            if left > 0 {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
        Ok(())
    }

    /// Opens the stream. The inner error may be overcome by a retry; the outer one is final.
    async fn connect(
        &self,
        client: &Client,
        last_id: Option<&str>,
    ) -> anyhow::Result<Result<reqwest::Response, String>> {
        let filters = [("stream", &self.stream), ("label", &self.label), ("rule", &self.rule)];
        let query: Vec<_> = filters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let mut request = client.get("/v1/alerts")?.query(&query).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(Ok(response)),
            Ok(response) => match read_error(response).await {
                ErrorResponse::RetryAfter(_, message) => Ok(Err(message)),
                ErrorResponse::Permanent(message) => bail!(message),
            },
            Err(error) => Ok(Err(client.connection_error(&error).await?)),
        }
    }
}

/// Prints events until the connection ends; returns whether it received any byte.
async fn print_until_disconnected(
    response: reqwest::Response,
    last_id: &mut Option<String>,
    left: &mut u64,
) -> anyhow::Result<bool> {
    let mut parser = SseParser::default();
    let mut bytes = response.bytes_stream();
    let mut any = false;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, bytes.next()).await {
        any = true;
        for event in parser.feed(&piece) {
            if *left > 0 && print(&event)? {
                *left -= 1;
            }
        }
        if let Some(id) = parser.last_id() {
            *last_id = Some(id.to_owned());
        }
        if *left == 0 {
            return Ok(any);
        }
    }
    Ok(any)
}

/// Prints an alert on standard output and any other event on standard error; returns whether it was an alert.
fn print(event: &SseEvent) -> anyhow::Result<bool> {
    if event.event != "alert" {
        error_line(one_line(&format_args!("server: {}: {}", event.event, event.data)));
        return Ok(false);
    }
    out::line(&event.data)?;
    Ok(true)
}
