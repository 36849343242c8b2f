//! Liveness and readiness, for orchestrators and people.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::StatusCode;
use serde_json::{Map, Value, json};

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Time limit of one check.
const LIMIT: Duration = Duration::from_secs(3);

/// Named checks. A service is ready when all pass.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(String, Check)>,
}

impl Health {
    /// Adds a check.
    #[must_use]
    pub fn with<F, E>(mut self, name: &str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let check: Check = Arc::new(move || {
            let running = tokio::time::timeout(LIMIT, check());
            let outcome = running.map(|result| match result {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err(format!("no response within {LIMIT:?}")),
            });
            outcome.boxed()
        });
        self.checks.push((name.to_owned(), check));
        self
    }

    /// Adds a check of a shared component; `check` gets its `Arc`.
    #[must_use]
    pub fn with_shared<T, F, E>(
        self,
        name: &str,
        part: &Arc<T>,
        check: impl Fn(Arc<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        T: ?Sized + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let part = Arc::clone(part);
        self.with(name, move || check(Arc::clone(&part)))
    }

    /// Adds the checks of another service. A check with an existing name is ignored.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (name, check) in other.checks {
            if !self.checks.iter().any(|(known, _)| *known == name) {
                self.checks.push((name, check));
            }
        }
        self
    }

    /// Runs all checks concurrently. Each name comes with `Ok` or with the error.
    pub async fn run(&self) -> Vec<(String, Result<(), String>)> {
        join_all(self.checks.iter().map(|(name, check)| check().map(|result| (name.clone(), result)))).await
    }

    /// Routes: `/healthz` returns 200 while the process runs; `/readyz` returns 200 when every check passes, else 503.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let health = self.clone();
        let ready = move || {
            let health = health.clone();
            async move { health.answer().await }
        };
        Router::new().route("/healthz", get(|| async { Json(json!({"status": "ok"})) })).route("/readyz", get(ready))
    }

    async fn answer(&self) -> Response {
        let results = self.run().await;
        let ready = results.iter().all(|(_, result)| result.is_ok());
        let checks: Map<String, Value> = results
            .into_iter()
            .map(|(name, result)| (name, Value::String(result.err().unwrap_or_else(|| "ok".to_owned()))))
            .collect();
        let (status, word) =
            if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        (status, Json(json!({"status": word, "checks": checks}))).into_response()
    }
}
