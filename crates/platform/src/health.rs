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
use tokio_util::sync::CancellationToken;

type Check = Arc<dyn Fn() -> BoxFuture<'static, CheckResult> + Send + Sync>;

/// Time limit of one check.
const LIMIT: Duration = Duration::from_secs(3);

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckResult {
    /// It passed.
    Ok,
    /// It cannot fail: a fact about how the service works now.
    Note(String),
    /// The service works without this dependency, but not as well.
    Degraded(String),
    /// The service cannot work.
    Failed(String),
}

/// Named checks. A service is ready when none has failed, until it is about to stop.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(String, Check)>,
    leaving: Option<CancellationToken>,
}

impl Health {
    /// Adds the check of a dependency that the service cannot work without.
    #[must_use]
    pub fn with<F, E>(self, name: &str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.add(name, check, CheckResult::Failed)
    }

    /// Adds the check of a dependency that the service can do without for a time. The service stays ready while it fails.
    #[must_use]
    pub fn with_optional<F, E>(self, name: &str, check: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        self.add(name, check, CheckResult::Degraded)
    }

    /// Adds a fact about how the service works, for people. It never makes the service degraded.
    #[must_use]
    pub fn with_note<F>(mut self, name: &str, note: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = String> + Send + 'static,
    {
        let check: Check = Arc::new(move || {
            let running = tokio::time::timeout(LIMIT, note());
            let text = running.map(|text| text.unwrap_or_else(|_| format!("no response within {LIMIT:?}")));
            text.map(CheckResult::Note).boxed()
        });
        self.checks.push((name.to_owned(), check));
        self
    }

    fn add<F, E>(
        mut self,
        name: &str,
        check: impl Fn() -> F + Send + Sync + 'static,
        failure: fn(String) -> CheckResult,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let check: Check = Arc::new(move || {
            let running = tokio::time::timeout(LIMIT, check());
            let outcome = running.map(move |result| match result {
                Ok(Ok(())) => CheckResult::Ok,
                Ok(Err(error)) => failure(error.to_string()),
                Err(_) => failure(format!("no response within {LIMIT:?}")),
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

    /// Adds the optional check of a part that services share, if there is one.
    #[must_use]
    pub fn with_optional_shared<T, F, E>(
        self,
        name: &str,
        part: Option<Arc<T>>,
        check: impl Fn(Arc<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        T: ?Sized + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        match part {
            Some(part) => self.with_optional(name, move || check(Arc::clone(&part))),
            None => self,
        }
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

    /// From `leaving` on, the service is not ready, so that load balancers send no more requests.
    #[must_use]
    pub fn until(mut self, leaving: CancellationToken) -> Self {
        self.leaving = Some(leaving);
        self
    }

    /// Runs all checks concurrently.
    pub async fn run(&self) -> Vec<(String, CheckResult)> {
        join_all(self.checks.iter().map(|(name, check)| check().map(|result| (name.clone(), result)))).await
    }

    /// Whether no check fails now.
    pub async fn is_ready(&self) -> bool {
        self.run().await.iter().all(|(_, result)| !matches!(result, CheckResult::Failed(_)))
    }

    /// Routes: `/healthz` returns 200 while the process runs; `/readyz` returns 200 when no check fails, else 503, and names what
    /// is degraded or failed.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let health = self.clone();
        let ready = move || {
            let health = health.clone();
            async move { health.answer().await }
        };
        Router::new().route("/healthz", get(|| async { Json(json!({"status": "ok"})) })).route("/readyz", get(ready))
    }

    async fn answer(&self) -> Response {
        if self.leaving.as_ref().is_some_and(CancellationToken::is_cancelled) {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "stopping", "checks": {}})))
                .into_response();
        }
        let results = self.run().await;
        let (mut status, mut word) = (StatusCode::OK, "ok");
        let mut checks = Map::new();
        for (name, result) in results {
            let text = match result {
                CheckResult::Ok => "ok".to_owned(),
                CheckResult::Note(text) => text,
                CheckResult::Degraded(error) => {
                    word = if status == StatusCode::OK { "degraded" } else { word };
                    format!("degraded: {error}")
                }
                CheckResult::Failed(error) => {
                    (status, word) = (StatusCode::SERVICE_UNAVAILABLE, "not ready");
                    error
                }
            };
            checks.insert(name, Value::String(text));
        }
        (status, Json(json!({"status": word, "checks": checks}))).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(health: &Health) -> (StatusCode, Value) {
        let response = health.answer().await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_service_that_is_about_to_stop_is_not_ready() {
        let leaving = CancellationToken::new();
        let health = Health::default().with("bus", || async { Ok::<(), String>(()) }).until(leaving.clone());
        assert_eq!(answer(&health).await.0, StatusCode::OK);
        leaving.cancel();
        let expected = json!({"status": "stopping", "checks": {}});
        assert_eq!(answer(&health).await, (StatusCode::SERVICE_UNAVAILABLE, expected));
    }

    #[tokio::test]
    async fn a_note_is_shown_and_changes_no_state() {
        let passes = || async { Ok::<(), String>(()) };
        let health = Health::default().with("bus", passes).with_note("search", || async { "by PostgreSQL".to_owned() });
        let expected = json!({"status": "ok", "checks": {"bus": "ok", "search": "by PostgreSQL"}});
        assert_eq!(answer(&health).await, (StatusCode::OK, expected));
        assert!(health.is_ready().await);
    }

    #[tokio::test]
    async fn a_degraded_dependency_is_named_and_the_service_stays_ready() {
        let refuses = || async { Err::<(), _>("refuses commands") };
        let health = Health::default().with("bus", || async { Ok::<(), String>(()) }).with_optional("redis", refuses);
        let expected = json!({"status": "degraded", "checks": {"bus": "ok", "redis": "degraded: refuses commands"}});
        assert_eq!(answer(&health).await, (StatusCode::OK, expected));
        assert!(health.is_ready().await);
        for health in
            [health.clone().with("documents", refuses), Health::default().with("documents", refuses).and(health)]
        {
            let (status, body) = answer(&health).await;
            assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("not ready")));
            assert_eq!(body["checks"]["redis"], "degraded: refuses commands");
            assert!(!health.is_ready().await);
        }
    }
}
