//! Ids and names. Parsing checks them, so a value of these types is always valid.

mod names;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use names::{CategorySlug, DetectorName, StreamName, TenantId, WatchlistName};

/// Why a text is not a valid id or name. The message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is not a UUID.
    #[error("{what} must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057")]
    NotUuid {
        /// Kind of the id, for the message.
        what: &'static str,
    },
    /// The text has a character or a length that is not allowed.
    #[error("{what} must be {min} to {max} characters out of {alphabet}")]
    NotName {
        /// Kind of the name, for the message.
        what: &'static str,
        /// Minimum length in characters.
        min: usize,
        /// Maximum length in characters.
        max: usize,
        /// Allowed characters, for the message.
        alphabet: &'static str,
    },
    /// The text is not of the form `<frame id>-<detector>-<n>`.
    #[error("a detection id must be <frame id>-<detector>-<number>")]
    NotDetectionId,
    /// The idempotency key is empty, too long or not printable ASCII.
    #[error("an idempotency key must be 1 to 255 printable ASCII characters")]
    NotIdempotencyKey,
}

/// The first 16 bytes of SHA-256 over `kind` and `parts`, for a UUIDv8. Each part is preceded by
/// its length, so that different lists never give the same bytes.
fn hash_id(kind: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes
}

/// The id of a task, derived from its parts.
pub(crate) fn task_id(parts: &[&str]) -> Uuid {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    Uuid::new_v8(hash_id("task", &parts))
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(Uuid);

        impl $name {
            /// The id with this UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID of this id.
            pub const fn uuid(&self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::try_parse(text).map(Self).map_err(|_| IdError::NotUuid { what: $what })
            }
        }
    };
}

uuid_id!(
    /// Id of a frame.
    FrameId,
    "a frame id"
);
uuid_id!(
    /// Id of an alert rule.
    RuleId,
    "a rule id"
);
uuid_id!(
    /// Id of an alert.
    AlertId,
    "an alert id"
);
uuid_id!(
    /// Id of a user.
    UserId,
    "a user id"
);
uuid_id!(
    /// Id of a session: one sign-in and its renewals.
    SessionId,
    "a session id"
);
uuid_id!(
    /// Id of an API token. It is not the secret.
    ApiTokenId,
    "an API token id"
);
uuid_id!(
    /// Id of a subject: a person whose face is enrolled. It is not a name.
    SubjectId,
    "a subject id"
);
uuid_id!(
    /// Id of a vector: the embedding of one face of a subject.
    VectorId,
    "a vector id"
);
uuid_id!(
    /// Id of a book of the shop.
    BookId,
    "a book id"
);
uuid_id!(
    /// Id of an order. Payments are known by it too.
    OrderId,
    "an order id"
);
uuid_id!(
    /// Id of an upload of a book's file.
    UploadId,
    "an upload id"
);

impl FrameId {
    /// A new UUIDv7.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the frame that `tenant` sends with an idempotency key; the same for the same tenant and key.
    ///
    /// If the key is a UUIDv7, so is the id, with the same time, and ids sort by time. Otherwise the id is a UUIDv8.
    ///
    /// # Errors
    /// If the key is empty, longer than 255 bytes or not printable ASCII.
    pub fn from_idempotency_key(tenant: &TenantId, key: &str) -> Result<Self, IdError> {
        let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if key.is_empty() || key.len() > 255 || !printable {
            return Err(IdError::NotIdempotencyKey);
        }
        let mut bytes = hash_id("frame", &[tenant.as_str().as_bytes(), key.as_bytes()]);
        let time_ordered = Uuid::try_parse(key).ok().filter(|uuid| uuid.get_version_num() == 7);
        let Some(time_ordered) = time_ordered else {
            return Ok(Self(Uuid::new_v8(bytes)));
        };
        bytes[..6].copy_from_slice(&time_ordered.as_bytes()[..6]);
        Ok(Self(uuid::Builder::from_bytes(bytes).with_version(uuid::Version::SortRand).into_uuid()))
    }

    /// The id of a message at a position on the log, for producers that send no frame id. A topic
    /// that was deleted and created again has another `topic_id`.
    pub fn from_position(topic_id: &str, partition: i32, offset: i64) -> Self {
        let parts: [&[u8]; 3] = [topic_id.as_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()];
        Self(Uuid::new_v8(hash_id("position", &parts)))
    }
}

