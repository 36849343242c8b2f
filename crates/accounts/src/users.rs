//! Users: registering, profiles, and what an admin changes.

use contracts::{SessionId, TenantId, UserId};
use store::Cursor;
use store::relational::{
    AccessChange, Allowance, Identity, LinkedIdentity, NewUser, PasswordHash, ProfileChange, Role, UserPut, UserRecord,
};
use uuid::Uuid;

use crate::error::AccountError;
use crate::passwords::Verified;
use crate::secret::Secret;
use crate::sign_in::Origin;
use crate::stored::{By, StoredAccounts};
use crate::throttle::Attempt;

/// Longest address that mail can be sent to, in bytes.
pub(crate) const MAX_EMAIL: usize = 254;
/// Longest name for signing in.
const MAX_USERNAME: usize = 64;
/// Longest name for people, in characters.
const MAX_FULL_NAME: usize = 200;
/// The user name of the operator's own account.
const OPERATOR: &str = "admin";

/// Somebody who registers.
#[derive(Debug, Clone, Default)]
pub struct Registration {
    /// The name for signing in.
    pub username: Option<String>,
    /// The address, by which one signs in as well.
    pub email: Option<String>,
    /// The name for people.
    pub full_name: Option<String>,
    /// The password; none only for who signs in by `identity`.
    pub password: Option<Secret>,
    /// By whose word one signs in.
    pub identity: Option<Identity>,
}

/// What an operator or admin decides about a new user.
#[derive(Debug, Clone, Copy)]
pub struct Granted {
    /// What it is.
    pub role: Role,
    /// Requests a period.
    pub quota: Allowance,
    /// Requests a second.
    pub rate_limit: Allowance,
}

impl Default for Granted {
    fn default() -> Self {
        Self { role: Role::User, quota: Allowance::Configured, rate_limit: Allowance::Configured }
    }
}

/// A change of one's own profile; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The new name for signing in.
    pub username: Option<String>,
    /// The new address.
    pub email: Option<String>,
    /// The new name for people; an empty one takes it away.
    pub full_name: Option<String>,
    /// The present password: whoever has one gives it with a new address or name for signing in.
    pub present_password: Option<Secret>,
}

impl StoredAccounts {
    /// Adds a user. What whoever registers may not decide is `granted`. Strangers are slowed down by their address.
    pub async fn register(&self, new: &Registration, granted: Granted, by: &By) -> Result<UserRecord, AccountError> {
        let password = match &new.password {
            Some(password) => {
                let about = [&new.username, &new.email, &new.full_name];
                let about: Vec<&str> = about.into_iter().filter_map(Option::as_deref).collect();
                self.settings.passwords.check(password, &about)?;
                Some(password)
            }
            None if new.identity.is_none() => return Err(invalid("password", "a password is needed")),
            None => None,
        };
        check_names(new.username.as_deref(), new.email.as_deref(), new.full_name.as_deref())?;
        if new.username.as_deref().is_some_and(is_operators) {
            return Err(AccountError::UsernameTaken);
        }
        if new.username.is_none() && new.email.is_none() {
            return Err(invalid("email", "an e-mail address or a user name is needed"));
        }
        if let By { user: None, address: Some(address) } = by {
            self.attempts.admit_address("register", *address).await?;
        }
        let password = match password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        self.add(new, password, granted, Uuid::new_v4(), by).await
    }

    async fn add(
        &self,
        new: &Registration,
        password: Option<PasswordHash>,
        granted: Granted,
        tenant: Uuid,
        by: &By,
    ) -> Result<UserRecord, AccountError> {
        let user = NewUser {
            id: UserId::now(),
            tenant,
            username: new.username.clone(),
            email: new.email.clone(),
            full_name: new.full_name.clone().filter(|name| !name.is_empty()),
            password,
            identity: new.identity.clone(),
            role: granted.role,
            quota: granted.quota,
            rate_limit: granted.rate_limit,
        };
        put(self.store.add_user(&user, self.clock.now()).await?)?;
        self.note("registered", Some(user.id), by, None).await;
        self.user(user.id).await
    }

