//! Signing in, renewing, signing out; and what a token is to whoever asks.

use std::net::IpAddr;
use std::time::Duration;

use contracts::{SessionId, TenantId, UserId};
use jiff::Timestamp;
use store::relational::{NewSession, PasswordHash, Rotation, SessionRecord, UserRecord};
use uuid::Uuid;

use crate::AccessError;
use crate::access_tokens::{self, Issue};
use crate::api_tokens;
use crate::caller::Right;
use crate::error::AccountError;
use crate::passwords::Verified;
use crate::secret::{self, Secret};
use crate::stored::{By, StoredAccounts};
use crate::throttle::Attempt;

/// What a refresh token begins with.
const REFRESH: &str = "slr_";
/// Longest text about a client that is kept.
const MAX_CLIENT: usize = 200;

/// Where somebody signs in from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address.
    pub address: IpAddr,
    /// The program, as it calls itself.
    pub client: Option<String>,
}

impl Origin {
    pub(crate) const fn by(&self, user: Option<UserId>) -> By {
        By { user, address: Some(self.address) }
    }

    /// What of the program's name can be kept and shown.
    fn client(&self) -> Option<String> {
        let kept: String = self.client.as_deref()?.chars().filter(|c| !c.is_control()).take(MAX_CLIENT).collect();
        Some(kept).filter(|kept| !kept.is_empty())
    }
}

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What requests are made with.
    pub access_token: Secret,
    /// How long that is valid.
    pub expires_in: Duration,
    /// What the next access token is had with, once.
    pub refresh_token: Secret,
    /// What it allows.
    pub rights: Vec<Right>,
    /// The session that it belongs to.
    pub session: SessionId,
    /// Who signed in.
    pub user: UserId,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Whose it is.
    pub user: UserId,
    /// The user's name for signing in, or else its address.
    pub name: Option<String>,
    /// Whose data it is for.
    pub tenant: TenantId,
    /// What it allows.
    pub rights: Vec<Right>,
    /// Since when, where that is known.
    pub issued_at: Option<Timestamp>,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
    /// Its id, where it has one.
    pub id: Option<Uuid>,
    /// Whether it is an access token or an API token; a refresh token makes no requests.
    pub makes_requests: bool,
}

impl StoredAccounts {
    /// Signs somebody in by name or address and password. `scopes` narrows what the sign-in allows.
    ///
    /// # Errors
    /// `WrongPassword` whatever is wrong of the two, after the same time.
    pub async fn sign_in(
        &self,
        login: &str,
        password: &Secret,
        scopes: Option<&[Right]>,
        origin: &Origin,
    ) -> Result<Grant, AccountError> {
        let (user, stored) = self.verified(login, password, origin).await?;
        let rights = allowed(&user, scopes);
        if rights.is_empty() {
            return Err(AccountError::NothingAllowed);
        }
        let Some(grant) = self.open_session(&user, &rights, Some(&stored), origin).await? else {
            return Err(self.refused(Some(user.id), origin).await);
        };
        Ok(grant)
    }

    /// Whose name or address and password these are, with the password's hash.
    pub(crate) async fn verified(
        &self,
        login: &str,
        password: &Secret,
        origin: &Origin,
    ) -> Result<(UserRecord, PasswordHash), AccountError> {
        // First of all: whoever must come back anyway shall cost neither a query nor a place in what slows guessing down.
        let place = self.hasher.place()?;
        let found = self.user_by_login(login).await?;
        let (user, stored) = found.map_or((None, None), |(user, stored)| (Some(user), stored));
        let id = user.as_ref().map(|user| user.id);
        let attempt = Attempt { kind: "sign-in", login, user: id, address: origin.address };
        self.attempts.admit(&attempt, self.clock.now()).await?;

        let verified = self.hasher.verify(place, &within_bounds(password), stored.as_ref()).await?;
        let (Some(user), Some(stored), Verified::Right { rehashed }) = (user, stored, verified) else {
            return Err(self.refused(id, origin).await);
        };
        let Some(rehashed) = rehashed else { return Ok((user, stored)) };
        self.store.rehash(user.id, &stored, &rehashed).await?;
        Ok((user, rehashed))
    }

    /// What whoever is refused is told, whatever the reason.
    pub(crate) async fn refused(&self, user: Option<UserId>, origin: &Origin) -> AccountError {
        self.note("sign_in_refused", user, &origin.by(None), None).await;
        AccountError::WrongPassword
    }

