//! The cart of the caller, and its checkout.

use api_kit::error::{ApiError, RequestError};
use api_kit::extract::{NoQuery, PathId};
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::BookId;
use contracts::api::{CartView, CheckoutBody, OrderView, Problem};
use http::HeaderMap;

use super::Routes;
use super::auth::ShopUser;
use super::optional_json::OptionalJson;
use crate::app::App;

/// Identifies a checkout, so that a repeated request is the same order.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The routes of this file without a payment.
pub fn routes() -> Routes {
    routes![view, add, remove]
}

/// The route with a payment.
pub fn checkout_routes() -> Routes {
    routes![checkout]
}

/// The cart at today's prices. They count as shown: a checkout that follows is refused if one of them has changed by then.
#[utoipa::path(
    get, path = "/v1/cart", operation_id = "get_cart", tag = "shop", responses((status = 200, body = CartView))
)]
pub async fn view(State(app): State<App>, ShopUser(viewer): ShopUser, _: NoQuery) -> Result<Json<CartView>, ApiError> {
    Ok(Json(app.cart(&viewer).await?))
}

/// Puts a book into the cart, if it is not there yet.
#[utoipa::path(
    put, path = "/v1/cart/{book}", operation_id = "add_to_cart", tag = "shop",
    params(("book" = BookId, Path, description = "The book's id")),
    responses(
        (status = 200, body = CartView, description = "The cart"),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no book has the id, or it is not for sale"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`already_owned`: the caller has bought the book; `mixed_currency`: the cart has another currency; `cart_full`: \
                           it has as many books as it may have"),
    )
)]
pub async fn add(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(book): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<CartView>, ApiError> {
    Ok(Json(app.add_to_cart(&viewer, book).await?))
}

/// Takes a book out of the cart, if it is there.
#[utoipa::path(
    delete, path = "/v1/cart/{book}", operation_id = "remove_from_cart", tag = "shop",
    params(("book" = BookId, Path, description = "The book's id")),
    responses((status = 200, body = CartView, description = "The cart"))
)]
pub async fn remove(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(book): PathId<BookId>,
    _: NoQuery,
) -> Result<Json<CartView>, ApiError> {
    Ok(Json(app.remove_from_cart(&viewer, book).await?))
}

/// Buys the books of the cart. A request with the same `Idempotency-Key` is the same order; without one, so is a request with the same
/// cart. The body may be left out.
#[utoipa::path(
    post, path = "/v1/checkout", operation_id = "checkout", tag = "shop", request_body = Option<CheckoutBody>,
    params(("Idempotency-Key" = Option<String>, Header, description = "Chosen by the client: a repeat with it is the same order")),
    responses(
        (status = 200, body = OrderView, description = "The books are bought"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`cart_empty`; `price_changed`: a price has changed since it was shown, and `facts` has the new `total_minor` \
                           and `currency`; `book_gone`: a book is not for sale any more; `already_owned`; `mixed_currency`; \
                           `payment_declined`; `payment_action`: the buyer must open the address in the detail; `key_reused`: the order of \
                           this key is over; `checkout_running`: another checkout of the caller is in progress"),
        (status = 503, body = Problem, content_type = "application/problem+json",
            description = "`payment_pending`: the payment is not decided yet, repeat with the same key; `unavailable`, `timeout`: not now",
            headers(("Retry-After" = String, description = "Seconds after which to try again"))),
    )
)]
pub async fn checkout(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    _: NoQuery,
    headers: HeaderMap,
    OptionalJson(CheckoutBody { expected_total }): OptionalJson<CheckoutBody>,
) -> Result<Json<OrderView>, ApiError> {
    let key = key_of(&headers)?;
    Ok(Json(app.checkout(&viewer, key, expected_total).await?))
}

/// The idempotency key of a request.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (keys.next(), keys.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => {
            Err(RequestError::Invalid("Idempotency-Key is given twice; send it once".to_owned()).into())
        }
        // The shop refuses an empty one.
        (Some(key), None) => Ok(Some(key.to_str().unwrap_or_default())),
    }
}
