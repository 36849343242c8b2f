//! Sessions: renewal, revocation and end.

use contracts::{SessionId, UserId};
use store::relational::{RotationOutcome, SessionRecord};

use crate::access_tokens::{self, TokenSubject};
use crate::api_tokens;
use crate::audit::Actor;
use crate::caller::Scope;
use crate::error::AccountError;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sign_in::{IssuedTokens, Origin, allowed};

/// Prefix of refresh tokens.
pub(crate) const REFRESH_PREFIX: &str = "slr_";

impl AccountsService {
    /// Exchanges a refresh token for the next one and a new access token (RFC 6749, 6; RFC 9700, 4.14.2).
    ///
    /// # Errors
    /// `InvalidGrant` for a token that was used before; after the grace period the session ends as well.
    pub async fn refresh(&self, refresh_token: &SecretText, origin: &Origin) -> Result<IssuedTokens, AccountError> {
        self.throttle.admit_token(origin.address).await?;
        if !refresh_token.expose().starts_with(REFRESH_PREFIX) {
            return Err(AccountError::InvalidGrant);
        }
        let (now, next) = (self.clock.now(), SecretText::random(REFRESH_PREFIX));
        let grace = self.settings.refresh_grace.try_into().unwrap_or(jiff::SignedDuration::ZERO);
        let (until, expires_at) = (self.settings.access_tokens_expired_by(now), now + self.settings.session_life);
        let rotation = self.store.rotate(&refresh_token.hash(), &next.hash(), now, grace, until, expires_at).await?;
        match rotation {
            RotationOutcome::Rotated { session, user, revocation_sequence } => {
                let stored = Scope::parse_known(&session.scopes);
                let scopes = allowed(&user, Some(&stored));
                let narrowed = session.narrowed.unwrap_or_else(|| Scope::is_narrowed(&stored));
                let subject =
                    TokenSubject { user: &user, session: session.id, scopes: &scopes, narrowed, revocation_sequence };
                self.issue_tokens(&subject, next, expires_at)
            }
            RotationOutcome::Spent | RotationOutcome::Unknown => Err(AccountError::InvalidGrant),
            RotationOutcome::Reused { session, user } => {
                tracing::warn!(user.id = %user, session.id = %session, "a refresh token was reused: the session ended");
                let detail = Some(session.to_string());
                self.audit("refresh_token_reused", Some(user), &origin.actor(None), detail).await;
                Err(AccountError::InvalidGrant)
            }
        }
    }

    /// Revokes a token of any kind (RFC 7009). A refresh token revokes its session, even if it was
    /// used before, because an attacker may have used it. An unknown or revoked token is no error.
    pub async fn revoke(&self, token: &SecretText, origin: &Origin) -> Result<(), AccountError> {
        self.throttle.admit_token(origin.address).await?;
        let actor = origin.actor(None);
        let outcome = if token.expose().contains('.') {
            self.revoke_access_token(token, &actor).await
        } else if token.expose().starts_with(REFRESH_PREFIX) {
            match self.store.session_of_token(&token.hash()).await? {
                Some((session, user)) => self.end_session(user, session, &actor).await,
                None => Ok(()),
            }
        } else if token.expose().starts_with(api_tokens::PREFIX) {
            match self.store.api_token(&token.hash()).await? {
                Some(owner) => self.delete_api_token(owner.user.id, owner.token.id, &actor).await,
                None => Ok(()),
            }
        } else {
            Ok(())
        };
        match outcome {
            // Another request revoked it first.
            Err(AccountError::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    async fn revoke_access_token(&self, token: &SecretText, actor: &Actor) -> Result<(), AccountError> {
        let (now, verifier) = (self.clock.now(), &self.verifier);
        let claims = access_tokens::verify(&verifier.keys, &verifier.settings, token.expose(), now);
        let Some(claims) = claims.filter(|claims| !verifier.is_revoked(claims)) else { return Ok(()) };
        self.store.revoke_access_token(claims.jti, self.settings.access_tokens_expired_by(now)).await?;
        self.audit("access_token_revoked", Some(claims.sub), actor, None).await;
        self.verifier.refresh_best_effort().await;
        Ok(())
    }

    /// A user's sessions, newest first.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<SessionRecord>, AccountError> {
        Ok(self.store.sessions(user, self.clock.now()).await?)
    }

    /// Ends one session of a user.
    pub async fn end_session(&self, user: UserId, session: SessionId, actor: &Actor) -> Result<(), AccountError> {
        let now = self.clock.now();
        if !self.store.end_session(user, session, now, self.settings.access_tokens_expired_by(now)).await? {
            return Err(AccountError::NotFound("session"));
        }
        self.audit("session_ended", Some(user), actor, Some(session.to_string())).await;
        self.verifier.refresh_best_effort().await;
        Ok(())
    }

    /// Ends every session of a user. API tokens stay valid.
    pub async fn sign_out_everywhere(&self, user: UserId, actor: &Actor) -> Result<(), AccountError> {
        let now = self.clock.now();
        if !self.store.end_all_sessions(user, now, self.settings.all_credentials_expired_by(now)).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.audit("signed_out_everywhere", Some(user), actor, None).await;
        self.verifier.refresh_best_effort().await;
        Ok(())
    }
}
