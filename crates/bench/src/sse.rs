//! Fan-out over server-sent events: deliveries per second of processor time, memory per subscriber, and time from
//! publish to delivery, compared with nginx and nchan.
//!
//! The alert stream runs in a child process on an embedded log, nginx in another, and the clients of each in a
//! third one. The servers take turns in every round, with the same clients and the same JSON. `paced` pauses
//! between two alerts, so that each delivery is a separate write; `burst` publishes as fast as the server
//! accepts, so that a write may contain several alerts. The CPU time is that of the whole serving process,
//! publishing included.

pub mod clients;
mod mark;
mod nchan;
pub mod service;
pub mod slow;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::RunLength;
use super::child::ChildProcess;
use super::report::{Goal, Report};
use super::stats::Spread;
use clients::{Clients, DeliveryTimes};
use nchan::Nchan;
use service::Service;

/// Deliveries per second to all subscribers together in a paced round.
const PACED_PER_SECOND: u32 = 20_000;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct SseBench {
    /// Numbers of subscribers; one run for each
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000], value_name = "NUMBERS")]
    sse_subscribers: Vec<u32>,

    /// The nginx to compare with; skipped if there is none
    #[arg(long, default_value = "nginx", value_name = "PROGRAM")]
    nginx: PathBuf,

    /// nginx's nchan module, as Debian's libnginx-mod-nchan installs it; skipped if the file does not exist
    #[arg(long, default_value = "/usr/lib/nginx/modules/ngx_nchan_module.so", value_name = "PATH")]
    nchan_module: PathBuf,
}

/// A server that publishes to subscribers.
pub enum Server {
    Ours(Service),
    Nchan(Nchan),
}

/// One server with its subscribers, and the measurements of its rounds.
struct Variant {
    name: &'static str,
    server: Server,
    clients: Clients,
    per_subscriber: f64,
    paced: Rounds,
    burst: Rounds,
}

#[derive(Default)]
struct Rounds {
    per_cpu_second: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl SseBench {
    /// Measures with each number of subscribers.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let mut report = Report::new("sse");
        let rounds: usize = run_length.pick(5, 2);
        report.setting("rounds", rounds);
        report.setting("paced_deliveries_per_second", PACED_PER_SECOND);
        report.setting("json_bytes", mark::json(0)?.len());
        for subscribers in &self.sse_subscribers {
            let mut variants = vec![Variant::ours(*subscribers).await?];
            match Nchan::start(&self.nginx, &self.nchan_module, *subscribers).await {
                Ok(nchan) => variants.push(Variant::nchan(nchan, *subscribers).await?),
                Err(error) => report.note(format!("nginx with nchan was not measured: {error:#}")),
            }
            for _ in 0..rounds {
                for variant in &mut variants {
                    variant.round(*subscribers, run_length).await?;
                }
            }
            show(&mut report, *subscribers, &variants);
            for variant in variants {
                variant.end().await?;
            }
        }
        Ok(report)
    }
}

impl Variant {
    async fn ours(subscribers: u32) -> anyhow::Result<Self> {
        descriptors(subscribers)?;
        let service = Service::start(subscribers, &[]).await?;
        let request = service.request("HTTP/1.1");
        Self::connect("sightline", Server::Ours(service), &request, subscribers).await
    }

    async fn nchan(nchan: Nchan, subscribers: u32) -> anyhow::Result<Self> {
        let request = nchan.request();
        Self::connect("nchan", Server::Nchan(nchan), &request, subscribers).await
    }

    async fn connect(name: &'static str, mut server: Server, request: &str, subscribers: u32) -> anyhow::Result<Self> {
        // A few subscribers connect and leave first, so that one-time setup is not counted as memory per subscriber.
        Clients::connect(server.address(), request, 16).await?.end().await?;
        let before = server.child().meter()?.resident()?;
        let mut clients = Clients::connect(server.address(), request, subscribers).await?;
        // Each subscriber receives an alert first, because the memory for a delivery belongs to the subscriber.
        clients.expect(1).await?;
        server.publish(1, Duration::ZERO).await?;
        clients.delivered().await?;
        let after = server.child().meter()?.resident()?;
        let per_subscriber = after.saturating_sub(before) as f64 / f64::from(subscribers);
        Ok(Self { name, server, clients, per_subscriber, paced: Rounds::default(), burst: Rounds::default() })
    }

