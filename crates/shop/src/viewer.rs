//! Who looks at the catalogue.

use accounts::{Caller, Scope};
use contracts::UserId;

/// Who looks: it decides which books are visible and which files may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewer {
    /// The user; `None` for the operator's own token.
    pub user: Option<UserId>,
    /// Whether the viewer manages the catalogue.
    pub admin: bool,
}

impl Viewer {
    /// The viewer behind a credential.
    pub fn of(caller: &Caller) -> Self {
        Self { user: caller.user, admin: caller.may(Scope::Admin) }
    }

    /// A user who is no admin.
    pub const fn user(id: UserId) -> Self {
        Self { user: Some(id), admin: false }
    }

    /// An admin; `None` for the operator's own token.
    pub const fn admin(id: Option<UserId>) -> Self {
        Self { user: id, admin: true }
    }
}
