//! Signing in by the word of somebody else, such as an OpenID Connect provider.
//!
//! In: who somebody is, proven elsewhere. Out: a sign-in of the user who is that person. Promised: a person is known by the
//! provider's own name for it and never by an address. Registering here does not prove that an address is one's own, so an
//! account with somebody's address may have been made by anybody who waits for its owner: it is never signed in to by that
//! address. Its owner sets a new password by mail, which ends every session and every other link, and links the person then.

use store::relational::{Identity, UserRecord};
use uuid::Uuid;

use crate::error::AccountError;
use crate::sign_in::{Grant, Origin};
use crate::stored::{By, StoredAccounts};
use crate::users::{Granted, Registration, is_email};

/// Somebody whom another one vouches for.
#[derive(Debug, Clone)]
pub struct Vouched {
    /// Who it is there.
    pub identity: Identity,
    /// Its address, if that was proven to be its own.
    pub email: Option<String>,
    /// Its name for people.
    pub full_name: Option<String>,
}

impl StoredAccounts {
    /// Whether somebody at this address may try to sign in; tries by password count here too.
    pub async fn admit_sign_in(&self, origin: &Origin) -> Result<(), AccountError> {
        self.attempts.admit_address("sign-in", origin.address).await
    }

    /// Signs in the user who is this person. Without one a user is registered, if strangers may.
    ///
    /// # Errors
    /// `NotRegistered` where they may not; `EmailTaken` when a user who is not known to be this person has the address.
    pub async fn sign_in_by_identity(
        &self,
        vouched: &Vouched,
        may_register: bool,
        origin: &Origin,
    ) -> Result<Grant, AccountError> {
        let user = match self.store.user_by_identity(&vouched.identity).await? {
            Some(user) => user,
            None if may_register => self.register_vouched(vouched, origin).await?,
            None => {
                self.note("sign_in_refused", None, &origin.by(None), Some(vouched.identity.issuer.clone())).await;
                return Err(AccountError::NotRegistered);
            }
        };
        self.sign_in_vouched(&user, origin).await
    }

    /// Signs a user in whom somebody else vouches for.
    pub async fn sign_in_vouched(&self, user: &UserRecord, origin: &Origin) -> Result<Grant, AccountError> {
        match self.open_session(user, &crate::sign_in::allowed(user, None), None, origin).await? {
            Some(grant) => Ok(grant),
            // Shut out: nobody else is told so, since this is the very person.
            None => {
                self.note("sign_in_refused", Some(user.id), &origin.by(None), None).await;
                Err(AccountError::ShutOut)
            }
        }
    }

    async fn register_vouched(&self, vouched: &Vouched, origin: &Origin) -> Result<UserRecord, AccountError> {
        let email = vouched.email.clone().filter(|email| is_email(email));
        // A user has a name or an address. It may change this one.
        let username = email.is_none().then(|| format!("user-{}", &Uuid::new_v4().simple().to_string()[..12]));
        let new = Registration {
            username,
            email: email.clone(),
            full_name: vouched.full_name.clone(),
            password: None,
            identity: Some(vouched.identity.clone()),
        };
        let by = By { user: None, address: Some(origin.address) };
        let refused = match self.register(&new, Granted::default(), &by).await {
            Ok(user) => {
                self.note("identity_linked", Some(user.id), &by, Some(vouched.identity.issuer.clone())).await;
                return Ok(user);
            }
            Err(refused @ (AccountError::IdentityTaken | AccountError::EmailTaken)) => refused,
            Err(error) => return Err(error),
        };
        // The same person may have come twice at once.
        if let Some(user) = self.store.user_by_identity(&vouched.identity).await? {
            return Ok(user);
        }
        let owner = match &email {
            Some(email) => self.user_by_login(email).await?.map(|(user, _)| user.id),
            None => None,
        };
        self.note("sign_in_refused", owner, &by, Some(vouched.identity.issuer.clone())).await;
        Err(refused)
    }
}
