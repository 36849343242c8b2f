//! Whether a service lives and is ready, for orchestrators and people.

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

/// How long one check may take before it counts as failed.
const LIMIT: Duration = Duration::from_secs(3);

/// The named checks that decide whether a service is ready.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(String, Check)>,
}

impl Health {
    /// The same checks and one more.
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
                Err(_) => Err(format!("no answer within {LIMIT:?}")),
            });
            outcome.boxed()
        });
        self.checks.push((name.to_owned(), check));
        self
    }

    /// These checks and those of another service; a name that both have is checked once.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (name, check) in other.checks {
            if !self.checks.iter().any(|(known, _)| *known == name) {
                self.checks.push((name, check));
            }
        }
        self
    }

    /// Runs all checks side by side: each name with `ok` or what is wrong.
    pub async fn run(&self) -> Vec<(String, Result<(), String>)> {
        join_all(self.checks.iter().map(|(name, check)| check().map(|result| (name.clone(), result)))).await
    }

    /// `/healthz` (the process answers) and `/readyz` (every check passes, else 503).
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
