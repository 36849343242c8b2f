//! `sightline-bench`: measures speed and memory on this machine, together with the programs for comparison.
//!
//! Every bench prints a table, or with `--json` one object. Compared variants take turns in one run. Rates
//! are per second of CPU time, so that other load on the machine affects all variants alike. The measured
//! program and the load generator run in separate processes.

mod bus;
mod catalogue;
mod child;
mod children;
mod downloads;
mod engine;
mod face_search;
mod faces;
mod grpc_edge;
mod indexer;
mod ingest;
mod latency;
mod machine;
mod meter;
mod namespace;
mod overload;
mod report;
mod sending;
mod sign_ins;
mod slow_connections;
mod soak;
mod speech;
mod sse;
mod stats;
mod worker;

use clap::{Args, Parser, Subcommand};
use report::Report;

/// Measures Sightline's speed and memory on this machine
#[derive(Debug, Parser)]
#[command(name = "sightline-bench", version, max_term_width = 100)]
struct Bench {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    servers: namespace::Servers,

    /// A short run: a rough result within a minute or two for each bench
    #[arg(long, global = true)]
    quick: bool,

    /// Print one JSON object for each bench instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The log, embedded and on Kafka: throughput, and the time from send to delivery
    Bus(bus::BusBench),
    /// ingest-api on Kafka, compared with the same endpoint in FastAPI
    Ingest(ingest::IngestBench),
    /// The detector worker: frames per CPU-second, compared with the sum of its parts and a Python loop; batches, memory, GPU
    Worker(Box<worker::WorkerBench>),
    /// The indexer on Kafka and `MongoDB`, compared with a bare loop of inserts; and on SQLite
    Indexer(indexer::IndexerBench),
    /// The time from the acceptance of a frame to its alert at a subscriber, under load
    Latency(latency::LatencyBench),
    /// Server-sent events: deliveries, memory and latency of many subscribers, compared with nginx and nchan
    Sse(sse::SseBench),
    /// Subscribers that read slowly or not at all: how they slow the others, and what happens to them
    SlowReaders(sse::slow::SlowReadersBench),
    /// Connections that send a byte at a time or nothing: how they slow others, and when they are closed
    SlowConnections(slow_connections::SlowConnectionsBench),
    /// Idle connections, cancelled calls and large messages of gRPC: their memory, and how they slow others
    GrpcEdge(grpc_edge::GrpcEdgeBench),
    /// A search among faces that do not fit into memory: in PostgreSQL with pgvector, compared with reading them
    FaceSearch(face_search::FaceSearchBench),
    /// Many sign-ins at once: how they slow frames, and whether response times reveal which addresses have an account
    SignIns(sign_ins::SignInsBench),
    /// Ten times the load that the services can handle: memory, refusals, throughput, and recovery afterwards
    Overload(overload::OverloadBench),
    /// Images of every size and format for an hour: whether memory stays constant
    Soak(soak::SoakBench),
    /// Faces among many enrolled people: searches over HTTP and enrolments, on SQLite and PostgreSQL
    Faces(faces::FacesBench),
    /// Downloads of the shop, compared with a bare file server of hyper
    Downloads(downloads::DownloadsBench),
    /// Pages of a shop with many books, on SQLite and PostgreSQL
    Catalogue(catalogue::CatalogueBench),
    /// Speech to text: a file from its bytes to its transcript, compared with a bare loop of whisper-rs; two windows at a time
    Speech(speech::SpeechBench),
    /// Every bench in turn; prints the name of each one that is skipped because its servers or programs are not given
    All(Box<All>),
    #[command(hide = true)]
    Child(children::ChildArgs),
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
    grpc_edge: grpc_edge::GrpcEdgeBench,
    #[command(flatten)]
    face_search: face_search::FaceSearchBench,
    #[command(flatten)]
    sign_ins: sign_ins::SignInsBench,
    #[command(flatten)]
    overload: overload::OverloadBench,
    #[command(flatten)]
    soak: soak::SoakBench,
    #[command(flatten)]
    faces: faces::FacesBench,
    #[command(flatten)]
    downloads: downloads::DownloadsBench,
    #[command(flatten)]
    catalogue: catalogue::CatalogueBench,
    #[command(flatten)]
    speech: speech::SpeechBench,
}

