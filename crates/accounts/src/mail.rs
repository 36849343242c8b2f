//! Mail to users.

mod smtp;

use async_trait::async_trait;

pub use smtp::SmtpMailer;

/// A mail in plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Address of the recipient.
    pub to: String,
    /// Subject line.
    pub subject: String,
    /// Body; it may contain a reset token.
    pub text: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Delivers mail. Shared as `Arc<dyn Mailer>`.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Delivers a mail.
    ///
    /// # Errors
    /// Says what failed, without the body.
    async fn send(&self, mail: &Mail) -> Result<(), String>;
}

/// Writes mails to the log output instead of sending them. For development only: everyone who reads the log output can use the
/// reset tokens.
pub struct LogMailer;

#[async_trait]
impl Mailer for LogMailer {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        tracing::warn!(
            to = mail.to,
            subject = mail.subject,
            text = mail.text,
            "mail not sent: no mail server is configured (SIGHTLINE_SMTP_URL)"
        );
        Ok(())
    }
}
