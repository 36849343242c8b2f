//! A JSON body that may be missing.

use api_kit::describe::{Argument, Requirements};
use api_kit::error::ApiError;
use api_kit::json_body::JsonBody;
use axum::body::HttpBody;
use axum::extract::{FromRequest, Request};
use http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;

use crate::app::App;

/// The body as a `T`; its default for a request without one.
pub struct OptionalJson<T>(pub T);

impl<T> Argument for OptionalJson<T> {
    fn describe(requirements: &mut Requirements) {
        JsonBody::<T>::describe(requirements);
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if !request.headers().contains_key(CONTENT_TYPE) && request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        let JsonBody(body) = JsonBody::from_request(request, app).await?;
        Ok(Self(body))
    }
}
