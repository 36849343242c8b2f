//! Users: registration, lists, and changes by an admin.

use contracts::{TenantId, UserId};
use store::PageCursor;
use store::relational::{
    AccessChange, Identity, LinkedIdentity, NewUser, PasswordHash, PhotoStatus, Role, UserLimit, UserRecord, UserState,
    UserWriteOutcome,
};
use uuid::Uuid;

use crate::audit::Actor;
use crate::error::AccountError;
use crate::names::{MAX_FULL_NAME, OPERATOR, check_names, invalid, is_operator_name};
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sign_in::{IssuedTokens, Origin, allowed};

/// A registration.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// The user name, to sign in with.
    pub username: Option<String>,
    /// The e-mail address, to sign in with.
    pub email: Option<String>,
    /// The name that people see.
    pub full_name: Option<String>,
    /// The password; `None` only with an `identity`.
    pub password: Option<SecretText>,
    /// The federated identity that the user signs in with.
    pub identity: Option<Identity>,
}

/// Role and limits of a new user. Users cannot choose them when they register.
#[derive(Debug, Clone, Copy)]
pub struct UserAccess {
    /// The role.
    pub role: Role,
    /// Frames per period.
    pub quota: UserLimit,
    /// Requests per second.
    pub rate_limit: UserLimit,
}

impl Default for UserAccess {
    fn default() -> Self {
        Self { role: Role::User, quota: UserLimit::Configured, rate_limit: UserLimit::Configured }
    }
}

impl AccountsService {
    /// Registers a user. Registrations without a signed-in actor are limited by address.
    pub async fn register(
        &self,
        new: &Registration,
        access: UserAccess,
        actor: &Actor,
    ) -> Result<UserRecord, AccountError> {
        let new = &Registration { email: new.email.as_deref().map(|email| email.trim().to_owned()), ..new.clone() };
        self.check_registration(new)?;
        if let Actor { user: None, address: Some(address) } = actor {
            self.throttle.admit_address("register", *address).await?;
        }
        let password = match &new.password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        self.add(new, password, access, Uuid::new_v4(), actor).await
    }

    /// Registers a user by e-mail address and password, and signs it in.
    ///
    /// # Errors
    /// `RegistrationClosed` when only an admin adds users; `EmailTaken` when another user has the address.
    pub async fn sign_up(
        &self,
        email: &str,
        password: &SecretText,
        origin: &Origin,
    ) -> Result<IssuedTokens, AccountError> {
        if !self.settings.registration {
            return Err(AccountError::RegistrationClosed);
        }
        let (email, password) = (Some(email.to_owned()), Some(password.clone()));
        let new = Registration { email, password, ..Registration::default() };
        let user = self.register(&new, UserAccess::default(), &origin.actor(None)).await?;
        // None only if an admin disabled or deleted the user in the meantime.
        let tokens = self.open_session(&user, &allowed(&user, None), None, origin).await?;
        tokens.ok_or(AccountError::SignedOut)
    }

    fn check_registration(&self, new: &Registration) -> Result<(), AccountError> {
        match &new.password {
            Some(password) => {
                let names = [&new.username, &new.email, &new.full_name];
                let names: Vec<&str> = names.into_iter().filter_map(Option::as_deref).collect();
                self.settings.passwords.check(password, &names)?;
            }
            None if new.identity.is_none() => return Err(invalid("password", "a password is required")),
            None => {}
        }
        check_names(new.username.as_deref(), new.email.as_deref(), new.full_name.as_deref())?;
        if new.username.as_deref().is_some_and(is_operator_name) {
            return Err(AccountError::UsernameTaken);
        }
        if new.username.is_none() && new.email.is_none() {
            return Err(invalid("email", "an e-mail address or a user name is required"));
        }
        Ok(())
    }

    async fn add(
        &self,
        new: &Registration,
        password: Option<PasswordHash>,
        access: UserAccess,
        tenant: Uuid,
        actor: &Actor,
    ) -> Result<UserRecord, AccountError> {
        let user = NewUser {
            id: UserId::now(),
            tenant,
            username: new.username.clone(),
            email: new.email.clone(),
            full_name: new.full_name.clone().filter(|name| !name.is_empty()),
            password,
            identity: new.identity.clone(),
            role: access.role,
            quota: access.quota,
            rate_limit: access.rate_limit,
        };
        check_written(self.store.add_user(&user, self.clock.now()).await?)?;
        self.audit("registered", Some(user.id), actor, None).await;
        self.user(user.id).await
    }

    /// The operator's own user, `admin`, without quota or rate limit. The first call creates it. It has no password until one is
    /// set.
    pub async fn operator(&self) -> Result<UserRecord, AccountError> {
        if let Some(user) = self.store.user_named(OPERATOR).await? {
            return Ok(user);
        }
        let access = UserAccess { role: Role::Admin, quota: UserLimit::Unlimited, rate_limit: UserLimit::Unlimited };
        let new = Registration { username: Some(OPERATOR.to_owned()), ..Registration::default() };
        let tenant = Uuid::try_parse(TenantId::admin().as_str())
            .map_err(|error| AccountError::Internal(format!("the operator's tenant is not a UUID: {error}")))?;
        match self.add(&new, None, access, tenant, &Actor::default()).await {
            // Another instance created it first.
            Err(AccountError::UsernameTaken) => match self.store.user_named(OPERATOR).await? {
                Some(user) => Ok(user),
                None => Err(AccountError::NotFound("user")),
            },
            added => added,
        }
    }

