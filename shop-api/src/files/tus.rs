//! The headers of tus 1.0.0, the protocol of resumable uploads (<https://tus.io/protocols/resumable-upload>): the core, and the extensions
//! creation, creation-defer-length, checksum, expiration and termination.
//!
//! In: the headers of a request. Out: their values, or a [`TusError`] that names the header and says what is allowed. Guarantees: a number
//! fits the store's; metadata has at most [`MAX_METADATA`] pairs of UTF-8 text; a checksum has the length of its algorithm.

use std::collections::BTreeMap;

use api_kit::error::HttpError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};

/// The version of the protocol.
pub const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
/// The extensions of this server.
pub const EXTENSIONS: HeaderValue =
    HeaderValue::from_static("creation,creation-defer-length,checksum,expiration,termination");
/// The algorithms of checksums.
pub const ALGORITHMS: HeaderValue = HeaderValue::from_static("sha1,sha256");

/// Header with the version of the protocol.
pub const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
/// Header with the versions of the server.
pub const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
/// Header with the extensions of the server.
pub const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
/// Header with the longest upload of the server.
pub const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
/// Header with the algorithms of the server.
pub const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
/// Header with the number of durable bytes, or of those before the body.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Header with the length of the whole upload.
pub const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// Header that says that the length comes later.
pub const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
/// Header with the name and the type of the file, among others.
pub const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
/// Header with the checksum of the body.
pub const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
/// Header with the time at which an unfinished upload is deleted.
pub const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
/// Header with the method, for clients that can send few.
pub const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// The type of the body of a PATCH.
const CONTENT: &[u8] = b"application/offset+octet-stream";
/// Most pairs of metadata.
pub const MAX_METADATA: usize = 32;
/// Longest value of a number. The store has signed numbers.
const MAX_NUMBER: u64 = i64::MAX as u64;
/// The status of a wrong checksum, which is the protocol's own.
const CHECKSUM_MISMATCH: u16 = 460;

/// Why the headers of a request are refused, or its body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TusError {
    /// Another version of the protocol.
    #[error("Tus-Resumable must be 1.0.0, the version of the protocol that this server has")]
    Version,
    /// The body has another type.
    #[error("Content-Type must be application/offset+octet-stream")]
    ContentType,
    /// A header is missing or malformed.
    #[error("{name}: {allowed}")]
    Header {
        /// The header.
        name: &'static str,
        /// What it must be.
        allowed: &'static str,
    },
    /// The checksum has an unknown algorithm.
    #[error("Upload-Checksum: the algorithm must be sha1 or sha256")]
    Algorithm,
    /// The body is not the one of the checksum.
    #[error("the body does not have the checksum of Upload-Checksum; nothing of it was stored; send it again")]
    Checksum,
}

impl HttpError for TusError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Version => (StatusCode::PRECONDITION_FAILED, "tus_version"),
            Self::ContentType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::Header { .. } | Self::Algorithm => (StatusCode::BAD_REQUEST, "malformed"),
            Self::Checksum => {
                (StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST), "checksum_mismatch")
            }
        }
    }
}

/// Checks the version of the protocol.
///
/// # Errors
/// When the header is missing or names another one.
pub fn check_version(headers: &HeaderMap) -> Result<(), TusError> {
    let is_ours = headers.get(TUS_RESUMABLE).is_some_and(|version| version == VERSION);
    if is_ours { Ok(()) } else { Err(TusError::Version) }
}

/// Checks the type of the body of a PATCH.
///
/// # Errors
/// When it is another one.
pub fn check_content_type(headers: &HeaderMap) -> Result<(), TusError> {
    let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = given.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(CONTENT) { Ok(()) } else { Err(TusError::ContentType) }
}

/// The offset of a PATCH.
///
/// # Errors
/// When it is missing or not a number.
pub fn offset(headers: &HeaderMap) -> Result<u64, TusError> {
    number(headers, &UPLOAD_OFFSET)?.ok_or(NO_OFFSET)
}

/// The length of the whole upload, if the request tells it.
///
/// # Errors
/// When it is not a number.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, TusError> {
    number(headers, &UPLOAD_LENGTH)
}

