//! Users as the database stores them.

use contracts::{TenantId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::identities::Identity;
use super::passwords::PasswordHash;
use super::values::{Row, tenant, unreadable};
use crate::StoreError;

/// The role of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads its own tenant and the shared data.
    User,
    /// Reads every tenant and manages users.
    Admin,
}

impl Role {
    /// The name in the database and in the public API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "user" => Ok(Self::User),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("there is no role {name:?}; the roles are user and admin")),
        }
    }
}

/// A limit of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserLimit {
    /// The configured limit of all users.
    #[default]
    Configured,
    /// No limit.
    Unlimited,
    /// A separate limit for this user.
    AtMost(u32),
}

impl UserLimit {
    pub(super) const fn stored(self) -> Option<i64> {
        match self {
            Self::Configured => None,
            Self::Unlimited => Some(-1),
            Self::AtMost(most) => Some(most as i64),
        }
    }

    fn read(stored: Option<i64>) -> Self {
        match stored {
            None => Self::Configured,
            Some(-1) => Self::Unlimited,
            Some(most) => Self::AtMost(u32::try_from(most).unwrap_or(u32::MAX)),
        }
    }

    /// The limit in force, given the configured one; `None` without a limit.
    pub const fn in_force(self, configured: Option<u32>) -> Option<u32> {
        match self {
            Self::Configured => configured,
            Self::Unlimited => None,
            Self::AtMost(most) => Some(most),
        }
    }
}

/// A user to add.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The id.
    pub id: UserId,
    /// The tenant, which no other user has or had.
    pub tenant: Uuid,
    /// The user name.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The name that people see.
    pub full_name: Option<String>,
    /// The hash of the password.
    pub password: Option<PasswordHash>,
    /// The federated identity to link at once. Its provider has verified `email`.
    pub identity: Option<Identity>,
    /// The role.
    pub role: Role,
    /// Frames per period.
    pub quota: UserLimit,
    /// Requests per second.
    pub rate_limit: UserLimit,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The id.
    pub id: UserId,
    /// The tenant.
    pub tenant: TenantId,
    /// The user name.
    pub username: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The name that people see.
    pub full_name: Option<String>,
    /// The role.
    pub role: Role,
    /// Frames per period.
    pub quota: UserLimit,
    /// Requests per second.
    pub rate_limit: UserLimit,
    /// Whether it may not sign in or make requests.
    pub disabled: bool,
    /// Time of registration.
    pub created_at: Timestamp,
    /// Time of the last sign-in.
    pub last_sign_in_at: Option<Timestamp>,
}

impl UserRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let role: String = row.get("role")?;
        Ok(Self {
            id: UserId::from_uuid(row.get("user_id")?),
            tenant: tenant(row)?,
            username: row.get("username")?,
            email: row.get("email")?,
            full_name: row.get("full_name")?,
            role: role.parse().map_err(|error: String| unreadable("role", &error))?,
            quota: UserLimit::read(row.get("quota")?),
            rate_limit: UserLimit::read(row.get("rate_limit")?),
            disabled: row.get("disabled")?,
            created_at: row.get("created_at")?,
            last_sign_in_at: row.get("last_sign_in_at")?,
        })
    }
}

/// What is known about a user besides its record. A role that only verifies credentials may not read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserState {
    /// Whether a reset mail or an OpenID provider proved that the e-mail address is the user's.
    pub email_verified: bool,
    /// Whether it has no password and signs in with an OpenID provider.
    pub is_federated: bool,
    /// Time of the last change of names, address, password, role or limits; that of the registration without one.
    pub updated_at: Timestamp,
}

impl UserState {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let (email, verified): (Option<String>, Option<String>) = (row.get("email")?, row.get("verified_email")?);
        let updated_at: Option<Timestamp> = row.get("updated_at")?;
        Ok(Self {
            email_verified: email.is_some() && email == verified,
            is_federated: row.get("is_federated")?,
            updated_at: updated_at.map_or_else(|| row.get("created_at"), Ok)?,
        })
    }
}

/// A change of names and address. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// The new user name.
    pub username: Option<String>,
    /// The new e-mail address.
    pub email: Option<String>,
    /// The new full name; an inner `None` removes it.
    pub full_name: Option<Option<String>>,
}

/// A change of role and limits. `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessChange {
    /// The new role.
    pub role: Option<Role>,
    /// The new quota.
    pub quota: Option<UserLimit>,
    /// The new rate limit.
    pub rate_limit: Option<UserLimit>,
    /// Whether the user is to be disabled.
    pub disabled: Option<bool>,
}

/// The outcome of writing a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserWriteOutcome {
    /// Stored.
    Stored,
    /// Another user has the user name, in any case.
    UsernameTaken,
    /// Another user has the mailbox, in any spelling.
    EmailTaken,
    /// Another user is linked to the federated identity.
    IdentityTaken,
    /// No user has the id.
    Unknown,
}

/// The columns of a user in every statement that reads one.
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.tenant, users.username, users.email, users.full_name, users.role, users.quota, \
         users.rate_limit, users.disabled, users.created_at, users.last_sign_in_at"
    };
}
pub(super) use user_columns;
