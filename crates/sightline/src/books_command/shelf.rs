//! Books of the server: pages of them, one by title and author, a new one.

use contracts::api::{BookView, NewBookBody, Page};
use contracts::{BookId, BookStatus, CategorySlug};
use platform::retry::Backoff;

use super::requests::{FIRST_PAUSE, LONGEST_PAUSE, REQUEST_TIMEOUT, Requests};
use crate::sending::deadline::Deadline;

const BOOKS: &str = "/v1/books";
/// Books of a page.
const PAGE: u32 = 50;
/// Pages that are searched for a title.
const MAX_PAGES: usize = 20;
/// Characters of a title that are searched for; the rest is compared here.
const SEARCHED: usize = 100;
/// Where a book of the same title and author is looked for. One whose recording is not there comes first.
const SEARCHED_STATUSES: [BookStatus; 4] =
    [BookStatus::Draft, BookStatus::Processing, BookStatus::Ready, BookStatus::Hidden];

/// What is listed.
pub struct Filter<'a> {
    pub status: BookStatus,
    pub query: Option<&'a str>,
    pub category: Option<&'a CategorySlug>,
}

/// How the server has a book.
pub enum Found {
    /// It was added now.
    Added(BookView),
    /// It was there before.
    Before(BookView),
}

/// The books of a server.
pub struct Shelf<'a>(pub &'a Requests<'a>);

impl Shelf<'_> {
    /// A page of books.
    pub async fn page(&self, filter: &Filter<'_>, cursor: Option<&str>) -> anyhow::Result<Page<BookView>> {
        let Filter { status, query, category } = filter;
        let mut parameters = vec![("status", status.to_string()), ("limit", PAGE.to_string())];
        parameters.extend(query.map(|query| ("query", query.to_owned())));
        parameters.extend(category.map(|category| ("category", category.to_string())));
        parameters.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.0.ask(|| Ok(self.0.client.get(BOOKS)?.query(&parameters))).await
    }

    /// The book with exactly this title and author, if there is one.
    async fn find(&self, title: &str, author: &str) -> anyhow::Result<Option<BookView>> {
        let words: String = title.chars().take(SEARCHED).collect();
        for status in SEARCHED_STATUSES {
            let filter = Filter { status, query: Some(&words), category: None };
            let mut cursor = None;
            for _ in 0..MAX_PAGES {
                let page = self.page(&filter, cursor.as_deref()).await?;
                let same = page.items.into_iter().find(|book| book.title == title && book.author == author);
                if same.is_some() {
                    return Ok(same);
                }
                let Some(next) = page.next_cursor else { break };
                cursor = Some(next);
            }
        }
        Ok(None)
    }

    /// The book with this title and author, or this new one. A repeat looks first, so that a lost response adds no second book.
    pub async fn find_or_add(&self, book: &NewBookBody) -> anyhow::Result<Found> {
        let mut deadline = Deadline::new(self.0.wait);
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            if let Some(found) = self.find(&book.title, &book.author).await? {
                return Ok(Found::Before(found));
            }
            let timeout = deadline.begin_request(REQUEST_TIMEOUT);
            match self.0.ask_once(self.0.client.post(BOOKS)?.json(book).timeout(timeout)).await? {
                Ok(added) => return Ok(Found::Added(added)),
                Err(failure) => deadline.wait(failure, backoff.pause()).await?,
            }
        }
    }

    /// The book with this id.
    pub async fn book(&self, id: BookId) -> anyhow::Result<BookView> {
        let path = format!("{BOOKS}/{id}");
        self.0.ask(|| self.0.client.get(&path)).await
    }
}
