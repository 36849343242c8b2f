//! Users: adding, finding, changing, deleting.

use contracts::UserId;
use jiff::Timestamp;
use uuid::Uuid;

use super::database::Relational;
use super::login_keys::{login_key, lower_case, pattern, search_text};
use super::passwords::PasswordHash;
use super::revocations::RevocationKind;
use super::transaction::Transaction;
use super::user_records::{
    AccessChange, NewUser, ProfileChange, UserRecord, UserState, UserWriteOutcome, user_columns,
};
use super::values::{Row, values};
use crate::{PageCursor, StoreError};

/// Longer than every user name and address.
const MAX_LOGIN_BYTES: usize = 1_024;

/// Conditions of a login. An account that kept its key of schema version 1 is found only by that spelling of the address.
macro_rules! by_email {
    () => {
        " email_folded IN ($1, $2) ORDER BY CASE WHEN email_folded = $1 THEN 0 ELSE 1 END LIMIT 1"
    };
}
macro_rules! by_name {
    () => {
        " username_folded = $1"
    };
}
/// One row for an unknown login too, of NULLs.
macro_rules! password_or_nulls {
    () => {
        "SELECT users.id AS user_id, users.password_hash FROM (SELECT 1) AS one_row LEFT JOIN users ON"
    };
}