    /// A user by its id.
    pub async fn user(&self, id: UserId) -> Result<UserRecord, AccountError> {
        self.store.user(id).await?.ok_or(AccountError::NotFound("user"))
    }

    /// What is known about a user besides its record: whether its e-mail address is proven, how it signs in, and its last change.
    pub async fn user_state(&self, id: UserId) -> Result<UserState, AccountError> {
        self.store.user_state(id).await?.ok_or(AccountError::NotFound("user"))
    }

    /// What the photographs of a user have shown. As it was at most [`store::relational::ANSWER_LIFE`] ago.
    pub async fn photo_status(&self, user: &UserRecord) -> Result<PhotoStatus, AccountError> {
        Ok(self.store.photo_status(user.id, &user.tenant).await?)
    }

    /// A user by its user name or e-mail address.
    pub async fn user_named(&self, login: &str) -> Result<UserRecord, AccountError> {
        let found = self.user_by_login(login).await?;
        found.ok_or(AccountError::NotFound("user"))
    }

    /// The user that a federated identity is linked to.
    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<UserRecord>, AccountError> {
        Ok(self.store.user_by_identity(identity).await?)
    }

    /// Links a federated identity to a user. It requires the present password, if the user has one: otherwise an attacker with a stolen
    /// access token could add a permanent way to sign in.
    pub async fn link_identity(
        &self,
        user: UserId,
        identity: &Identity,
        present_password: Option<&SecretText>,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        self.check_present_password(user, present_password, origin).await?;
        if !self.store.link_identity(user, identity, self.clock.now()).await? {
            return Err(AccountError::IdentityTaken);
        }
        self.audit("identity_linked", Some(user), &origin.actor(Some(user)), Some(identity.issuer.clone())).await;
        Ok(())
    }

    /// The federated identities of a user.
    pub async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, AccountError> {
        Ok(self.store.identities(user).await?)
    }

    /// Unlinks every federated identity of a user. Returns `false` without a change when the user
    /// has no password, because it could no longer sign in.
    pub async fn unlink_identities(&self, user: UserId, actor: &Actor) -> Result<bool, AccountError> {
        let unlinked = self.store.unlink_identities(user).await?;
        if unlinked {
            self.audit("identities_unlinked", Some(user), actor, None).await;
        }
        Ok(unlinked)
    }

    /// Users, newest first, after a cursor; if `part` is given, only users whose names or address contain it.
    pub async fn users(
        &self,
        part: Option<&str>,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, AccountError> {
        // No name contains NUL, and not every database accepts it in a query.
        if part.is_some_and(|part| part.len() > 4 * MAX_FULL_NAME || part.chars().any(char::is_control)) {
            return Ok(Vec::new());
        }
        Ok(self.store.users(part, after, limit).await?)
    }

    /// Changes role, limits or whether a user is disabled.
    pub async fn change_access(
        &self,
        id: UserId,
        change: &AccessChange,
        actor: &Actor,
    ) -> Result<UserRecord, AccountError> {
        let locks_out = change.disabled == Some(true) || change.role == Some(Role::User);
        if locks_out && actor.user == Some(id) && self.user(id).await?.tenant == TenantId::admin() {
            return Err(AccountError::OperatorLockout);
        }
        let now = self.clock.now();
        if !self.store.change_access(id, change, now, self.settings.all_credentials_expired_by(now)).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.audit("access_changed", Some(id), actor, Some(describe(change))).await;
        self.verifier.refresh_best_effort().await;
        self.user(id).await
    }
}

/// A change for the audit log.
fn describe(change: &AccessChange) -> String {
    let AccessChange { role, quota, rate_limit, disabled } = change;
    let parts = [
        role.map(|role| format!("role: {}", role.name())),
        quota.map(|quota| format!("quota: {}", limit_text(quota, "per period"))),
        rate_limit.map(|rate| format!("rate limit: {}", limit_text(rate, "per second"))),
        disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }.to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A limit for the audit log.
fn limit_text(limit: UserLimit, per: &str) -> String {
    match limit {
        UserLimit::Configured => "default".to_owned(),
        UserLimit::Unlimited => "unlimited".to_owned(),
        UserLimit::AtMost(most) => format!("{most} {per}"),
    }
}

/// The error if a user was not stored.
pub(crate) fn check_written(outcome: UserWriteOutcome) -> Result<(), AccountError> {
    match outcome {
        UserWriteOutcome::Stored => Ok(()),
        UserWriteOutcome::UsernameTaken => Err(AccountError::UsernameTaken),
        UserWriteOutcome::EmailTaken => Err(AccountError::EmailTaken),
        UserWriteOutcome::IdentityTaken => Err(AccountError::IdentityTaken),
        UserWriteOutcome::Unknown => Err(AccountError::NotFound("user")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_describes_a_change_in_words() {
        let (configured, unlimited) = (Some(UserLimit::Configured), Some(UserLimit::Unlimited));
        let three = Some(UserLimit::AtMost(3));
        for (change, expected) in [
            (
                AccessChange { role: Some(Role::Admin), disabled: Some(true), ..Default::default() },
                "role: admin, disabled",
            ),
            (
                AccessChange { quota: three, rate_limit: unlimited, ..Default::default() },
                "quota: 3 per period, rate limit: unlimited",
            ),
            (
                AccessChange { quota: configured, rate_limit: three, ..Default::default() },
                "quota: default, rate limit: 3 per second",
            ),
            (AccessChange { disabled: Some(false), ..Default::default() }, "enabled"),
        ] {
            assert_eq!(describe(&change), expected);
        }
    }
}
