//! The routes, one file per resource, and what surrounds all of them.

mod alerts;
mod api_tokens;
mod compat;
mod detections;
mod docs;
mod error;
mod extract;
mod forms;
mod frames;
mod health;
mod hello;
mod identities;
mod image;
mod json;
mod limited;
mod manage;
mod oauth;
mod observe;
mod openid;
mod passwords;
mod prefer;
mod rules;
mod sessions;
mod stats;
mod submit;
mod token;
mod users;
mod who;

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use platform::Health;
use platform::config::Switch;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::App;

pub use error::ApiError;

/// How long a question may take to be answered.
const ANSWER: Duration = Duration::from_secs(20);

/// Paths with what they take: a list, so that a test can hold it against the OpenAPI document.
type Routes = Vec<(&'static str, MethodRouter<App>)>;

/// Questions, which are answered soon or not at all.
fn questions(compat: Switch) -> Routes {
    let seen = [frames::routes(), detections::routes(), stats::routes(), rules::routes(), alerts::routes()];
    let people = [users::routes(), identities::routes(), passwords::routes(), sessions::routes(), manage::routes()];
    let tokens = [token::routes(), openid::routes(), api_tokens::routes()];
    let mut routes: Routes = seen.into_iter().chain(people).chain(tokens).flatten().collect();
    if compat.is_on() {
        routes.extend(compat::routes());
    }
    routes
}

/// What takes its time: uploads and waits, which have limits of their own, and streams, which have none.
fn long(compat: Switch) -> Routes {
    let mut routes = [submit::routes(), alerts::streams()].concat();
    if compat.is_on() {
        routes.extend(compat::streams());
    }
    routes
}

fn mount(routes: Routes) -> Router<App> {
    routes.into_iter().fold(Router::new(), |router, (path, methods)| router.route(path, methods))
}

/// Everything that is served to clients.
pub fn router(app: App, health: &Health) -> Router {
    let compat = app.config.compat;
    let routes = within(ANSWER, mount(questions(compat)))
        .merge(mount(long(compat)))
        .merge(health.router())
        .merge(docs::router());
    surrounded(routes).with_state(app)
}

/// The routes with what every request meets: a problem where there is no route, or no such method, or a panic; and counters.
fn surrounded<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let panicked = || ApiError::Internal(anyhow::anyhow!("a handler panicked")).into_response();
    routes
        .fallback(|| async { ApiError::UnknownPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(CatchPanicLayer::custom(move |_| panicked()))
        .layer(from_fn(limited::tell))
        .layer(from_fn(observe::observe))
}

/// Gives up on what takes longer than `limit`.
fn within<S: Clone + Send + Sync + 'static>(limit: Duration, routes: Router<S>) -> Router<S> {
    routes.layer(from_fn(move |request: Request, next: Next| async move {
        let answered = tokio::time::timeout(limit, next.run(request)).await;
        answered.unwrap_or_else(|_| ApiError::Timeout.into_response())
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::body::Body;
    use axum::response::Response;
    use axum::routing::get;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    async fn ask(routes: Router, path: &str) -> Response {
        surrounded(routes).oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        async fn fall() -> StatusCode {
            panic!("secret")
        }
        let answer = ask(Router::new().route("/fall", get(fall)), "/fall").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let body = axum::body::to_bytes(answer.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }

    #[tokio::test]
    async fn a_question_that_takes_too_long_is_given_up() {
        let hang = Router::new().route("/hang", get(std::future::pending::<StatusCode>));
        let answer = ask(within(Duration::from_millis(10), hang), "/hang").await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
    }

    #[test]
    fn the_document_names_every_path_that_is_served_and_no_other() {
        let mounted = [questions(Switch::On), long(Switch::On)].concat();
        let mut served: BTreeSet<String> = mounted.into_iter().map(|(path, _)| path.to_owned()).collect();
        served.extend(["/healthz".to_owned(), "/readyz".to_owned()]);
        let described: BTreeSet<String> = docs::document().paths.paths.into_keys().collect();
        assert_eq!(described, served);
    }
}
