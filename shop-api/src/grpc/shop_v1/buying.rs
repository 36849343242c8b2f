//! The cart, its checkout, and what was bought.

use api_kit::error::ApiError;
use contracts::api::{OrderView, Page};
use contracts::{BookId, Currency, Money, OrderId};
use prost::Message;
use store::List;
use tonic::Request;
use tonic::metadata::MetadataMap;

use super::convert::{cart as cart_message, order as order_message, purchase};
use super::request::{invalid, metadata, page_size, page_token, parsed, viewer};
use crate::app::App;
use crate::proto::shop_v1::{
    AddToCartRequest, CheckoutResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest, ListOrdersResponse,
    ListPurchasesResponse, RemoveFromCartRequest, ViewCartResponse,
};
use crate::proto::timestamp;

/// Identifies a checkout, so that a repeated call is the same order.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The total that the buyer has seen, in the minor unit of its currency.
const EXPECTED_TOTAL: &str = "expected-total-cents";
/// The currency of that total; without it, that of the shop.
const EXPECTED_CURRENCY: &str = "expected-currency";
/// Bytes of a list without pages. Clients accept answers of 4 MiB.
const LIST_BYTES: usize = 3 << 20;

/// The cart.
pub async fn cart(app: &App, request: Request<()>) -> Result<ViewCartResponse, ApiError> {
    let viewer = viewer(&request)?;
    drop(request);
    Ok(cart_message(app.cart(&viewer).await?))
}

/// Puts a book into the cart.
pub async fn add(app: &App, request: Request<AddToCartRequest>) -> Result<ViewCartResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(cart_message(app.add_to_cart(&viewer, book).await?))
}

/// Takes a book out of the cart.
pub async fn remove(app: &App, request: Request<RemoveFromCartRequest>) -> Result<ViewCartResponse, ApiError> {
    let viewer = viewer(&request)?;
    let book: BookId = parsed("audiobook_id", &request.into_inner().audiobook_id)?;
    Ok(cart_message(app.remove_from_cart(&viewer, book).await?))
}

/// Buys the books of the cart.
pub async fn checkout(app: &App, request: Request<()>) -> Result<CheckoutResponse, ApiError> {
    let viewer = viewer(&request)?;
    let sent = request.into_parts().0;
    let key = metadata(&sent, IDEMPOTENCY_KEY)?;
    let seen_total = expected_total(&sent, app.currency)?;
    let OrderView { id, total, created_at, .. } = app.checkout(&viewer, key, seen_total).await?;
    Ok(CheckoutResponse {
        order_id: id.to_string(),
        total_cents: total.minor,
        created_at: Some(timestamp(created_at)),
        currency: total.currency.to_string(),
    })
}

fn expected_total(sent: &MetadataMap, of_shop: Currency) -> Result<Option<Money>, ApiError> {
    let Some(minor) = metadata(sent, EXPECTED_TOTAL)? else { return Ok(None) };
    let minor = minor.parse().map_err(|_| invalid(EXPECTED_TOTAL, "must be a whole number"))?;
    let currency = metadata(sent, EXPECTED_CURRENCY)?.map(|code| parsed(EXPECTED_CURRENCY, code)).transpose()?;
    Ok(Some(Money { minor, currency: currency.unwrap_or(of_shop) }))
}

/// The books that the caller has bought, latest purchase first: as many as one answer holds. REST has pages of all.
pub async fn purchases(app: &App, request: Request<()>) -> Result<ListPurchasesResponse, ApiError> {
    let viewer = viewer(&request)?;
    drop(request);
    let (mut items, mut bytes) = (Vec::new(), 0);
    let take = |bought| {
        let item = purchase(bought);
        bytes += item.encoded_len();
        let fits = bytes <= LIST_BYTES;
        if fits {
            items.push(item);
        }
        fits
    };
    app.each_purchase(&viewer, take).await?;
    Ok(ListPurchasesResponse { items })
}

/// The orders of the caller, newest first.
pub async fn orders(app: &App, request: Request<ListOrdersRequest>) -> Result<ListOrdersResponse, ApiError> {
    let viewer = viewer(&request)?;
    let ListOrdersRequest { page_size: size, page_token: token } = request.into_inner();
    let (limit, after) = (page_size(size)?, page_token(List::Orders, &token)?);
    let Page { items, next_cursor } = app.orders(&viewer, limit, after).await?;
    let items = items.into_iter().map(order_message).collect();
    Ok(ListOrdersResponse { items, next_page_token: next_cursor.unwrap_or_default() })
}

/// One order of the caller; for an admin, of anybody.
pub async fn order(app: &App, request: Request<GetOrderRequest>) -> Result<GetOrderResponse, ApiError> {
    let viewer = viewer(&request)?;
    let id: OrderId = parsed("order_id", &request.into_inner().order_id)?;
    Ok(GetOrderResponse { order: Some(order_message(app.order(&viewer, id).await?)) })
}
