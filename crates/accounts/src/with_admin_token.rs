//! The operator's own token besides the users' credentials.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::FrameId;

use crate::admin_token::AdminToken;
use crate::caller::Caller;
use crate::limits::{RateLimitDecision, RateLimits};
use crate::{AccessError, Accounts};

/// Accepts the operator's token, even while the database is unreachable, and every credential of the accounts.
pub struct WithAdminToken {
    admin_token: AdminToken,
    accounts: Arc<dyn Accounts>,
}

impl WithAdminToken {
    /// Accepts `admin_token` and what `accounts` accepts.
    pub fn new(admin_token: AdminToken, accounts: Arc<dyn Accounts>) -> Self {
        Self { admin_token, accounts }
    }
}

#[async_trait]
impl Accounts for WithAdminToken {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        match self.admin_token.authenticate(token).await {
            Err(AccessError::InvalidCredential) => self.accounts.authenticate(token).await,
            outcome => outcome,
        }
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<RateLimitDecision>, AccessError> {
        self.accounts.admit(caller).await
    }

    async fn charge(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.accounts.charge(caller, frame).await
    }

    async fn refund(&self, caller: &Caller, frame: FrameId) -> Result<(), AccessError> {
        self.accounts.refund(caller, frame).await
    }

    async fn check(&self) -> Result<(), AccessError> {
        self.accounts.check().await
    }

    fn shared_limits(&self) -> Option<Arc<dyn RateLimits>> {
        self.accounts.shared_limits()
    }
}
