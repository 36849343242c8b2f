//! A mailer that stores its mails for the test.

use std::sync::Mutex;
use std::time::Duration;

use accounts::{Mail, Mailer};
use async_trait::async_trait;
use tokio::time::Instant;

use super::TIMEOUT;

#[derive(Default)]
pub struct TestMailer(Mutex<Vec<Mail>>);

#[async_trait]
impl Mailer for TestMailer {
    async fn send(&self, mail: &Mail) -> Result<(), String> {
        self.0.lock().unwrap().push(mail.clone());
        Ok(())
    }
}

impl TestMailer {
    /// Waits for a mail and removes it.
    pub async fn next(&self) -> Mail {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(mail) = self.0.lock().unwrap().pop() {
                return mail;
            }
            assert!(Instant::now() < deadline, "no mail was sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a mail with a reset link and returns its token.
    pub async fn next_reset_token(&self) -> String {
        let text = self.next().await.text;
        let after = text.split("#token=").nth(1).unwrap();
        after.split_whitespace().next().unwrap().to_owned()
    }

    /// Number of mails that the test has not read.
    pub fn unread(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
