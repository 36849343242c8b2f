//! Routes about frames, detections, alerts, rules and streams.

pub mod alerts;

mod active_user;
mod detections;
mod detectors;
mod frames;
mod rules;
mod stats;
mod streams;
mod subject_filter;
mod subject_names;
mod submission;
mod view;

use crate::http::Routes;

/// Routes with the usual time limit.
pub fn routes() -> Routes {
    frames::routes()
        .merge(detections::routes())
        .merge(stats::routes())
        .merge(rules::routes())
        .merge(streams::routes())
        .merge(alerts::routes())
}

/// Routes with time limits of their own: uploads, requests that wait for results, and event streams.
pub fn long_routes() -> Routes {
    frames::submit::routes().merge(alerts::stream::routes())
}
