//! Token introspection (RFC 7662): the state of a token of any kind, and the user of a credential for requests.

use std::sync::Arc;

use contracts::{TenantId, UserId};
use jiff::Timestamp;
use store::relational::UserRecord;
use uuid::Uuid;

use crate::AccessError;
use crate::caller::Scope;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sessions::REFRESH_PREFIX;
use crate::verifier::unavailable;

/// The state of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// The token's owner.
    pub user: UserId,
    /// The owner's user name, or else its e-mail address.
    pub name: Option<String>,
    /// The owner's tenant.
    pub tenant: TenantId,
    /// The scopes that the token allows now.
    pub scopes: Vec<Scope>,
    /// Time of issue, where it is known.
    pub issued_at: Option<Timestamp>,
    /// End of the token's validity; `None` without an end.
    pub expires_at: Option<Timestamp>,
    /// The token's id; a refresh token has none.
    pub id: Option<Uuid>,
    /// Whether it can authenticate requests: true for an access token or an API token, false for a refresh token.
    pub makes_requests: bool,
}

/// A valid credential for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidToken {
    /// The user who makes the requests.
    pub user: Arc<UserRecord>,
    /// End of the credential's validity; `None` without an end.
    pub expires_at: Option<Timestamp>,
}

impl AccountsService {
    /// The user of an access token or API token. `None` for any other text, such as a refresh token, an expired or revoked token, or one
    /// with the signature of another key. Costs no query while the user is cached.
    ///
    /// # Errors
    /// `Unavailable` when the database cannot be read.
    pub async fn validate(&self, token: &str) -> Result<Option<ValidToken>, AccessError> {
        match self.valid_token(token).await {
            Ok(valid) => Ok(Some(valid)),
            Err(AccessError::InvalidCredential) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn valid_token(&self, token: &str) -> Result<ValidToken, AccessError> {
        if token.contains('.') {
            let claims = self.verifier.claims(token)?;
            let user = self.verifier.active_user(claims.sub).await?;
            return Ok(ValidToken { user, expires_at: Some(claims.expires_at()) });
        }
        let owner = self.verifier.active_api_token(token).await?;
        Ok(ValidToken { user: Arc::new(owner.user.clone()), expires_at: owner.token.expires_at })
    }

    /// The state of a token; `None` for one that is not valid.
    pub async fn token_state(&self, token: &SecretText) -> Result<Option<TokenState>, AccessError> {
        let state = if token.expose().contains('.') {
            self.access_token_state(token.expose()).await
        } else if token.expose().starts_with(REFRESH_PREFIX) {
            return self.refresh_token_state(token).await;
        } else {
            self.api_token_state(token.expose()).await
        };
        match state {
            Ok(state) => Ok(Some(state)),
            Err(AccessError::InvalidCredential) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn access_token_state(&self, token: &str) -> Result<TokenState, AccessError> {
        let claims = self.verifier.claims(token)?;
        let user = self.verifier.active_user(claims.sub).await?;
        Ok(TokenState {
            issued_at: Timestamp::from_second(claims.iat).ok(),
            expires_at: Some(claims.expires_at()),
            id: Some(claims.jti),
            makes_requests: true,
            ..state_of(&user, &claims.scopes())
        })
    }

    async fn api_token_state(&self, token: &str) -> Result<TokenState, AccessError> {
        let owner = self.verifier.active_api_token(token).await?;
        Ok(TokenState {
            issued_at: Some(owner.token.created_at),
            expires_at: owner.token.expires_at,
            id: Some(owner.token.id.uuid()),
            makes_requests: true,
            ..state_of(&owner.user, &Scope::parse_known(&owner.token.scopes))
        })
    }

    async fn refresh_token_state(&self, token: &SecretText) -> Result<Option<TokenState>, AccessError> {
        let session = self.store.session_by_token(&token.hash(), self.clock.now()).await.map_err(unavailable)?;
        let Some(session) = session else { return Ok(None) };
        let user = self.verifier.cached_user(session.user).await?.filter(|user| !user.disabled);
        let Some(user) = user else { return Ok(None) };
        Ok(Some(TokenState {
            issued_at: Some(session.last_used_at),
            expires_at: Some(session.expires_at),
            ..state_of(&user, &Scope::parse_known(&session.scopes))
        }))
    }
}

fn state_of(user: &UserRecord, named: &[Scope]) -> TokenState {
    TokenState {
        user: user.id,
        name: user.username.clone().or_else(|| user.email.clone()),
        tenant: user.tenant.clone(),
        scopes: Scope::intersect(Scope::allowed_for(user.role), named),
        issued_at: None,
        expires_at: None,
        id: None,
        makes_requests: false,
    }
}
