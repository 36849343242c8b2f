//! Events out, and what a client is told when the log does not take one.

use std::time::Duration;

use bus::BusError;
use contracts::Event;

use crate::app::App;
use crate::http::ApiError;

/// Publishes an event; returns when the log has it for good, or has not said so within `patience`.
///
/// # Errors
/// When the log did not take it, or has not said so in time. The client then repeats: under the same idempotency key an
/// event that was taken all the same is the same frame.
pub async fn publish<E: Event>(app: &App, event: &E, patience: Duration) -> Result<(), ApiError> {
    let acknowledged = app.producer.send(E::ROLE, event.to_message())?;
    match tokio::time::timeout(patience, acknowledged).await {
        Ok(result) => result.map(drop).map_err(ApiError::from),
        Err(_) => Err(ApiError::Unavailable(format!("the log did not acknowledge within {patience:?}"))),
    }
}

impl From<BusError> for ApiError {
    fn from(error: BusError) -> Self {
        match error {
            BusError::QueueFull => Self::Busy,
            BusError::DiskFull(_) => Self::DiskFull,
            BusError::Unavailable(_) | BusError::Closed => Self::Unavailable(error.to_string()),
            // The edge checked the size: a topic that takes less than it should is the operator's to mend.
            BusError::TooLarge { .. } | BusError::Fatal(_) => Self::Internal(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use http::header::RETRY_AFTER;

    use super::*;

    #[test]
    fn what_may_pass_is_503_with_a_time_to_try_again() {
        for error in [
            BusError::QueueFull,
            BusError::DiskFull("data".to_owned()),
            BusError::Unavailable("broker down".to_owned()),
            BusError::Closed,
        ] {
            let answer = ApiError::from(error.clone()).into_response();
            assert_eq!(answer.status(), http::StatusCode::SERVICE_UNAVAILABLE, "{error}");
            assert!(answer.headers().contains_key(RETRY_AFTER), "{error}");
        }
        let answer = ApiError::from(BusError::Fatal("no such topic".to_owned())).into_response();
        assert_eq!(answer.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
    }
}
