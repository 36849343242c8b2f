//! Names: texts of a length out of an alphabet.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{IdError, hash_id};

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
    /// Owner of data: the UUID of a user, or `shared`, which every user can read and only the operator can write.
    TenantId,
    "a tenant",
    1..=64,
    "a-z 0-9 -",
    "^[a-z0-9-]{1,64}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);
name!(
    /// Name of a group of frames, usually one camera.
    StreamName,
    "a stream",
    1..=64,
    "A-Z a-z 0-9 . _ -",
    "^[A-Za-z0-9._-]{1,64}$",
    |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
);
name!(
    /// Name of a watchlist: subjects of a tenant that rules look for.
    WatchlistName,
    "a watchlist",
    1..=64,
    "A-Z a-z 0-9 _ -",
    "^[A-Za-z0-9_-]{1,64}$",
    |byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)
);
name!(
    /// Name of a detector, such as `face`.
    DetectorName,
    "a detector",
    1..=32,
    "a-z 0-9 _",
    "^[a-z0-9_]{1,32}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'
);
name!(
    /// Name of a category of books, such as `science-fiction`.
    CategorySlug,
    "a category",
    1..=32,
    "a-z 0-9 -",
    "^[a-z0-9-]{1,32}$",
    |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
);

impl TenantId {
    /// The tenant whose data every user can read.
    pub fn shared() -> Self {
        Self("shared".to_owned())
    }

    /// The tenant of the operator's `admin` user.
    pub fn admin() -> Self {
        Self::from_uuid(Uuid::new_v8(hash_id("tenant", &[b"admin"])))
    }

    /// The tenant of a user.
    pub fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid.to_string())
    }
}
