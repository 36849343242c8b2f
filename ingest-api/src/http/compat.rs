//! Routes of older clients, at the root: their paths and shapes, translated to the other routes. No logic of its own.

mod accounts;
mod hello;
mod sessions;
mod vehicles;

use crate::http::describe::Routes;
use crate::http::v1::alerts::stream;

/// Routes that answer soon.
pub fn routes() -> Routes {
    vehicles::routes().merge(accounts::routes()).merge(sessions::routes()).merge(hello::routes())
}

/// Streams. alert-stream knows the older shape too.
pub fn long_routes() -> Routes {
    stream::older_routes()
}