    pub(crate) async fn user_by_login(
        &self,
        login: &str,
    ) -> Result<Option<(UserRecord, Option<PasswordHash>)>, AccountError> {
        // Nobody's name or address is like that; PostgreSQL does not even take it.
        if login.len() > crate::users::MAX_EMAIL || login.chars().any(char::is_control) {
            return Ok(None);
        }
        Ok(self.store.user_by_login(login).await?)
    }

    pub(crate) async fn open_session(
        &self,
        user: &UserRecord,
        rights: &[Right],
        verified: Option<&PasswordHash>,
        origin: &Origin,
    ) -> Result<Option<Grant>, AccountError> {
        let (now, refresh_token) = (self.clock.now(), Secret::random(REFRESH));
        let new = NewSession {
            id: SessionId::now(),
            user: user.id,
            scopes: Right::list(rights),
            client: origin.client(),
            address: Some(origin.address.to_string()),
            token: refresh_token.hash(),
            expires_at: now + self.settings.session_life,
        };
        let Some(revision) = self.store.open_session(&new, verified, now).await? else { return Ok(None) };
        self.note("signed_in", Some(user.id), &origin.by(Some(user.id)), new.client.clone()).await;
        self.grant(user, new.id, rights, revision, refresh_token).map(Some)
    }

    fn grant(
        &self,
        user: &UserRecord,
        session: SessionId,
        rights: &[Right],
        revision: i64,
        refresh_token: Secret,
    ) -> Result<Grant, AccountError> {
        let about = Issue { user, session, rights, revision };
        Ok(Grant {
            access_token: access_tokens::issue(&self.keys, &self.settings, &about, self.clock.now())?,
            expires_in: self.settings.access_token_life,
            refresh_token,
            rights: rights.to_vec(),
            session,
            user: user.id,
        })
    }

    /// Spends a refresh token for the next one and a new access token.
    ///
    /// # Errors
    /// `InvalidGrant` when it is spent already: at once, and after the grace the session ends as well.
    pub async fn refresh(&self, refresh_token: &Secret, origin: &Origin) -> Result<Grant, AccountError> {
        self.attempts.admit_token(origin.address).await?;
        if !refresh_token.expose().starts_with(REFRESH) {
            return Err(AccountError::InvalidGrant);
        }
        let (now, next) = (self.clock.now(), Secret::random(REFRESH));
        let grace = self.settings.refresh_grace.try_into().unwrap_or(jiff::SignedDuration::ZERO);
        let (until, expires_at) = (self.settings.all_over(now), now + self.settings.session_life);
        let rotation = self.store.rotate(&refresh_token.hash(), &next.hash(), now, grace, until, expires_at).await?;
        match rotation {
            Rotation::Rotated { session, user, revision } => {
                let named = Right::known_in(&session.scopes);
                self.grant(&user, session.id, &allowed(&user, Some(&named)), revision, next)
            }
            Rotation::Spent | Rotation::Unknown => Err(AccountError::InvalidGrant),
            Rotation::Reused { session, user } => {
                tracing::warn!(user.id = %user, session.id = %session, "a spent refresh token came again: the session ended");
                self.note("refresh_token_reused", Some(user), &origin.by(None), Some(session.to_string())).await;
                Err(AccountError::InvalidGrant)
            }
        }
    }

