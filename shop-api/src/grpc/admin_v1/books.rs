//! Books and categories.

use api_kit::error::ApiError;
use contracts::api::{BookChangeBody, CategoryBody, NewBookBody};
use contracts::{BookId, CategorySlug, Money};
use tonic::Request;

use crate::Viewer;
use crate::app::App;
use crate::grpc::shop_v1::convert::{audiobook, category};
use crate::grpc::shop_v1::request::{given, invalid, parsed, price, viewer};
use crate::grpc::shop_v1::uploads::categories;
use crate::proto::shop_v1::{
    CategoryDecision, CategorySlugs, CreateAudiobookRequest, CreateAudiobookResponse, DecideCategoryRequest,
    DecideCategoryResponse, DeleteAudiobookRequest, DeleteAudiobookResponse, HideAudiobookRequest,
    HideAudiobookResponse, PublishAudiobookRequest, PublishAudiobookResponse, PutCategoryRequest, PutCategoryResponse,
    UpdateAudiobookRequest, UpdateAudiobookResponse,
};

/// Adds a book without a recording.
pub async fn create(app: &App, request: Request<CreateAudiobookRequest>) -> Result<CreateAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let sent = request.into_inner();
    let new = NewBookBody {
        title: sent.title,
        author: sent.author,
        price: price(sent.price_cents, &sent.currency, app.currency)?,
        language: given(sent.language),
        description: given(sent.description),
        categories: categories(&sent.categories)?,
    };
    Ok(CreateAudiobookResponse { book: Some(audiobook(app.create_book(&viewer, new).await?)) })
}

/// Changes a book.
pub async fn update(app: &App, request: Request<UpdateAudiobookRequest>) -> Result<UpdateAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let UpdateAudiobookRequest {
        audiobook_id,
        version,
        title,
        author,
        language,
        description,
        price_cents,
        currency,
        categories: slugs,
    } = request.into_inner();
    let id: BookId = parsed("audiobook_id", &audiobook_id)?;
    let change = BookChangeBody {
        title,
        author,
        price: new_price(app, &viewer, id, price_cents, currency.as_deref()).await?,
        language: language.map(given),
        description: description.map(given),
        categories: slugs.map(|CategorySlugs { slugs }| categories(&slugs)).transpose()?,
        version,
    };
    Ok(UpdateAudiobookResponse { book: Some(audiobook(app.change_book(&viewer, id, change).await?)) })
}

/// The price of a change. Without a currency it stays in that of the book.
async fn new_price(
    app: &App,
    viewer: &Viewer,
    id: BookId,
    minor: Option<i64>,
    currency: Option<&str>,
) -> Result<Option<Money>, ApiError> {
    let currency = match (minor, currency.filter(|code| !code.is_empty())) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Err(invalid("price_cents", "is missing; a currency alone is no price")),
        (Some(_), Some(code)) => parsed("currency", code)?,
        (Some(_), None) => app.book(viewer, id).await?.price.map_or(app.currency, |price| price.currency),
    };
    Ok(minor.map(|minor| Money { minor, currency }))
}

/// Puts a book into the catalogue.
pub async fn publish(
    app: &App,
    request: Request<PublishAudiobookRequest>,
) -> Result<PublishAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(PublishAudiobookResponse { book: Some(audiobook(app.publish_book(&viewer, id).await?)) })
}

/// Takes a book out of the catalogue.
pub async fn hide(app: &App, request: Request<HideAudiobookRequest>) -> Result<HideAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(HideAudiobookResponse { book: Some(audiobook(app.hide_book(&viewer, id).await?)) })
}

/// Deletes a book.
pub async fn delete(app: &App, request: Request<DeleteAudiobookRequest>) -> Result<DeleteAudiobookResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    app.delete_book(&viewer, id).await?;
    Ok(DeleteAudiobookResponse {})
}

/// Adds a category, or changes it.
pub async fn put_category(app: &App, request: Request<PutCategoryRequest>) -> Result<PutCategoryResponse, ApiError> {
    let viewer = viewer(&request)?;
    let PutCategoryRequest { slug, label, hint } = request.into_inner();
    let slug: CategorySlug = parsed("slug", &slug)?;
    let body = CategoryBody { label, hint: given(hint) };
    Ok(PutCategoryResponse { category: Some(category(app.put_category(&viewer, slug, body).await?)) })
}

/// Accepts a category that exists, or removes it.
pub async fn decide_category(
    app: &App,
    request: Request<DecideCategoryRequest>,
) -> Result<DecideCategoryResponse, ApiError> {
    let viewer = viewer(&request)?;
    let DecideCategoryRequest { slug, decision } = request.into_inner();
    let slug: CategorySlug = parsed("slug", &slug)?;
    let category = match CategoryDecision::try_from(decision) {
        Ok(CategoryDecision::Accept) => Some(category(app.accept_category(&viewer, slug).await?)),
        Ok(CategoryDecision::Reject) => {
            app.remove_category(&viewer, &slug).await?;
            None
        }
        Ok(CategoryDecision::Unspecified) | Err(_) => return Err(invalid("decision", "must be ACCEPT or REJECT")),
    };
    Ok(DecideCategoryResponse { category })
}