impl Bench {
    /// Measures, and prints the report.
    async fn run(self) -> anyhow::Result<()> {
        let Self { command, servers, quick, json } = self;
        let run_length = RunLength { quick };
        match command {
            Command::Bus(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Ingest(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Worker(bench) => print(&Box::pin(bench.run(&servers, run_length)).await?, json),
            Command::Indexer(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Latency(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Sse(bench) => print(&bench.run(run_length).await?, json),
            Command::SlowReaders(bench) => print(&bench.run(run_length).await?, json),
            Command::SlowConnections(bench) => print(&bench.run(run_length).await?, json),
            Command::GrpcEdge(bench) => print(&bench.run(run_length).await?, json),
            Command::FaceSearch(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::SignIns(bench) => print(&bench.run(run_length).await?, json),
            Command::Overload(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Soak(bench) => print(&bench.run(run_length).await?, json),
            Command::Faces(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Downloads(bench) => print(&bench.run(run_length).await?, json),
            Command::Catalogue(bench) => print(&bench.run(&servers, run_length).await?, json),
            Command::Speech(bench) => print(&Box::pin(bench.run(run_length)).await?, json),
            Command::Child(child) => child.run().await,
            Command::All(all) => {
                print_or_name("bus", all.bus.run(&servers, run_length).await, json)?;
                print_or_name("ingest", all.ingest.run(&servers, run_length).await, json)?;
                print_or_name("worker", Box::pin(all.worker.run(&servers, run_length)).await, json)?;
                print_or_name("indexer", all.indexer.run(&servers, run_length).await, json)?;
                print_or_name("latency", all.latency.run(&servers, run_length).await, json)?;
                print_or_name("sse", all.sse.run(run_length).await, json)?;
                print_or_name("slow-readers", all.slow_readers.run(run_length).await, json)?;
                print_or_name("slow-connections", all.slow_connections.run(run_length).await, json)?;
                print_or_name("grpc-edge", all.grpc_edge.run(run_length).await, json)?;
                print_or_name("face-search", all.face_search.run(&servers, run_length).await, json)?;
                print_or_name("sign-ins", all.sign_ins.run(run_length).await, json)?;
                print_or_name("overload", all.overload.run(&servers, run_length).await, json)?;
                print_or_name("soak", all.soak.run(run_length).await, json)?;
                print_or_name("faces", all.faces.run(&servers, run_length).await, json)?;
                print_or_name("downloads", all.downloads.run(run_length).await, json)?;
                print_or_name("catalogue", all.catalogue.run(&servers, run_length).await, json)?;
                print_or_name("speech", Box::pin(all.speech.run(run_length)).await, json)
            }
        }
    }
}

/// Prints a report of `all`; a bench that cannot run here is named, and the others still run.
fn print_or_name(name: &str, outcome: anyhow::Result<Report>, json: bool) -> anyhow::Result<()> {
    match outcome {
        Ok(report) => print(&report, json),
        Err(error) => {
            eprintln!("{name} was skipped: {error:#}");
            Ok(())
        }
    }
}

/// Whether a bench runs at full length or with `--quick`.
#[derive(Debug, Clone, Copy)]
pub struct RunLength {
    quick: bool,
}

impl RunLength {
    /// `full`, or `quick` with `--quick`.
    pub fn pick<T>(self, full: T, quick: T) -> T {
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

fn main() -> std::process::ExitCode {
    let bench: Bench = settings::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return platform::shutdown::exit(Err(anyhow::anyhow!("no threads to run on: {error}"))),
    };
    platform::shutdown::exit(runtime.block_on(bench.run()))
}