    /// Takes a token back, whatever kind it is: of a refresh token the whole session, also of one that was spent, since whoever
    /// spent it may be a thief. One that is none, or is taken back already, costs nothing.
    pub async fn revoke(&self, token: &Secret, origin: &Origin) -> Result<(), AccountError> {
        self.attempts.admit_token(origin.address).await?;
        let by = origin.by(None);
        let outcome = if token.expose().contains('.') {
            self.revoke_access_token(token, &by).await
        } else if token.expose().starts_with(REFRESH) {
            match self.store.session_of_token(&token.hash()).await? {
                Some((session, user)) => self.end_session(user, session, &by).await,
                None => Ok(()),
            }
        } else if token.expose().starts_with(api_tokens::PREFIX) {
            match self.store.api_token(&token.hash()).await? {
                Some(owner) => self.delete_api_token(owner.user.id, owner.token.id, &by).await,
                None => Ok(()),
            }
        } else {
            Ok(())
        };
        match outcome {
            // Another request was faster.
            Err(AccountError::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    async fn revoke_access_token(&self, token: &Secret, by: &By) -> Result<(), AccountError> {
        let now = self.clock.now();
        let claims = access_tokens::verify(&self.keys, &self.settings, token.expose(), now);
        let Some(claims) = claims.filter(|claims| !self.is_taken_back(claims)) else { return Ok(()) };
        self.store.revoke_access_token(claims.jti, self.settings.all_over(now)).await?;
        self.note("access_token_revoked", Some(claims.sub), by, None).await;
        self.hear().await;
        Ok(())
    }

    /// What a token is, if it is valid.
    pub async fn token_state(&self, token: &Secret) -> Result<Option<TokenState>, AccessError> {
        let state = if token.expose().contains('.') {
            self.access_token_state(token.expose()).await
        } else if token.expose().starts_with(REFRESH) {
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
        let claims = self.claims(token)?;
        let user = self.user_now(claims.sub).await?.filter(|user| !user.disabled);
        let user = user.ok_or(AccessError::InvalidCredential)?;
        Ok(TokenState {
            issued_at: Timestamp::from_second(claims.iat).ok(),
            expires_at: Some(claims.ends()),
            id: Some(claims.jti),
            makes_requests: true,
            ..state_of(&user, &claims.rights())
        })
    }

    async fn api_token_state(&self, token: &str) -> Result<TokenState, AccessError> {
        let owner = self.api_token_now(token).await?;
        Ok(TokenState {
            issued_at: Some(owner.token.created_at),
            expires_at: owner.token.expires_at,
            id: Some(owner.token.id.uuid()),
            makes_requests: true,
            ..state_of(&owner.user, &Right::known_in(&owner.token.scopes))
        })
    }

    async fn refresh_token_state(&self, token: &Secret) -> Result<Option<TokenState>, AccessError> {
        let session = self.store.session_by_token(&secret::hash(token.expose()), self.clock.now()).await;
        let Some(session) = session.map_err(crate::stored::unavailable)? else { return Ok(None) };
        let Some(user) = self.user_now(session.user).await?.filter(|user| !user.disabled) else { return Ok(None) };
        Ok(Some(TokenState {
            issued_at: Some(session.last_used_at),
            expires_at: Some(session.expires_at),
            ..state_of(&user, &Right::known_in(&session.scopes))
        }))
    }

    /// A user's sessions, newest first.
    pub async fn sessions(&self, user: UserId) -> Result<Vec<SessionRecord>, AccountError> {
        Ok(self.store.sessions(user, self.clock.now()).await?)
    }

    /// Ends one session of a user.
    pub async fn end_session(&self, user: UserId, session: SessionId, by: &By) -> Result<(), AccountError> {
        let now = self.clock.now();
        if !self.store.end_session(user, session, now, self.settings.all_over(now)).await? {
            return Err(AccountError::NotFound("session"));
        }
        self.note("session_ended", Some(user), by, Some(session.to_string())).await;
        self.hear().await;
        Ok(())
    }

    /// Signs a user out everywhere. API tokens stay.
    pub async fn sign_out_everywhere(&self, user: UserId, by: &By) -> Result<(), AccountError> {
        let now = self.clock.now();
        if !self.store.end_all_sessions(user, now, self.settings.user_over(now)).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.note("signed_out_everywhere", Some(user), by, None).await;
        self.hear().await;
        Ok(())
    }
}

/// What a sign-in allows: everything that the user may, or what of it was asked for.
pub(crate) fn allowed(user: &UserRecord, scopes: Option<&[Right]>) -> Vec<Right> {
    let may = Right::of(user.role);
    may.iter().copied().filter(|right| scopes.is_none_or(|asked| asked.contains(right))).collect()
}

/// A longer one than there can be is nobody's; so much of it as tells that is hashed.
fn within_bounds(password: &Secret) -> Secret {
    Secret::new(password.expose().chars().take(crate::passwords::MAX_LENGTH + 1).collect::<String>())
}

fn state_of(user: &UserRecord, named: &[Right]) -> TokenState {
    TokenState {
        user: user.id,
        name: user.username.clone().or_else(|| user.email.clone()),
        tenant: user.tenant.clone(),
        rights: Right::of(user.role).iter().copied().filter(|right| named.contains(right)).collect(),
        issued_at: None,
        expires_at: None,
        id: None,
        makes_requests: false,
    }
}
