//! The processes that benches start: this program in other rôles. Not for people.

use clap::{Args, Subcommand};

use super::{indexer, overload, sign_ins, slow_connections, sse, worker};

/// One of them.
#[derive(Debug, Args)]
pub struct Part {
    #[command(subcommand)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    /// The worker on an embedded log
    WorkerFlow(Box<worker::Flow>),
    /// The parts of the worker's work
    WorkerParts(Box<worker::Parts>),
    /// Documents from one database into another
    BareInserts(indexer::BarePart),
    /// The indexer on embedded parts
    IndexEmbedded(Box<indexer::EmbeddedPart>),
    /// The alert stream on an embedded log
    SseService(Box<sse::service::Part>),
    /// Its subscribers
    SseClients(sse::clients::Part),
    /// Those that read slowly
    SseSlow(sse::slow::Part),
    /// Connections that send slowly
    SlowCrowd(slow_connections::Part),
    /// Many who sign in
    SignInFlood(sign_ins::Part),
    /// Senders of frames
    Senders(overload::senders::Part),
}

impl Part {
    /// Plays it until standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.which {
            Which::WorkerFlow(part) => Box::pin(part.run()).await,
            Which::WorkerParts(part) => Box::pin(part.run()).await,
            Which::BareInserts(part) => part.run().await,
            Which::IndexEmbedded(part) => part.run().await,
            Which::SseService(part) => part.run().await,
            Which::SseClients(part) => part.run().await,
            Which::SseSlow(part) => part.run().await,
            Which::SlowCrowd(part) => part.run().await,
            Which::SignInFlood(part) => part.run().await,
            Which::Senders(part) => part.run().await,
        }
    }
}