/// The length of a new upload; `None` if it comes later.
///
/// # Errors
/// When neither the length is there nor that it comes later, or both are.
pub fn new_length(headers: &HeaderMap) -> Result<Option<u64>, TusError> {
    let is_deferred = match headers.get(UPLOAD_DEFER_LENGTH) {
        None => false,
        Some(value) if value == "1" => true,
        Some(_) => return Err(TusError::Header { name: "Upload-Defer-Length", allowed: "it must be 1" }),
    };
    let length = length(headers)?;
    if length.is_some() == is_deferred {
        let allowed = "send the number of bytes of the file, or Upload-Defer-Length: 1, and not both";
        return Err(TusError::Header { name: "Upload-Length", allowed });
    }
    Ok(length)
}

const NO_OFFSET: TusError =
    TusError::Header { name: "Upload-Offset", allowed: "send the number of bytes before this body, as HEAD tells it" };

fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, TusError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    // `parse` alone would accept a sign.
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number <= MAX_NUMBER);
    let name = if *name == UPLOAD_OFFSET { "Upload-Offset" } else { "Upload-Length" };
    number.map(Some).ok_or(TusError::Header { name, allowed: "it must be a whole number, in digits, once" })
}

/// The metadata of a new upload.
///
/// # Errors
/// When it is not a list of distinct names with values in Base64, or a value is not UTF-8.
pub fn metadata(headers: &HeaderMap) -> Result<BTreeMap<String, String>, TusError> {
    let mut pairs = BTreeMap::new();
    for value in headers.get_all(UPLOAD_METADATA) {
        let text = value.to_str().map_err(|_| MALFORMED_METADATA)?;
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, encoded) = pair.split_once(' ').unwrap_or((pair, ""));
            let decoded = STANDARD.decode(encoded.trim()).map_err(|_| MALFORMED_METADATA)?;
            let decoded = String::from_utf8(decoded).map_err(|_| MALFORMED_METADATA)?;
            let is_repeated = pairs.insert(name.trim_end().to_owned(), decoded).is_some();
            if is_repeated || pairs.len() > MAX_METADATA {
                return Err(MALFORMED_METADATA);
            }
        }
    }
    Ok(pairs)
}

const MALFORMED_METADATA: TusError = TusError::Header {
    name: "Upload-Metadata",
    allowed: "it must be a list of at most 32 names, each once with a space and its UTF-8 value in Base64, separated by commas",
};

/// Metadata as the value of its header.
pub fn encode_metadata<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<HeaderValue> {
    let pairs = pairs.into_iter().map(|(name, value)| format!("{name} {}", STANDARD.encode(value)));
    let text = pairs.collect::<Vec<_>>().join(",");
    HeaderValue::try_from(text).ok().filter(|value| !value.is_empty())
}

/// The checksum that a body must have, and the hash of what has arrived of it.
#[derive(Clone)]
pub enum Checksum {
    /// SHA-1, which the protocol requires. It finds faults of transfer, not forgeries.
    Sha1(Sha1, [u8; 20]),
    /// SHA-256.
    Sha256(Sha256, [u8; 32]),
}

impl Checksum {
    /// That of a request; `None` if it has none.
    ///
    /// # Errors
    /// When the header is malformed or names another algorithm.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, TusError> {
        let mut values = headers.get_all(UPLOAD_CHECKSUM).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let (algorithm, encoded) = text.and_then(|text| text.trim().split_once(' ')).ok_or(MALFORMED_CHECKSUM)?;
        let sum = STANDARD.decode(encoded.trim()).map_err(|_| MALFORMED_CHECKSUM)?;
        let checksum = match algorithm {
            "sha1" => sum.try_into().map(|sum| Self::Sha1(Sha1::new(), sum)),
            "sha256" => sum.try_into().map(|sum| Self::Sha256(Sha256::new(), sum)),
            _ => return Err(TusError::Algorithm),
        };
        checksum.map(Some).map_err(|_| MALFORMED_CHECKSUM)
    }

    /// Adds bytes of the body.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hash, _) => hash.update(bytes),
            Self::Sha256(hash, _) => hash.update(bytes),
        }
    }

    /// Checks the whole body.
    ///
    /// # Errors
    /// When it has another checksum.
    pub fn check(self) -> Result<(), TusError> {
        let is_right = match self {
            Self::Sha1(hash, sum) => hash.finalize().as_slice() == sum,
            Self::Sha256(hash, sum) => hash.finalize().as_slice() == sum,
        };
        if is_right { Ok(()) } else { Err(TusError::Checksum) }
    }
}

