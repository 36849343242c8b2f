//! The operator's own token beside everybody's accounts.

use std::sync::Arc;

use async_trait::async_trait;
use contracts::FrameId;

use crate::admin_token::AdminToken;
use crate::caller::Caller;
use crate::limits::Decision;
use crate::{AccessError, Accounts};

/// Accepts the operator's token, whatever becomes of the database, and whatever the accounts accept.
pub struct WithOperator {
    operator: AdminToken,
    accounts: Arc<dyn Accounts>,
}

impl WithOperator {
    /// The two side by side.
    pub fn new(operator: AdminToken, accounts: Arc<dyn Accounts>) -> Self {
        Self { operator, accounts }
    }
}

#[async_trait]
impl Accounts for WithOperator {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        match self.operator.authenticate(token).await {
            Err(AccessError::InvalidCredential) => self.accounts.authenticate(token).await,
            told => told,
        }
    }

    async fn admit(&self, caller: &Caller) -> Result<Option<Decision>, AccessError> {
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
}
