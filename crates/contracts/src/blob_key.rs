//! Keys of blobs. Only this module parses and builds them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{FrameId, SubjectId, TenantId, VectorId};
use crate::retention::RetentionDays;

/// Purpose of a blob, the first part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKind {
    /// `inbox`: the image of a frame that is too large for a message. Its sender got 202.
    Inbox,
    /// `frames`: the image of a frame with detections, for clients to view. It is kept for the time that the service sets.
    Frames,
    /// `frames-until`: such an image of a stream with a retention of its own. The day in its key is the last one on which it is kept.
    FramesUntil,
    /// `enrolled`: an image with which a face was enrolled. It does not expire by itself; it is deleted with its subject.
    Enrolled,
}

impl BlobKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Frames, Self::FramesUntil, Self::Enrolled];
    /// The kinds of images of frames.
    pub const OF_FRAMES: [Self; 3] = [Self::Inbox, Self::Frames, Self::FramesUntil];

    /// The first part of the key.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Frames => "frames",
            Self::FramesUntil => "frames-until",
            Self::Enrolled => "enrolled",
        }
    }
}

/// Key of an image. Of a frame's: `<kind>/<UTC day>/<tenant>/<frame id>`; the day is that of writing, in `frames-until` that of expiry. Of an
/// enrolled face: `enrolled/<tenant>/<subject id>/<vector id>`, with the subject to which it was enrolled, also after a merge.
///
/// Parsing checks the form of a key. A key from the log may still belong to another frame; [`BlobKey::is_of`] checks that.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey {
    kind: BlobKind,
    tenant: TenantId,
    of: Of,
}

/// Whose image it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Of {
    Frame { day: Date, frame: FrameId },
    Face { subject: SubjectId, vector: VectorId },
}

/// The text is not a blob key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a blob key must be <kind>/<day>/<tenant>/<frame id>, with a kind of inbox, frames or frames-until, or \
     enrolled/<tenant>/<subject id>/<vector id>"
)]
pub struct BlobKeyError;

impl BlobKey {
    /// The key of a frame's image with the day of `at`; the kind is one of [`BlobKind::OF_FRAMES`].
    pub fn new(kind: BlobKind, at: Timestamp, tenant: &TenantId, frame: FrameId) -> Self {
        debug_assert!(kind != BlobKind::Enrolled, "it is not an image of a frame");
        let day = at.to_zoned(TimeZone::UTC).date();
        Self { kind, tenant: tenant.clone(), of: Of::Frame { day, frame } }
    }

    /// The key of the image with which a face was enrolled.
    pub fn of_enrolled(tenant: &TenantId, subject: SubjectId, vector: VectorId) -> Self {
        Self { kind: BlobKind::Enrolled, tenant: tenant.clone(), of: Of::Face { subject, vector } }
    }

    /// The key of an image that is kept from `now` on.
    pub fn of_kept_image(now: Timestamp, retention: Option<RetentionDays>, tenant: &TenantId, frame: FrameId) -> Self {
        match retention {
            None => Self::new(BlobKind::Frames, now, tenant, frame),
            Some(days) => Self::new(BlobKind::FramesUntil, days.expiry(now), tenant, frame),
        }
    }

    /// The key of an image that is kept until a time, but not beyond the retention of its stream.
    pub fn of_image_until(
        end: Timestamp,
        now: Timestamp,
        retention: Option<RetentionDays>,
        tenant: &TenantId,
        frame: FrameId,
    ) -> Self {
        let end = retention.map_or(end, |days| days.expiry(now).min(end));
        Self::new(BlobKind::FramesUntil, end, tenant, frame)
    }

    /// The kind of the blob.
    pub const fn kind(&self) -> BlobKind {
        self.kind
    }

    /// The frame of the image; `None` for that of an enrolled face.
    pub const fn frame(&self) -> Option<FrameId> {
        match self.of {
            Of::Frame { frame, .. } => Some(frame),
            Of::Face { .. } => None,
        }
    }

    /// Whether it is a key of this kind for this frame of this tenant.
    pub fn is_of(&self, kind: BlobKind, tenant: &TenantId, frame: FrameId) -> bool {
        self.kind == kind && self.tenant == *tenant && self.frame() == Some(frame)
    }

    /// Whether it is the key of an image with which a face of this tenant was enrolled.
    pub fn is_enrolled_of(&self, tenant: &TenantId) -> bool {
        self.kind == BlobKind::Enrolled && self.tenant == *tenant
    }

    /// Whether it is the key of the kept image of this frame of this tenant.
    pub fn is_kept_image_of(&self, tenant: &TenantId, frame: FrameId) -> bool {
        self.is_of(BlobKind::Frames, tenant, frame) || self.is_of(BlobKind::FramesUntil, tenant, frame)
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, tenant) = (self.kind.as_str(), &self.tenant);
        match &self.of {
            Of::Frame { day, frame } => write!(f, "{kind}/{day}/{tenant}/{frame}"),
            Of::Face { subject, vector } => write!(f, "{kind}/{tenant}/{subject}/{vector}"),
        }
    }
}

