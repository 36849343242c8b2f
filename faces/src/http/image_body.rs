//! A body that is an image.

use api_kit::describe::{Argument, Requirements};
use api_kit::error::{ApiError, RequestError};
use api_kit::upload::{BODY_ERRORS, IncomingBody, Reservation};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use vision::media::Format;

use super::App;

/// The bytes of an image, in any accepted format. Its reservation ends with this value.
pub struct ImageBody {
    /// The bytes.
    pub encoded: Bytes,
    _reservation: Reservation,
}

impl Argument for ImageBody {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
    }
}

impl FromRequest<App> for ImageBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let mut body = IncomingBody::begin(request.into_body(), app.image_limits(), &app.bytes_in_flight)?;
        let mut buffer = api_kit::upload::BodyBuffer::new(body.declared());
        while let Some(chunk) = body.chunk().await? {
            buffer.push(chunk);
        }
        let encoded = buffer.into_bytes();
        if Format::of(&encoded).is_none() {
            let reason = "the body must be a JPEG, PNG or WebP image".to_owned();
            return Err(RequestError::UnsupportedMediaType(reason).into());
        }
        Ok(Self { encoded, _reservation: body.into_reservation() })
    }
}
