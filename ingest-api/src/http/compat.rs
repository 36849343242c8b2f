//! Routes of older clients, at the root: their paths and shapes, translated to the other routes. No logic of its own.

mod accounts;
mod hello;
mod sessions;
mod vehicles;

use crate::http::describe::Routes;
use crate::http::v1::alerts::stream;

/// Routes with the usual time limit.
pub fn routes() -> Routes {
    vehicles::routes().merge(accounts::routes()).merge(sessions::routes()).merge(hello::routes())
}

/// Event streams, which alert-stream serves in the older shape too.
pub fn long_routes() -> Routes {
    stream::older_routes()
}