impl Relational {
    /// Adds a user.
    pub async fn add_user(&self, new: &NewUser, now: Timestamp) -> Result<UserWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let (username, email) = (new.username.as_deref(), new.email.as_deref());
        let sql = "INSERT INTO users (id, tenant, username, username_folded, email, email_folded, full_name, password_hash, \
                   role, quota, rate_limit, disabled, created_at, search, verified_email) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
        let row = values![
            new.id,
            new.tenant,
            username,
            username.map(login_key).as_deref(),
            email,
            email.map(login_key).as_deref(),
            &new.full_name,
            new.password.as_ref().map(PasswordHash::expose),
            new.role.name(),
            new.quota.stored(),
            new.rate_limit.stored(),
            false,
            now,
            search_text(username, email, new.full_name.as_deref()),
            email.filter(|_| new.identity.is_some()),
        ];
        if transaction.execute(sql, row).await? == 0 {
            return Ok(transaction
                .name_conflict(new.id, username, email)
                .await?
                .unwrap_or(UserWriteOutcome::UsernameTaken));
        }
        if let Some(identity) = &new.identity
            && !transaction.link(new.id, identity, now).await?
        {
            return Ok(UserWriteOutcome::IdentityTaken);
        }
        transaction.commit().await?;
        Ok(UserWriteOutcome::Stored)
    }

    /// A user.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
        self.row(sql, values![id]).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// What is known about a user besides its record.
    pub async fn user_state(&self, id: UserId) -> Result<Option<UserState>, StoreError> {
        let sql = "SELECT email, verified_email, created_at, updated_at, \
                   password_hash IS NULL AND EXISTS (SELECT 1 FROM identities WHERE user_id = users.id) AS is_federated \
                   FROM users WHERE id = $1";
        self.row(sql, values![id]).await?.as_ref().map(UserState::read).transpose()
    }

    /// The user with this user name or e-mail address, in any spelling.
    pub async fn user_named(&self, login: &str) -> Result<Option<UserRecord>, StoreError> {
        let by_email = concat!("SELECT ", user_columns!(), " FROM users WHERE", by_email!());
        let by_name = concat!("SELECT ", user_columns!(), " FROM users WHERE", by_name!());
        self.by_login(login, by_email, by_name).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// The user with this user name or e-mail address, in any spelling, and the hash of its password, if there are such. One row of the same
    /// columns is read in either case: the time of a refused sign-in must not reveal whether there is such a user, and a row more takes
    /// tens of microseconds.
    pub async fn password_by_login(&self, login: &str) -> Result<(Option<UserId>, Option<PasswordHash>), StoreError> {
        let by_email = concat!(password_or_nulls!(), by_email!());
        let by_name = concat!(password_or_nulls!(), by_name!());
        let Some(row) = self.by_login(login, by_email, by_name).await? else { return Ok((None, None)) };
        let (id, hash): (Option<Uuid>, Option<String>) = (row.get("user_id")?, row.get("password_hash")?);
        Ok((id.map(UserId::from_uuid), hash.map(PasswordHash::new)))
    }

    /// The row of a login. `None` for a text that is none.
    async fn by_login(
        &self,
        login: &str,
        by_email: &'static str,
        by_name: &'static str,
    ) -> Result<Option<Row>, StoreError> {
        // No name is that long or has a control character, and not every database accepts NUL in a query.
        if login.len() > MAX_LOGIN_BYTES || login.chars().any(char::is_control) {
            return Ok(None);
        }
        // A user name never contains an @; an address always does.
        if login.contains('@') {
            self.row(by_email, values![lower_case(login), login_key(login)]).await
        } else {
            self.row(by_name, values![login_key(login)]).await
        }
    }

    /// Users, newest first, after a cursor; with `part`, those whose names or address contain it.
    pub async fn users(
        &self,
        part: Option<&str>,
        after: Option<&PageCursor>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        let (at, id) = super::values::cursor_position(after);
        let (limit, part) = (i64::from(limit), part.map(pattern));
        let rows = match part {
            None => {
                let sql = concat!(
                    "SELECT ",
                    user_columns!(),
                    " FROM users WHERE (created_at, id) < ($1, $2) ORDER BY created_at DESC, id DESC LIMIT $3"
                );
                self.rows(sql, values![at, id, limit]).await?
            }
            Some(part) => {
                let sql = concat!(
                    "SELECT ",
                    user_columns!(),
                    " FROM users WHERE (created_at, id) < ($1, $2) AND search LIKE $4 ESCAPE '\\'",
                    " ORDER BY created_at DESC, id DESC LIMIT $3"
                );
                self.rows(sql, values![at, id, limit, part]).await?
            }
        };
        rows.iter().map(UserRecord::read).collect()
    }

    /// Changes names and address of a user. A new address invalidates the reset tokens that were mailed to the previous one.
    pub async fn change_profile(
        &self,
        id: UserId,
        change: &ProfileChange,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<UserWriteOutcome, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(user) = transaction.lock_and_read_user(id).await? else { return Ok(UserWriteOutcome::Unknown) };
        let username = change.username.clone().or(user.username);
        let email = change.email.clone().or(user.email);
        let full_name = change.full_name.clone().unwrap_or(user.full_name);
        if let Some(taken) = transaction.name_conflict(id, username.as_deref(), email.as_deref()).await? {
            return Ok(taken);
        }
        let sql = "UPDATE users SET username = $2, username_folded = $3, email = $4, email_folded = $5, full_name = $6, \
                   search = $7, updated_at = $8 WHERE id = $1";
        let row = values![
            id,
            &username,
            username.as_deref().map(login_key).as_deref(),
            &email,
            email.as_deref().map(login_key).as_deref(),
            &full_name,
            search_text(username.as_deref(), email.as_deref(), full_name.as_deref()),
            now,
        ];
        if let Err(error) = transaction.execute(sql, row).await {
            drop(transaction);
            // Another transaction may have used the name since the check.
            let taken = self.begin().await?.name_conflict(id, username.as_deref(), email.as_deref()).await?;
            return taken.ok_or(error);
        }
        if change.email.is_some() {
            // A reader of the previous mailbox must not set the password.
            transaction.delete_reset_tokens(id).await?;
        }
        transaction.revoke(RevocationKind::UserChanged, id.uuid(), until).await?;
        transaction.commit().await?;
        Ok(UserWriteOutcome::Stored)
    }

    /// Changes role and limits of a user. Another role, and disabling, end every session and access token. `false` for an unknown
    /// user.
    pub async fn change_access(
        &self,
        id: UserId,
        change: &AccessChange,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(user) = transaction.lock_and_read_user(id).await? else { return Ok(false) };
        let role = change.role.unwrap_or(user.role);
        let disabled = change.disabled.unwrap_or(user.disabled);
        let sql =
            "UPDATE users SET role = $2, quota = $3, rate_limit = $4, disabled = $5, updated_at = $6 WHERE id = $1";
        let quota = change.quota.unwrap_or(user.quota).stored();
        let rate_limit = change.rate_limit.unwrap_or(user.rate_limit).stored();
        transaction.execute(sql, values![id, role.name(), quota, rate_limit, disabled, now]).await?;
        if role != user.role || disabled {
            transaction.end_sessions(id, None, now, until).await?;
        } else {
            transaction.revoke(RevocationKind::UserChanged, id.uuid(), until).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a user with all its rows, except for the audit log. Its orders are kept without its name. Its tenant is recorded, so that what
    /// still comes for it is erased ([`Relational::deleted_tenants_due`]). Its credentials are refused until the time `until`. `false` for an
    /// unknown user.
    pub async fn delete_user(&self, id: UserId, now: Timestamp, until: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(user) = transaction.lock_and_read_user(id).await? else { return Ok(false) };
        transaction.changes_answers_about(&user.tenant);
        transaction.keep_orders(id).await?;
        // In the order in which other transactions lock these rows. The cascade alone would lock them in the reverse order, which
        // could deadlock with a request of this user.
        for sql in [
            "DELETE FROM quota_counters WHERE user_id = $1",
            "DELETE FROM quota_charges WHERE user_id = $1",
            "DELETE FROM sessions WHERE user_id = $1",
            "DELETE FROM users WHERE id = $1",
        ] {
            transaction.execute(sql, values![id]).await?;
        }
        transaction.record_deleted_tenant(&user.tenant, id, now).await?;
        transaction.revoke(RevocationKind::User, id.uuid(), until).await?;
        transaction.commit().await?;
        self.empty_journal().await;
        Ok(true)
    }
}

impl Transaction {
    /// Locks a user against changes and sign-ins until this transaction ends. `false` for an unknown user.
    pub(super) async fn lock_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        Ok(self.execute("UPDATE users SET id = id WHERE id = $1", values![id]).await? == 1)
    }

    async fn lock_and_read_user(&mut self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        if !self.lock_user(id).await? {
            return Ok(None);
        }
        let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
        self.row(sql, values![id]).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// Whether another user has the user name or the mailbox.
    async fn name_conflict(
        &mut self,
        id: UserId,
        username: Option<&str>,
        email: Option<&str>,
    ) -> Result<Option<UserWriteOutcome>, StoreError> {
        if let Some(username) = username {
            let sql = "SELECT id FROM users WHERE username_folded = $1 AND id <> $2";
            if self.row(sql, values![login_key(username), id]).await?.is_some() {
                return Ok(Some(UserWriteOutcome::UsernameTaken));
            }
        }
        if let Some(email) = email {
            let sql = "SELECT id FROM users WHERE email_folded IN ($1, $2) AND id <> $3";
            if self.row(sql, values![login_key(email), lower_case(email), id]).await?.is_some() {
                return Ok(Some(UserWriteOutcome::EmailTaken));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn the_password_of_an_unknown_login_is_one_row_too() {
        let folder = TempDir::new().unwrap();
        let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
        store.migrate().await.unwrap();
        store.statements.take_runs();
        for login in ["nobody", "nobody@example.org"] {
            assert_eq!(store.password_by_login(login).await.unwrap(), (None, None));
        }
        let runs = store.statements.take_runs();
        assert_eq!(runs.len(), 2, "by name and by address: {runs:#?}");
        for (sql, values) in store.statements.all().into_iter().filter(|(sql, _)| runs.contains(sql)) {
            assert_eq!(store.rows(sql, values).await.unwrap().len(), 1, "{sql}");
        }
    }
}
