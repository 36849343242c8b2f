//! `sightline books`: the audiobooks of a running server, for its admins; and recordings without a server.

mod list;
mod price;
mod publish;
mod recording;
mod requests;
mod resumable;
mod shelf;
mod transcribe;
mod upload;

use audio_worker::speech::serve::ServeProgram;
use clap::{Args, Subcommand};
use contracts::api::BookView;
use platform::one_line;
use settings::{Check, SettingErrors};

/// Lists audiobooks, uploads their recordings, and puts them up for sale; transcribes recordings without a server
#[derive(Debug, Args)]
pub struct BooksCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List books, the newest first: id, status, price, title and author
    List(list::List),
    /// Upload a recording, for a new book or one that is there; the same command again continues
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline books upload [OPTIONS] <FILE>")]
    Upload(upload::Upload),
    /// Put a book up for sale, also one that was hidden
    #[command(override_usage = "sightline books publish [OPTIONS] <BOOK>")]
    Publish(publish::Publish),
    /// Write down what is said in audio files, without a server; the same command again goes on where it was
    #[command(override_usage = "sightline books transcribe [OPTIONS] <FILE>...")]
    Transcribe(Box<transcribe::Transcribe>),
    /// Transcribe for clients of `OpenAI`'s interface: POST /v1/audio/transcriptions
    Serve(Box<ServeProgram>),
}

impl Check for BooksCommand {
    fn check(&self, errors: &mut SettingErrors) {
        match &self.action {
            Action::List(_) => {}
            Action::Upload(upload) => upload.check(errors),
            Action::Publish(publish) => publish.check(errors),
            Action::Transcribe(transcribe) => transcribe.check(errors),
            Action::Serve(serve) => serve.check(errors),
        }
    }
}

impl BooksCommand {
    /// Runs the command and prints what it did.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::List(list) => list.run().await,
            Action::Upload(upload) => upload.run().await,
            Action::Publish(publish) => publish.run().await,
            Action::Transcribe(transcribe) => transcribe.run().await,
            Action::Serve(serve) => serve.run().await,
        }
    }
}

/// A book on one line: `0198… ready 12.99 EUR Emma, Jane Austen`.
fn line_of(book: &BookView) -> String {
    let price = book.price.map_or_else(|| "-".to_owned(), |price| price.to_string());
    let author = if book.author.is_empty() { String::new() } else { format!(", {}", book.author) };
    one_line(&format_args!("{} {} {price} {}{author}", book.id, book.status, book.title))
}
