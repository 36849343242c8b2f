//! A file server of hyper without anything else: what a download costs at least.

use std::convert::Infallible;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use futures::{Stream, stream};
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

/// Bytes that are read at once: as much as the shop reads for a fast client.
const BLOCK: u64 = 256 << 10;

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct FileServerChild {
    /// The file that every request gets
    #[arg(long)]
    file: PathBuf,
}

impl FileServerChild {
    /// Runs until standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let file = File::open(&self.file).with_context(|| format!("{} cannot be read", self.file.display()))?;
        let length = file.metadata()?.len();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let serving = tokio::spawn(serve(listener, Arc::new(file), length));
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        while orders.next_line().await?.is_some() {}
        serving.abort();
        Ok(())
    }
}

async fn serve(listener: TcpListener, file: Arc<File>, length: u64) {
    while let Ok((client, _)) = listener.accept().await {
        let file = Arc::clone(&file);
        tokio::spawn(async move {
            let answer = service_fn(|_: Request<Incoming>| {
                let body = StreamBody::new(blocks(Arc::clone(&file), length));
                async move {
                    let mut response = Response::new(body);
                    response.headers_mut().insert(CONTENT_LENGTH, length.into());
                    Ok::<_, Infallible>(response)
                }
            });
            // A client that goes away is none of this server's concern.
            drop(http1::Builder::new().serve_connection(TokioIo::new(client), answer).await);
        });
    }
}

/// The file, block by block.
fn blocks(file: Arc<File>, length: u64) -> impl Stream<Item = std::io::Result<Frame<Bytes>>> {
    stream::try_unfold((file, 0), move |(file, at)| async move {
        if at == length {
            return Ok(None);
        }
        let size = BLOCK.min(length - at);
        let reader = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut block = vec![0; size as usize];
            reader.read_exact_at(&mut block, at)?;
            Ok::<_, std::io::Error>(Bytes::from(block))
        });
        let block = read.await.map_err(std::io::Error::other)??;
        Ok(Some((Frame::data(block), (file, at + size))))
    })
}
