//! How many deliveries a CPU-second buys, and how many bytes a subscriber costs.
//!
//! `cargo run --release -p alert-stream --example fan_out -- [SUBSCRIBERS] [ALERTS] [PAUSE_MS]`
//!
//! The service runs in this process on an embedded log; its clients run in a process of their own, so that the CPU time
//! and the memory that are counted are the service's alone. Between two alerts it waits `PAUSE_MS`: 0 lets alerts come
//! faster than they are delivered, so that writes carry several; a pause makes every delivery a write of its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accounts::{AdminToken, generate_token};
use alert_stream::{Config, Deps};
use anyhow::Context;
use bus::embedded::Options;
use bus::{Bus, EmbeddedBus};
use clap::Parser;
use contracts::alert::AlertData;
use contracts::{AlertEvent, AlertId, BoundingBox, Event, FrameId, Role, RuleId, TenantId, Topics, Vehicle};
use platform::Common;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    common: Common,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| arguments.get(place).map_or(Ok(default), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("clients") => {
            let address = arguments.get(1).context("address")?.parse()?;
            clients(address, arguments.get(2).context("token")?, number(3, 0)?, number(4, 0)?).await
        }
        _ => serve(number(0, 2_000)?, number(1, 500)?, number(2, 0)?).await,
    }
}

/// Runs the service and reports what the deliveries cost it.
async fn serve(subscribers: usize, alerts: usize, pause_ms: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let topics = Topics::parse(contracts::topics::DEFAULT)?;
    let bus: Arc<dyn Bus> = Arc::new(EmbeddedBus::open(folder.path(), &topics, Options::default())?);
    let token = generate_token();
    let accounts = Arc::new(AdminToken::new(&token).map_err(anyhow::Error::msg)?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let places = subscribers.to_string();
    let Settings { config, common } = Settings::parse_from(["fan_out", "--alert-subscribers", &places]);
    let stop = CancellationToken::new();
    let deps = Deps { bus: Arc::clone(&bus), accounts };
    let service = tokio::spawn(alert_stream::run(config, common, deps, listener, stop.clone()));

    let memory = resident()?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["clients", &address.to_string(), &token, &places, &alerts.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(child.stdout.take().context("the clients' output")?).lines();
    anyhow::ensure!(said.next_line().await?.as_deref() == Some("connected"), "the clients did not connect");
    let each = resident()?.saturating_sub(memory) / subscribers.max(1);

    let (cpu, begun) = (cpu_time()?, Instant::now());
    for number in 0..alerts {
        drop(bus.producer().send(Role::Alerts, alert().to_message())?);
        if pause_ms > 0 {
            tokio::time::sleep(Duration::from_millis(pause_ms as u64)).await;
        } else if number % 64 == 63 {
            tokio::task::yield_now().await;
        }
    }
    anyhow::ensure!(said.next_line().await?.as_deref() == Some("done"), "the clients did not get everything");
    let (cpu, wall) = (cpu_time()? - cpu, begun.elapsed());
    stop.cancel();
    service.await??;

    let deliveries = subscribers * alerts;
    println!("{subscribers} subscribers, {alerts} alerts, {pause_ms} ms apart: {deliveries} deliveries in {wall:.2?}");
    println!("{:.0} deliveries per CPU-second", deliveries as f64 / cpu.as_secs_f64());
    println!("{each} bytes of resident memory per subscriber");
    Ok(())
}

/// Listens as many times as asked, until each has seen all alerts.
async fn clients(address: SocketAddr, token: &str, subscribers: usize, alerts: usize) -> anyhow::Result<()> {
    let request = format!("GET /v1/alerts HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut listening = Vec::new();
    for _ in 0..subscribers {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut buffer = vec![0; 4096];
        let mut head = Vec::new();
        while !head.windows(4).any(|bytes| bytes == b"id: ") {
            let read = stream.read(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the service closed: {}", String::from_utf8_lossy(&head));
            head.extend_from_slice(&buffer[..read]);
        }
        listening.push(stream);
    }
    println!("connected");
    let mut tasks = tokio::task::JoinSet::new();
    for mut stream in listening {
        tasks.spawn(async move {
            let (mut buffer, mut seen, mut blank) = (vec![0; 16 << 10], 0, false);
            while seen < alerts {
                let read = stream.read(&mut buffer).await?;
                anyhow::ensure!(read > 0, "the service closed after {seen} alerts");
                for byte in &buffer[..read] {
                    // An empty line ends a block; nothing but alerts comes in the time that this takes.
                    seen += usize::from(*byte == b'\n' && blank);
                    blank = *byte == b'\n';
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    println!("done");
    Ok(())
}

fn alert() -> AlertEvent {
    let frame_id = FrameId::now();
    let now = jiff::Timestamp::now();
    AlertEvent {
        tenant: TenantId::shared(),
        traceparent: None,
        data: AlertData {
            id: AlertId::of(&RuleId::built_in("face-seen"), &frame_id),
            rule: "face-seen".to_owned(),
            rule_id: RuleId::built_in("face-seen"),
            frame_id,
            stream: "gate-1".parse().ok(),
            detector: "face".parse().unwrap_or_else(|_| unreachable!("a legal name")),
            detection_id: format!("{frame_id}-face-0"),
            label: "face".to_owned(),
            confidence: 0.93,
            bounds: Some(BoundingBox { x: 312.5, y: 96.25, width: 88.0, height: 121.5 }),
            vehicle: Vehicle::default(),
            matches: 1,
            captured_at: now,
            raised_at: now,
        },
    }
}

/// Bytes of this process in memory.
fn resident() -> anyhow::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).context("statm")?.parse()?;
    Ok(pages * 4096)
}

/// User and system time of this process.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("stat")?;
    let ticks = |place: usize| fields.split(' ').nth(place).context("stat")?.parse::<u64>().context("stat");
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}
