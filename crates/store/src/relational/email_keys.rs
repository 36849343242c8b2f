//! The keys by which users are found by their e-mail address, computed again by a step.

use uuid::Uuid;

use super::login_keys::login_key;
use super::transaction::Transaction;
use super::values::values;
use crate::StoreError;

/// Number of users that one query reads.
const PAGE: i64 = 1_000;

impl Transaction {
    /// Computes the key of every e-mail address again, oldest user first. When another account already has the new key, the account
    /// keeps its old key and is found by its own spelling of the address. So both still sign in.
    pub(super) async fn recompute_email_keys(&mut self) -> Result<(), StoreError> {
        let mut after = Uuid::nil();
        loop {
            let sql = "SELECT id, email, email_folded FROM users WHERE id > $1 ORDER BY id LIMIT $2";
            let page = self.rows(sql, values![after, PAGE]).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.get("id")?;
            for row in &page {
                let (email, key): (Option<String>, Option<String>) = (row.get("email")?, row.get("email_folded")?);
                let new = email.as_deref().map(login_key);
                if new != key {
                    self.replace_email_key(row.get("id")?, new).await?;
                }
            }
        }
    }

    async fn replace_email_key(&mut self, user: Uuid, key: Option<String>) -> Result<(), StoreError> {
        let sql = "UPDATE users SET email_folded = $2 WHERE id = $1 \
                   AND NOT EXISTS (SELECT 1 FROM users AS other WHERE other.email_folded = $2)";
        if self.execute(sql, values![user, key.as_deref()]).await? == 0 {
            tracing::warn!(
                user.id = %user,
                "another account has this mailbox in another spelling; this one is found by its own spelling alone"
            );
        }
        Ok(())
    }
}
