//! Mail over SMTP.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use url::Url;

use super::{Mail, Mailer};

/// Time limit of sending one mail.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);
const EXAMPLE: &str =
    "smtps://user:password@host:465, or smtp://user:password@host:587?tls=required, or smtp://localhost:25";

/// Sends mails to an SMTP server.
pub struct SmtpMailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl SmtpMailer {
    /// Sends from `from` through the server at `url`. The server need not be reachable yet.
    ///
    /// # Errors
    /// The URL or the sender is not valid, or a password would be sent in plain text.
    pub fn new(url: &str, from: &str) -> Result<Self, String> {
        // The cause may quote the address, which contains the password.
        let invalid =
            || format!("SIGHTLINE_SMTP_URL is not an address of a mail server; it must have the form {EXAMPLE}");
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| invalid())?;
        let parsed = Url::parse(url).map_err(|_| invalid())?;
        if sends_password_in_plain_text(&parsed) {
            return Err(format!(
                "SIGHTLINE_SMTP_URL would send its password in plain text; it must have the form {EXAMPLE}"
            ));
        }
        let from = from.parse().map_err(|_| {
            "SIGHTLINE_MAIL_FROM must be a mail address, such as Sightline <no-reply@example.org>".to_owned()
        })?;
        Ok(Self { server: server.timeout(Some(SEND_TIMEOUT)).build(), from })
    }

    async fn submit(&self, mail: &Mail) -> Result<(), String> {
        let to: Address = mail.to.parse().map_err(|error| format!("this address is not valid: {error}"))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&mail.subject)
            .message_id(None)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| format!("the mail cannot be written: {error}"))?;
        let sent = self.server.send(message).await;
        sent.map(drop).map_err(|error| format!("the mail was not sent: {error}; see SIGHTLINE_SMTP_URL"))
    }
}

/// The mail library reads the parsed URL too, so upper case and blanks make no difference between this check and what is sent.
fn sends_password_in_plain_text(url: &Url) -> bool {
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    let requires_tls = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    url.scheme() == "smtp" && has_credentials && !requires_tls
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        match tokio::time::timeout(SEND_TIMEOUT, self.submit(mail)).await {
            Ok(sent) => sent,
            Err(_) => Err("the mail server takes too long; see SIGHTLINE_SMTP_URL".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that accepts one mail, or refuses every recipient. Returns its port and what it received.
    async fn server(refuses: bool) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let (read, mut write) = client.into_split();
            let (mut lines, mut received, mut in_mail) = (BufReader::new(read).lines(), Vec::new(), false);
            write.write_all(b"220 mail.example\r\n").await.unwrap();
            while let Some(line) = lines.next_line().await.unwrap_or_default() {
                let answer = match line.as_str() {
                    "." => "250 accepted",
                    _ if in_mail => "",
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    line if refuses && line.starts_with("RCPT") => "550 nobody here",
                    _ => "250 mail.example",
                };
                in_mail = line == "DATA" || (in_mail && line != ".");
                received.push(line);
                if !answer.is_empty() {
                    write.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                }
            }
            received
        });
        (port, received)
    }

    fn mailer(port: u16) -> SmtpMailer {
        SmtpMailer::new(&format!("smtp://127.0.0.1:{port}"), "Sightline <no-reply@example.org>").unwrap()
    }

    fn mail() -> Mail {
        let text = "Hello Ann,\n\nhttps://example.org/reset#token=slp_x\n".to_owned();
        Mail { to: "ann@example.org".to_owned(), subject: "Set a new password".to_owned(), text }
    }

    #[tokio::test]
    async fn a_mail_reaches_the_server_unchanged() {
        let (port, received) = server(false).await;
        mailer(port).send(&mail()).await.unwrap();
        let received = received.await.unwrap();
        for expected in [
            "MAIL FROM:<no-reply@example.org>",
            "RCPT TO:<ann@example.org>",
            "From: Sightline <no-reply@example.org>",
            "To: ann@example.org",
            "Subject: Set a new password",
            "https://example.org/reset#token=slp_x",
        ] {
            assert!(received.iter().any(|line| line.trim_end() == expected), "{expected} is not in {received:#?}");
        }
    }

    #[tokio::test]
    async fn a_refused_mail_is_an_error_that_names_the_setting() {
        let (port, _received) = server(true).await;
        let refused = mailer(port).send(&mail()).await.unwrap_err();
        assert!(refused.contains("nobody here") && refused.contains("SIGHTLINE_SMTP_URL"), "{refused}");
        assert!(!refused.contains("slp_"), "{refused}");

        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert!(mailer(free).send(&mail()).await.is_err());
    }

    #[tokio::test]
    async fn neither_address_nor_subject_can_add_headers() {
        let (port, received) = server(false).await;
        let subject = "a\r\nBcc: eve@example.org".to_owned();
        drop(mailer(port).send(&Mail { subject, ..mail() }).await);
        let to = "ann@example.org>\r\nRCPT TO:<eve@example.org".to_owned();
        assert!(mailer(port).send(&Mail { to, ..mail() }).await.is_err());
        let received = received.await.unwrap();
        assert!(!received.iter().any(|line| line.starts_with("Bcc:") || line.contains("<eve@")), "{received:#?}");
    }

    #[test]
    fn a_password_in_plain_text_and_wrong_addresses_are_refused() {
        for url in [
            "",
            "mail.example",
            "http://user:secret@host",
            "smtp://user:secret@host",
            "smtp://user:secret@host?tls=opportunistic",
            "smtp://user:secret@host:port",
            "SMTP://user:secret@host",
            " smtp://user:secret@host",
            "smtp://:secret@host",
            "smtp://user:secret@host#?tls=required",
        ] {
            let refused = SmtpMailer::new(url, "a@example.org").err().unwrap();
            assert!(refused.contains("SIGHTLINE_SMTP_URL") && !refused.contains("secret"), "{refused}");
        }
        for url in ["smtp://localhost:25", "smtps://user:secret@host", "smtp://user:secret@host:587?tls=required"] {
            assert!(SmtpMailer::new(url, "Sightline <a@example.org>").is_ok(), "{url}");
        }
        let refused = SmtpMailer::new("smtp://localhost", "nobody").err().unwrap();
        assert!(refused.contains("SIGHTLINE_MAIL_FROM"), "{refused}");
    }
}
