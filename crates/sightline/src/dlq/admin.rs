//! Dead letters of a running `up`, through its operator's port, because only one process can open the embedded log.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bus::Bus;
use contracts::TopicRole;
use serde::{Deserialize, Serialize};

/// Query of a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListQuery {
    /// Maximum number of dead letters.
    pub limit: usize,
}

/// Query of a redrive.
#[derive(Debug, Serialize, Deserialize)]
pub struct RedriveQuery {
    /// Only dead letters with this cause.
    pub cause: Option<String>,
}

/// `GET /dlq/{role}` and `POST /dlq/{role}/redrive`.
pub fn router(bus: Arc<dyn Bus>) -> Router {
    Router::new().route("/dlq/{role}", get(list)).route("/dlq/{role}/redrive", post(redrive)).with_state(bus)
}

async fn list(State(bus): State<Arc<dyn Bus>>, Path(role): Path<String>, Query(query): Query<ListQuery>) -> Response {
    let Some(role) = dead_letter_topic(&role) else { return no_such(&role) };
    response(super::list(&*bus, role, query.limit).await)
}

async fn redrive(
    State(bus): State<Arc<dyn Bus>>,
    Path(role): Path<String>,
    Query(query): Query<RedriveQuery>,
) -> Response {
    let Some(role) = dead_letter_topic(&role) else { return no_such(&role) };
    response(super::redrive(&*bus, role, query.cause.as_deref()).await)
}

/// The topic of dead letters with this name.
fn dead_letter_topic(role: &str) -> Option<TopicRole> {
    TopicRole::ALL.into_iter().filter_map(TopicRole::dead_letters).find(|topic| topic.to_string() == role)
}

fn no_such(role: &str) -> Response {
    let topics: Vec<String> =
        TopicRole::ALL.into_iter().filter_map(TopicRole::dead_letters).map(|topic| topic.to_string()).collect();
    let answer = format!("{role} is not a topic of dead letters; these are: {}", topics.join(", "));
    (StatusCode::NOT_FOUND, answer).into_response()
}

fn response<T: Serialize>(result: anyhow::Result<T>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error:#}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_topics_of_dead_letters_are_listed() {
        assert_eq!(dead_letter_topic("frames_dlq"), Some(TopicRole::FramesDlq));
        assert_eq!(dead_letter_topic("frames"), None);
    }
}
