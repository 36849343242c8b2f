//! Connections that send their requests drop by drop, or not at all: what ordinary clients notice, and what becomes of the
//! slow ones.
//!
//! `sightline up` runs in a process of its own. A few clients ask and post at an easy pace, in turns alone and beside the
//! slow connections, which another process holds: a quarter each says nothing, drips its head, drips its body, and stops in
//! the middle of its body. One that is closed comes again at once, so that there are as many all the time.

mod crowd;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::task::JoinSet;

use super::Pace;
use super::engine::Engine;
use super::latency::stack::Stack;
use super::report::{Goal, Report};
use super::stats::{Spread, Times};
use crowd::Crowd;

pub use crowd::Part;

/// Ordinary clients.
const CLIENTS: usize = 8;
/// How long each of them thinks after an answer.
const THOUGHT: Duration = Duration::from_millis(25);

/// How many.
#[derive(Debug, Args)]
pub struct SlowConnectionsBench {
    /// Slow connections, all the time
    #[arg(long, default_value_t = 2_000, value_name = "NUMBER")]
    slow_connections: u32,
}

impl SlowConnectionsBench {
    /// Rounds without and with slow connections in turn.
    pub async fn run(&self, pace: Pace) -> anyhow::Result<Report> {
        let (rounds, length) = pace.of((5, Duration::from_secs(20)), (2, Duration::from_secs(12)));
        let mut report = Report::new("slow-connections");
        report.setting("slow_connections", self.slow_connections);
        report.setting("clients", CLIENTS);
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn", length.as_secs());
        let engine = Engine::start(Duration::ZERO).await?;
        let stack = Stack::embedded(Some(&engine)).await?;
        // Connections, caches and the first writes of everything are not what is measured.
        ordinary(&stack, length / 4).await?;
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut fate = crowd::Fate::default();
        for _ in 0..rounds {
            let quiet = ordinary(&stack, length).await?.ms(0.99);
            let crowd = Crowd::gather(&stack, self.slow_connections).await?;
            let crowded = ordinary(&stack, length).await?.ms(0.99);
            fate.and(crowd.end().await?);
            alone.push(quiet);
            beside.push(crowded);
            ratios.push(crowded / quiet);
        }
        stack.end().await?;
        let moved = Spread::of(&ratios);
        let name = "ordinary requests' p99 beside slow connections, to that without";
        report.promised(name, moved.median, "×", Goal::AtMost(2.0));
        report.note(format!("over the rounds {:.2} to {:.2}", moved.least, moved.most));
        report.figure("ordinary requests' p99 alone", Spread::of(&alone).median, "ms");
        report.figure("ordinary requests' p99 beside slow connections", Spread::of(&beside).median, "ms");
        report.figure("slow connections opened", f64::from(fate.opened), "");
        report.promised("of them never closed", f64::from(fate.opened - fate.closed), "", Goal::AtMost(0.0));
        report.promised("longest life of a slow connection", fate.longest, "s", Goal::AtMost(15.0));
        for (kind, longest) in &fate.by_kind {
            report.figure(format!("longest life, {kind}"), *longest, "s");
        }
        Ok(report)
    }
}

/// How long requests of ordinary clients took, each on a connection that stays open. Every one must succeed.
async fn ordinary(stack: &Stack, length: Duration) -> anyhow::Result<Times> {
    let until = Instant::now() + length;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(client(stack.url.clone(), stack.token.clone(), until));
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
        let begun = Instant::now();
        let answer = request.bearer_auth(&token).send().await.context("an ordinary request found no server")?;
        let status = answer.status();
        let body = answer.bytes().await.context("an ordinary answer broke off")?;
        times.push(begun.elapsed());
        ensure!(status.is_success(), "an ordinary request: {status}: {}", String::from_utf8_lossy(&body));
        tokio::time::sleep(THOUGHT).await;
    }
    Ok(times)
}
