//! The image of a request: the body itself, or a field of a form. Type and size are checked as the first bytes arrive.

use api_kit::describe::{Argument, Requirements};
use api_kit::error::{ApiError, RequestError};
use api_kit::form_data::{FormData, FormField, is_multipart};
use api_kit::upload::{BODY_ERRORS, BodyBuffer, BodyError, IncomingBody, Reservation};
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use contracts::MAX_IMAGE_SIDE;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::http::app::App;
use crate::http::v1::frames::content_type::{Declared, TYPES};
use crate::http::v1::frames::error::FrameError;
use crate::probe::{Finding, ImageType, Probe, other_image_type};

/// Maximum number of characters of a declared type that a message quotes.
const MAX_QUOTED: usize = 64;
/// Names of the form field with the image.
const FIELDS: [&str; 3] = ["file", "image", "frame"];

/// A request whose body has not been read.
pub struct ImageRequest {
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The request without its headers.
    rest: Request,
}

/// A whole image.
pub struct Image {
    /// The type, by the first bytes.
    pub kind: ImageType,
    /// The bytes as the client sent them.
    pub bytes: Bytes,
    /// The reservation of the bytes.
    pub reservation: Reservation,
}

impl Argument for ImageRequest {
    fn describe(requirements: &mut Requirements) {
        requirements.errors.extend(BODY_ERRORS);
    }
}

impl FromRequest<App> for ImageRequest {
    type Rejection = ApiError;

    async fn from_request(mut request: Request, _: &App) -> Result<Self, ApiError> {
        let headers = std::mem::take(request.headers_mut());
        Ok(Self { headers, rest: request })
    }
}

/// Receives the image of a request.
///
/// # Errors
/// When the body is too large or too slow, or is not an accepted image. Checked with each chunk, so a refusal does not wait for
/// the whole body.
pub async fn receive(app: &App, request: ImageRequest) -> Result<Image, ApiError> {
    let content_type = content_type(&request.headers);
    if is_multipart(content_type) {
        return from_form(app, content_type, request.rest).await;
    }
    from_body(app, content_type, request.rest).await
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The beginning of a type that a client declared, for a message.
fn quoted(content_type: &str) -> String {
    format!("{:?}", content_type.chars().take(MAX_QUOTED).collect::<String>())
}

async fn from_body(app: &App, content_type: &str, request: Request) -> Result<Image, ApiError> {
    let declared = Declared::of(content_type);
    if declared == Declared::Other {
        let reason = format!(
            "the Content-Type must be {TYPES}, or multipart/form-data with the image in a field; it is {}",
            quoted(content_type)
        );
        return Err(RequestError::UnsupportedMediaType(reason).into());
    }
    let mut upload = IncomingBody::begin(request, app.image_limits(), &app.bytes_in_flight)?;
    let mut incoming = IncomingImage::new(app, declared, upload.declared());
    while let Some(chunk) = upload.chunk().await? {
        incoming.push(chunk)?;
    }
    let (kind, bytes) = incoming.finish()?;
    Ok(Image { kind, bytes, reservation: upload.into_reservation() })
}

/// An image while it arrives.
struct IncomingImage {
    declared: Declared,
    max_pixels: u64,
    max_bytes: usize,
    buffer: BodyBuffer,
    probe: Probe,
    /// The type, after type and size are checked.
    kind: Option<ImageType>,
}

impl IncomingImage {
    fn new(app: &App, declared: Declared, expected: Option<usize>) -> Self {
        Self {
            declared,
            max_pixels: app.max_pixels,
            max_bytes: app.max_bytes,
            buffer: BodyBuffer::new(expected),
            probe: Probe::default(),
            kind: None,
        }
    }

    fn push(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        self.buffer.push(chunk);
        if self.buffer.bytes().len() > self.max_bytes {
            return Err(BodyError::TooLarge { limit: self.max_bytes }.into());
        }
        if self.kind.is_none() && !self.buffer.bytes().is_empty() {
            self.kind = self.check()?;
        }
        Ok(())
    }

    /// The type, once type and size are known and valid.
    fn check(&mut self) -> Result<Option<ImageType>, ApiError> {
        match self.probe.update(self.buffer.bytes()) {
            Finding::Incomplete => Ok(None),
            Finding::NotAnImage => Err(RequestError::UnsupportedMediaType(not_accepted(self.buffer.bytes())).into()),
            Finding::Broken(kind) => {
                let name = kind.media_type();
                let reason = format!("the image begins like {name}, but its header is invalid");
                Err(FrameError::InvalidImage(reason).into())
            }
            Finding::Image { kind, width, height } => self.check_size(kind, width, height).map(Some),
        }
    }

    fn check_size(&self, kind: ImageType, width: u32, height: u32) -> Result<ImageType, ApiError> {
        if let Declared::Image(declared) = self.declared
            && declared != kind
        {
            let (declared, actual) = (declared.media_type(), kind.media_type());
            let reason = format!("the Content-Type is {declared}, but the bytes are {actual}");
            return Err(RequestError::UnsupportedMediaType(reason).into());
        }
        if width == 0 || height == 0 {
            let reason = format!("the image has {width} x {height} pixels; both must be at least 1");
            return Err(FrameError::InvalidImage(reason).into());
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(FrameError::ImageTooLarge { width, height, limit: self.max_pixels }.into());
        }
        if width.max(height) > MAX_IMAGE_SIDE {
            return Err(FrameError::ImageTooLong { width, height }.into());
        }
        Ok(kind)
    }

    fn finish(self) -> Result<(ImageType, Bytes), ApiError> {
        match self.kind {
            Some(kind) => Ok((kind, self.buffer.into_bytes())),
            None if self.buffer.bytes().is_empty() => Err(FrameError::EmptyBody.into()),
            None => Err(FrameError::InvalidImage("the image ends before the size in its header".to_owned()).into()),
        }
    }
}

/// Why these bytes are refused.
fn not_accepted(bytes: &[u8]) -> String {
    match other_image_type(bytes) {
        Some(name) => format!("this is {name}; send JPEG, PNG or WebP"),
        None => format!("the bytes do not begin like an accepted image type: {TYPES}"),
    }
}

/// Extracts the image from a form. Other fields before and after it are ignored.
async fn from_form(app: &App, content_type: &str, request: Request) -> Result<Image, ApiError> {
    let mut form = FormData::begin(content_type, request, app.multipart_limits(), &app.bytes_in_flight)?;
    let mut found = None;
    while let Some(field) = form.next_field().await? {
        if !field.name().is_some_and(|name| FIELDS.contains(&name)) {
            field.skip().await?;
            continue;
        }
        if found.is_some() {
            let reason = "the form has more than one image; send one per request".to_owned();
            return Err(RequestError::Invalid(reason).into());
        }
        found = Some(image_field(app, field).await?);
    }
    let reservation = form.finish()?;
    let (kind, bytes) = found.ok_or_else(|| {
        RequestError::Invalid(format!("the form has no image; send it in a field named {}", FIELDS.join(" or ")))
    })?;
    Ok(Image { kind, bytes, reservation })
}

async fn image_field(app: &App, mut field: FormField) -> Result<(ImageType, Bytes), ApiError> {
    let content_type = content_type(field.headers());
    let declared = Declared::of(content_type);
    if declared == Declared::Other {
        let reason = format!("the image's Content-Type must be {TYPES}; it is {}", quoted(content_type));
        return Err(RequestError::UnsupportedMediaType(reason).into());
    }
    let mut incoming = IncomingImage::new(app, declared, None);
    while let Some(chunk) = field.chunk().await? {
        incoming.push(chunk)?;
    }
    incoming.finish()
}
