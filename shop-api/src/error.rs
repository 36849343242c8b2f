//! Translates the refusals of the shop: one table of statuses for REST. gRPC derives its codes from status and code.

use std::collections::BTreeMap;

use api_kit::error::{ApiError, HttpError, RequestError, ServiceError, whole_seconds};
use http::StatusCode;
use media::MediaError;
use shop::{Kind, ShopError};

/// The error of a refusal of the audio pipeline, in the words of the shop.
pub fn media_refused(error: MediaError) -> ApiError {
    refused(error.into())
}

/// The error of a refusal of the shop.
pub fn refused(error: ShopError) -> ApiError {
    match error {
        // These have the texts, the log lines and the header fields that they have in all services.
        ShopError::Unavailable(cause) => ServiceError::Unavailable(cause).into(),
        ShopError::DiskFull(cause) => ServiceError::DiskFull(cause).into(),
        ShopError::Internal(cause) => ServiceError::Internal(anyhow::anyhow!(cause)).into(),
        ShopError::Invalid { .. } => RequestError::Invalid(error.to_string()).into(),
        error => Refusal(error).into(),
    }
}

/// A refusal that only the shop knows.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Refusal(ShopError);

impl HttpError for Refusal {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        let status = match self.0.kind() {
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Exists | Kind::Conflict | Kind::Precondition => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            // Waiting helps: 429. Else the caller must remove something first.
            Kind::TooMany if self.0.retry_after().is_some() => StatusCode::TOO_MANY_REQUESTS,
            Kind::TooMany => StatusCode::CONFLICT,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, self.0.code())
    }

    fn retry_after(&self) -> Option<u64> {
        self.0.retry_after().map(whole_seconds)
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let Some(total) = self.0.new_total() else { return BTreeMap::new() };
        let facts = [("total_minor", total.minor.to_string()), ("currency", total.currency.to_string())];
        facts.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Currency, Money};

    use super::*;

    #[test]
    fn a_changed_price_is_told_with_the_new_total() {
        let error = refused(ShopError::PriceChanged(Money { minor: 1299, currency: Currency::EUR }));
        assert_eq!((error.status(), error.code()), (StatusCode::CONFLICT, "price_changed"));
        assert!(error.to_string().contains("12.99 EUR"), "{error}");
        let facts = error.facts();
        assert_eq!((facts["total_minor"].as_str(), facts["currency"].as_str()), ("1299", "EUR"));
    }

    #[test]
    fn causes_of_failures_are_not_for_clients() {
        let causes = [ShopError::Unavailable, ShopError::DiskFull, ShopError::Internal];
        for error in causes.map(|failure| refused(failure("postgres://secret@host".to_owned()))) {
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.status().is_server_error(), "{error}");
        }
    }
}
