//! The Content-Type of an upload: the declared image type.

use crate::probe::ImageType;

/// The accepted media types, as messages list them.
pub const TYPES: &str = "image/jpeg, image/png or image/webp";

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
}
