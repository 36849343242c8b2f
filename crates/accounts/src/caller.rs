//! Scopes, and the authenticated caller of a request.

use std::fmt;
use std::str::FromStr;

use contracts::{SessionId, TenantId, UserId};
use store::relational::Role;

/// A scope of OAuth 2.0 (RFC 6749, 3.3). Each allows one kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Send frames and detections, and report the state of streams.
    FramesWrite,
    /// Read frames, detections, statistics, streams and rules.
    DetectionsRead,
    /// Read alerts, as a stream and as a list.
    AlertsRead,
    /// Change rules and the settings of streams.
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

    /// The name in tokens and in the public API.
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

    /// Description in the OpenAPI document.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::FramesWrite => "Send frames and detections, and report the state of streams",
            Self::DetectionsRead => "Read frames, detections, statistics, streams and rules",
            Self::AlertsRead => "Read alerts, as a stream and as a list",
            Self::RulesWrite => "Change rules and the settings of streams",
            Self::FacesWrite => "Enrol and erase faces",
            Self::FacesRead => "Verify and search faces",
            Self::Admin => "Read every tenant's data and manage users",
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

    /// Whether these are fewer scopes than every user may have.
    pub(crate) fn is_narrowed(scopes: &[Self]) -> bool {
        Self::allowed_for(Role::User).iter().any(|scope| !scopes.contains(scope))
    }

    /// The scopes in a stored list. Unknown names are ignored: a later version may have written them.
    pub(crate) fn parse_known(scopes: &str) -> Vec<Self> {
        scopes.split(' ').filter_map(|name| name.parse().ok()).collect()
    }

    /// The scopes that are in both lists, in the order of `allowed`.
    pub(crate) fn intersect(allowed: &[Self], requested: &[Self]) -> Vec<Self> {
        allowed.iter().copied().filter(|scope| requested.contains(scope)).collect()
    }

    /// The names of the scopes, separated by spaces.
    pub fn list(scopes: &[Self]) -> String {
        scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
    }

    /// Parses a client's list. Returns each scope once, in the order of [`Self::ALL`].
    ///
    /// # Errors
    /// When a scope is unknown; names the first unknown scope.
    pub fn parse_list(scopes: &str) -> Result<Vec<Self>, UnknownScope> {
        let names = scopes.split_ascii_whitespace();
        let mut scopes = names.map(str::parse).collect::<Result<Vec<Self>, _>>()?;
        scopes.sort_unstable();
        scopes.dedup();
        Ok(scopes)
    }
}

/// No scope has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope {0:?}; the valid scopes are {all}", all = Scope::list(&Scope::ALL))]
pub struct UnknownScope(String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let known = Self::ALL.into_iter().find(|scope| scope.name() == name);
        // The error repeats the client's name, which may be long.
        known.ok_or_else(|| UnknownScope(name.chars().take(64).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The authenticated caller of a request. Handlers take it as an argument, so no handler runs without a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The caller writes data of this tenant and reads it.
    pub tenant: TenantId,
    /// `None` for the operator's own token.
    pub user: Option<UserId>,
    /// The session that an access token belongs to; `None` for other credentials.
    pub session: Option<SessionId>,
    /// The session was opened with every scope that a user had at that moment; `false` for other credentials.
    pub full_session: bool,
    /// The caller reads the data of every tenant.
    pub reads_all_tenants: bool,
    /// Scopes of the credential.
    pub scopes: Vec<Scope>,
    /// Requests per second; `None` for no limit.
    pub rate_limit: Option<u32>,
    /// When the credential expires, which also ends the caller's streams; `None` for never.
    pub valid_until: Option<std::time::SystemTime>,
}

impl Caller {
    /// A caller with a tenant and scopes, and nothing else: no user, session, rate limit or expiry. It reads its tenant only.
    pub const fn new(tenant: TenantId, scopes: Vec<Scope>) -> Self {
        Self {
            tenant,
            user: None,
            session: None,
            full_session: false,
            reads_all_tenants: false,
            scopes,
            rate_limit: None,
            valid_until: None,
        }
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
    fn a_formatted_list_of_scopes_parses_to_the_same_scopes() {
        let scopes = Scope::parse_list(" alerts:read frames:write  alerts:read").unwrap();
        assert_eq!(scopes, [Scope::FramesWrite, Scope::AlertsRead]);
        assert_eq!(Scope::parse_known(&Scope::list(&scopes)), scopes);
        assert_eq!(Scope::parse_known("frames:write later:scope"), [Scope::FramesWrite]);
    }

    #[test]
    fn an_unknown_scope_error_lists_the_valid_scopes() {
        let error = Scope::parse_list("frames:write root").unwrap_err().to_string();
        assert!(error.contains("\"root\"") && error.contains(&Scope::list(&Scope::ALL)), "{error}");
        assert!(Scope::parse_list(&"x".repeat(10_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn only_the_admin_role_may_hold_the_admin_scope() {
        assert!(!Scope::allowed_for(Role::User).contains(&Scope::Admin));
        assert_eq!(Scope::allowed_for(Role::User).len() + 1, Scope::allowed_for(Role::Admin).len());
    }
}
