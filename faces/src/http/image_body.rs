//! A body that is an image, or a form with two.

use api_kit::describe::{Argument, Requirements};
use api_kit::error::{ApiError, RequestError};
use api_kit::form_data::{FormData, FormField, is_multipart};
use api_kit::upload::{BODY_ERRORS, BodyBuffer, BodyError, IncomingBody, Reservation};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
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
        let body = IncomingBody::begin(request.into_body(), app.image_limits(), &app.bytes_in_flight)?;
        let (encoded, _reservation) = body.collect_reserved().await?;
        Ok(Self { encoded: image("the body", encoded)?, _reservation })
    }
}

/// The image that is verified, and the other one if the body is a form with both.
pub struct ImagePair {
    /// The image.
    pub image: Bytes,
    /// The other one.
    pub other: Option<Bytes>,
    _reservation: Reservation,
}

impl Argument for ImagePair {
    fn describe(requirements: &mut Requirements) {
        ImageBody::describe(requirements);
    }
}

impl FromRequest<App> for ImagePair {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let content_type =
            request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_multipart(content_type) {
            let ImageBody { encoded, _reservation } = ImageBody::from_request(request, app).await?;
            return Ok(Self { image: encoded, other: None, _reservation });
        }
        let content_type = content_type.to_owned();
        let mut form = FormData::begin(&content_type, request.into_body(), app.pair_limits(), &app.bytes_in_flight)?;
        let [mut image, mut other] = [None, None];
        while let Some(field) = form.next_field().await? {
            let (name, place) = match field.name() {
                Some("image") => ("image", &mut image),
                Some("other") => ("other", &mut other),
                _ => {
                    field.skip().await?;
                    continue;
                }
            };
            if place.replace(image_field(app, name, field).await?).is_some() {
                return Err(RequestError::Invalid(format!("the form has the field {name} twice; send it once")).into());
            }
        }
        let _reservation = form.finish()?;
        match (image, other) {
            (Some(image), Some(other)) => Ok(Self { image, other: Some(other), _reservation }),
            _ => {
                Err(RequestError::Invalid("the form must have two images, in the fields image and other".to_owned())
                    .into())
            }
        }
    }
}

async fn image_field(app: &App, name: &str, mut field: FormField) -> Result<Bytes, ApiError> {
    let mut buffer = BodyBuffer::new(None);
    while let Some(chunk) = field.chunk().await? {
        buffer.push(chunk);
        if buffer.bytes().len() > app.max_bytes {
            return Err(BodyError::TooLarge { limit: app.max_bytes }.into());
        }
    }
    image(name, buffer.into_bytes())
}

/// The bytes, if they begin as those of an image.
fn image(what: &str, encoded: Bytes) -> Result<Bytes, ApiError> {
    if Format::of(&encoded).is_none() {
        return Err(RequestError::UnsupportedMediaType(format!("{what} must be a JPEG, PNG or WebP image")).into());
    }
    Ok(encoded)
}
