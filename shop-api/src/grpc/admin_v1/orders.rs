//! Refunds, and the orders that are kept of deleted users.

use api_kit::error::ApiError;
use contracts::OrderId;
use contracts::api::{KeptOrderView, Page, RefundBody};
use store::List;
use tonic::Request;

use crate::app::App;
use crate::grpc::shop_v1::convert::{order, order_lines};
use crate::grpc::shop_v1::request::{page_size, page_token, parsed, viewer};
use crate::proto::shop_v1::{KeptOrder, ListKeptOrdersRequest, ListKeptOrdersResponse, RefundRequest, RefundResponse};
use crate::proto::timestamp;

/// Takes the books of an order back, and gives the money back.
pub async fn refund(app: &App, request: Request<RefundRequest>) -> Result<RefundResponse, ApiError> {
    let viewer = viewer(&request)?;
    let RefundRequest { order_id, reason } = request.into_inner();
    let id: OrderId = parsed("order_id", &order_id)?;
    Ok(RefundResponse { order: Some(order(app.refund(&viewer, id, RefundBody { reason }).await?)) })
}

/// The orders of deleted users, newest first.
pub async fn kept(app: &App, request: Request<ListKeptOrdersRequest>) -> Result<ListKeptOrdersResponse, ApiError> {
    let ListKeptOrdersRequest { page_size: size, page_token: token } = request.into_inner();
    let (limit, after) = (page_size(size)?, page_token(List::KeptOrders, &token)?);
    let Page { items, next_cursor } = app.kept_orders(limit, after).await?;
    let items = items.into_iter().map(kept_order).collect();
    Ok(ListKeptOrdersResponse { items, next_page_token: next_cursor.unwrap_or_default() })
}

fn kept_order(kept: KeptOrderView) -> KeptOrder {
    KeptOrder {
        id: kept.id.to_string(),
        created_at: Some(timestamp(kept.created_at)),
        total_cents: kept.total.minor,
        currency: kept.total.currency.to_string(),
        lines: order_lines(kept.lines),
    }
}
