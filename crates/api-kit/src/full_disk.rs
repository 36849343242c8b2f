//! Logs when a full disk begins to refuse the requests of a route, and when it ends, instead of every refusal: while a disk is full,
//! each frame is refused.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use axum::extract::MatchedPath;
use axum::response::Response;
use http::Method;

/// The cause of a refusal, in the extensions of its response.
#[derive(Debug, Clone)]
pub struct FullDisk(pub String);

/// The routes that are refused now.
#[derive(Default)]
pub struct FullDiskLog {
    /// Whether there is one, so that a request costs no lock otherwise.
    any: AtomicBool,
    /// Refusals by method and route.
    refused: Mutex<BTreeMap<(String, String), u64>>,
}

/// What a response changes.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The first refusal.
    Begins,
    /// The first success after this many refusals.
    Ends(u64),
}

impl FullDiskLog {
    /// Logs a change.
    pub fn record(&self, method: &Method, route: Option<&MatchedPath>, response: &Response) {
        let (method, route) = (method.as_str(), route.map_or("none", MatchedPath::as_str));
        match self.change(method, route, response) {
            Some(Change::Begins) => {
                let cause = response.extensions().get::<FullDisk>().map_or("", |FullDisk(cause)| cause);
                tracing::warn!(
                    error = cause,
                    method,
                    route,
                    "the disk is full; these requests are refused from now on"
                );
            }
            Some(Change::Ends(refused)) => {
                tracing::info!(method, route, refused, "the disk has room; these requests are accepted again");
            }
            None => {}
        }
    }

    fn change(&self, method: &str, route: &str, response: &Response) -> Option<Change> {
        let is_refused = response.extensions().get::<FullDisk>().is_some();
        if !is_refused && (!self.any.load(Ordering::Relaxed) || !response.status().is_success()) {
            return None;
        }
        let key = (method.to_owned(), route.to_owned());
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let change = if is_refused {
            let count = refused.entry(key).or_default();
            *count += 1;
            (*count == 1).then_some(Change::Begins)
        } else {
            refused.remove(&key).map(Change::Ends)
        };
        self.any.store(!refused.is_empty(), Ordering::Relaxed);
        change
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::StatusCode;

    use super::*;
    use crate::error::{ApiError, ServiceError};

    #[test]
    fn a_full_disk_is_logged_when_it_begins_and_when_it_ends() {
        let log = FullDiskLog::default();
        let full = || ApiError::from(ServiceError::DiskFull("no room".to_owned())).into_response();
        let change = |route, response: Response| log.change("POST", route, &response);
        assert_eq!(change("/frames", StatusCode::ACCEPTED.into_response()), None);
        assert_eq!(change("/frames", full()), Some(Change::Begins));
        assert_eq!(change("/frames", full()), None);
        assert_eq!(change("/rules", full()), Some(Change::Begins));
        assert_eq!(change("/frames", StatusCode::TOO_MANY_REQUESTS.into_response()), None);
        assert_eq!(change("/frames", StatusCode::ACCEPTED.into_response()), Some(Change::Ends(2)));
        assert_eq!(change("/frames", StatusCode::ACCEPTED.into_response()), None);
        assert_eq!(change("/rules", StatusCode::CREATED.into_response()), Some(Change::Ends(1)));
        assert!(!log.any.load(Ordering::Relaxed));
    }
}
