//! The list of books: newest first, by words, category and status.

use contracts::{BookId, BookStatus, CategorySlug};

use super::book_records::{BookRecord, book_columns};
use super::page_limit;
use super::words::Search;
use crate::relational::database::Relational;
use crate::relational::values::{Value, values};
use crate::{PageCursor, StoreError};

/// Which books are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BookFilter {
    /// Words of title, author and description, of which the last one may be the beginning of a word. A blank query is none; one without a
    /// letter or a digit finds nothing.
    pub query: Option<String>,
    /// A category.
    pub category: Option<CategorySlug>,
    /// The statuses; without one nothing is found.
    pub statuses: Vec<BookStatus>,
}

/// Books of some statuses, without words.
const NEWEST: &str = concat!(
    "SELECT ",
    book_columns!(),
    " FROM books WHERE books.number < $1 AND books.status IN ($3, $4, $5, $6, $7)",
    " ORDER BY books.number DESC LIMIT $2"
);
/// Books by words. A category and the statuses are words too, so that the index alone finds what has all of them.
const FOUND_BY_POSTGRES: &str = concat!(
    "SELECT ",
    book_columns!(),
    " FROM books WHERE books.search_words @@ CAST(CAST($3 AS TEXT) AS TSQUERY) AND books.number < $1",
    " ORDER BY books.number DESC LIMIT $2"
);
/// The order of a cross join is kept: SQLite reads the index backwards and stops after a page.
const FOUND_BY_SQLITE: &str = concat!(
    "SELECT ",
    book_columns!(),
    " FROM book_search CROSS JOIN books ON books.number = book_search.rowid",
    " WHERE book_search MATCH $3 AND book_search.rowid < $1 ORDER BY book_search.rowid DESC LIMIT $2"
);

impl Relational {
    /// A book, of any status.
    pub async fn book(&self, id: BookId) -> Result<Option<BookRecord>, StoreError> {
        let sql = concat!("SELECT ", book_columns!(), " FROM books WHERE books.id = $1");
        self.row(sql, values![id]).await?.as_ref().map(BookRecord::read).transpose()
    }

    /// Books, newest first, after a cursor; at most [`MAX_SHOP_PAGE`](super::MAX_SHOP_PAGE).
    pub async fn books(
        &self,
        filter: &BookFilter,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<BookRecord>, StoreError> {
        let BookFilter { query, category, statuses } = filter;
        let query = query.as_deref().filter(|query| !query.trim().is_empty());
        let statuses: Vec<BookStatus> = BookStatus::ALL.into_iter().filter(|one| statuses.contains(one)).collect();
        let (before, limit) = (number_of(after), page_limit(limit));
        let rows = if query.is_none() && category.is_none() {
            let Some(first) = statuses.first() else { return Ok(Vec::new()) };
            let mut values = values![before, limit];
            // A repeated status fills the rest.
            let each = (0..BookStatus::ALL.len()).map(|number| statuses.get(number).unwrap_or(first));
            values.extend(each.map(|status| Value::from(status.as_str())));
            self.rows(NEWEST, values).await?
        } else {
            let Some(search) = Search::new(query, category.as_ref(), &statuses) else { return Ok(Vec::new()) };
            if self.is_postgres() {
                self.rows(FOUND_BY_POSTGRES, values![before, limit, search.postgres()]).await?
            } else {
                self.rows(FOUND_BY_SQLITE, values![before, limit, search.sqlite()]).await?
            }
        };
        rows.iter().map(BookRecord::read).collect()
    }
}

/// The position of a cursor. A forged cursor is harmless: before its number there are books, or none.
fn number_of(cursor: Option<&PageCursor>) -> i64 {
    cursor.map_or(i64::MAX, |cursor| cursor.id.parse().unwrap_or_default())
}
