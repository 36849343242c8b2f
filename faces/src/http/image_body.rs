//! A body that is an image, or a form with several.

use api_kit::describe::{Argument, ErrorResponse, Requirements};
use api_kit::error::{ApiError, RequestError};
use api_kit::form_data::{FormData, FormField, is_multipart};
use api_kit::upload::{BODY_ERRORS, BodyBuffer, BodyError, IncomingBody, Reservation};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use vision::media::Format;

use super::App;
use super::error::FaceError;

/// Maximum number of images of a form that are enrolled.
pub const MAX_IMAGES: usize = 10;

/// The response of a route that compares faces when it cannot.
pub const UNAVAILABLE: ErrorResponse = ErrorResponse::with_retry(
    "503",
    "`no_face_model`, `face_model_unusable`: no model compares faces until the operator acts; `unavailable`, `timeout`: not now; \
     `busy`: too many bodies or images at the same time; `disk_full`, `data_folder_lost`: nothing can be stored until the operator acts",
);

/// The bytes of an image, in any accepted format: the body, or the field `image` of a form. Its reservation ends with this value.
pub struct ImageBody {
    /// The bytes.
    pub encoded: Bytes,
    _reservation: Reservation,
}

impl Argument for ImageBody {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
        requirements.errors.push(ErrorResponse::new(
            "422",
            "`empty_body`: the body has no bytes; `invalid`: a value is out of its range; the detail says what is allowed",
        ));
        requirements.errors.push(ErrorResponse::with_retry(
            "429",
            "`rate_limited`: too many requests; `share_in_use`: too many bodies or images of this user at the same time",
        ));
    }
}

impl FromRequest<App> for ImageBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        if let Some(content_type) = form_type(&request) {
            let ([image], _reservation) = form_images(request, app, &content_type, ["image"]).await?;
            return Ok(Self { encoded: image.ok_or_else(no_image)?, _reservation });
        }
        let body = IncomingBody::begin(request, app.image_limits(), &app.bytes_in_flight)?;
        let (encoded, _reservation) = body.collect_reserved().await?;
        Ok(Self { encoded: as_image("the body", encoded)?, _reservation })
    }
}

/// The image that is verified, and the other one if the body is a form that has it.
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
        let Some(content_type) = form_type(&request) else {
            let ImageBody { encoded, _reservation } = ImageBody::from_request(request, app).await?;
            return Ok(Self { image: encoded, other: None, _reservation });
        };
        let ([image, other], _reservation) = form_images(request, app, &content_type, ["image", "other"]).await?;
        Ok(Self { image: image.ok_or_else(no_image)?, other, _reservation })
    }
}

/// An image that is enrolled, or several of a form.
pub struct EnrolmentBody {
    /// The images.
    pub images: EnrolmentImages,
    _reservation: Reservation,
}

/// The images of an enrolment.
pub enum EnrolmentImages {
    /// The body.
    One(Bytes),
    /// The files in the fields `image` of a form, whether they are images or not.
    Several(Vec<Bytes>),
}

impl Argument for EnrolmentBody {
    fn describe(requirements: &mut Requirements) {
        ImageBody::describe(requirements);
        requirements.errors.push(UNAVAILABLE);
    }
}

impl FromRequest<App> for EnrolmentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let Some(content_type) = form_type(&request) else {
            let ImageBody { encoded, _reservation } = ImageBody::from_request(request, app).await?;
            return Ok(Self { images: EnrolmentImages::One(encoded), _reservation });
        };
        let mut form = FormData::begin(&content_type, request, app.form_limits(), &app.bytes_in_flight)?;
        let mut files = Vec::new();
        while let Some(field) = form.next_field().await? {
            if field.name() != Some("image") {
                field.skip().await?;
                continue;
            }
            if files.len() == MAX_IMAGES {
                return Err(wrong_number());
            }
            files.push(file(app, field).await?);
        }
        let _reservation = form.finish()?;
        if files.is_empty() {
            return Err(wrong_number());
        }
        Ok(Self { images: EnrolmentImages::Several(files), _reservation })
    }
}

/// The images in these fields of a form. Other fields are skipped.
async fn form_images<const N: usize>(
    request: Request,
    app: &App,
    content_type: &str,
    names: [&'static str; N],
) -> Result<([Option<Bytes>; N], Reservation), ApiError> {
    let mut form = FormData::begin(content_type, request, app.form_limits(), &app.bytes_in_flight)?;
    let mut images = names.map(|_| None);
    while let Some(field) = form.next_field().await? {
        let Some(place) = names.iter().position(|name| field.name() == Some(*name)) else {
            field.skip().await?;
            continue;
        };
        let name = names[place];
        if images[place].replace(as_image(name, file(app, field).await?)?).is_some() {
            return Err(RequestError::Invalid(format!("the form has the field {name} twice; send it once")).into());
        }
    }
    Ok((images, form.finish()?))
}

fn no_image() -> ApiError {
    RequestError::Invalid("the form must have an image in the field image".to_owned()).into()
}

fn wrong_number() -> ApiError {
    RequestError::Invalid(format!("the form must have 1 to {MAX_IMAGES} images, each in a field with the name image"))
        .into()
}

/// The Content-Type of a request with a form.
fn form_type(request: &Request) -> Option<String> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.filter(|content_type| is_multipart(content_type)).map(str::to_owned)
}

/// The content of a field, which may be as large as an image.
async fn file(app: &App, mut field: FormField) -> Result<Bytes, ApiError> {
    let mut buffer = BodyBuffer::new(None);
    while let Some(chunk) = field.chunk().await? {
        buffer.push(chunk);
        if buffer.bytes().len() > app.max_bytes {
            return Err(BodyError::TooLarge { limit: app.max_bytes }.into());
        }
    }
    Ok(buffer.into_bytes())
}

/// The bytes, if they begin as those of an image.
pub fn as_image(what: &'static str, encoded: Bytes) -> Result<Bytes, ApiError> {
    if encoded.is_empty() {
        return Err(FaceError::EmptyBody(what).into());
    }
    if Format::of(&encoded).is_none() {
        return Err(RequestError::UnsupportedMediaType(format!("{what} must be a JPEG, PNG or WebP image")).into());
    }
    Ok(encoded)
}
