//! Routes of older clients, at the root. They translate the paths and bodies to those of the other routes and contain no other logic.

mod accounts;
mod hello;
mod sessions;
mod vehicles;

use crate::http::Routes;
use crate::http::v1::alerts::stream;

/// Routes with the usual time limit.
pub fn routes() -> Routes {
    vehicles::routes().merge(accounts::routes()).merge(sessions::routes()).merge(hello::routes())
}

/// Event streams in the older format, which alert-stream serves.
pub fn long_routes() -> Routes {
    stream::older_routes()
}
