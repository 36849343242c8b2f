//! `sightline books list`: the catalogue as an admin sees it.

use clap::Args;
use contracts::{BookStatus, CategorySlug};

use super::line_of;
use super::requests::Requests;
use super::shelf::{Filter, Shelf};
use crate::client::ClientArgs;
use crate::out;

/// Lists books, the newest first
#[derive(Debug, Args)]
pub struct List {
    /// Only books with this status: draft, processing, ready, hidden or deleted [default: all but deleted ones]
    #[arg(long, value_name = "STATUS")]
    status: Option<BookStatus>,

    /// Only books with all these words in title, author or description
    #[arg(long, value_name = "WORDS")]
    query: Option<String>,

    /// Only books of this category
    #[arg(long, value_name = "CATEGORY")]
    category: Option<CategorySlug>,

    #[command(flatten)]
    client: ClientArgs,
}

/// What is listed if no status is named.
const LISTED: [BookStatus; 4] = [BookStatus::Draft, BookStatus::Processing, BookStatus::Ready, BookStatus::Hidden];

impl List {
    /// Prints a line for each book.
    pub async fn run(self) -> anyhow::Result<()> {
        let client = self.client.client()?;
        let requests = Requests::new(&client, None);
        let shelf = Shelf(&requests);
        let statuses = self.status.map_or_else(|| LISTED.to_vec(), |status| vec![status]);
        for status in statuses {
            let filter = Filter { status, query: self.query.as_deref(), category: self.category.as_ref() };
            let mut cursor = None;
            loop {
                let page = shelf.page(&filter, cursor.as_deref()).await?;
                page.items.iter().map(line_of).try_for_each(out::line)?;
                match page.next_cursor {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }
}
