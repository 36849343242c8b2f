//! Ids and names, checked once at the edge: a value of these types is valid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a text is not the id or name it should be; the message says what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// A UUID was expected.
    #[error("{what} must be a UUID, like 01890a5d-ac96-774b-bcce-b302099a8057")]
    NotUuid {
        /// Which id, for the message.
        what: &'static str,
    },
    /// A name has a character or a length that is not allowed.
    #[error("{what} must be {min} to {max} characters out of {alphabet}")]
    NotName {
        /// Which name, for the message.
        what: &'static str,
        /// Shortest allowed, in characters.
        min: usize,
        /// Longest allowed, in characters.
        max: usize,
        /// Allowed characters, for the message.
        alphabet: &'static str,
    },
    /// A detection id has another form than `<frame id>-<detector>-<n>`.
    #[error("a detection id reads <frame id>-<detector>-<number>")]
    NotDetectionId,
    /// An idempotency key is empty, too long or not printable.
    #[error("an idempotency key must be 1 to 255 printable ASCII characters")]
    NotIdempotencyKey,
}

/// A UUID of version 8 whose bits are the SHA-256 of `parts`, each with its length before it so that no two lists collide.
fn hashed(kind: &str, parts: &[&[u8]]) -> [u8; 16] {
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
    /// One image with a stream and a capture time.
    FrameId,
    "a frame id"
);
uuid_id!(
    /// A tenant's condition over detections.
    RuleId,
    "a rule id"
);
uuid_id!(
    /// What one rule raised about one frame.
    AlertId,
    "an alert id"
);
uuid_id!(
    /// An account of a person or program.
    UserId,
    "a user id"
);
uuid_id!(
    /// One sign-in and all that is renewed from it.
    SessionId,
    "a session id"
);
uuid_id!(
    /// A token that a user made for a program; not the token itself.
    ApiTokenId,
    "an API token id"
);

impl FrameId {
    /// A new id: a UUIDv7 of the present moment.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the frame that `tenant` sends under `key`: always the same for the same two.
    ///
    /// Where the key is itself a UUIDv7 the id is one too, of the key's time, so that ids still sort by time;
    /// under any other key it is a UUIDv8, which has none.
    ///
    /// # Errors
    /// When the key is empty, longer than 255 bytes or not printable ASCII.
    pub fn from_idempotency_key(tenant: &TenantId, key: &str) -> Result<Self, IdError> {
        let printable = key.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if key.is_empty() || key.len() > 255 || !printable {
            return Err(IdError::NotIdempotencyKey);
        }
        let mut bytes = hashed("frame", &[tenant.as_str().as_bytes(), key.as_bytes()]);
        let timed = Uuid::try_parse(key).ok().filter(|uuid| uuid.get_version_num() == 7);
        let Some(timed) = timed else {
            return Ok(Self(Uuid::new_v8(bytes)));
        };
        bytes[..6].copy_from_slice(&timed.as_bytes()[..6]);
        Ok(Self(uuid::Builder::from_bytes(bytes).with_version(uuid::Version::SortRand).into_uuid()))
    }

