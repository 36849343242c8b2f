//! The image of a request: its type and size checked as its first bytes arrive, the rest gathered.

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use multer::{Field, Multipart};

use crate::app::App;
use crate::http::ApiError;
use crate::probe::{Finding, ImageType, Probe};
use crate::upload::{Gathered, Reservation, Upload};

/// Fields of a form that may have the image.
const FIELDS: [&str; 3] = ["file", "image", "frame"];
const TYPES: &str = "image/jpeg, image/png or image/webp";

/// An image, whole.
pub struct Image {
    /// Its type, by its first bytes.
    pub kind: ImageType,
    /// Its bytes as they came.
    pub bytes: Bytes,
    /// Held as long as the bytes are.
    pub reservation: Reservation,
}

/// Takes the image out of a request: the body itself, or a field of a form.
///
/// # Errors
/// As soon as what has arrived shows that it is not one that is taken.
pub async fn receive(app: &App, headers: &HeaderMap, body: Body) -> Result<Image, ApiError> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("multipart")) {
        return form(app, media_type, body).await;
    }
    let declared = ImageType::from_media_type(media_type).ok_or_else(|| {
        ApiError::UnsupportedMediaType(format!(
            "the Content-Type must be {TYPES}, or multipart/form-data with the image in a field"
        ))
    })?;
    let mut upload = Upload::begin(body, app.image_bounds(), &app.in_flight)?;
    let mut arriving = Arriving::new(app, Some(declared), upload.declared());
    while let Some(piece) = upload.piece().await? {
        arriving.push(piece)?;
    }
    let (kind, bytes) = arriving.finish()?;
    Ok(Image { kind, bytes, reservation: upload.into_reservation() })
}

/// An image while it arrives.
struct Arriving {
    declared: Option<ImageType>,
    max_pixels: u64,
    max_bytes: usize,
    gathered: Gathered,
    probe: Probe,
    kind: Option<ImageType>,
}

impl Arriving {
    fn new(app: &App, declared: Option<ImageType>, expected: Option<usize>) -> Self {
        let (max_pixels, max_bytes) = (app.max_pixels, app.max_bytes);
        Self { declared, max_pixels, max_bytes, gathered: Gathered::new(expected), probe: Probe::default(), kind: None }
    }

    fn push(&mut self, piece: Bytes) -> Result<(), ApiError> {
        self.gathered.push(piece);
        if self.gathered.bytes().len() > self.max_bytes {
            return Err(ApiError::TooLarge { limit: self.max_bytes });
        }
        if self.kind.is_none() && !self.gathered.bytes().is_empty() {
            self.kind = self.check()?;
        }
        Ok(())
    }

    /// The type, once type and size are known and sound.
    fn check(&mut self) -> Result<Option<ImageType>, ApiError> {
        match self.probe.look(self.gathered.bytes()) {
            Finding::Unclear => Ok(None),
            Finding::NotAnImage => Err(ApiError::UnsupportedMediaType(format!(
                "the bytes do not begin like an image that is taken: {TYPES}"
            ))),
            Finding::Broken(kind) => {
                let name = kind.media_type();
                Err(ApiError::InvalidImage(format!("the image begins as {name} and its header makes no sense")))
            }
            Finding::Image { kind, width, height } => self.allow(kind, width, height).map(Some),
        }
    }

    fn allow(&self, kind: ImageType, width: u32, height: u32) -> Result<ImageType, ApiError> {
        if let Some(declared) = self.declared.filter(|declared| *declared != kind) {
            let (said, is) = (declared.media_type(), kind.media_type());
            return Err(ApiError::UnsupportedMediaType(format!("the Content-Type says {said} and the bytes are {is}")));
        }
        if width == 0 || height == 0 {
            return Err(ApiError::InvalidImage(format!("the image has {width} x {height} pixels: none at all")));
        }
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(ApiError::ImageTooLarge { width, height, limit: self.max_pixels });
        }
        Ok(kind)
    }

    fn finish(self) -> Result<(ImageType, Bytes), ApiError> {
        match self.kind {
            Some(kind) => Ok((kind, self.gathered.into_bytes())),
            None if self.gathered.bytes().is_empty() => Err(ApiError::EmptyBody),
            None => Err(ApiError::InvalidImage("the image ends before its size is told".to_owned())),
        }
    }
}

/// Takes the image out of a form. It may come last, and other fields are passed over.
async fn form(app: &App, media_type: &str, body: Body) -> Result<Image, ApiError> {
    let boundary = multer::parse_boundary(media_type)
        .map_err(|_| ApiError::UnsupportedMediaType("a form must be multipart/form-data with a boundary".to_owned()))?;
    let upload = Upload::begin(body, app.form_bounds(), &app.in_flight)?;
    let upload = std::sync::Arc::new(tokio::sync::Mutex::new(upload));
    let mut form = Multipart::new(pieces(upload.clone()), boundary);
    let mut found = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        if !field.name().is_some_and(|name| FIELDS.contains(&name)) {
            pass_over(field).await?;
            continue;
        }
        if found.is_some() {
            return Err(ApiError::Invalid("the form has more than one image; send one per request".to_owned()));
        }
        found = Some(image_field(app, field).await?);
    }
    drop(form);
    let (kind, bytes) = found.ok_or_else(|| {
        ApiError::Invalid(format!("the form has no image; put it in a field called {}", FIELDS.join(" or ")))
    })?;
    let upload = std::sync::Arc::into_inner(upload)
        .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("a form is still read")))?;
    Ok(Image { kind, bytes, reservation: upload.into_inner().into_reservation() })
}

/// The pieces of a body as the stream that the form's reader takes; its errors come back out of [`broken`].
fn pieces(
    upload: std::sync::Arc<tokio::sync::Mutex<Upload>>,
) -> impl futures::Stream<Item = Result<Bytes, ApiError>> + Send {
    stream::unfold(upload, |upload| async {
        let piece = upload.lock().await.piece().await.transpose();
        piece.map(|piece| (piece, upload))
    })
}

async fn image_field(app: &App, mut field: Field<'_>) -> Result<(ImageType, Bytes), ApiError> {
    let said = field.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let declared = ImageType::from_media_type(&said);
    // Tools that do not know a file's type say so with this one.
    let unknown = said.is_empty() || said.starts_with("application/octet-stream");
    if declared.is_none() && !unknown {
        return Err(ApiError::UnsupportedMediaType(format!("the image's Content-Type must be {TYPES}")));
    }
    let mut arriving = Arriving::new(app, declared, None);
    while let Some(piece) = field.chunk().await.map_err(broken)? {
        arriving.push(piece)?;
    }
    arriving.finish()
}

async fn pass_over(mut field: Field<'_>) -> Result<(), ApiError> {
    while field.chunk().await.map_err(broken)?.is_some() {}
    Ok(())
}

/// What was wrong with a form: what the body's reader said, or how the form is written.
fn broken(error: multer::Error) -> ApiError {
    let reason = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<ApiError>() {
            Ok(refused) => return *refused,
            Err(_) => "it broke off",
        },
        multer::Error::IncompleteFieldData { .. } | multer::Error::IncompleteStream => {
            "it ends before its last boundary"
        }
        multer::Error::IncompleteHeaders
        | multer::Error::ReadHeaderFailed(_)
        | multer::Error::DecodeHeaderName { .. }
        | multer::Error::DecodeHeaderValue { .. } => "the head of one of its fields makes no sense",
        _ => "it is not written as multipart/form-data",
    };
    ApiError::Malformed(format!("the form cannot be read: {reason}"))
}