    async fn round(&mut self, subscribers: u32, run_length: RunLength) -> anyhow::Result<()> {
        let between = Duration::from_secs(1) * subscribers / PACED_PER_SECOND;
        let paced = PACED_PER_SECOND * run_length.pick(10, 4) / subscribers;
        let burst = run_length.pick(1_000_000, 200_000) / subscribers;
        for (alerts, between) in [(paced, between), (burst, Duration::ZERO)] {
            let (cpu, delivered) = self.measure(alerts, between).await?;
            let rounds = if between.is_zero() { &mut self.burst } else { &mut self.paced };
            rounds.per_cpu_second.push(f64::from(alerts) * f64::from(subscribers) / cpu.as_secs_f64());
            rounds.p50.push(delivered.p50);
            rounds.p99.push(delivered.p99);
        }
        Ok(())
    }

    async fn measure(&mut self, alerts: u32, between: Duration) -> anyhow::Result<(Duration, DeliveryTimes)> {
        self.clients.expect(alerts).await?;
        let meter = self.server.child().meter()?;
        let before = meter.cpu()?;
        self.server.publish(alerts, between).await?;
        let delivered = self.clients.delivered().await?;
        Ok((meter.cpu()?.saturating_sub(before), delivered))
    }

    async fn end(self) -> anyhow::Result<()> {
        self.clients.end().await?;
        self.server.end().await
    }
}

impl Server {
    /// The process that is measured.
    pub const fn child(&self) -> &ChildProcess {
        match self {
            Self::Ours(service) => &service.child,
            Self::Nchan(nchan) => &nchan.child,
        }
    }

    fn address(&self) -> &str {
        match self {
            Self::Ours(service) => &service.address,
            Self::Nchan(nchan) => &nchan.address,
        }
    }

    /// Publishes this many alerts; returns when the last one is published.
    async fn publish(&mut self, alerts: u32, between: Duration) -> anyhow::Result<()> {
        match self {
            Self::Ours(service) => service.publish(alerts, between).await,
            Self::Nchan(nchan) => nchan.publish(alerts, between).await,
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Ours(service) => service.child.kill().await,
            Self::Nchan(nchan) => nchan.child.kill().await,
        }
    }
}

fn show(report: &mut Report, subscribers: u32, variants: &[Variant]) {
    let median = |values: &[f64]| Spread::of(values).median;
    for Variant { name, per_subscriber, paced, burst, .. } in variants {
        let of = |what: &str| format!("{subscribers} subscribers, {name}: {what}");
        // The goals are for Sightline, not for nginx.
        let mut add = |what: &str, value: f64, unit, goal: Option<Goal>| match goal.filter(|_| *name == "sightline") {
            Some(goal) => report.with_goal(of(what), value, unit, goal),
            None => report.figure(of(what), value, unit),
        };
        add("paced", median(&paced.per_cpu_second), "deliveries/CPU-s", Some(Goal::AtLeast(50_000.0)));
        add("burst", median(&burst.per_cpu_second), "deliveries/CPU-s", Some(Goal::AtLeast(50_000.0)));
        add("memory", *per_subscriber / 1e3, "kB/subscriber", Some(Goal::AtMost(20.0)));
        add("paced, publish to delivery, p50", median(&paced.p50), "ms", None);
        add("paced, publish to delivery, p99", median(&paced.p99), "ms", None);
        add("burst, publish to delivery, p99", median(&burst.p99), "ms", None);
    }
    if let [ours, nchan] = variants {
        for (what, ours, theirs) in [("paced", &ours.paced, &nchan.paced), ("burst", &ours.burst, &nchan.burst)] {
            let pairs = ours.per_cpu_second.iter().zip(&theirs.per_cpu_second);
            let ratios = Spread::of(&pairs.map(|(ours, theirs)| ours / theirs).collect::<Vec<_>>());
            report.figure(format!("{subscribers} subscribers, {what}: sightline to nchan"), ratios.median, "×");
            report.note(format!(
                "{subscribers} subscribers, {what}: sightline to nchan {:.2} to {:.2} over the rounds",
                ratios.min, ratios.max
            ));
        }
    }
}

/// Raises the limit of open files of this process and its children for this many connections.
pub fn descriptors(connections: u32) -> anyhow::Result<()> {
    let needed = u64::from(connections) * 5 / 4 + 500;
    let has = rlimit::increase_nofile_limit(u64::MAX).context("the limit of open files cannot be raised")?;
    anyhow::ensure!(
        has >= needed,
        "{connections} connections need {needed} open files and this user may have {has}; raise it with \
         `ulimit -Hn {needed}` as root, or in /etc/security/limits.conf"
    );
    Ok(())
}