    /// The id of what stands at one place of the log: for messages of producers that know no frames.
    pub fn from_position(topic_id: &str, partition: i32, offset: i64) -> Self {
        let parts: [&[u8]; 3] = [topic_id.as_bytes(), &partition.to_be_bytes(), &offset.to_be_bytes()];
        Self(Uuid::new_v8(hashed("position", &parts)))
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

impl RuleId {
    /// The id of a rule that comes with the product, by its name.
    pub fn built_in(name: &str) -> Self {
        Self(Uuid::new_v8(hashed("rule", &[name.as_bytes()])))
    }

    /// A new id for a tenant's rule.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }
}

impl AlertId {
    /// The id of the alert that `rule` raises about `subject`: one for the two, however often it is computed.
    pub fn of(rule: &RuleId, subject: impl Into<AlertSubject>) -> Self {
        let (kind, id) = match subject.into() {
            AlertSubject::Frame(frame) => ("alert", frame.0),
        };
        Self(Uuid::new_v8(hashed(kind, &[rule.0.as_bytes(), id.as_bytes()])))
    }
}

/// What an alert is about: a rule raises at most one alert for each.
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

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal..=$max:literal, $alphabet:literal, $pattern:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let allowed: fn(u8) -> bool = $allowed;
                if ($min..=$max).contains(&text.len()) && text.bytes().all(allowed) {
                    return Ok(Self(text.to_owned()));
                }
                Err(IdError::NotName { what: $what, min: $min, max: $max, alphabet: $alphabet })
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// Who owns data: a UUID per user, or `shared`, which every user reads and only the operator writes.
    TenantId,
    "a tenant",
    1..=64,
    "a-z 0-9 -",
    "^[a-z0-9-]{1,64}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);
name!(
    /// A named source of frames.
    StreamName,
    "a stream",
    1..=64,
    "A-Z a-z 0-9 . _ -",
    "^[A-Za-z0-9._-]{1,64}$",
    |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
);
name!(
    /// A named model with its pre- and post-processing, such as `face`.
    DetectorName,
    "a detector",
    1..=32,
    "a-z 0-9 _",
    "^[a-z0-9_]{1,32}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
);

impl TenantId {
    /// The tenant whose data every user reads.
    pub fn shared() -> Self {
        Self("shared".to_owned())
    }

    /// The tenant of the operator's own `admin` user.
    pub fn admin() -> Self {
        Self::from_uuid(Uuid::new_v8(hashed("tenant", &[b"admin"])))
    }

    /// The tenant of one user.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.to_string())
    }
}

/// `<frame id>-<detector>-<n>`: one object in one detector's result about one frame.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DetectionId {
    /// The frame the object was seen in.
    pub frame: FrameId,
    /// Who saw it.
    pub detector: DetectorName,
    /// Its place in the result, from 0.
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
    fn the_id_of_an_alert_about_a_frame_never_changes() {
        let frame: FrameId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let id = AlertId::of(&RuleId::built_in("suspicious-vehicle"), &frame);
        assert_eq!(id.to_string(), "f3ea00d9-36d1-8c0a-8c4d-a9ea4697597d");
    }

    #[test]
    fn the_same_key_of_the_same_tenant_is_the_same_frame() {
        let one = FrameId::from_idempotency_key(&TenantId::shared(), "a").unwrap();
        assert_eq!(one, FrameId::from_idempotency_key(&TenantId::shared(), "a").unwrap());
        assert_ne!(one, FrameId::from_idempotency_key(&TenantId::admin(), "a").unwrap());
        assert_ne!(one, FrameId::from_idempotency_key(&TenantId::shared(), "b").unwrap());
        assert_eq!(one.uuid().get_version_num(), 8);
    }

    #[test]
    fn a_time_ordered_key_gives_a_time_ordered_id_of_the_same_time() {
        let key = Uuid::now_v7();
        let id = FrameId::from_idempotency_key(&TenantId::shared(), &key.to_string()).unwrap();
        assert_eq!(id.uuid().get_version_num(), 7);
        assert_eq!(id.uuid().as_bytes()[..6], key.as_bytes()[..6]);
        assert_ne!(id.uuid(), key);
    }

    #[test]
    fn keys_that_no_header_can_carry_are_refused() {
        for key in ["", "tab\t", &"x".repeat(256), "ü"] {
            assert_eq!(
                FrameId::from_idempotency_key(&TenantId::shared(), key),
                Err(IdError::NotIdempotencyKey),
                "{key:?}"
            );
        }
    }

    #[test]
    fn detection_ids_read_back_as_they_were_written() {
        let id = DetectionId { frame: FrameId::now(), detector: "face_2".parse().unwrap(), index: 17 };
        assert_eq!(id.to_string().parse::<DetectionId>().unwrap(), id);
        assert!("no-detection-1".parse::<DetectionId>().is_err());
        assert!("ü".repeat(40).parse::<DetectionId>().is_err());
    }

    #[test]
    fn names_outside_their_alphabet_are_refused_with_the_alphabet() {
        let error = "gate 1".parse::<StreamName>().unwrap_err().to_string();
        assert!(error.contains("A-Z a-z 0-9 . _ -"), "{error}");
        assert!("gate-1".parse::<StreamName>().is_ok());
        assert!(serde_json::from_str::<StreamName>("\"a/b\"").is_err());
    }
}
