//! Forms with files (`multipart/form-data`), field by field as they arrive.

use std::sync::Arc;

use axum::extract::Request;
use bytes::Bytes;
use futures::{Stream, stream};
use http::HeaderMap;
use multer::{Field, Multipart};
use tokio::sync::Mutex;

use crate::error::{ApiError, RequestError, ServiceError};
use crate::upload::{BodyError, BodyLimits, BytesInFlight, IncomingBody, Reservation};

/// Longest boundary, in characters (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// A form while it arrives.
pub struct FormData {
    form: Multipart<'static>,
    upload: Arc<Mutex<IncomingBody>>,
}

/// A field of a form while it arrives.
pub struct FormField(Field<'static>);

impl FormData {
    /// Begins to read the form of a request with this Content-Type.
    ///
    /// # Errors
    /// When the Content-Type has no boundary, or as [`IncomingBody::begin`].
    pub fn begin(
        content_type: &str,
        request: Request,
        limits: BodyLimits,
        bytes_in_flight: &BytesInFlight,
    ) -> Result<Self, ApiError> {
        let boundary = boundary(content_type)?;
        let upload = Arc::new(Mutex::new(IncomingBody::begin(request, limits, bytes_in_flight)?));
        Ok(Self { form: Multipart::new(chunks(upload.clone()), boundary), upload })
    }

    /// The next field; `None` at the end. The field before it must have been dropped.
    ///
    /// # Errors
    /// When the form cannot be read, or as [`IncomingBody::chunk`].
    pub async fn next_field(&mut self) -> Result<Option<FormField>, ApiError> {
        Ok(self.form.next_field().await.map_err(form_error)?.map(FormField))
    }

    /// The reservation of the whole body, which the caller keeps as long as its bytes.
    ///
    /// # Errors
    /// When a field is still being read.
    pub fn finish(self) -> Result<Reservation, ApiError> {
        let Self { form, upload } = self;
        drop(form);
        let upload = Arc::into_inner(upload);
        let upload = upload.ok_or_else(|| ServiceError::Internal(anyhow::anyhow!("a form is still being read")))?;
        Ok(upload.into_inner().into_reservation())
    }
}

impl FormField {
    /// Its name.
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.0.headers()
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// As [`FormData::next_field`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ApiError> {
        self.0.chunk().await.map_err(form_error)
    }

    /// Reads and discards the rest.
    ///
    /// # Errors
    /// As [`FormData::next_field`].
    pub async fn skip(mut self) -> Result<(), ApiError> {
        while self.chunk().await?.is_some() {}
        Ok(())
    }
}

/// The body as a stream for `multer`. [`form_error`] extracts its errors again.
fn chunks(upload: Arc<Mutex<IncomingBody>>) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::unfold(upload, |upload| async {
        let chunk = upload.lock().await.chunk().await.transpose();
        chunk.map(|chunk| (chunk, upload))
    })
}

/// The error of a form: that of its body, or a description of its syntax error.
fn form_error(error: multer::Error) -> ApiError {
    let reason = match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<BodyError>() {
            Ok(refused) => return (*refused).into(),
            Err(_) => "it ended early",
        },
        multer::Error::IncompleteFieldData { .. } | multer::Error::IncompleteStream => {
            "it ends before its last boundary"
        }
        multer::Error::IncompleteHeaders
        | multer::Error::ReadHeaderFailed(_)
        | multer::Error::DecodeHeaderName { .. }
        | multer::Error::DecodeHeaderValue { .. } => "the header of one of its fields is invalid",
        _ => "it is not valid multipart/form-data",
    };
    RequestError::Malformed(format!("the form cannot be read: {reason}")).into()
}

/// Whether a Content-Type is that of a form.
pub fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("multipart"))
}

/// The boundary of a form. A boundary without its required quotes is accepted if it is unambiguous: some clients generate
/// boundaries with `=` and do not quote them.
///
/// # Errors
/// When the Content-Type is not `multipart/form-data` with a boundary.
fn boundary(content_type: &str) -> Result<String, RequestError> {
    let parsed = multer::parse_boundary(content_type).ok().filter(|boundary| !boundary.is_empty());
    parsed.or_else(|| unquoted_boundary(content_type)).ok_or_else(|| {
        RequestError::UnsupportedMediaType(
            "a form must be multipart/form-data with a boundary; a boundary with other characters than letters, digits and \
             - needs quotes"
                .to_owned(),
        )
    })
}

fn unquoted_boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim())
    })?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
    let valid = (1..=MAX_BOUNDARY).contains(&boundary.len()) && boundary.bytes().all(allowed);
    valid.then(|| boundary.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_without_its_quotes_is_accepted() {
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", "abc"),
            ("multipart/form-data; boundary=\"a b:c\"", "a b:c"),
            ("multipart/form-data; boundary====1700000000000===", "===1700000000000==="),
            ("Multipart/Form-Data; charset=utf-8; Boundary=a/b=; x=y", "a/b="),
        ] {
            assert_eq!(boundary(text).ok().as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn without_a_boundary_the_error_names_boundary_and_quotes() {
        let long = format!("multipart/form-data; boundary={}=", "a".repeat(MAX_BOUNDARY));
        for text in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary==", &long] {
            let refused = boundary(text).unwrap_err().to_string();
            assert!(refused.contains("boundary") && refused.contains("quotes"), "{text}: {refused}");
        }
    }
}