impl UserId {
    /// A new id for a user.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl SessionId {
    /// A new id for a session.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl ApiTokenId {
    /// A new id for an API token.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl SubjectId {
    /// A new id for a subject.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl VectorId {
    /// A new id for a vector.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl BookId {
    /// A new id for a book.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl OrderId {
    /// A new id for an order.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl UploadId {
    /// A new id for an upload.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl RuleId {
    /// The id of a built-in rule, derived from its name.
    pub fn built_in(name: &str) -> Self {
        Self(Uuid::new_v8(hash_id("rule", &[name.as_bytes()])))
    }

    /// A new id for a tenant's rule.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl AlertId {
    /// The id of the alert that `rule` raises about `subject`, derived from both.
    pub fn of(rule: &RuleId, subject: impl Into<AlertSubject>) -> Self {
        let (kind, id) = match subject.into() {
            AlertSubject::Frame(frame) => ("alert", frame.0),
        };
        Self(Uuid::new_v8(hash_id(kind, &[rule.0.as_bytes(), id.as_bytes()])))
    }
}

/// The subject of an alert. A rule raises at most one alert for each subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertSubject {
    /// The detections of one frame.
    Frame(FrameId),
}

impl From<&FrameId> for AlertSubject {
    fn from(frame: &FrameId) -> Self {
        Self::Frame(*frame)
    }
}

/// Id of a detection: `<frame id>-<detector>-<n>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetectionId {
    /// Id of the frame.
    pub frame: FrameId,
    /// Name of the detector.
    pub detector: DetectorName,
    /// Index in the result, from 0.
    pub index: u32,
}

impl fmt::Display for DetectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.frame, self.detector, self.index)
    }
}

impl FromStr for DetectionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (frame, rest) = text.split_at_checked(36).ok_or(IdError::NotDetectionId)?;
        let (detector, index) =
            rest.strip_prefix('-').and_then(|rest| rest.rsplit_once('-')).ok_or(IdError::NotDetectionId)?;
        Ok(Self {
            frame: frame.parse().map_err(|_| IdError::NotDetectionId)?,
            detector: detector.parse().map_err(|_| IdError::NotDetectionId)?,
            index: index.parse().map_err(|_| IdError::NotDetectionId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_alert_never_changes() {
        let frame: FrameId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let id = AlertId::of(&RuleId::built_in("suspicious-vehicle"), &frame);
        assert_eq!(id.to_string(), "f3ea00d9-36d1-8c0a-8c4d-a9ea4697597d");
    }

    #[test]
    fn a_tenant_and_key_give_one_frame_id() {
        let one = FrameId::from_idempotency_key(&TenantId::shared(), "a").unwrap();
        assert_eq!(one, FrameId::from_idempotency_key(&TenantId::shared(), "a").unwrap());
        assert_ne!(one, FrameId::from_idempotency_key(&TenantId::admin(), "a").unwrap());
        assert_ne!(one, FrameId::from_idempotency_key(&TenantId::shared(), "b").unwrap());
        assert_eq!(one.uuid().get_version_num(), 8);
    }

    #[test]
    fn a_uuidv7_key_gives_an_id_of_the_same_time() {
        let key = Uuid::now_v7();
        let id = FrameId::from_idempotency_key(&TenantId::shared(), &key.to_string()).unwrap();
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.uuid().as_bytes()[..6], key.as_bytes()[..6]);
        assert_ne!(id.uuid(), key);
    }

    #[test]
    fn unprintable_idempotency_keys_are_refused() {
        for key in ["", "tab\t", &"x".repeat(256), "ü"] {
            assert_eq!(
                FrameId::from_idempotency_key(&TenantId::shared(), key),
                Err(IdError::NotIdempotencyKey),
                "{key:?}"
            );
        }
    }

    #[test]
    fn detection_ids_round_trip() {
        let id = DetectionId { frame: FrameId::now(), detector: "face_2".parse().unwrap(), index: 17 };
        assert_eq!(id.to_string().parse::<DetectionId>().unwrap(), id);
        assert!("no-detection-1".parse::<DetectionId>().is_err());
        assert!("ü".repeat(40).parse::<DetectionId>().is_err());
    }

    #[test]
    fn an_invalid_name_error_lists_the_alphabet() {
        let error = "gate 1".parse::<StreamName>().unwrap_err().to_string();
        assert!(error.contains("A-Z a-z 0-9 . _ -"), "{error}");
        assert!("gate-1".parse::<StreamName>().is_ok());
        assert!(serde_json::from_str::<StreamName>("\"a/b\"").is_err());
    }
}
