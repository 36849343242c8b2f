//! `sightline books upload`: the recording of a book, from a file to a book that is for sale.
//!
//! Only the server knows what is there: a book is found by title and author, and its upload by the bytes that it has. So the same command
//! continues a run that was interrupted, and does nothing when the server has the recording already.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use contracts::api::{BookView, DownloadView, NewBookBody};
use contracts::media::{MediaProgress, PipelineCause};
use contracts::{BookId, BookStatus, CategorySlug, Currency, Money, PipelineState};
use platform::error_line;
use platform::shutdown::Interrupted;
use reqwest::StatusCode;
use reqwest::header::ETAG;
use settings::{Check, SettingErrors};

use super::recording::Recording;
use super::requests::{Requests, is_refused_with};
use super::resumable::Resumable;
use super::shelf::{Found, Shelf};
use super::{line_of, price};
use crate::client::ClientArgs;
use crate::out;
use crate::sending::deadline::parse_wait;

/// How long a request waits for the server, if nothing else is said.
const WAIT: u64 = 300;
/// Pause between two looks at a book that is being worked on.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What a book without a recording answers to the end of its upload.
const NOT_COMPLETE: [&str; 2] = ["no_file", "upload_incomplete"];

/// Uploads the recording of a book
#[derive(Debug, Args)]
pub struct Upload {
    /// The recording: MP3, M4A, M4B, FLAC, WAV or Ogg
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Id of a book that is there; its recording is replaced
    #[arg(long, value_name = "BOOK", conflicts_with_all = ["title", "author", "price", "language", "description", "categories"])]
    book: Option<BookId>,

    /// Title of the book. One with this title and author is continued, and else it is added
    #[arg(long, value_name = "TEXT", required_unless_present = "book")]
    title: Option<String>,

    /// Author of the book
    #[arg(long, value_name = "TEXT")]
    author: Option<String>,

    /// Price of a new book, such as 12.99; without one it stays a draft
    #[arg(long, value_name = "AMOUNT")]
    price: Option<String>,

    /// Currency of the price, as its code of ISO 4217
    #[arg(long, value_name = "CODE", default_value = "EUR")]
    currency: Currency,

    /// Language of a new book, as a tag of BCP 47 such as en
    #[arg(long, value_name = "LANGUAGE")]
    language: Option<String>,

    /// Description of a new book
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Categories of a new book, comma-separated; they must exist
    #[arg(long, value_name = "CATEGORIES", value_delimiter = ',')]
    categories: Vec<CategorySlug>,

    /// Begin again where the book has an unfinished upload of another file
    #[arg(long)]
    restart: bool,

    /// Give up after this many seconds without a further byte [default: 300]
    #[arg(long, value_name = "SECONDS", value_parser = parse_wait, allow_negative_numbers = true)]
    wait: Option<u64>,

    #[command(flatten)]
    client: ClientArgs,
}

impl Check for Upload {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.money().map_err(anyhow::Error::msg));
    }
}

impl Upload {
    /// Uploads the recording, waits until the book is done, and prints the book.
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = platform::shutdown::on_signal()?;
        match stop.run_until_cancelled(Box::pin(self.upload())).await {
            Some(done) => done,
            None => Err(Interrupted("the same command continues".to_owned()).into()),
        }
    }

    async fn upload(&self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let path = self.file.clone();
        let recording = tokio::task::spawn_blocking(move || Recording::read(&path)).await??;
        let requests = Requests::new(&client, Some(self.wait.unwrap_or(WAIT)));
        let run = Run { requests: &requests, recording: &recording };
        let book = match self.book {
            Some(id) => run.replace(id, self.restart).await?,
            None => match Shelf(&requests).find_or_add(&self.new_book()?).await? {
                Found::Added(book) => run.send(book.id, self.restart).await?,
                Found::Before(book) => run.go_on(book, self.restart).await?,
            },
        };
        let book = run.wait(book).await?;
        run.check_stored(&book).await?;
        out::line(line_of(&book))?;
        if book.status == BookStatus::Draft {
            error_line(format_args!("the book has no price: sightline books publish {} --price 12.99", book.id));
        }
        Ok(())
    }

    fn money(&self) -> Result<Option<Money>, String> {
        self.price.as_deref().map(|text| price::parse(text, self.currency)).transpose()
    }

    fn new_book(&self) -> anyhow::Result<NewBookBody> {
        let trimmed = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().to_owned();
        Ok(NewBookBody {
            title: trimmed(&self.title),
            author: trimmed(&self.author),
            price: self.money().map_err(anyhow::Error::msg)?,
            language: self.language.clone(),
            description: self.description.clone(),
            categories: self.categories.clone(),
        })
    }
}

