//! Connections that send their requests a byte at a time, or not at all: how they slow other clients, and when they are closed.
//!
//! `sightline up` runs in a child process. A few clients send requests at a low rate, alternately alone and during slow
//! connections from another process. Of these, a quarter each sends nothing, sends its head a byte at a time, sends its body a
//! byte at a time, and stops in the middle of its body. A closed connection is replaced at once, so that their number stays
//! constant.

mod connections;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::RunLength;
use super::engine::Engine;
use super::latency::services::Services;
use super::report::{Goal, Report};
use super::stats::{Spread, Times};
use connections::SlowConnections;

pub use connections::SlowConnectionsChild;

/// Number of ordinary clients.
const CLIENTS: usize = 8;
/// Pause of a client after a response.
const CLIENT_PAUSE: Duration = Duration::from_millis(25);

/// Size of the bench.
#[derive(Debug, Args)]
pub struct SlowConnectionsBench {
    /// Number of slow connections
    #[arg(long, default_value_t = 2_000, value_name = "NUMBER")]
    slow_connections: u32,
}

impl SlowConnectionsBench {
    /// Alternates rounds without and with slow connections.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let (rounds, length) = run_length.pick((5, Duration::from_secs(20)), (2, Duration::from_secs(12)));
        let mut report = Report::new("slow-connections");
        report.setting("slow_connections", self.slow_connections);
        report.setting("clients", CLIENTS);
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn", length.as_secs());
        let engine = Engine::start(Duration::ZERO).await?;
        let services = Services::embedded(Some(&engine)).await?;
        // Warm-up: connections, caches and first writes are not measured.
        ordinary(&services, length / 4).await?;
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut lifetimes = connections::Lifetimes::default();
        for _ in 0..rounds {
            let quiet = ordinary(&services, length).await?.ms(0.99);
            let connections = SlowConnections::open(&services, self.slow_connections).await?;
            let crowded = ordinary(&services, length).await?.ms(0.99);
            lifetimes.and(connections.end().await?);
            alone.push(quiet);
            beside.push(crowded);
            ratios.push(crowded / quiet);
        }
        services.end().await?;
        let moved = Spread::of(&ratios);
        let name = "ordinary requests' p99 beside slow connections, to that without";
        report.with_goal(name, moved.median, "×", Goal::AtMost(2.0));
        report.note(format!("over the rounds {:.2} to {:.2}", moved.min, moved.max));
        report.figure("ordinary requests' p99 alone", Spread::of(&alone).median, "ms");
        report.figure("ordinary requests' p99 beside slow connections", Spread::of(&beside).median, "ms");
        report.figure("slow connections opened", f64::from(lifetimes.opened), "");
        report.with_goal("of them never closed", f64::from(lifetimes.opened - lifetimes.closed), "", Goal::AtMost(0.0));
        report.with_goal("longest life of a slow connection", lifetimes.longest, "s", Goal::AtMost(15.0));
        for (kind, longest) in &lifetimes.by_kind {
            report.figure(format!("longest life, {kind}"), *longest, "s");
        }
        Ok(report)
    }
}

/// Response times of ordinary clients on persistent connections. Fails when a request fails.
async fn ordinary(services: &Services, length: Duration) -> anyhow::Result<Times> {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(services.url.clone(), services.token.clone(), until));
    }
    let mut times = Vec::new();
    while let Some(ended) = clients.join_next().await {
        times.extend(ended??);
    }
    Ok(times.into_iter().collect())
}

async fn client(url: String, token: String, until: Instant) -> anyhow::Result<Vec<Duration>> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    let mut times = Vec::new();
    while Instant::now() < until {
        let request = match times.len() % 2 {
            0 => http.get(format!("{url}/v1/detections?limit=10")),
            _ => http.post(format!("{url}/v1/detections")).json(&serde_json::json!({"label": "car", "stream": "gate"})),
        };
        let started = Instant::now();
        let response = request.bearer_auth(&token).send().await.context("an ordinary request could not be sent")?;
        let status = response.status();
        let body = response.bytes().await.context("the response to an ordinary request was cut off")?;
        times.push(started.elapsed());
        ensure!(status.is_success(), "an ordinary request: {status}: {}", String::from_utf8_lossy(&body));
        tokio::time::sleep(CLIENT_PAUSE).await;
    }
    Ok(times)
}
