//! Fixed names for API tokens that are created at start, so that a test can use them as constants.

use std::sync::Arc;

use accounts::{
    AccessError, Accounts, AccountsService, Actor, Caller, RateLimitDecision, RateLimits, Scope, UserAccess,
};
use async_trait::async_trait;
use contracts::FrameId;
use store::relational::{Role, UserLimit, UserRecord};

use super::{ADMIN, caller_of, registration};

/// Alias of a token of the operator's user with the scope `detections:read` only.
pub const READER: &str = "token-of-a-reader";
/// Alias of a token of another user, who has every scope of a user and no limits.
pub const OTHER: &str = "token-of-another-tenant";

/// Accounts that replace an alias by its token.
pub struct TokenAliases {
    accounts: Arc<dyn Accounts>,
    reader: String,
    other: String,
}

impl TokenAliases {
    /// Creates the tokens, and the user `other`.
    pub async fn create(accounts_service: &Arc<AccountsService>) -> Self {
        let operator = accounts_service.operator().await.unwrap();
        let unlimited = UserAccess { role: Role::User, quota: UserLimit::Unlimited, rate_limit: UserLimit::Unlimited };
        let other = accounts_service.register(&registration("other"), unlimited, &Actor::default()).await.unwrap();
        Self {
            accounts: accounts_service.with_admin_token(ADMIN).unwrap(),
            reader: create_token(accounts_service, &operator, &[Scope::DetectionsRead]).await,
            other: create_token(accounts_service, &other, Scope::allowed_for(Role::User)).await,
        }
    }
}

async fn create_token(accounts_service: &Arc<AccountsService>, user: &UserRecord, scopes: &[Scope]) -> String {
    let caller = caller_of(user, scopes);
    let (_, token) = accounts_service.add_api_token(&caller, "alias", scopes, None, &Actor::default()).await.unwrap();
    token.expose().to_owned()
}

#[async_trait]
impl Accounts for TokenAliases {
    async fn authenticate(&self, token: &str) -> Result<Caller, AccessError> {
        let token = match token {
            READER => &self.reader,
            OTHER => &self.other,
            token => token,
        };
        self.accounts.authenticate(token).await
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