    /// The operator's own user, `admin`, without quota or rate limit; made on the first call. It has no password until one is set
    /// for it.
    pub async fn operator(&self) -> Result<UserRecord, AccountError> {
        if let Some((user, _)) = self.store.user_by_login(OPERATOR).await? {
            return Ok(user);
        }
        let granted = Granted { role: Role::Admin, quota: Allowance::Unlimited, rate_limit: Allowance::Unlimited };
        let new = Registration { username: Some(OPERATOR.to_owned()), ..Registration::default() };
        let tenant = Uuid::try_parse(TenantId::admin().as_str())
            .map_err(|error| AccountError::Internal(format!("the operator's tenant is no UUID: {error}")))?;
        match self.add(&new, None, granted, tenant, &By::default()).await {
            // Another instance was faster.
            Err(AccountError::UsernameTaken) => match self.store.user_by_login(OPERATOR).await? {
                Some((user, _)) => Ok(user),
                None => Err(AccountError::NotFound("user")),
            },
            made => made,
        }
    }

    /// A user.
    pub async fn user(&self, id: UserId) -> Result<UserRecord, AccountError> {
        self.store.user(id).await?.ok_or(AccountError::NotFound("user"))
    }

    /// The user of this name or address.
    pub async fn user_named(&self, login: &str) -> Result<UserRecord, AccountError> {
        let found = self.user_by_login(login).await?;
        found.map(|(user, _)| user).ok_or(AccountError::NotFound("user"))
    }

    /// The user who signs in as this person.
    pub async fn user_by_identity(&self, identity: &Identity) -> Result<Option<UserRecord>, AccountError> {
        Ok(self.store.user_by_identity(identity).await?)
    }

    /// Lets a user sign in as this person too. It takes the password, where there is one: a stolen access token is not to be made
    /// into a way in that lasts.
    pub async fn link_identity(
        &self,
        user: UserId,
        identity: &Identity,
        present_password: Option<&Secret>,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        self.own_password(user, present_password, origin).await?;
        if !self.store.link_identity(user, identity, self.clock.now()).await? {
            return Err(AccountError::IdentityTaken);
        }
        self.note("identity_linked", Some(user), &origin.by(Some(user)), Some(identity.issuer.clone())).await;
        Ok(())
    }

    /// As whom a user signs in by the word of others.
    pub async fn identities(&self, user: UserId) -> Result<Vec<LinkedIdentity>, AccountError> {
        Ok(self.store.identities(user).await?)
    }

    /// Lets a user sign in by its password alone. False when it has none.
    pub async fn unlink_identities(&self, user: UserId, by: &By) -> Result<bool, AccountError> {
        let unlinked = self.store.unlink_identities(user).await?;
        if unlinked {
            self.note("identities_unlinked", Some(user), by, None).await;
        }
        Ok(unlinked)
    }

