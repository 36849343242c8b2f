//! Fixed names for API tokens that are created at start, so that a test can use them as constants.

use std::sync::Arc;

use accounts::{AccessError, Accounts, By, Caller, Decision, Granted, Right};
use async_trait::async_trait;
use contracts::FrameId;
use ingest_api::AccountsService;
use store::relational::{Allowance, Role, UserRecord};

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
    pub async fn create(accounts_service: &AccountsService) -> Self {
        let operator = accounts_service.users.operator().await.unwrap();
        let unlimited = Granted { role: Role::User, quota: Allowance::Unlimited, rate_limit: Allowance::Unlimited };
        let other = accounts_service.users.register(&registration("other"), unlimited, &By::default()).await.unwrap();
        Self {
            accounts: accounts_service.with_operator(ADMIN).unwrap(),
            reader: create_token(accounts_service, &operator, &[Right::DetectionsRead]).await,
            other: create_token(accounts_service, &other, Right::of(Role::User)).await,
        }
    }
}

async fn create_token(accounts_service: &AccountsService, user: &UserRecord, rights: &[Right]) -> String {
    let caller = caller_of(user, rights);
    let (_, token) =
        accounts_service.users.add_api_token(&caller, "alias", rights, None, &By::default()).await.unwrap();
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
