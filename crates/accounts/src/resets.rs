//! Setting a new password by a mailed token.
//!
//! Whoever asks is answered before anybody looks whether there is such a user, so neither the answer nor its time tells.

use std::net::IpAddr;

use store::relational::{PasswordHash, UserRecord};
use tokio::sync::mpsc::error::TrySendError;

use crate::error::AccountError;
use crate::mail::Mail;
use crate::secret::Secret;
use crate::sign_in::Origin;
use crate::stored::{By, StoredAccounts};
use crate::throttle::Attempt;

/// Requests that may wait to be looked at.
pub(crate) const WAITING: usize = 256;
/// What a reset token begins with.
const PREFIX: &str = "slp_";

/// Somebody asked for a reset.
pub(crate) struct Asked {
    email: String,
    address: IpAddr,
}

impl StoredAccounts {
    /// Asks for a mail with a token to the user of this address, if there is one.
    pub async fn ask_for_reset(&self, email: &str, origin: &Origin) -> Result<(), AccountError> {
        let attempt = Attempt { kind: "reset", login: email, user: None, address: origin.address };
        self.attempts.admit(&attempt, self.clock.now()).await?;
        match self.resets.try_send(Asked { email: email.to_owned(), address: origin.address }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(AccountError::Busy),
            Err(TrySendError::Closed(_)) => Err(AccountError::Unavailable("the service is about to stop".to_owned())),
        }
    }

    /// Sets a new password with a mailed token, which ends every session.
    pub async fn reset_password(&self, token: &Secret, password: &Secret, origin: &Origin) -> Result<(), AccountError> {
        // A token of a wrong form costs no hashing.
        if !token.expose().starts_with(PREFIX) {
            return Err(AccountError::InvalidReset);
        }
        let attempt = Attempt { kind: "reset-token", login: token.expose(), user: None, address: origin.address };
        self.attempts.admit(&attempt, self.clock.now()).await?;
        self.settings.passwords.check(password, &[])?;
        let hash: PasswordHash = self.hasher.hash(password).await?;
        let now = self.clock.now();
        let user = self.store.reset_password(&token.hash(), &hash, now, self.settings.user_over(now)).await?;
        let user = user.ok_or(AccountError::InvalidReset)?;
        self.note("password_reset", Some(user), &origin.by(None), None).await;
        self.hear().await;
        Ok(())
    }

    /// Mails a token to whoever asked, if there is such a user.
    pub(crate) async fn answer_reset(&self, asked: &Asked) -> Result<(), AccountError> {
        let found = self.user_by_login(&asked.email).await?.map(|(user, _)| user).filter(|user| !user.disabled);
        let Some((user, to)) = found.and_then(|user| Some((user.clone(), user.email?))) else { return Ok(()) };
        if !self.attempts.limits.take(&format!("mails:{}", user.id), self.settings.throttle.mails).await.allowed {
            tracing::info!(user.id = %user.id, "asked for more mails than are sent for setting a new password");
            return Ok(());
        }
        let (token, now) = (Secret::random(PREFIX), self.clock.now());
        if !self.store.add_reset(user.id, &to, &token.hash(), now + self.settings.reset_life).await? {
            return Ok(());
        }
        let by = By { user: None, address: Some(asked.address) };
        self.note("reset_mailed", Some(user.id), &by, None).await;
        let mail = self.reset_mail(&user, to, &token);
        if let Err(error) = self.mailer.send(&mail).await {
            tracing::error!(error, user.id = %user.id, "a mail for setting a new password was not sent");
        }
        Ok(())
    }

    fn reset_mail(&self, user: &UserRecord, to: String, token: &Secret) -> Mail {
        let name = user.full_name.as_deref().or(user.username.as_deref()).unwrap_or("there");
        let minutes = self.settings.reset_life.as_secs() / 60;
        // Behind a #, which browsers send to nobody: no server's log and no other page learns the token.
        let link = format!("{}#token={}", self.settings.reset_url, token.expose());
        let text = format!(
            "Hello {name},\n\nset a new password here:\n\n{link}\n\nThe link can be used once, within {minutes} minutes. If \
             you did not ask for it, do nothing: your password stays as it is.\n"
        );
        Mail { to, subject: "Set a new password".to_owned(), text }
    }
}