    /// Users, newest first, after a cursor; only those with `part` in their names or address, if it is given.
    pub async fn users(
        &self,
        part: Option<&str>,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, AccountError> {
        // Nobody's name or address is like that, and the databases do not take it all.
        if part.is_some_and(|part| part.len() > 4 * MAX_FULL_NAME || part.chars().any(char::is_control)) {
            return Ok(Vec::new());
        }
        Ok(self.store.users(part, after, limit).await?)
    }

    /// Changes one's own profile. Another address or name for signing in takes the password, where there is one: with a stolen
    /// access token the owner could be shut out, and a new password mailed to the thief.
    pub async fn change_profile(
        &self,
        id: UserId,
        change: &Profile,
        origin: &Origin,
    ) -> Result<UserRecord, AccountError> {
        check_names(change.username.as_deref(), change.email.as_deref(), change.full_name.as_deref())?;
        if change.email.is_some() || change.username.is_some() {
            self.own_password(id, change.present_password.as_ref(), origin).await?;
        }
        if change.username.as_deref().is_some_and(is_operators) && self.user(id).await?.tenant != TenantId::admin() {
            return Err(AccountError::UsernameTaken);
        }
        let full_name = change.full_name.clone().map(|name| Some(name).filter(|name| !name.is_empty()));
        let stored = ProfileChange { username: change.username.clone(), email: change.email.clone(), full_name };
        let until = self.settings.user_over(self.clock.now());
        put(self.store.change_profile(id, &stored, until).await?)?;
        self.note("profile_changed", Some(id), &origin.by(Some(id)), None).await;
        self.hear().await;
        self.user(id).await
    }

    /// Changes one's own password; the session `keep` goes on, all others end.
    pub async fn change_password(
        &self,
        id: UserId,
        present: &Secret,
        new: &Secret,
        keep: Option<SessionId>,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        let user = self.user(id).await?;
        let stored = self.own_password(id, Some(present), origin).await?;
        if stored.is_none() {
            return Err(AccountError::WrongPassword);
        }
        self.replace_password(&user, stored.as_ref(), new, keep, &origin.by(Some(id))).await
    }

    /// The hash of a user's password, where it has one and knows it.
    async fn own_password(
        &self,
        id: UserId,
        present: Option<&Secret>,
        origin: &Origin,
    ) -> Result<Option<PasswordHash>, AccountError> {
        let Some(stored) = self.store.password(id).await? else { return Ok(None) };
        let present = present.ok_or_else(|| invalid("present_password", "this takes the password so far"))?;
        let attempt = Attempt { kind: "password", login: &id.to_string(), user: Some(id), address: origin.address };
        self.attempts.admit(&attempt, self.clock.now()).await?;
        match self.hasher.verify(self.hasher.place()?, present, Some(&stored)).await? {
            Verified::Wrong => Err(AccountError::WrongPassword),
            Verified::Right { .. } => Ok(Some(stored)),
        }
    }

    /// Sets a user's password, for an operator.
    pub async fn set_password(&self, id: UserId, new: &Secret, by: &By) -> Result<(), AccountError> {
        let user = self.user(id).await?;
        let stored = self.store.password(id).await?;
        self.replace_password(&user, stored.as_ref(), new, None, by).await
    }

    async fn replace_password(
        &self,
        user: &UserRecord,
        stored: Option<&PasswordHash>,
        new: &Secret,
        keep: Option<SessionId>,
        by: &By,
    ) -> Result<(), AccountError> {
        self.settings.passwords.check(new, &names(user))?;
        let (hash, now) = (self.hasher.hash(new).await?, self.clock.now());
        let until = self.settings.user_over(now);
        if !self.store.change_password(user.id, stored, &hash, keep, now, until).await? {
            return Err(AccountError::WrongPassword);
        }
        self.note("password_changed", Some(user.id), by, None).await;
        self.hear().await;
        Ok(())
    }

    /// Changes what a user may.
    pub async fn change_access(&self, id: UserId, change: &AccessChange, by: &By) -> Result<UserRecord, AccountError> {
        let now = self.clock.now();
        if !self.store.change_access(id, change, now, self.settings.user_over(now)).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.note("access_changed", Some(id), by, Some(told(change))).await;
        self.hear().await;
        self.user(id).await
    }

    /// Deletes a user; its tenant's data elsewhere is for the caller to delete first.
    pub async fn delete_user(&self, id: UserId, by: &By) -> Result<(), AccountError> {
        if !self.store.delete_user(id, self.settings.user_over(self.clock.now())).await? {
            return Err(AccountError::NotFound("user"));
        }
        self.note("deleted", Some(id), by, None).await;
        self.hear().await;
        Ok(())
    }
}

/// What is known of a user, for its password not to be.
pub(crate) fn names(user: &UserRecord) -> Vec<&str> {
    [&user.username, &user.email, &user.full_name].into_iter().filter_map(Option::as_deref).collect()
}

fn told(change: &AccessChange) -> String {
    let AccessChange { role, quota, rate_limit, disabled } = change;
    let parts = [
        role.map(|role| format!("role {}", role.name())),
        quota.map(|quota| format!("quota {quota:?}")),
        rate_limit.map(|limit| format!("rate limit {limit:?}")),
        disabled.map(|disabled| if disabled { "disabled" } else { "enabled" }.to_owned()),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn put(outcome: UserPut) -> Result<(), AccountError> {
    match outcome {
        UserPut::Stored => Ok(()),
        UserPut::UsernameTaken => Err(AccountError::UsernameTaken),
        UserPut::EmailTaken => Err(AccountError::EmailTaken),
        UserPut::IdentityTaken => Err(AccountError::IdentityTaken),
        UserPut::Unknown => Err(AccountError::NotFound("user")),
    }
}

fn invalid(field: &'static str, reason: &str) -> AccountError {
    AccountError::Invalid { field, reason: reason.to_owned() }
}

fn check_names(username: Option<&str>, email: Option<&str>, full_name: Option<&str>) -> Result<(), AccountError> {
    if username.is_some_and(|username| !is_username(username)) {
        return Err(invalid("username", "a user name must be 1 to 64 characters out of A-Z a-z 0-9 . _ -"));
    }
    if email.is_some_and(|email| !is_email(email)) {
        return Err(invalid("email", "an e-mail address reads name@example.org"));
    }
    if full_name.is_some_and(|name| name.chars().count() > MAX_FULL_NAME || name.chars().any(char::is_control)) {
        return Err(invalid("full_name", "a full name must be at most 200 characters without control characters"));
    }
    Ok(())
}

/// Letters that look alike in several scripts would let one user pass for another; and without an `@` a name is never an
/// address.
fn is_username(name: &str) -> bool {
    (1..=MAX_USERNAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether it is the operator's name, which nobody else gets, also before the operator's user is there.
fn is_operators(name: &str) -> bool {
    name.eq_ignore_ascii_case(OPERATOR)
}

/// Whether mail could be sent there; whether it arrives only a mail can tell.
pub(crate) fn is_email(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let sound = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"@".contains(c);
    let label = |label: &str| {
        let letters = label.chars().all(|c| c.is_alphanumeric() || c == '-');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-') && !label.ends_with('-')
    };
    email.len() <= MAX_EMAIL
        && (1..=64).contains(&local.len())
        && local.chars().all(sound)
        && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_what_can_be_typed_and_mailed() {
        for good in ["a", "Ann.O-Neil_2", &"x".repeat(64)] {
            assert!(is_username(good), "{good}");
        }
        for bad in ["", "ann@home", "ann neil", "аnn", "ann\0", &"x".repeat(65)] {
            assert!(!is_username(bad), "{bad:?}");
        }
        for good in ["ann@example.org", "a+b@localhost", "ann@bücher.example", "o'neil@a.b"] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("{}@example.org", "x".repeat(65));
        for bad in [
            "",
            "ann",
            "@b",
            "a@",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@-b",
            "a@b..c",
            "<a@b>",
            "a\r\nBcc: x@y",
            "a\0@b",
            &long,
        ] {
            assert!(!is_email(bad), "{bad:?}");
        }
        assert!(check_names(None, None, Some("Ann \u{1F600} O'Neil")).is_ok());
        for (bad, field) in [((Some(""), None, None), "username"), ((None, None, Some("a\0b")), "full_name")] {
            let (username, email, full_name): (Option<&str>, Option<&str>, Option<&str>) = bad;
            let refused = check_names(username, email, full_name).unwrap_err();
            assert!(matches!(refused, AccountError::Invalid { field: named, .. } if named == field), "{refused:?}");
        }
    }
}
