//! Sign-in with a federated identity, which an OpenID Connect provider has verified.
//!
//! In: an identity that the provider has verified. Out: a session of the user that is linked to it. Guarantees: a user is found by
//! issuer and subject, never by e-mail address. Registration does not prove that an address belongs to the user, so an attacker may
//! have registered with the address of a victim: a federated sign-in never signs in to that account. The owner of the address sets a
//! new password by mail, which ends every session and every link, and then links the identity.

use store::relational::{Identity, UserRecord, login_key};
use uuid::Uuid;

use crate::error::AccountError;
use crate::names::is_email;
use crate::service::AccountsService;
use crate::sign_in::{IssuedTokens, Origin, allowed};
use crate::users::{Registration, UserAccess};

/// An identity that a provider has verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FederatedIdentity {
    /// Issuer and subject.
    pub identity: Identity,
    /// The e-mail address, if the provider verified it.
    pub email: Option<String>,
    /// The name that people see.
    pub full_name: Option<String>,
}

impl FederatedIdentity {
    /// The account `subject` at the provider `issuer`. `email` is given only if the provider verified it.
    pub const fn new(issuer: String, subject: String, email: Option<String>, full_name: Option<String>) -> Self {
        Self { identity: Identity { issuer, subject }, email, full_name }
    }
}

impl AccountsService {
    /// Counts a federated sign-in against the limit of its address, which it shares with sign-ins by password.
    pub async fn admit_sign_in(&self, origin: &Origin) -> Result<(), AccountError> {
        self.throttle.admit_address("sign-in", origin.address).await
    }

    /// Signs in the user that is linked to the identity. If there is none and registration is open, registers one.
    ///
    /// # Errors
    /// `NotRegistered` when registration is closed; `NotLinked` when another user has the e-mail address.
    pub async fn sign_in_by_identity(
        &self,
        federated: &FederatedIdentity,
        origin: &Origin,
    ) -> Result<IssuedTokens, AccountError> {
        let user = match self.store.user_by_identity(&federated.identity).await? {
            Some(user) => {
                self.note_proven_email(&user, federated).await?;
                user
            }
            None if self.settings.registration => self.register_federated(federated, origin).await?,
            None => {
                let issuer = Some(federated.identity.issuer.clone());
                self.audit("sign_in_refused", None, &origin.actor(None), issuer).await;
                return Err(AccountError::NotRegistered);
            }
        };
        self.sign_in_federated(&user, origin).await
    }

    /// Signs in a user whose identity the provider has verified.
    ///
    /// # Errors
    /// `Disabled` for a disabled user. This reveals nothing to strangers, because the provider has verified the user.
    pub async fn sign_in_federated(&self, user: &UserRecord, origin: &Origin) -> Result<IssuedTokens, AccountError> {
        let tokens = self.open_session(user, &allowed(user, None), None, origin).await?;
        let Some(tokens) = tokens else {
            self.audit("sign_in_refused", Some(user.id), &origin.actor(None), None).await;
            return Err(AccountError::Disabled);
        };
        Ok(tokens)
    }

    /// Records that the user's e-mail address is proven if the provider verified the same one.
    async fn note_proven_email(&self, user: &UserRecord, federated: &FederatedIdentity) -> Result<(), AccountError> {
        let (Some(email), Some(verified)) = (&user.email, &federated.email) else { return Ok(()) };
        if login_key(email) == login_key(verified.trim()) {
            self.store.verify_email(user.id, email).await?;
        }
        Ok(())
    }

    async fn register_federated(
        &self,
        federated: &FederatedIdentity,
        origin: &Origin,
    ) -> Result<UserRecord, AccountError> {
        let email = federated.email.clone().filter(|email| is_email(email.trim()));
        // A user has a user name or an e-mail address. This name can be changed.
        let username = email.is_none().then(|| format!("user-{}", &Uuid::new_v4().simple().to_string()[..12]));
        let new = Registration {
            username,
            email: email.clone(),
            full_name: federated.full_name.clone(),
            password: None,
            identity: Some(federated.identity.clone()),
        };
        let (actor, issuer) = (origin.actor(None), Some(federated.identity.issuer.clone()));
        let refused = match self.register(&new, UserAccess::default(), &actor).await {
            Ok(user) => {
                self.audit("identity_linked", Some(user.id), &actor, issuer).await;
                return Ok(user);
            }
            Err(AccountError::EmailTaken) => AccountError::NotLinked,
            Err(AccountError::IdentityTaken) => AccountError::IdentityTaken,
            Err(error) => return Err(error),
        };
        // The same person may have signed in twice at once.
        if let Some(user) = self.store.user_by_identity(&federated.identity).await? {
            return Ok(user);
        }
        self.audit("sign_in_refused", self.owner_of(email.as_deref()).await?, &actor, issuer).await;
        Err(refused)
    }

    async fn owner_of(&self, email: Option<&str>) -> Result<Option<contracts::UserId>, AccountError> {
        let Some(email) = email else { return Ok(None) };
        Ok(self.user_by_login(email).await?.map(|user| user.id))
    }
}
