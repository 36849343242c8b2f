//! The transfer of a recording by tus 1.0: the server says how many bytes it has, and the rest follows.
//!
//! In: a book and a recording. Out: all its bytes on the server. Guarantees: a connection that breaks, a server that is killed and a command
//! that is killed cost at most the bytes that were not durable on the server; bytes of another file are never continued.

use std::io::SeekFrom;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use contracts::BookId;
use contracts::api::UploadLinkView;
use futures::Stream;
use indicatif::ProgressBar;
use platform::retry::Backoff;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::recording::Recording;
use super::requests::{FIRST_PAUSE, LONGEST_PAUSE, REQUEST_TIMEOUT, Requests, is_refused_with};
use crate::client::Refusal;
use crate::sending::deadline::{Deadline, Failure};
use crate::sending::progress::byte_progress;
use crate::sending::responses::Tried;

const UPLOADS: &str = "/v1/uploads/";
const RESUMABLE: &str = "tus-resumable";
const OFFSET: &str = "upload-offset";
const LENGTH: &str = "upload-length";
const METADATA: &str = "upload-metadata";
/// The version of the protocol.
const VERSION: &str = "1.0.0";
/// Bytes that are read from the file at once.
const BLOCK: usize = 256 << 10;
/// Time without a byte in either direction after which a connection counts as broken. The server syncs a large file at its end.
const STALLED: Duration = Duration::from_secs(120);
/// Period of the check for that.
const LOOK: Duration = Duration::from_secs(1);
/// Refusals after which the server is asked again what it has: an earlier request still goes on, or has stored more than this one knew, or
/// the address has expired.
const AGAIN: [&str; 4] = ["offset_mismatch", "upload_busy", "link_invalid", "upload_gone"];

/// The upload of a recording.
pub struct Resumable<'a> {
    requests: &'a Requests<'a>,
    recording: &'a Recording,
    bar: ProgressBar,
}

/// An upload on the server.
struct Upload {
    /// Its path.
    path: String,
    /// Durable bytes.
    offset: u64,
}

impl<'a> Resumable<'a> {
    /// An upload that was not begun.
    pub fn new(requests: &'a Requests<'a>, recording: &'a Recording) -> Self {
        Self { requests, recording, bar: byte_progress(recording.bytes) }
    }

    /// Sends what the server does not have. With `restart` nothing that it has is continued.
    ///
    /// # Errors
    /// When a retry cannot succeed, or the time limit passes without a further byte.
    pub async fn send(&self, book: BookId, restart: bool) -> anyhow::Result<()> {
        let sent = self.send_all(book, restart).await;
        self.bar.finish_and_clear();
        sent
    }