const MALFORMED_CHECKSUM: TusError = TusError::Header {
    name: "Upload-Checksum",
    allowed: "it must be the algorithm (sha1 or sha256), a space, and the checksum of the body in Base64",
};

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_number_has_digits_only_and_fits() {
        let read = |value: &str| offset(&headers(&[(UPLOAD_OFFSET, value)])).ok();
        assert_eq!(read("0"), Some(0));
        assert_eq!(read("9223372036854775807"), Some(MAX_NUMBER));
        for value in ["", "-1", "+1", "1.0", "0x1", " ", "9223372036854775808", "99999999999999999999999"] {
            assert_eq!(read(value), None, "{value:?}");
        }
        assert_eq!(offset(&headers(&[(UPLOAD_OFFSET, "1"), (UPLOAD_OFFSET, "1")])).ok(), None);
        assert_eq!(offset(&HeaderMap::new()), Err(NO_OFFSET));
    }

    #[test]
    fn a_new_upload_has_a_length_or_tells_it_later() {
        assert_eq!(new_length(&headers(&[(UPLOAD_LENGTH, "7")])), Ok(Some(7)));
        assert_eq!(new_length(&headers(&[(UPLOAD_DEFER_LENGTH, "1")])), Ok(None));
        assert!(new_length(&HeaderMap::new()).is_err());
        assert!(new_length(&headers(&[(UPLOAD_DEFER_LENGTH, "1"), (UPLOAD_LENGTH, "7")])).is_err());
        assert!(new_length(&headers(&[(UPLOAD_DEFER_LENGTH, "0")])).is_err());
    }

    #[test]
    fn metadata_survives_its_header() {
        let value = encode_metadata([("filename", "Buch ü, 1.mp3"), ("filetype", "audio/mpeg")]).unwrap();
        let read = metadata(&HeaderMap::from_iter([(UPLOAD_METADATA, value)])).unwrap();
        assert_eq!(read["filename"], "Buch ü, 1.mp3");
        assert_eq!(read["filetype"], "audio/mpeg");
        let read = metadata(&headers(&[(UPLOAD_METADATA, "public, name eA==,")])).unwrap();
        assert_eq!((read["public"].as_str(), read["name"].as_str()), ("", "x"));
    }

    #[test]
    fn malformed_metadata_is_refused() {
        let many = (0..=MAX_METADATA).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
        for value in ["name ?", "name eA==,name eA==", "name /w==", "name eA== eA==", &many] {
            assert_eq!(metadata(&headers(&[(UPLOAD_METADATA, value)])), Err(MALFORMED_METADATA), "{value}");
        }
    }

    #[test]
    fn a_checksum_is_that_of_the_whole_body() {
        for (algorithm, sum) in [
            ("sha1", STANDARD.encode(Sha1::digest(b"hello world"))),
            ("sha256", STANDARD.encode(Sha256::digest(b"hello world"))),
        ] {
            let sent = headers(&[(UPLOAD_CHECKSUM, format!("{algorithm} {sum}").as_str())]);
            let checked = |parts: &[&[u8]]| {
                let mut checksum = Checksum::of(&sent).unwrap().unwrap();
                parts.iter().for_each(|part| checksum.update(part));
                checksum.check()
            };
            assert_eq!(checked(&[b"hello", b" world"]), Ok(()), "{algorithm}");
            assert_eq!(checked(&[b"hello", b" World"]), Err(TusError::Checksum), "{algorithm}");
        }
    }

    #[test]
    fn a_malformed_checksum_is_refused() {
        let refused = |value: &str| Checksum::of(&headers(&[(UPLOAD_CHECKSUM, value)])).err();
        assert_eq!(refused("md5 1B2M2Y8AsgTpgAmY7PhCfg=="), Some(TusError::Algorithm));
        for value in ["sha1", "sha1 ?", "sha1 AAAA", "sha256 2jmj7l5rSw0yVb/vlWAYkK/YBwk="] {
            assert_eq!(refused(value), Some(MALFORMED_CHECKSUM), "{value}");
        }
        assert!(Checksum::of(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn the_status_of_a_wrong_checksum_is_the_protocols() {
        assert_eq!(TusError::Checksum.status_and_code().0.as_u16(), 460);
    }
}
