//! Hidden subcommands: the processes that benches start, services, clients, and loops for comparison.

use clap::{Args, Subcommand};

use crate::{downloads, indexer, overload, sign_ins, slow_connections, sse, worker};

/// What a child process runs.
#[derive(Debug, Args)]
pub struct ChildArgs {
    #[command(subcommand)]
    kind: ChildKind,
}

#[derive(Debug, Subcommand)]
enum ChildKind {
    /// The whole worker on an embedded log
    WorkerPipeline(Box<worker::PipelineChild>),
    /// The stages of the worker alone
    WorkerStages(Box<worker::StagesChild>),
    /// Documents copied from one database into another
    BareInserts(indexer::BareInsertsChild),
    /// The indexer on the embedded log and SQLite
    IndexEmbedded(Box<indexer::EmbeddedIndexerChild>),
    /// The alert stream on an embedded log
    SseService(Box<sse::service::ServiceChild>),
    /// Subscribers of the alert stream
    SseClients(sse::clients::ClientsChild),
    /// Subscribers that read slowly
    SseSlow(sse::slow::SlowReadersChild),
    /// Connections that send slowly
    SlowConnections(slow_connections::SlowConnectionsChild),
    /// Clients that sign in
    SignIns(sign_ins::SignInsChild),
    /// Senders of frames
    Senders(overload::senders::SendersChild),
    /// A bare file server
    FileServer(downloads::FileServerChild),
}

impl ChildArgs {
    /// Runs until standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.kind {
            ChildKind::WorkerPipeline(child) => Box::pin(child.run()).await,
            ChildKind::WorkerStages(child) => Box::pin(child.run()).await,
            ChildKind::BareInserts(child) => child.run().await,
            ChildKind::IndexEmbedded(child) => child.run().await,
            ChildKind::SseService(child) => child.run().await,
            ChildKind::SseClients(child) => child.run().await,
            ChildKind::SseSlow(child) => child.run().await,
            ChildKind::SlowConnections(child) => child.run().await,
            ChildKind::SignIns(child) => child.run().await,
            ChildKind::Senders(child) => child.run().await,
            ChildKind::FileServer(child) => child.run().await,
        }
    }
}
