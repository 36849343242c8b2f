//! `sightline bench`: what the promises of speed are measured with, on this machine, beside what they are compared with.
//!
//! Every bench prints a table, or with `--json` one object. Sides that are compared take turns in one run, and rates are
//! counted per second of processor time, so that what else the machine does falls on both sides alike. What is measured
//! runs in a process of its own, away from the load that drives it.

mod bus;
mod child;
mod engine;
mod ground;
mod indexer;
mod ingest;
mod latency;
mod machine;
mod meter;
mod overload;
mod part;
mod report;
mod sending;
mod sign_ins;
mod slow_connections;
mod soak;
mod sse;
mod stats;
mod worker;

use clap::{Args, Subcommand};
use report::Report;

/// Measures speed and memory on this machine
#[derive(Debug, Args)]
pub struct Bench {
    #[command(subcommand)]
    which: Which,

    #[command(flatten)]
    servers: ground::Servers,

    /// A short run: a rough answer within a minute or two for each bench
    #[arg(long, global = true)]
    quick: bool,

    /// Print one JSON object for each bench instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// The log, embedded and on Kafka: throughput, and the time from send to delivery
    Bus(bus::BusBench),
    /// ingest-api on Kafka, beside the same endpoint in FastAPI
    Ingest(ingest::IngestBench),
    /// The detector worker: frames for each CPU-second beside the sum of its parts and a Python loop; batches, memory, GPU
    Worker(Box<worker::WorkerBench>),
    /// The indexer on Kafka and `MongoDB`, beside a bare loop of inserts; and on SQLite
    Indexer(indexer::IndexerBench),
    /// From a frame accepted to its alert at a subscriber, under load
    Latency(latency::LatencyBench),
    /// Server-sent events: deliveries, memory and latency of many subscribers, beside nginx with nchan
    Sse(sse::SseBench),
    /// Subscribers that read slowly or not at all: what the others notice, and what becomes of the slow
    SlowReaders(sse::slow::SlowReadersBench),
    /// Connections that send drop by drop or not at all: what ordinary clients notice, and how long the slow ones live
    SlowConnections(slow_connections::SlowConnectionsBench),
    /// Many sign-ins at once: what senders of frames notice; and whether the time of answers tells who has an account
    SignIns(sign_ins::SignInsBench),
    /// Ten times more than can be done: memory, refusals, what is done all the same, and the time after
    Overload(overload::OverloadBench),
    /// Images of every size and format for an hour: whether memory stays where it is
    Soak(soak::SoakBench),
    /// Every bench, one after the other; those whose servers or programs are not given are named and left out
    All(Box<All>),
    #[command(hide = true)]
    Part(part::Part),
}

#[derive(Debug, Args)]
struct All {
    #[command(flatten)]
    bus: bus::BusBench,
    #[command(flatten)]
    ingest: ingest::IngestBench,
    #[command(flatten)]
    worker: worker::WorkerBench,
    #[command(flatten)]
    indexer: indexer::IndexerBench,
    #[command(flatten)]
    latency: latency::LatencyBench,
    #[command(flatten)]
    sse: sse::SseBench,
    #[command(flatten)]
    slow_readers: sse::slow::SlowReadersBench,
    #[command(flatten)]
    slow_connections: slow_connections::SlowConnectionsBench,
    #[command(flatten)]
    sign_ins: sign_ins::SignInsBench,
    #[command(flatten)]
    overload: overload::OverloadBench,
    #[command(flatten)]
    soak: soak::SoakBench,
}

impl Bench {
    /// Measures and prints what came of it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { which, servers, quick, json } = self;
        let pace = Pace { quick };
        match which {
            Which::Bus(bench) => print(&bench.run(&servers, pace).await?, json),
            Which::Ingest(bench) => print(&bench.run(&servers, pace).await?, json),
            Which::Worker(bench) => print(&Box::pin(bench.run(&servers, pace)).await?, json),
            Which::Indexer(bench) => print(&bench.run(&servers, pace).await?, json),
            Which::Latency(bench) => print(&bench.run(&servers, pace).await?, json),
            Which::Sse(bench) => print(&bench.run(pace).await?, json),
            Which::SlowReaders(bench) => print(&bench.run(pace).await?, json),
            Which::SlowConnections(bench) => print(&bench.run(pace).await?, json),
            Which::SignIns(bench) => print(&bench.run(pace).await?, json),
            Which::Overload(bench) => print(&bench.run(&servers, pace).await?, json),
            Which::Soak(bench) => print(&bench.run(pace).await?, json),
            Which::Part(part) => part.run().await,
            Which::All(all) => {
                print_or_name("bus", all.bus.run(&servers, pace).await, json)?;
                print_or_name("ingest", all.ingest.run(&servers, pace).await, json)?;
                print_or_name("worker", Box::pin(all.worker.run(&servers, pace)).await, json)?;
                print_or_name("indexer", all.indexer.run(&servers, pace).await, json)?;
                print_or_name("latency", all.latency.run(&servers, pace).await, json)?;
                print_or_name("sse", all.sse.run(pace).await, json)?;
                print_or_name("slow-readers", all.slow_readers.run(pace).await, json)?;
                print_or_name("slow-connections", all.slow_connections.run(pace).await, json)?;
                print_or_name("sign-ins", all.sign_ins.run(pace).await, json)?;
                print_or_name("overload", all.overload.run(&servers, pace).await, json)?;
                print_or_name("soak", all.soak.run(pace).await, json)
            }
        }
    }
}

/// One bench of all: what cannot run here is named, and the others run all the same.
fn print_or_name(name: &str, outcome: anyhow::Result<Report>, json: bool) -> anyhow::Result<()> {
    match outcome {
        Ok(report) => print(&report, json),
        Err(error) => {
            eprintln!("{name} was left out: {error:#}");
            Ok(())
        }
    }
}

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    quick: bool,
}

impl Pace {
    /// One of two values: for a run that is to be believed, and for a short one.
    pub fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}
