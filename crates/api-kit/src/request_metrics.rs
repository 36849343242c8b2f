//! Metrics of every request: a counter by route, method and status, and a histogram of its time by route.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::MatchedPath;
use http::{Method, StatusCode};
use metrics::{Counter, Histogram};

/// The metrics of one route, method and status.
type Recorders = (Counter, Histogram);

/// Recorders by the route's pattern.
type ByRoute = HashMap<Arc<str>, Recorders>;

/// A cache of recorders. Creating one costs several allocations and a lookup in the registry; there
/// are only few routes, methods and statuses.
#[derive(Default)]
pub struct RequestMetrics {
    known: RwLock<HashMap<(&'static str, StatusCode), ByRoute>>,
}

impl RequestMetrics {
    /// Records a request.
    pub fn record(&self, method: &Method, route: Option<&MatchedPath>, status: StatusCode, took: Duration) {
        let seconds = took.as_secs_f64();
        // By pattern and not by path, because each id would become a separate metric.
        let (method, route) = (known_method(method), route.map_or("none", MatchedPath::as_str));
        if let Some((counter, histogram)) = self.known(method, route, status) {
            counter.increment(1);
            histogram.record(seconds);
            return;
        }
        let (counter, histogram) = recorders(method, route, status);
        counter.increment(1);
        histogram.record(seconds);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.entry((method, status)).or_default().insert(route.into(), (counter, histogram));
    }

    fn known(&self, method: &'static str, route: &str, status: StatusCode) -> Option<Recorders> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&(method, status))?.get(route).cloned()
    }
}

fn recorders(method: &'static str, route: &str, status: StatusCode) -> Recorders {
    let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.as_str().to_owned())];
    let counter = metrics::counter!("sightline_http_requests_total", &labels);
    (counter, metrics::histogram!("sightline_http_request_seconds", "route" => route.to_owned()))
}

/// The method, or `other`: a client may invent any number of methods.
fn known_method(method: &Method) -> &'static str {
    let known = ["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("other")
}
