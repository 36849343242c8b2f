//! API tokens: what programs use in place of a sign-in. Shown once, kept as a hash.

use contracts::{ApiTokenId, UserId};
use jiff::Timestamp;
use store::relational::{ApiTokenPut, ApiTokenRecord, MAX_API_TOKENS, NewApiToken};

use crate::caller::{Caller, Right};
use crate::error::AccountError;
use crate::secret::Secret;
use crate::stored::{By, StoredAccounts};

/// What an API token begins with.
pub(crate) const PREFIX: &str = "sl_";
/// Longest name, in characters.
const MAX_NAME: usize = 100;

impl StoredAccounts {
    /// Makes an API token for a caller, which may pass on what it may itself; the token is nowhere to be had again.
    pub async fn add_api_token(
        &self,
        caller: &Caller,
        name: &str,
        rights: &[Right],
        expires_at: Option<Timestamp>,
        by: &By,
    ) -> Result<(ApiTokenRecord, Secret), AccountError> {
        let user = caller.user.ok_or(AccountError::NotFound("user"))?;
        let now = self.clock.now();
        check(caller, name, rights, expires_at, now)?;
        let token = Secret::random(PREFIX);
        let new = NewApiToken {
            id: ApiTokenId::now(),
            user,
            name: name.to_owned(),
            token: token.hash(),
            scopes: Right::list(rights),
            // As the database keeps it.
            expires_at: expires_at.and_then(|end| Timestamp::from_microsecond(end.as_microsecond()).ok()),
            by_session: caller.session,
        };
        match self.store.add_api_token(&new, now).await? {
            ApiTokenPut::Stored => {}
            ApiTokenPut::TooMany => return Err(AccountError::TooMany(MAX_API_TOKENS)),
            ApiTokenPut::SignedOut => return Err(AccountError::SignedOut),
        }
        self.note("api_token_added", Some(user), by, Some(format!("{name}: {}", new.scopes))).await;
        let NewApiToken { id, name, scopes, expires_at, .. } = new;
        Ok((ApiTokenRecord { id, name, scopes, created_at: now, expires_at, last_used_at: None }, token))
    }

    /// A user's API tokens, newest first.
    pub async fn api_tokens(&self, user: UserId) -> Result<Vec<ApiTokenRecord>, AccountError> {
        Ok(self.store.api_tokens(user).await?)
    }

    /// Takes an API token of a user back, within a second on every instance.
    pub async fn delete_api_token(&self, user: UserId, id: ApiTokenId, by: &By) -> Result<(), AccountError> {
        let until = self.settings.all_over(self.clock.now());
        if !self.store.delete_api_token(user, id, until).await? {
            return Err(AccountError::NotFound("API token"));
        }
        self.note("api_token_deleted", Some(user), by, Some(id.to_string())).await;
        self.hear().await;
        Ok(())
    }
}

fn check(
    caller: &Caller,
    name: &str,
    rights: &[Right],
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), AccountError> {
    let invalid = |field, reason: &str| Err(AccountError::Invalid { field, reason: reason.to_owned() });
    if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return invalid("name", "a token's name must be 1 to 100 characters without control characters");
    }
    if rights.is_empty() {
        return invalid("scopes", "a token needs at least one scope");
    }
    if let Some(right) = rights.iter().find(|right| !caller.may(**right)) {
        return Err(AccountError::ScopeNotAllowed(*right));
    }
    if expires_at.is_some_and(|end| end <= now) {
        return invalid("expires_at", "the token's end must lie ahead");
    }
    Ok(())
}
