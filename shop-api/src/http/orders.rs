//! Orders and purchases of the caller, and refunds by admins.

use api_kit::error::ApiError;
use api_kit::extract::{NoQuery, PathId, StrictQuery};
use api_kit::json_body::JsonBody;
use api_kit::routes;
use axum::Json;
use axum::extract::State;
use contracts::OrderId;
use contracts::api::{OrderView, Page, Problem, PurchaseView, RefundBody};

use super::Routes;
use super::auth::{ShopAdmin, ShopUser};
use super::pages::{Orders, PageOf, PageQuery, Purchases};
use crate::app::App;

/// The routes of this file without a payment.
pub fn routes() -> Routes {
    routes![purchases, orders, order]
}

/// The route with a payment.
pub fn refund_routes() -> Routes {
    routes![refund]
}

/// The books that the caller has bought, latest purchase first.
#[utoipa::path(
    get, path = "/v1/purchases", operation_id = "list_purchases", tag = "shop", params(PageQuery),
    responses((status = 200, body = Page<PurchaseView>))
)]
pub async fn purchases(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    StrictQuery(PageOf { limit, cursor, .. }): StrictQuery<PageOf<Purchases>>,
) -> Result<Json<Page<PurchaseView>>, ApiError> {
    Ok(Json(app.purchases(&viewer, limit, cursor).await?))
}

/// The orders of the caller, newest first.
#[utoipa::path(
    get, path = "/v1/orders", operation_id = "list_orders", tag = "shop", params(PageQuery),
    responses((status = 200, body = Page<OrderView>))
)]
pub async fn orders(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    StrictQuery(PageOf { limit, cursor, .. }): StrictQuery<PageOf<Orders>>,
) -> Result<Json<Page<OrderView>>, ApiError> {
    Ok(Json(app.orders(&viewer, limit, cursor).await?))
}

/// One order of the caller; for an admin, of anybody.
#[utoipa::path(
    get, path = "/v1/orders/{id}", operation_id = "get_order", tag = "shop",
    params(("id" = OrderId, Path, description = "The order's id")),
    responses(
        (status = 200, body = OrderView),
        (status = 404, body = Problem, content_type = "application/problem+json",
            description = "`not_found`: no order of the caller has the id"),
    )
)]
pub async fn order(
    State(app): State<App>,
    ShopUser(viewer): ShopUser,
    PathId(id): PathId<OrderId>,
    _: NoQuery,
) -> Result<Json<OrderView>, ApiError> {
    Ok(Json(app.order(&viewer, id).await?))
}

/// Takes the books of an order back, and gives the money back. Links to the books end within a second.
#[utoipa::path(
    post, path = "/v1/orders/{id}/refund", operation_id = "refund_order", tag = "shop", request_body = RefundBody,
    params(("id" = OrderId, Path, description = "The order's id")),
    responses(
        (status = 200, body = OrderView, description = "The order is refunded, or was before"),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "`not_found`: no order has the id"),
        (status = 409, body = Problem, content_type = "application/problem+json",
            description = "`not_refundable`: the order was never paid"),
    )
)]
pub async fn refund(
    State(app): State<App>,
    ShopAdmin(viewer): ShopAdmin,
    PathId(id): PathId<OrderId>,
    _: NoQuery,
    JsonBody(body): JsonBody<RefundBody>,
) -> Result<Json<OrderView>, ApiError> {
    Ok(Json(app.refund(&viewer, id, body).await?))
}