impl FromStr for BlobKey {
    type Err = BlobKeyError;

    fn from_str(text: &str) -> Result<Self, BlobKeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [kind, first, second, last] = parts.as_slice() else { return Err(BlobKeyError) };
        let kind = BlobKind::ALL.into_iter().find(|known| known.as_str() == *kind).ok_or(BlobKeyError)?;
        let (tenant, of) = if kind == BlobKind::Enrolled {
            let subject = second.parse().map_err(|_| BlobKeyError)?;
            (first, Of::Face { subject, vector: last.parse().map_err(|_| BlobKeyError)? })
        } else {
            let day = first.parse().map_err(|_| BlobKeyError)?;
            (second, Of::Frame { day, frame: last.parse().map_err(|_| BlobKeyError)? })
        };
        let key = Self { kind, tenant: tenant.parse().map_err(|_| BlobKeyError)?, of };
        // A blob has exactly one key; other spellings of a day or id are refused.
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

/// Deserialises an optional key. A text that is not a key counts as absent, so that an external producer's result keeps its
/// detections.
pub(crate) fn valid_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BlobKey>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn a_key_round_trips() {
        let (tenant, frame) = (TenantId::shared(), FRAME.parse().unwrap());
        for kind in BlobKind::OF_FRAMES {
            let key = BlobKey::new(kind, "2026-01-02T23:59:59Z".parse().unwrap(), &tenant, frame);
            assert_eq!(key.to_string(), format!("{}/2026-01-02/shared/{FRAME}", kind.as_str()));
            assert_eq!(key.to_string().parse(), Ok(key.clone()));
            assert!(key.is_of(kind, &tenant, frame));
            assert!(!key.is_of(kind, &TenantId::admin(), frame) && !key.is_of(kind, &tenant, FrameId::now()));
        }
    }

    #[test]
    fn the_key_of_an_enrolled_image_is_under_its_subject() {
        let (tenant, subject) = (TenantId::shared(), "0198f2a4-0000-7000-8000-000000000001".parse().unwrap());
        let key = BlobKey::of_enrolled(&tenant, subject, FRAME.parse().unwrap());
        assert_eq!(key.to_string(), format!("enrolled/shared/{subject}/{FRAME}"));
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        assert_eq!((key.kind(), key.frame()), (BlobKind::Enrolled, None));
        assert!(key.is_enrolled_of(&tenant) && !key.is_enrolled_of(&TenantId::admin()));
        assert!(!key.is_kept_image_of(&tenant, FRAME.parse().unwrap()));
    }

    #[test]
    fn the_day_of_a_kept_image_is_that_of_writing_or_of_expiry() {
        let (tenant, frame) = (TenantId::shared(), FRAME.parse().unwrap());
        for (retention, expected) in [(None, "frames/2026-01-02"), (Some("3"), "frames-until/2026-01-05")] {
            let retention = retention.map(|days| days.parse().unwrap());
            let key = BlobKey::of_kept_image("2026-01-02T23:59:59Z".parse().unwrap(), retention, &tenant, frame);
            assert_eq!(key.to_string(), format!("{expected}/shared/{FRAME}"));
            assert!(key.is_kept_image_of(&tenant, frame) && !key.is_kept_image_of(&TenantId::admin(), frame));
        }
        let (now, end) = ("2026-01-02T12:00:00Z".parse().unwrap(), "2026-01-04T12:00:00Z".parse().unwrap());
        for (retention, day) in [(None, "04"), (Some("1"), "03"), (Some("9"), "04")] {
            let retention = retention.map(|days| days.parse().unwrap());
            let key = BlobKey::of_image_until(end, now, retention, &tenant, frame);
            assert_eq!(key.to_string(), format!("frames-until/2026-01-{day}/shared/{FRAME}"));
        }
        let inbox = BlobKey::new(BlobKind::Inbox, Timestamp::UNIX_EPOCH, &tenant, frame);
        assert!(!inbox.is_kept_image_of(&tenant, frame));
    }

    #[test]
    fn a_path_outside_the_folder_is_refused() {
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
            format!("enrolled/2026-01-02/shared/{FRAME}"),
            format!("enrolled/../{FRAME}/{FRAME}"),
            format!("enrolled/shared/{FRAME}/{upper}"),
            format!("/inbox/2026-01-02/shared/{FRAME}"),
            "inbox/2026-01-02/shared/../../frames".to_owned(),
        ] {
            assert_eq!(text.parse::<BlobKey>(), Err(BlobKeyError), "{text}");
        }
    }
}
