//! Signing in by name and password.

use std::net::IpAddr;
use std::time::Duration;

use contracts::{SessionId, UserId};
use jiff::Timestamp;
use store::relational::{NewSession, PasswordHash, UserRecord};

use crate::access_tokens::{self, TokenSubject};
use crate::audit::Actor;
use crate::caller::Scope;
use crate::error::AccountError;
use crate::passwords::Verification;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sessions::REFRESH_PREFIX;
use crate::throttle::Attempt;

/// Longest text about a client that is stored, in characters.
const MAX_CLIENT: usize = 200;

/// The client of a request.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address.
    pub address: IpAddr,
    /// The client's program, as it names itself (`User-Agent`).
    pub client: Option<String>,
}

impl Origin {
    pub(crate) const fn actor(&self, user: Option<UserId>) -> Actor {
        Actor { user, address: Some(self.address) }
    }

    /// The program's name, without control characters and cut to the maximum length.
    fn client(&self) -> Option<String> {
        let shown: String = self.client.as_deref()?.chars().filter(|c| !c.is_control()).take(MAX_CLIENT).collect();
        Some(shown).filter(|shown| !shown.is_empty())
    }
}

/// The tokens of a sign-in or renewal (RFC 6749, 5.1).
#[derive(Debug, Clone)]
pub struct IssuedTokens {
    /// Authenticates requests.
    pub access_token: SecretText,
    /// Validity of the access token.
    pub expires_in: Duration,
    /// End of the access token's validity.
    pub expires_at: Timestamp,
    /// Can be exchanged once for the next tokens.
    pub refresh_token: SecretText,
    /// End of the refresh token's validity.
    pub refresh_expires_at: Timestamp,
    /// The scopes of both.
    pub scopes: Vec<Scope>,
    /// The session of both.
    pub session: SessionId,
    /// The user who signed in, as it was before.
    pub user: UserRecord,
}

impl AccountsService {
    /// Signs a user in by user name or e-mail address and password. `scopes` narrows what the session allows.
    ///
    /// # Errors
    /// `WrongPassword` for an unknown name, a wrong password or a disabled user. The first two take equally long, and so does a wrong password
    /// of a disabled user: only its right password takes longer.
    pub async fn sign_in(
        &self,
        login: &str,
        password: &SecretText,
        scopes: Option<&[Scope]>,
        origin: &Origin,
    ) -> Result<IssuedTokens, AccountError> {
        let (user, stored) = self.verify_password(login, password, origin).await?;
        let scopes = allowed(&user, scopes);
        if scopes.is_empty() {
            return Err(AccountError::NothingAllowed);
        }
        let Some(tokens) = self.open_session(&user, &scopes, Some(&stored), origin).await? else {
            return Err(self.refuse_sign_in(Some(user.id), origin).await);
        };
        Ok(tokens)
    }

    /// The user with this user name or e-mail address and this password, and the password's hash.
    pub(crate) async fn verify_password(
        &self,
        login: &str,
        password: &SecretText,
        origin: &Origin,
    ) -> Result<(UserRecord, PasswordHash), AccountError> {
        // First: when the queue for hashing is full, the request is refused without a query and does not count as an attempt.
        let permit = self.hasher.permit()?;
        let (id, stored) = self.store.password_by_login(login.trim()).await?;
        let attempt = Attempt { kind: "sign-in", login, user: id, address: origin.address };
        self.throttle.admit(&attempt, self.clock.now()).await?;

        let verification = self.hasher.verify(permit, password, stored.as_ref()).await?;
        let (Some(known), Some(stored), Verification::Match { rehashed }) = (id, stored, verification) else {
            return Err(self.refuse_sign_in(id, origin).await);
        };
        // Only now, so that a known user with a wrong password takes no longer than an unknown one.
        let Some(user) = self.store.user(known).await? else { return Err(self.refuse_sign_in(id, origin).await) };
        let Some(rehashed) = rehashed else { return Ok((user, stored)) };
        self.store.rehash(user.id, &stored, &rehashed).await?;
        Ok((user, rehashed))
    }

    /// Records a refused sign-in. The error is the same for every reason.
    pub(crate) async fn refuse_sign_in(&self, user: Option<UserId>, origin: &Origin) -> AccountError {
        self.audit("sign_in_refused", user, &origin.actor(None), None).await;
        AccountError::WrongPassword
    }

    /// The user with this user name or e-mail address, regardless of case, Unicode form and surrounding blanks.
    pub(crate) async fn user_by_login(&self, login: &str) -> Result<Option<UserRecord>, AccountError> {
        Ok(self.store.user_named(login.trim()).await?)
    }

    /// Opens a session. `None` when the user is disabled, or when its password is no longer the `verified` one.
    pub(crate) async fn open_session(
        &self,
        user: &UserRecord,
        scopes: &[Scope],
        verified: Option<&PasswordHash>,
        origin: &Origin,
    ) -> Result<Option<IssuedTokens>, AccountError> {
        let (now, refresh_token) = (self.clock.now(), SecretText::random(REFRESH_PREFIX));
        let new = NewSession {
            id: SessionId::now(),
            user: user.id,
            scopes: Scope::list(scopes),
            narrowed: Scope::is_narrowed(scopes),
            client: origin.client(),
            address: Some(origin.address.to_string()),
            token: refresh_token.hash(),
            expires_at: now + self.settings.session_life,
        };
        let Some(revocation_sequence) = self.store.open_session(&new, verified, now).await? else { return Ok(None) };
        self.audit("signed_in", Some(user.id), &origin.actor(Some(user.id)), new.client.clone()).await;
        let subject = TokenSubject { user, session: new.id, scopes, narrowed: new.narrowed, revocation_sequence };
        self.issue_tokens(&subject, refresh_token, new.expires_at).map(Some)
    }

    /// Issues an access token. `revocation_sequence` is the number of the newest revocation: only later ones end the token.
    pub(crate) fn issue_tokens(
        &self,
        subject: &TokenSubject<'_>,
        refresh_token: SecretText,
        refresh_expires_at: Timestamp,
    ) -> Result<IssuedTokens, AccountError> {
        let now = self.clock.now();
        Ok(IssuedTokens {
            access_token: access_tokens::issue(&self.signing_keys, &self.settings, subject, now)?,
            expires_in: self.settings.access_token_life,
            expires_at: access_tokens::expires_at(&self.settings, now),
            refresh_token,
            refresh_expires_at,
            scopes: subject.scopes.to_vec(),
            session: subject.session,
            user: subject.user.clone(),
        })
    }
}

/// The scopes of a session: all scopes of the user, or the requested ones among them.
pub(crate) fn allowed(user: &UserRecord, requested: Option<&[Scope]>) -> Vec<Scope> {
    let may = Scope::allowed_for(user.role);
    requested.map_or_else(|| may.to_vec(), |requested| Scope::intersect(may, requested))
}
