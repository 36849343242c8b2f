//! API tokens: the credentials of programs. Shown once, stored as a hash.

use contracts::{ApiTokenId, UserId};
use jiff::Timestamp;
use store::relational::{ApiTokenRecord, ApiTokenWriteOutcome, MAX_API_TOKENS, NewApiToken};

use crate::audit::Actor;
use crate::caller::{Caller, Scope};
use crate::error::AccountError;
use crate::secret_text::SecretText;
use crate::service::AccountsService;

/// Prefix of API tokens.
pub(crate) const PREFIX: &str = "sl_";
/// Longest name, in characters.
const MAX_NAME: usize = 100;

impl AccountsService {
    /// Creates an API token with scopes of the caller. The token is returned once and cannot be read again.
    pub async fn add_api_token(
        &self,
        caller: &Caller,
        name: &str,
        scopes: &[Scope],
        expires_at: Option<Timestamp>,
        actor: &Actor,
    ) -> Result<(ApiTokenRecord, SecretText), AccountError> {
        let user = caller.user.ok_or(AccountError::NotFound("user"))?;
        let now = self.clock.now();
        check(caller, name, scopes, expires_at, now)?;
        let token = SecretText::random(PREFIX);
        let new = NewApiToken {
            id: ApiTokenId::now(),
            user,
            name: name.to_owned(),
            token: token.hash(),
            scopes: Scope::list(scopes),
            // In whole microseconds, as the database stores it.
            expires_at: expires_at.and_then(|end| Timestamp::from_microsecond(end.as_microsecond()).ok()),
            by_session: caller.session,
        };
        match self.store.add_api_token(&new, now).await? {
            ApiTokenWriteOutcome::Stored => {}
            ApiTokenWriteOutcome::TooMany => return Err(AccountError::TooMany(MAX_API_TOKENS)),
            ApiTokenWriteOutcome::SignedOut => return Err(AccountError::SignedOut),
        }
        self.audit("api_token_added", Some(user), actor, Some(format!("{name}: {}", new.scopes))).await;
        let NewApiToken { id, name, scopes, expires_at, .. } = new;
        Ok((ApiTokenRecord { id, name, scopes, created_at: now, expires_at, last_used_at: None }, token))
    }

    /// A user's API tokens, newest first.
    pub async fn api_tokens(&self, user: UserId) -> Result<Vec<ApiTokenRecord>, AccountError> {
        Ok(self.store.api_tokens(user).await?)
    }

    /// Deletes an API token of a user. Every instance refuses it within a second.
    pub async fn delete_api_token(&self, user: UserId, id: ApiTokenId, actor: &Actor) -> Result<(), AccountError> {
        let until = self.settings.access_tokens_expired_by(self.clock.now());
        if !self.store.delete_api_token(user, id, until).await? {
            return Err(AccountError::NotFound("API token"));
        }
        self.audit("api_token_deleted", Some(user), actor, Some(id.to_string())).await;
        self.verifier.refresh_best_effort().await;
        Ok(())
    }
}

fn check(
    caller: &Caller,
    name: &str,
    scopes: &[Scope],
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), AccountError> {
    let invalid = |field, reason: &str| Err(AccountError::Invalid { field, reason: reason.to_owned() });
    if !(1..=MAX_NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return invalid("name", "a token's name must be 1 to 100 characters without control characters");
    }
    if scopes.is_empty() {
        return invalid("scopes", "a token needs at least one scope");
    }
    if let Some(scope) = scopes.iter().find(|scope| !caller.may(**scope)) {
        return Err(AccountError::ScopeNotAllowed(*scope));
    }
    if expires_at.is_some_and(|end| end <= now) {
        return invalid("expires_at", "the expiry must be in the future");
    }
    Ok(())
}
