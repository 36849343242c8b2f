//! The Content-Type of an upload: the declared image type, or the boundary of a form.

use api_kit::error::RequestError;

use crate::probe::ImageType;

/// The accepted media types, as messages list them.
pub const TYPES: &str = "image/jpeg, image/png or image/webp";
/// Longest boundary, in characters (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The image type that a Content-Type declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// This type.
    Image(ImageType),
    /// None: the bytes decide.
    Unknown,
    /// A type that is not accepted.
    Other,
}

impl Declared {
    /// Parses a Content-Type. An empty text means that the header is missing.
    pub fn of(content_type: &str) -> Self {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "image/jpeg" | "image/jpg" | "image/pjpeg" => Self::Image(ImageType::Jpeg),
            "image/png" | "image/x-png" => Self::Image(ImageType::Png),
            "image/webp" => Self::Image(ImageType::Webp),
            "" | "application/octet-stream" | "binary/octet-stream" => Self::Unknown,
            _ => Self::Other,
        }
    }
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
pub fn boundary(content_type: &str) -> Result<String, RequestError> {
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
    fn other_names_of_a_type_are_the_same_type() {
        for (text, expected) in [
            ("image/jpeg", Declared::Image(ImageType::Jpeg)),
            ("IMAGE/JPG; q=1", Declared::Image(ImageType::Jpeg)),
            ("image/pjpeg", Declared::Image(ImageType::Jpeg)),
            ("image/x-png", Declared::Image(ImageType::Png)),
            ("image/webp", Declared::Image(ImageType::Webp)),
            ("", Declared::Unknown),
            ("application/octet-stream", Declared::Unknown),
            ("binary/octet-stream", Declared::Unknown),
            ("image/gif", Declared::Other),
            ("text/plain", Declared::Other),
        ] {
            assert_eq!(Declared::of(text), expected, "{text}");
        }
    }

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
