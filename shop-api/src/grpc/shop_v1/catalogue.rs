//! The catalogue.

use std::collections::BTreeSet;

use api_kit::error::ApiError;
use contracts::api::{BookView, Page};
use contracts::{BookId, BookStatus};
use store::List;
use tonic::Request;

use super::convert::{audiobook, audiobook_at, book_statuses, category, status_at};
use super::request::{given, invalid, page_size, page_token, parsed, viewer};
use crate::app::{App, BookList};
use crate::proto::shop_v1::{
    GetAudiobookRequest, GetAudiobookResponse, GetAudiobookStatusRequest, GetAudiobookStatusResponse,
    GetDescriptionRequest, GetDescriptionResponse, ListAudiobooksRequest, ListAudiobooksResponse,
    ListCategoriesRequest, ListCategoriesResponse, MediaStatus,
};

/// The books, newest first.
pub async fn list(app: &App, request: Request<ListAudiobooksRequest>) -> Result<ListAudiobooksResponse, ApiError> {
    let viewer = viewer(&request)?;
    let ListAudiobooksRequest { page_size: size, page_token: token, query, category, statuses } = request.into_inner();
    let list = BookList {
        query: given(query),
        category: given(category).map(|slug| parsed("category", &slug)).transpose()?,
        statuses: statuses_of(&statuses)?,
        limit: page_size(size)?,
        cursor: page_token(List::Books, &token)?,
    };
    let Page { items, next_cursor } = app.books(&viewer, list).await?;
    let items = items.into_iter().map(audiobook).collect();
    Ok(ListAudiobooksResponse { items, next_page_token: next_cursor.unwrap_or_default() })
}

/// The statuses of a filter, each once.
fn statuses_of(sent: &[i32]) -> Result<Vec<BookStatus>, ApiError> {
    let mut statuses = BTreeSet::new();
    for status in sent {
        let status = MediaStatus::try_from(*status).map_err(|_| invalid("statuses", "there is no such status"))?;
        statuses.extend(book_statuses(status));
    }
    Ok(statuses.into_iter().collect())
}

/// One book. The beginning of its transcript is not shown: the preview is what may be heard before the book is bought.
pub async fn one(app: &App, request: Request<GetAudiobookRequest>) -> Result<GetAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("id", &request.into_inner().id)?;
    let book = app.book(&viewer, id).await?;
    let description = book.description.clone().unwrap_or_default();
    let step = app.step(id).await;
    Ok(GetAudiobookResponse { book: Some(audiobook_at(book, step)), transcript_preview: String::new(), description })
}

/// The description of a book.
pub async fn description(
    app: &App,
    request: Request<GetDescriptionRequest>,
) -> Result<GetDescriptionResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    let BookView { description, .. } = app.book(&viewer, id).await?;
    Ok(GetDescriptionResponse { description: description.unwrap_or_default() })
}

/// The status of a book.
pub async fn status(
    app: &App,
    request: Request<GetAudiobookStatusRequest>,
) -> Result<GetAudiobookStatusResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    let BookView { status, .. } = app.book(&viewer, id).await?;
    Ok(GetAudiobookStatusResponse { status: status_at(status, app.step(id).await).into() })
}

/// The categories.
pub async fn categories(
    app: &App,
    request: Request<ListCategoriesRequest>,
) -> Result<ListCategoriesResponse, ApiError> {
    let viewer = viewer(&request)?;
    drop(request);
    let categories = app.categories(&viewer).await?.into_iter().map(category).collect();
    Ok(ListCategoriesResponse { categories })
}
