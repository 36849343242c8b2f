//! The caller behind a request.

use std::fmt;
use std::str::FromStr;

use contracts::{SessionId, TenantId, UserId};
use store::relational::Role;

/// Something a credential allows: a scope of OAuth 2.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Send frames and detections.
    FramesWrite,
    /// Read frames, detections and statistics.
    DetectionsRead,
    /// Read alerts, as they come and as a list.
    AlertsRead,
    /// Change rules.
    RulesWrite,
    /// Enrol and erase faces.
    FacesWrite,
    /// Verify and search faces.
    FacesRead,
    /// See everybody's data and manage users.
    Admin,
}

impl Right {
    /// All there are, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::FramesWrite,
        Self::DetectionsRead,
        Self::AlertsRead,
        Self::RulesWrite,
        Self::FacesWrite,
        Self::FacesRead,
        Self::Admin,
    ];

    /// The scope's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FramesWrite => "frames:write",
            Self::DetectionsRead => "detections:read",
            Self::AlertsRead => "alerts:read",
            Self::RulesWrite => "rules:write",
            Self::FacesWrite => "faces:write",
            Self::FacesRead => "faces:read",
            Self::Admin => "admin",
        }
    }

    /// What the scope allows, as the OpenAPI document says it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::FramesWrite => "Send frames and detections",
            Self::DetectionsRead => "Read frames, detections, statistics and rules",
            Self::AlertsRead => "Read alerts, as they come and as a list",
            Self::RulesWrite => "Change rules",
            Self::FacesWrite => "Enrol and erase faces",
            Self::FacesRead => "Verify and search faces",
            Self::Admin => "See everybody's data and manage users",
        }
    }

    /// What a user of this role may be allowed.
    pub const fn of(role: Role) -> &'static [Self] {
        match role {
            Role::User => &[
                Self::FramesWrite,
                Self::DetectionsRead,
                Self::AlertsRead,
                Self::RulesWrite,
                Self::FacesWrite,
                Self::FacesRead,
            ],
            Role::Admin => &Self::ALL,
        }
    }

    /// The rights that a list of scopes names; names that are none are left out, as those of a later version would be.
    pub(crate) fn known_in(scopes: &str) -> Vec<Self> {
        scopes.split(' ').filter_map(|name| name.parse().ok()).collect()
    }

    /// The list of scopes that names these rights.
    pub fn list(rights: &[Self]) -> String {
        rights.iter().map(|right| right.name()).collect::<Vec<_>>().join(" ")
    }

    /// The rights that a client's list of scopes names, each once, in their order.
    ///
    /// # Errors
    /// Names the first that is none.
    pub fn parse_list(scopes: &str) -> Result<Vec<Self>, UnknownScope> {
        let names = scopes.split_ascii_whitespace();
        let mut rights = names.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        rights.sort_unstable();
        rights.dedup();
        Ok(rights)
    }
}

/// A scope that there is none of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}; there are {all}", all = Right::list(&Right::ALL))]
pub struct UnknownScope(String);

impl FromStr for Right {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|right| right.name() == name);
        // What a client made up may be long and is shown back to it.
        known.ok_or_else(|| UnknownScope(name.chars().take(64).collect()))
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who makes a request, and what the credential allows. Handlers take it as an argument: without one there is no tenant to
/// act for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose data it writes.
    pub tenant: TenantId,
    /// Which account it is; none for the operator's own token.
    pub user: Option<UserId>,
    /// The sign-in that the credential came from, where it came from one.
    pub session: Option<SessionId>,
    /// Whether it reads everybody's data.
    pub sees_all: bool,
    /// What the credential allows.
    pub rights: Vec<Right>,
    /// Most requests a second; none without a limit.
    pub rate_limit: Option<u32>,
    /// When the credential ends, if it does: a stream opened with it closes then.
    pub valid_until: Option<std::time::SystemTime>,
}

impl Caller {
    /// Whether the credential allows this.
    pub fn may(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_as_they_are_listed() {
        let rights = Right::parse_list(" alerts:read frames:write  alerts:read").unwrap();
        assert_eq!(rights, [Right::FramesWrite, Right::AlertsRead]);
        assert_eq!(Right::known_in(&Right::list(&rights)), rights);
        assert_eq!(Right::known_in("frames:write later:scope"), [Right::FramesWrite]);
    }

    #[test]
    fn a_scope_that_is_none_is_named_with_those_that_are() {
        let refused = Right::parse_list("frames:write root").unwrap_err().to_string();
        assert!(refused.contains("\"root\"") && refused.contains("faces:read admin"), "{refused}");
        assert!(Right::parse_list(&"x".repeat(10_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn only_an_admin_may_be_allowed_to_administrate() {
        assert!(!Right::of(Role::User).contains(&Right::Admin));
        assert_eq!(Right::of(Role::User).len() + 1, Right::of(Role::Admin).len());
    }
}
