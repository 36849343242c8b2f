//! `sightline watch`: alerts as JSON lines, resumed after a cut without a gap or a repeat.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use platform::retry::Backoff;
use tokio_stream::StreamExt;

use crate::client::{Client, ClientArgs, Refusal, refusal};
use crate::out;
use crate::sse::{SseEvent, SseParser};

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

    /// Begin after this cursor, as the server gave it
    #[arg(long, value_name = "CURSOR")]
    last_event_id: Option<String>,

    /// End after this many alerts
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// How long a connection may be silent; the server sends a heartbeat well before.
const SILENCE: Duration = Duration::from_secs(60);

impl Watch {
    /// Runs until interrupted, or until `--count` alerts were printed.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let mut place = self.last_event_id.clone();
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
        while left > 0 {
            match self.connect(&client, place.as_deref()).await? {
                Ok(response) => {
                    let printed = print_until_cut(response, &mut place, &mut left).await?;
                    if printed {
                        backoff.reset();
                    }
                }
                Err(reason) => eprintln!("{reason}; trying again"),
            }
            if left > 0 {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
        Ok(())
    }

    /// Opens the stream. The inner error may pass, the outer one will not.
    async fn connect(&self, client: &Client, place: Option<&str>) -> anyhow::Result<Result<reqwest::Response, String>> {
        let filters = [("stream", &self.stream), ("label", &self.label), ("rule", &self.rule)];
        let query: Vec<_> = filters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
        let mut request = client.get("/v1/alerts")?.query(&query).header("accept", "text/event-stream");
        if let Some(place) = place {
            request = request.header("last-event-id", place);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(Ok(response)),
            Ok(response) => match refusal(response).await {
                Refusal::Later(_, message) => Ok(Err(message)),
                Refusal::Never(message) => bail!(message),
            },
            Err(error) => Ok(Err(client.unreached(&error)?)),
        }
    }
}

/// Prints what comes until the connection ends; whether anything came.
async fn print_until_cut(
    response: reqwest::Response,
    place: &mut Option<String>,
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
            *place = Some(id.to_owned());
        }
        if *left == 0 {
            return Ok(any);
        }
    }
    Ok(any)
}

/// Prints an alert on standard output; whatever else the server says goes to standard error. Whether it was an alert.
fn print(event: &SseEvent) -> anyhow::Result<bool> {
    if event.event != "alert" {
        eprintln!("server: {}: {}", event.event, event.data);
        return Ok(false);
    }
    out::line(&event.data)?;
    Ok(true)
}

/// The innermost cause, which is the one that tells something.
pub fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