    async fn send_all(&self, book: BookId, restart: bool) -> anyhow::Result<()> {
        let mut upload = self.open(book, restart).await?;
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut last_byte = Instant::now();
        while upload.offset < self.recording.bytes {
            let before = upload.offset;
            let (pause, reason) = match self.append(&upload).await {
                Ok(Ok(offset)) => {
                    upload.offset = offset;
                    continue;
                }
                Ok(Err(Failure::Refused(pause, reason))) => (pause, reason),
                Ok(Err(Failure::Unanswered(reason))) => (Duration::ZERO, reason),
                Err(error) if is_refused_with(&error, &AGAIN) => (Duration::ZERO, error.to_string()),
                Err(error) => return Err(error),
            };
            tokio::time::sleep(backoff.pause().max(pause.min(LONGEST_PAUSE))).await;
            // Waits until the server answers again.
            upload = match self.look(&upload.path).await? {
                Some(headers) => Upload { offset: number(&headers, OFFSET)?.unwrap_or(0), ..upload },
                None => self.open(book, false).await?,
            };
            if upload.offset > before {
                (last_byte, backoff) = (Instant::now(), Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
            }
            let waited = last_byte.elapsed().as_secs();
            ensure!(
                self.requests.wait.is_none_or(|wait| waited <= wait),
                "gave up after {waited} s without a further byte: {reason}"
            );
        }
        Ok(())
    }

    /// The open upload of the book, if it is one of this file; else a new one.
    ///
    /// # Errors
    /// When the book has an upload of another file.
    async fn open(&self, book: BookId, restart: bool) -> anyhow::Result<Upload> {
        let path = format!("/v1/books/{book}/upload");
        let link: UploadLinkView = self.requests.ask(|| self.requests.client.post(&path)).await?;
        let path = path_of(&link.upload_url)?;
        let Some(headers) = self.look(&path).await? else { return self.begin(book).await };
        let (offset, length) = (number(&headers, OFFSET)?.unwrap_or(0), number(&headers, LENGTH)?);
        if offset > 0 && !restart {
            if length.is_some_and(|length| length != self.recording.bytes) || !self.is_named(&headers) {
                bail!(
                    "the book has an unfinished upload of another file ({offset} bytes are there); to give it up, run the command \
                     again with --restart"
                );
            }
            return Ok(Upload { path, offset });
        }
        // It has no bytes, or none that count: a new one is told the name of the file.
        match self.again(|| Ok(tus(self.requests.client.delete(&path)?))).await {
            Err(error) if is_refused_with(&error, &AGAIN) => {}
            ended => drop(ended?),
        }
        self.begin(book).await
    }

    /// What the server says of an upload; `None` if it is gone.
    async fn look(&self, path: &str) -> anyhow::Result<Option<HeaderMap>> {
        match self.again(|| Ok(tus(self.requests.client.head(path)?))).await {
            Ok(response) => Ok(Some(response.headers().clone())),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the upload is of a file with this name, or of one without a name.
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let metadata = headers.get(METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut pairs = metadata.split(',').filter_map(|pair| pair.trim().split_once(' '));
        pairs
            .find(|(name, _)| *name == "filename")
            .is_none_or(|(_, value)| value == STANDARD.encode(&self.recording.name))
    }

    /// Begins an upload, with the name and the length of the file.
    async fn begin(&self, book: BookId) -> anyhow::Result<Upload> {
        let Recording { name, bytes, .. } = self.recording;
        let pairs =
            [("book", book.to_string()), ("filename", name.clone()), ("filetype", self.recording.media_type().into())];
        let metadata = pairs.map(|(name, value)| format!("{name} {}", STANDARD.encode(value))).join(",");
        let create = || -> anyhow::Result<RequestBuilder> {
            let request = tus(self.requests.client.post("/v1/uploads")?);
            Ok(request.header(LENGTH, *bytes).header(METADATA, &metadata))
        };
        let response = self.again(create).await?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok(Upload { path: path_of(location)?, offset: 0 })
    }

    /// Sends a request until it succeeds.
    async fn again(&self, request: impl Fn() -> anyhow::Result<RequestBuilder>) -> anyhow::Result<Response> {
        let mut deadline = Deadline::new(self.requests.wait);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let timeout = deadline.begin_request(REQUEST_TIMEOUT);
            match self.requests.send(request()?.timeout(timeout)).await? {
                Ok(response) => return Ok(response),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    /// Sends the rest of the file in one request; returns the offset after it.
    async fn append(&self, upload: &Upload) -> Tried<u64> {
        let sent = Arc::new(AtomicU64::new(upload.offset));
        let mut file = File::open(&self.recording.path).await.context("the file cannot be opened again")?;
        file.seek(SeekFrom::Start(upload.offset)).await?;
        let rest = self.recording.bytes - upload.offset;
        let blocks = blocks(file, rest, sent.clone(), self.bar.clone());
        let request = tus(self.requests.client.patch(&upload.path)?)
            .header(OFFSET, upload.offset)
            .header(CONTENT_TYPE, "application/offset+octet-stream")
            .header(CONTENT_LENGTH, rest)
            .body(reqwest::Body::wrap_stream(blocks));
        let answered = tokio::select! {
            answered = self.requests.send(request) => answered?,
            () = stalled(&sent) => Err(Failure::Unanswered("the connection does not go on".to_owned())),
        };
        let response = match answered {
            Ok(response) => response,
            Err(failure) => return Ok(Err(failure)),
        };
        let offset = number(response.headers(), OFFSET)?;
        Ok(Ok(offset.context("the response is not that of a server with resumable uploads")?))
    }
}

/// Whether an error is a refusal because there is no such upload. A response to HEAD has a status only, and no code.
fn is_not_found(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| refusal.status == StatusCode::NOT_FOUND)
}

/// A request of the protocol.
fn tus(request: RequestBuilder) -> RequestBuilder {
    request.header(RESUMABLE, VERSION)
}

/// The blocks of a file from its position on. A file that has become shorter ends the request.
fn blocks(
    file: File,
    rest: u64,
    sent: Arc<AtomicU64>,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    bar.set_position(sent.load(Ordering::Relaxed));
    futures::stream::try_unfold((file, rest), move |(mut file, rest)| {
        let (sent, bar) = (sent.clone(), bar.clone());
        async move {
            if rest == 0 {
                return Ok(None);
            }
            let mut block = vec![0; usize::try_from(rest).unwrap_or(BLOCK).min(BLOCK)];
            file.read_exact(&mut block).await?;
            let read = block.len() as u64;
            sent.fetch_add(read, Ordering::Relaxed);
            bar.inc(read);
            Ok::<_, std::io::Error>(Some((Bytes::from(block), (file, rest - read))))
        }
    })
}

/// Ends when no byte was sent for a long time.
async fn stalled(sent: &AtomicU64) {
    let mut last = (sent.load(Ordering::Relaxed), Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        let now = sent.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed() > STALLED {
            return;
        }
    }
}

/// The path of an upload, whatever address the server has given it.
fn path_of(address: &str) -> anyhow::Result<String> {
    let token = address.rsplit_once(UPLOADS).map(|(_, token)| token).filter(|token| !token.is_empty());
    Ok(format!("{UPLOADS}{}", token.context("the response has no address of an upload")?))
}

/// The number in a header.
fn number(headers: &HeaderMap, name: &str) -> anyhow::Result<Option<u64>> {
    let value = headers.get(name).map(|value| value.to_str().unwrap_or_default().parse::<u64>());
    value.transpose().with_context(|| format!("the response has no number in {name}"))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_path_of_an_upload_is_that_of_this_server() {
        for address in
            ["/v1/uploads/abc.def", "https://shop.example/v1/uploads/abc.def", "http://a/b/v1/uploads/abc.def"]
        {
            assert_eq!(path_of(address).unwrap(), "/v1/uploads/abc.def");
        }
        assert!(path_of("/v1/books/1").is_err() && path_of("/v1/uploads/").is_err());
    }

    #[test]
    fn a_header_has_a_number_or_is_missing() {
        let mut headers = HeaderMap::new();
        assert_eq!(number(&headers, OFFSET).unwrap(), None);
        headers.insert(OFFSET, HeaderValue::from(7_u64));
        assert_eq!(number(&headers, OFFSET).unwrap(), Some(7));
        headers.insert(OFFSET, "many".parse().unwrap());
        assert!(number(&headers, OFFSET).is_err());
    }
}
