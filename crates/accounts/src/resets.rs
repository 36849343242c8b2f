//! Sets a new password with a mailed reset token.
//!
//! A request is answered before the user is looked up, so neither the answer nor its time reveals whether the user exists.

use std::net::IpAddr;

use store::relational::UserRecord;
use tokio::sync::mpsc::error::TrySendError;

use crate::audit::Actor;
use crate::error::AccountError;
use crate::mail::Mail;
use crate::secret_text::SecretText;
use crate::service::AccountsService;
use crate::sign_in::Origin;
use crate::throttle::Attempt;

/// Maximum number of requests that wait for their mail; further ones are refused with `Busy`.
pub(crate) const QUEUE: usize = 256;
/// Prefix of reset tokens.
const PREFIX: &str = "slp_";

/// A request for a reset mail.
pub(crate) struct ResetRequest {
    email: String,
    address: IpAddr,
}

impl AccountsService {
    /// Requests a mail with a reset token for the user with this e-mail address, if there is one.
    pub async fn request_reset(&self, email: &str, origin: &Origin) -> Result<(), AccountError> {
        let attempt = Attempt { kind: "reset", login: email, user: None, address: origin.address };
        self.throttle.admit(&attempt, self.clock.now()).await?;
        match self.resets.try_send(ResetRequest { email: email.to_owned(), address: origin.address }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(AccountError::Busy),
            Err(TrySendError::Closed(_)) => Err(AccountError::Unavailable("the service is about to stop".to_owned())),
        }
    }

    /// Sets a new password with a reset token. Every session, API token and federated identity of
    /// the user is revoked, because an attacker may have created one of them.
    pub async fn reset_password(
        &self,
        token: &SecretText,
        password: &SecretText,
        origin: &Origin,
    ) -> Result<(), AccountError> {
        // Nothing is hashed for a token of another form.
        if !token.expose().starts_with(PREFIX) {
            return Err(AccountError::InvalidReset);
        }
        let attempt = Attempt { kind: "reset-token", login: token.expose(), user: None, address: origin.address };
        self.throttle.admit(&attempt, self.clock.now()).await?;
        self.settings.passwords.check(password, &[])?;
        let (hash, now) = (self.hasher.hash(password).await?, self.clock.now());
        let until = self.settings.all_credentials_expired_by(now);
        let reset = self.store.reset_password(&token.hash(), &hash, now, until).await?;
        let reset = reset.ok_or(AccountError::InvalidReset)?;
        let detail = (reset.api_tokens > 0).then(|| format!("{} API tokens revoked", reset.api_tokens));
        self.audit("password_reset", Some(reset.user), &origin.actor(None), detail).await;
        self.verifier.refresh_best_effort().await;
        Ok(())
    }

    /// Mails a reset token, if the user exists.
    pub(crate) async fn send_reset_mail(&self, request: &ResetRequest) -> Result<(), AccountError> {
        let found = self.user_by_login(&request.email).await?.filter(|user| !user.disabled);
        let Some((user, to)) = found.and_then(|user| Some((user.clone(), user.email?))) else { return Ok(()) };
        if !self.throttle.limits.take(&format!("mails:{}", user.id), self.settings.throttle.mails).await.allowed {
            tracing::info!(user.id = %user.id, "the limit of reset mails to this user is reached");
            return Ok(());
        }
        let (token, now) = (SecretText::random(PREFIX), self.clock.now());
        if !self.store.add_reset(user.id, &to, &token.hash(), now + self.settings.reset_life).await? {
            return Ok(());
        }
        let actor = Actor { user: None, address: Some(request.address) };
        self.audit("reset_mailed", Some(user.id), &actor, None).await;
        let mail = self.reset_mail(&user, to, &token);
        if let Err(error) = self.mailer.send(&mail).await {
            tracing::error!(error, user.id = %user.id, "a reset mail was not sent");
        }
        Ok(())
    }

    fn reset_mail(&self, user: &UserRecord, to: String, token: &SecretText) -> Mail {
        let name = user.full_name.as_deref().or(user.username.as_deref()).unwrap_or("there");
        let minutes = self.settings.reset_life.as_secs() / 60;
        // In the fragment, which browsers do not send: the token appears in no server's log and on no other page.
        let link = format!("{}#token={}", self.settings.reset_url, token.expose());
        let text = format!(
            "Hello {name},\n\nset a new password here:\n\n{link}\n\nThe link can be used once, within {minutes} minutes. If \
             you did not ask for it, do nothing: your password stays as it is.\n"
        );
        Mail { to, subject: "Set a new password".to_owned(), text }
    }
}
