//! The caller behind a request.

use std::fmt;
use std::str::FromStr;

use contracts::{SessionId, TenantId, UserId};
use store::relational::Role;

/// A scope of OAuth 2.0 (RFC 6749, 3.3): one kind of operation that a credential allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
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
    /// Read every tenant's data and manage users.
    Admin,
}

impl Scope {
    /// All scopes, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::FramesWrite,
        Self::DetectionsRead,
        Self::AlertsRead,
        Self::RulesWrite,
        Self::FacesWrite,
        Self::FacesRead,
        Self::Admin,
    ];

    /// The name in tokens and in the public interface.
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

    /// The scopes that a user of this role may have.
    pub const fn allowed_for(role: Role) -> &'static [Self] {
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

    /// The scopes in a stored list. Unknown names are ignored: a later version may have written them.
    pub(crate) fn parse_known(scopes: &str) -> Vec<Self> {
        scopes.split(' ').filter_map(|name| name.parse().ok()).collect()
    }

    /// Those of `of` that are among `named`, in the order of `of`.
    pub(crate) fn intersect(of: &[Self], named: &[Self]) -> Vec<Self> {
        of.iter().copied().filter(|scope| named.contains(scope)).collect()
    }

    /// The list of names, separated by blanks.
    pub fn list(scopes: &[Self]) -> String {
        scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
    }

    /// The scopes in a client's list, each once, in the order of [`Self::ALL`].
    ///
    /// # Errors
    /// Names the first unknown one.
    pub fn parse_list(scopes: &str) -> Result<Vec<Self>, UnknownScope> {
        let names = scopes.split_ascii_whitespace();
        let mut scopes = names.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }
}

/// A name of no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {0:?}; there are {all}", all = Scope::list(&Scope::ALL))]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.name() == name);
        // A client may send a long name, and the answer repeats it.
        known.ok_or_else(|| UnknownScope(name.chars().take(64).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The caller of a request: tenant, user and scopes. Handlers take it as an argument, so none runs without a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The tenant whose data it writes.
    pub tenant: TenantId,
    /// The user; `None` for the operator's own token.
    pub user: Option<UserId>,
    /// The session of an access token; `None` for other credentials.
    pub session: Option<SessionId>,
    /// Whether it reads every tenant's data.
    pub sees_all: bool,
    /// The scopes of the credential.
    pub scopes: Vec<Scope>,
    /// Most requests per second; `None` without a limit.
    pub rate_limit: Option<u32>,
    /// End of the credential's validity, at which a stream that it opened closes; `None` without an end.
    pub valid_until: Option<std::time::SystemTime>,
}

impl Caller {
    /// A caller of a tenant with these scopes: without user, session, rate limit or expiry, and limited to its tenant.
    pub const fn new(tenant: TenantId, scopes: Vec<Scope>) -> Self {
        Self { tenant, user: None, session: None, sees_all: false, scopes, rate_limit: None, valid_until: None }
    }

    /// Whether the credential has a scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_back_as_they_are_listed() {
        let scopes = Scope::parse_list(" alerts:read frames:write  alerts:read").unwrap();
        assert_eq!(scopes, [Scope::FramesWrite, Scope::AlertsRead]);
        assert_eq!(Scope::parse_known(&Scope::list(&scopes)), scopes);
        assert_eq!(Scope::parse_known("frames:write later:scope"), [Scope::FramesWrite]);
    }

    #[test]
    fn a_scope_that_is_none_is_named_with_those_that_are() {
        let refused = Scope::parse_list("frames:write root").unwrap_err().to_string();
        assert!(refused.contains("\"root\"") && refused.contains("faces:read admin"), "{refused}");
        assert!(Scope::parse_list(&"x".repeat(10_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn only_an_admin_may_be_allowed_to_administrate() {
        assert!(!Scope::allowed_for(Role::User).contains(&Scope::Admin));
        assert_eq!(Scope::allowed_for(Role::User).len() + 1, Scope::allowed_for(Role::Admin).len());
    }
}
