//! Changes of a user's own names, e-mail address and password.

use contracts::{SessionId, TenantId, UserId};
use store::relational::{PasswordHash, ProfileChange, UserRecord};

use crate::audit::Actor;
use crate::error::AccountError;
use crate::names::{check_names, invalid, is_operator_name, known_names};
use crate::passwords::Verification;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sign_in::Origin;
use crate::throttle::Attempt;
use crate::users::check_written;

/// Attempts of an admin to set a password that changes at the same time.
const SET_PASSWORD_ATTEMPTS: u32 = 3;

/// A change of a user's own profile. `None` leaves a field as it is.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The new user name.
    pub username: Option<String>,
    /// The new e-mail address.
    pub email: Option<String>,
    /// The new full name; an empty one removes it.
    pub full_name: Option<String>,
    /// The present password. A user with a password gives it with a new user name or e-mail address.
    pub present_password: Option<SecretText>,
}

impl AccountsService {
    /// Changes a user's own profile. A new user name or e-mail address requires the present
    /// password: otherwise an attacker with a stolen access token could lock the owner out and have a
    /// new password mailed.
    pub async fn change_profile(
        &self,
        id: UserId,
        change: &Profile,
        origin: &Origin,
    ) -> Result<UserRecord, AccountError> {
        let email = change.email.as_deref().map(str::trim);
        check_names(change.username.as_deref(), email, change.full_name.as_deref())?;
        if email.is_some() || change.username.is_some() {
            self.check_present_password(id, change.present_password.as_ref(), origin).await?;
        }
        let takes_operator_name = change.username.as_deref().is_some_and(is_operator_name);
        if takes_operator_name && self.user(id).await?.tenant != TenantId::admin() {
            return Err(AccountError::UsernameTaken);
        }
        let full_name = change.full_name.clone().map(|name| Some(name).filter(|name| !name.is_empty()));
        let stored = ProfileChange { username: change.username.clone(), email: email.map(str::to_owned), full_name };
        let now = self.clock.now();
        let until = self.settings.all_credentials_expired_by(now);
        check_written(self.store.change_profile(id, &stored, now, until).await?)?;
        self.audit("profile_changed", Some(id), &origin.actor(Some(id)), None).await;
        self.verifier.refresh_best_effort().await;
        self.user(id).await
    }

    /// Changes a user's own password. The session `keep` continues; all others end.
    ///
    /// # Errors
    /// `WrongPresentPassword`, also for a user without a password, or when another request changed it in the meantime.
    pub async fn change_password(
        &self,
        id: UserId,
        present: &SecretText,
        new: &SecretText,
        keep: Option<SessionId>,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        let user = self.user(id).await?;
        let stored = self.check_present_password(id, Some(present), origin).await?;
        let stored = stored.ok_or(AccountError::WrongPresentPassword)?;
        match self.replace_password(&user, Some(&stored), new, keep, &origin.actor(Some(id))).await? {
            true => Ok(()),
            false => Err(AccountError::WrongPresentPassword),
        }
    }

    /// Verifies the present password of a signed-in user and returns its hash; `None` for a user without a password.
    ///
    /// # Errors
    /// `WrongPresentPassword`; `Invalid` when the user has a password and gives none.
    pub(crate) async fn check_present_password(
        &self,
        id: UserId,
        present: Option<&SecretText>,
        origin: &Origin,
    ) -> Result<Option<PasswordHash>, AccountError> {
        let Some(stored) = self.store.password(id).await? else { return Ok(None) };
        let present =
            present.ok_or_else(|| invalid("present_password", "this change requires the present password"))?;
        let attempt = Attempt { kind: "password", login: &id.to_string(), user: Some(id), address: origin.address };
        self.throttle.admit(&attempt, self.clock.now()).await?;
        match self.hasher.verify(self.hasher.permit()?, present, Some(&stored)).await? {
            Verification::Mismatch => Err(AccountError::WrongPresentPassword),
            Verification::Match { .. } => Ok(Some(stored)),
        }
    }

    /// Sets a user's password, for an admin. All sessions end.
    pub async fn set_password(&self, id: UserId, new: &SecretText, actor: &Actor) -> Result<(), AccountError> {
        for _ in 0..SET_PASSWORD_ATTEMPTS {
            let user = self.user(id).await?;
            let stored = self.store.password(id).await?;
            if self.replace_password(&user, stored.as_ref(), new, None, actor).await? {
                return Ok(());
            }
        }
        Err(AccountError::Unavailable("the password is being changed by others; try again".to_owned()))
    }

    /// Replaces a password. `false` when the stored hash is no longer `stored`.
    async fn replace_password(
        &self,
        user: &UserRecord,
        stored: Option<&PasswordHash>,
        new: &SecretText,
        keep: Option<SessionId>,
        actor: &Actor,
    ) -> Result<bool, AccountError> {
        self.settings.passwords.check(new, &known_names(user))?;
        let (hash, now) = (self.hasher.hash(new).await?, self.clock.now());
        let until = self.settings.all_credentials_expired_by(now);
        if !self.store.change_password(user.id, stored, &hash, keep, now, until).await? {
            return Ok(false);
        }
        self.audit("password_changed", Some(user.id), actor, None).await;
        self.verifier.refresh_best_effort().await;
        Ok(true)
    }
}
