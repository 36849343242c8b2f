//! Keys of blobs: parsed and built here, and nowhere else.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{FrameId, TenantId};

/// What a blob is for: the first part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// `inbox`: a frame on its way that is too large for its message. Its sender was told that it is accepted.
    Inbox,
    /// `frames`: the image of a frame with detections, kept for clients.
    Frames,
}

impl BlobKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Inbox, Self::Frames];

    /// The kind as keys have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Frames => "frames",
        }
    }
}

/// Key of a frame's image: `<kind>/<UTC day of writing>/<tenant>/<frame id>`.
///
/// A key from the log may be anybody's: parsing is the check. [`BlobKey::is_of`] says whether it is the key of a frame of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey {
    kind: BlobKind,
    day: Date,
    tenant: TenantId,
    frame: FrameId,
}

/// A text that is no key of a frame's image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a blob key reads inbox/<day>/<tenant>/<frame id> or frames/<day>/<tenant>/<frame id>")]
pub struct BlobKeyError;

impl BlobKey {
    /// The key under which a blob written at `now` is kept.
    pub fn new(kind: BlobKind, now: Timestamp, tenant: &TenantId, frame: FrameId) -> Self {
        Self { kind, day: now.to_zoned(TimeZone::UTC).date(), tenant: tenant.clone(), frame }
    }

    /// What the blob is for.
    pub const fn kind(&self) -> BlobKind {
        self.kind
    }

    /// Whether it is a key of this kind for this frame of this tenant.
    pub fn is_of(&self, kind: BlobKind, tenant: &TenantId, frame: FrameId) -> bool {
        self.kind == kind && self.tenant == *tenant && self.frame == frame
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.kind.as_str(), self.day, self.tenant, self.frame)
    }
}

impl FromStr for BlobKey {
    type Err = BlobKeyError;

    fn from_str(text: &str) -> Result<Self, BlobKeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [kind, day, tenant, frame] = parts.as_slice() else { return Err(BlobKeyError) };
        let key = Self {
            kind: BlobKind::ALL.into_iter().find(|known| known.as_str() == *kind).ok_or(BlobKeyError)?,
            day: day.parse().map_err(|_| BlobKeyError)?,
            tenant: tenant.parse().map_err(|_| BlobKeyError)?,
            frame: frame.parse().map_err(|_| BlobKeyError)?,
        };
        // A blob has one key: other ways to write a day or an id are none.
        if key.to_string() == text { Ok(key) } else { Err(BlobKeyError) }
    }
}

impl TryFrom<String> for BlobKey {
    type Error = BlobKeyError;

    fn try_from(text: String) -> Result<Self, BlobKeyError> {
        text.parse()
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.to_string()
    }
}

/// Deserialises an optional key. A text that is not a key counts as absent, so that a foreign producer's result keeps its
/// detections.
pub(crate) fn valid_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BlobKey>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let (tenant, frame) = (TenantId::shared(), FRAME.parse().unwrap());
        for kind in BlobKind::ALL {
            let key = BlobKey::new(kind, "2026-01-02T23:59:59Z".parse().unwrap(), &tenant, frame);
            assert_eq!(key.to_string(), format!("{}/2026-01-02/shared/{FRAME}", kind.as_str()));
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(key.is_of(kind, &tenant, frame));
            assert!(!key.is_of(kind, &TenantId::admin(), frame) && !key.is_of(kind, &tenant, FrameId::now()));
        }
    }

    #[test]
    fn a_text_that_leads_elsewhere_is_no_key() {
        let upper = FRAME.to_uppercase();
        for text in [
            String::new(),
            "/".to_owned(),
            format!("inbox/2026-01-02/{FRAME}"),
            format!("faces/2026-01-02/shared/{FRAME}"),
            format!("inbox/2026-13-02/shared/{FRAME}"),
            format!("inbox/20260102/shared/{FRAME}"),
            format!("inbox/2026-01-02/../{FRAME}"),
            format!("inbox/2026-01-02/a b/{FRAME}"),
            format!("inbox/2026-01-02/shared/{upper}"),
            format!("inbox/2026-01-02/shared/{FRAME}/x"),
            format!("/inbox/2026-01-02/shared/{FRAME}"),
            "inbox/2026-01-02/shared/../../frames".to_owned(),
        ] {
            assert_eq!(text.parse::<BlobKey>(), Err(BlobKeyError), "{text}");
        }
    }
}
