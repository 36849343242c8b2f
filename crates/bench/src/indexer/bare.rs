//! The bare loop in a child process: copies documents from one database into another.
//!
//! It uses MongoDB's driver and nothing of the store, because the store is compared with it.

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _};
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Database};
use store::MongoArgs;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

use super::COLLECTIONS;

/// Arguments of the bare loop.
#[derive(Debug, Args)]
pub struct BareInsertsChild {
    #[command(flatten)]
    mongo: MongoArgs,
    /// Database to read
    #[arg(long)]
    from: String,
    /// Database to write
    #[arg(long)]
    into: String,
    /// Results of one batch; their detections and alerts are in the same batch
    #[arg(long)]
    results_at_once: usize,
    /// Write the collections of a batch concurrently
    #[arg(long)]
    side_by_side: bool,
}

impl BareInsertsChild {
    /// Reads the documents, prints their number, waits for `go`, writes them, and prints `done`.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = Client::with_uri_str(self.mongo.uri()?.expose()).await?;
        let (from, into) = (client.database(&self.from), client.database(&self.into));
        let results = from.collection::<RawDocumentBuf>(COLLECTIONS[0]).estimated_document_count().await?;
        let batches = usize::try_from(results)?.div_ceil(self.results_at_once).max(1);
        let mut collections = Vec::new();
        for name in COLLECTIONS {
            collections.push(batched(&from, name, batches).await?);
        }
        println!("{}", collections.iter().flatten().map(Vec::len).sum::<usize>());
        let mut lines = BufReader::new(stdin()).lines();
        lines.next_line().await?;
        for batch in 0..batches {
            self.insert(&into, &collections, batch).await?;
        }
        println!("done");
        lines.next_line().await?;
        Ok(())
    }

    async fn insert(
        &self,
        into: &Database,
        collections: &[Vec<Vec<RawDocumentBuf>>],
        batch: usize,
    ) -> anyhow::Result<()> {
        let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
        let inserts = COLLECTIONS.iter().zip(collections).filter_map(|(name, batches)| {
            let docs = batches.get(batch)?;
            let (collection, durable) = (into.collection::<RawDocumentBuf>(name), durable.clone());
            Some(async move { collection.insert_many(docs).ordered(false).write_concern(durable).await })
        });
        let at_once = if self.side_by_side { COLLECTIONS.len() } else { 1 };
        let mut inserts = futures::stream::iter(inserts).buffered(at_once);
        while inserts.try_next().await?.is_some() {}
        Ok(())
    }
}

/// All documents of a collection in insertion order, in this many batches.
async fn batched(database: &Database, name: &str, batches: usize) -> anyhow::Result<Vec<Vec<RawDocumentBuf>>> {
    let found = database.collection::<RawDocumentBuf>(name).find(doc! {}).sort(doc! { "$natural": 1 }).await?;
    let docs: Vec<RawDocumentBuf> = found.try_collect().await?;
    let size = docs.len().div_ceil(batches).max(1);
    Ok(docs.chunks(size).map(<[_]>::to_vec).collect())
}
