//! What is mailed to users.

mod smtp;

use async_trait::async_trait;

pub use smtp::SmtpMailer;

/// One mail, in plain text.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// To which address.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says; it may have a secret in it.
    pub text: String,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// The seam to whatever delivers mail. Cheap to share as `Arc<dyn Mailer>`.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Delivers a mail, or says why not.
    async fn send(&self, mail: &Mail) -> Result<(), String>;
}

/// Writes mails to the log instead of sending them: for development, because whoever reads the log can use what is in them.
pub struct LogMailer;

#[async_trait]
impl Mailer for LogMailer {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        tracing::warn!(
            to = mail.to,
            subject = mail.subject,
            text = mail.text,
            "no mail server is set: this was to be mailed"
        );
        Ok(())
    }
}