/// The upload of a recording.
struct Run<'a> {
    requests: &'a Requests<'a>,
    recording: &'a Recording,
}

impl Run<'_> {
    /// Gives a book this recording, unless it has it.
    async fn replace(&self, id: BookId, restart: bool) -> anyhow::Result<BookView> {
        let book = Shelf(self.requests).book(id).await?;
        if self.stored_sha256(&book).await?.is_some_and(|stored| stored == self.recording.sha256) {
            return Ok(book);
        }
        self.send(id, restart).await
    }

    /// Goes on with a book of an earlier run.
    ///
    /// # Errors
    /// When it has another recording.
    async fn go_on(&self, book: BookView, restart: bool) -> anyhow::Result<BookView> {
        if book.content_type.is_none() {
            // The last run may have ended after its last byte.
            return match self.complete(book.id).await {
                Err(error) if is_refused_with(&error, &NOT_COMPLETE) => self.send(book.id, restart).await,
                completed => completed,
            };
        }
        match self.stored_sha256(&book).await? {
            Some(stored) if stored != self.recording.sha256 => bail!(
                "a book with this title and author has another recording: {}; name it with --book {} to replace its recording",
                line_of(&book),
                book.id
            ),
            _ => Ok(book),
        }
    }

    /// Sends the recording, and ends the upload.
    async fn send(&self, book: BookId, restart: bool) -> anyhow::Result<BookView> {
        Box::pin(Resumable::new(self.requests, self.recording).send(book, restart)).await?;
        self.complete(book).await
    }

    /// Ends the upload of a book. The server checks the recording.
    async fn complete(&self, book: BookId) -> anyhow::Result<BookView> {
        let path = format!("/v1/books/{book}/pipeline");
        self.requests.ask(|| self.requests.client.post(&path)).await
    }

    /// Waits until nothing is in work.
    ///
    /// # Errors
    /// When the server found a fault in the recording, or the work on it failed.
    async fn wait(&self, mut book: BookView) -> anyhow::Result<BookView> {
        while book.status == BookStatus::Processing && book.fault.is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
            self.check_pipeline(book.id).await?;
            book = Shelf(self.requests).book(book.id).await?;
        }
        match &book.fault {
            Some(fault) => bail!("the recording cannot be used: {fault}; upload another file with --book {}", book.id),
            None => Ok(book),
        }
    }

    /// Checks that the audio pipeline, if there is one, has not given the recording up.
    async fn check_pipeline(&self, book: BookId) -> anyhow::Result<()> {
        let path = format!("/v1/books/{book}/pipeline");
        let progress = self.requests.ask::<MediaProgress>(|| self.requests.client.get(&path)).await;
        match progress {
            Ok(MediaProgress { state: PipelineState::Failed, cause: Some(cause), .. }) => {
                let PipelineCause { message, action, .. } = cause;
                bail!("the work on the recording failed: {message}; {action}")
            }
            Ok(_) => Ok(()),
            // There is no pipeline, or it has not begun.
            Err(error) if is_refused_with(&error, &["audio_off", "not_found"]) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Checks that the server has exactly this recording.
    async fn check_stored(&self, book: &BookView) -> anyhow::Result<()> {
        match self.stored_sha256(book).await? {
            Some(stored) if stored != self.recording.sha256 => bail!(
                "the server has other bytes than {}, which changed during the upload; run the command again with --book {}",
                self.recording.path.display(),
                book.id
            ),
            _ => Ok(()),
        }
    }

    /// The SHA-256 of the recording that the server has. None if it has none, or links lead to a bucket.
    async fn stored_sha256(&self, book: &BookView) -> anyhow::Result<Option<String>> {
        if book.content_type.is_none() {
            return Ok(None);
        }
        let path = format!("/v1/books/{}/download", book.id);
        let link: DownloadView = self.requests.ask(|| self.requests.client.post(&path)).await?;
        let Some((_, token)) = link.download_url.rsplit_once("/v1/media/") else { return Ok(None) };
        let answered = self.requests.send(self.requests.client.head(&format!("/v1/media/{token}"))?).await?;
        let Ok(response) = answered else { return Ok(None) };
        let etag = response.headers().get(ETAG).filter(|_| response.status() == StatusCode::OK);
        Ok(etag.and_then(|etag| etag.to_str().ok()).map(|etag| etag.trim_matches('"').to_owned()))
    }
}
