//! Who acts.

use accounts::{Actor, Caller, Origin};
use api_kit::error::ApiError;
use contracts::UserId;
use shop::ShopError;

use crate::error::refused;

/// The authenticated caller of a request, of either protocol.
#[derive(Debug, Clone)]
pub struct Viewer {
    /// The caller with its scopes.
    pub caller: Caller,
    /// The client's address and program.
    pub origin: Origin,
}

impl Viewer {
    /// The caller of a request from this client.
    pub const fn new(caller: Caller, origin: Origin) -> Self {
        Self { caller, origin }
    }

    /// What the shop needs to decide what is visible.
    pub fn shop(&self) -> shop::Viewer {
        shop::Viewer::of(&self.caller)
    }

    /// The user, who has a cart, orders and books.
    ///
    /// # Errors
    /// When the credential is the operator's own, which belongs to no user.
    pub fn user(&self) -> Result<UserId, ApiError> {
        self.caller.user.ok_or_else(|| refused(ShopError::NoUser))
    }

    /// Who acts, for the audit log.
    pub const fn actor(&self) -> Actor {
        Actor { user: self.caller.user, address: Some(self.origin.address) }
    }
}
