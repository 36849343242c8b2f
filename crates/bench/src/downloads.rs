//! Downloads of a recording, compared with a bare file server of hyper: bytes per second of processor time.
//!
//! `sightline up` runs in a child process, with the shop on a folder, and the bare server in another one. A buyer has a link; eight clients at
//! once read the whole file from each server in turn, and every response must have all its bytes. The bare server checks nothing and logs
//! nothing; `up` checks the link twice a second, writes its access log and does its regular work.

mod bare;
mod buyer;

use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::RunLength;
use super::child::ChildProcess;
use super::latency::services::Services;
use super::meter::Meter;
use super::report::{Goal, Report};
use super::stats::Spread;
use buyer::Buyer;

pub use bare::FileServerChild;

/// Clients at once.
const CLIENTS: usize = 8;
/// Bytes that a client reads at once.
const READ: usize = 1 << 20;
/// Longest head of a response.
const MAX_HEAD: usize = 16 << 10;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct DownloadsBench {
    /// Size of the recording, in MiB [default: 256, quick: 64]
    #[arg(long, value_name = "MIB")]
    downloads_mib: Option<usize>,
}

/// Where a server has the file.
struct Source {
    address: String,
    path: String,
    length: u64,
}

impl DownloadsBench {
    /// Measures both servers alternately.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let rounds = run_length.pick(7, 3);
        let mib = self.downloads_mib.unwrap_or_else(|| run_length.pick(256, 64));
        let mut report = Report::new("downloads");
        report.setting("mib", mib);
        report.setting("clients", CLIENTS);
        report.setting("rounds", rounds);
        let recording = recording(mib << 20)?;
        let settings = vec![("SIGHTLINE_RATE_LIMIT_RPS", "none".to_owned()), ("SIGHTLINE_LOG", "info".to_owned())];
        let services = Services::embedded_with(None, settings).await?;
        let measured = measure(&mut report, &services, recording, rounds).await;
        services.end().await?;
        measured?;
        Ok(report)
    }
}

async fn measure(report: &mut Report, services: &Services, recording: Bytes, rounds: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("a folder for the file")?;
    let file = folder.path().join("recording.wav");
    std::fs::write(&file, &recording).context("the file of the bare server")?;
    let mut bare = ChildProcess::bench(&["file-server", "--file", file.to_str().context("the folder's name")?], &[])?;
    let length = recording.len() as u64;
    let address = bare.read_line().await?;
    let theirs = Source { address, path: "/".to_owned(), length };
    let buyer = Buyer::with_book(services, &recording).await?;
    let address = services.url.strip_prefix("http://").context("an address without TLS")?.to_owned();
    let mut rates = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        // A link is valid for ten minutes.
        let ours = Source { address: address.clone(), path: buyer.link().await?, length };
        if round == 0 {
            ensure!(hash(&ours).await? == hash(&theirs).await?, "the servers do not send the same bytes");
            continue;
        }
        rates.0.push(turn(&ours, services.meter()?).await.context("sightline up")?);
        rates.1.push(turn(&theirs, bare.meter()?).await.context("the bare server")?);
    }
    bare.kill().await?;
    show(report, &rates.0, &rates.1);
    Ok(())
}

fn show(report: &mut Report, ours: &[f64], theirs: &[f64]) {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    let Spread { min, median, max } = Spread::of(&ratios);
    report.with_goal("bytes per CPU-second, of the bare server's", median, "x", Goal::AtLeast(0.9));
    report.figure("the same, least of the rounds", min, "x");
    report.figure("the same, most of the rounds", max, "x");
    report.figure("sightline up", Spread::of(ours).median / 1e6, "MB/CPU-s");
    report.figure("bare server", Spread::of(theirs).median / 1e6, "MB/CPU-s");
}

/// Bytes per second of the server's processor time, while every client reads the whole file.
async fn turn(source: &Source, meter: Meter) -> anyhow::Result<f64> {
    let before = meter.cpu()?;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (address, path, length) = (source.address.clone(), source.path.clone(), source.length);
        clients.spawn(async move { read(&address, &path, length, |_| {}).await });
    }
    while let Some(read) = clients.join_next().await {
        read??;
    }
    let used = meter.cpu()?.saturating_sub(before).max(Duration::from_millis(10));
    Ok((CLIENTS as u64 * source.length) as f64 / used.as_secs_f64())
}

async fn hash(source: &Source) -> anyhow::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    read(&source.address, &source.path, source.length, |bytes| hash.update(bytes)).await?;
    Ok(hash.finalize().into())
}

/// Reads a file, which must have this length. No HTTP library: its work would be more than that of the servers.
async fn read(address: &str, path: &str, length: u64, mut take: impl FnMut(&[u8])) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut buffer = vec![0; READ];
    let mut head = Vec::new();
    let mut received = loop {
        let read = stream.read(&mut buffer).await?;
        ensure!(read > 0 && head.len() < MAX_HEAD, "the response has no end of its head");
        let had = head.len();
        head.extend_from_slice(&buffer[..read]);
        if let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") {
            ensure!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head[..end]));
            let body = &buffer[end + 4 - had..read];
            take(body);
            break body.len() as u64;
        }
    };
    loop {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => {
                take(&buffer[..read]);
                received += read as u64;
            }
        }
    }
    ensure!(received == length, "{received} of {length} bytes were received");
    Ok(())
}

/// A WAV file of noise.
fn recording(bytes: usize) -> anyhow::Result<Bytes> {
    const RATE: u32 = 48_000;
    let samples = u32::try_from(bytes & !3).context("a WAV file has at most 4 GiB")?;
    let mut file = Vec::with_capacity(bytes + 44);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&samples.saturating_add(36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(4 * RATE).to_le_bytes());
    file.extend_from_slice(b"\x04\0\x10\0data");
    file.extend_from_slice(&samples.to_le_bytes());
    let head = file.len();
    file.resize(head + samples as usize, 0);
    fastrand::Rng::with_seed(13).fill(&mut file[head..]);
    Ok(file.into())
}
