//! Routes about frames, detections, alerts and rules.

pub mod alerts;

mod detections;
mod frames;
mod rules;
mod stats;
mod submission;
mod view;

use crate::http::describe::Routes;

/// Routes with the usual time limit.
pub fn routes() -> Routes {
    frames::routes().merge(detections::routes()).merge(stats::routes()).merge(rules::routes()).merge(alerts::routes())
}

/// Routes with time limits of their own: uploads, requests that wait for results, and event streams.
pub fn long_routes() -> Routes {
    frames::submit::routes().merge(alerts::stream::routes())
}
