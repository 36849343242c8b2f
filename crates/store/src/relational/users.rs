//! Users: who there is and what each may.

use contracts::{TenantId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use super::database::{Relational, Transaction};
use super::identities::Identity;
use super::passwords::PasswordHash;
use super::revocations::RevocationKind;
use super::values::{Row, tenant, unreadable, values};
use crate::{Cursor, StoreError};

/// What a user is to the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sees its own tenant and what is shared.
    User,
    /// Sees everything and manages users.
    Admin,
}

impl Role {
    /// The role's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "user" => Ok(Self::User),
            "admin" => Ok(Self::Admin),
            _ => Err(format!("there is no role {name:?}; there are user and admin")),
        }
    }
}

/// How much a user may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Allowance {
    /// What is configured for everybody.
    #[default]
    Configured,
    /// Any amount.
    Unlimited,
    /// This user's own limit.
    AtMost(u32),
}

impl Allowance {
    const fn stored(self) -> Option<i64> {
        match self {
            Self::Configured => None,
            Self::Unlimited => Some(-1),
            Self::AtMost(most) => Some(most as i64),
        }
    }

    fn read(stored: Option<i64>) -> Self {
        match stored {
            None => Self::Configured,
            Some(-1) => Self::Unlimited,
            Some(most) => Self::AtMost(u32::try_from(most).unwrap_or(u32::MAX)),
        }
    }

    /// The limit in force where `configured` is everybody's; none without a limit.
    pub const fn in_force(self, configured: Option<u32>) -> Option<u32> {
        match self {
            Self::Configured => configured,
            Self::Unlimited => None,
            Self::AtMost(most) => Some(most),
        }
    }
}

/// A user to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// Its tenant, which nobody else has or had.
    pub tenant: Uuid,
    /// Its name for signing in.
    pub username: Option<String>,
    /// Its address.
    pub email: Option<String>,
    /// Its name for people.
    pub full_name: Option<String>,
    /// Its password's hash.
    pub password: Option<PasswordHash>,
    /// By which provider's word it signs in, from the start.
    pub identity: Option<Identity>,
    /// What it is.
    pub role: Role,
    /// Requests a period.
    pub quota: Allowance,
    /// Requests a second.
    pub rate_limit: Allowance,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name for signing in.
    pub username: Option<String>,
    /// Its address.
    pub email: Option<String>,
    /// Its name for people.
    pub full_name: Option<String>,
    /// What it is.
    pub role: Role,
    /// Requests a period.
    pub quota: Allowance,
    /// Requests a second.
    pub rate_limit: Allowance,
    /// Whether it is shut out.
    pub disabled: bool,
    /// Since when there is this user.
    pub created_at: Timestamp,
    /// When it last signed in.
    pub last_sign_in_at: Option<Timestamp>,
}

impl UserRecord {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let role: String = row.get("role")?;
        Ok(Self {
            id: UserId::from_uuid(row.get("user_id")?),
            tenant: tenant(row)?,
            username: row.get("username")?,
            email: row.get("email")?,
            full_name: row.get("full_name")?,
            role: role.parse().map_err(|error: String| unreadable("role", &error))?,
            quota: Allowance::read(row.get("quota")?),
            rate_limit: Allowance::read(row.get("rate_limit")?),
            disabled: row.get("disabled")?,
            created_at: row.get("created_at")?,
            last_sign_in_at: row.get("last_sign_in_at")?,
        })
    }
}

/// A change of what is shown of a user; what is none stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProfileChange {
    /// The new name for signing in.
    pub username: Option<String>,
    /// The new address.
    pub email: Option<String>,
    /// The new name for people; an inner none takes it away.
    pub full_name: Option<Option<String>>,
}

/// A change of what a user may; what is none stays as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct AccessChange {
    /// The new role.
    pub role: Option<Role>,
    /// The new quota.
    pub quota: Option<Allowance>,
    /// The new rate limit.
    pub rate_limit: Option<Allowance>,
    /// Whether it is shut out from now on.
    pub disabled: Option<bool>,
}

/// What came of writing a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserPut {
    /// It is stored.
    Stored,
    /// Another user has the name, in any case of its letters.
    UsernameTaken,
    /// Another user has the address, in any case of its letters.
    EmailTaken,
    /// Another user signs in by the provider's word about this person.
    IdentityTaken,
    /// There is no such user.
    Unknown,
}

/// What counts of a name or address: its letters without regard to case.
fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// What the admin's list is searched in.
fn searched(username: Option<&str>, email: Option<&str>, full_name: Option<&str>) -> String {
    [username, email, full_name].into_iter().flatten().map(folded).collect::<Vec<_>>().join("\n")
}

/// A pattern that finds `part` itself, whatever it contains.
fn pattern(part: &str) -> String {
    let mut pattern = "%".to_owned();
    for letter in folded(part).chars() {
        if ['%', '_', '\\'].contains(&letter) {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// The columns of a user, for every statement that reads one.
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.tenant, users.username, users.email, users.full_name, users.role, users.quota, \
         users.rate_limit, users.disabled, users.created_at, users.last_sign_in_at"
    };
}
pub(super) use user_columns;

impl Relational {
    /// Adds a user.
    pub async fn add_user(&self, new: &NewUser, now: Timestamp) -> Result<UserPut, StoreError> {
        let mut transaction = self.begin().await?;
        let (username, email) = (new.username.as_deref(), new.email.as_deref());
        let sql = "INSERT INTO users (id, tenant, username, username_folded, email, email_folded, full_name, password_hash, \
                   role, quota, rate_limit, disabled, created_at, search) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";
        let row = values![
            new.id,
            new.tenant,
            username,
            username.map(folded).as_deref(),
            email,
            email.map(folded).as_deref(),
            &new.full_name,
            new.password.as_ref().map(PasswordHash::expose),
            new.role.name(),
            new.quota.stored(),
            new.rate_limit.stored(),
            false,
            now,
            searched(username, email, new.full_name.as_deref()),
        ];
        if transaction.execute(sql, row).await? == 0 {
            return Ok(transaction.taken(new.id, username, email).await?.unwrap_or(UserPut::UsernameTaken));
        }
        if let Some(identity) = &new.identity
            && !transaction.link(new.id, identity, now).await?
        {
            return Ok(UserPut::IdentityTaken);
        }
        transaction.commit().await?;
        Ok(UserPut::Stored)
    }

    /// A user.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
        self.row(sql, values![id]).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// Who signs in under this name or address, in any case of its letters, with the password's hash.
    pub async fn user_by_login(&self, login: &str) -> Result<Option<(UserRecord, Option<PasswordHash>)>, StoreError> {
        // No name for signing in has an @, and every address has one.
        let sql = if login.contains('@') {
            concat!("SELECT ", user_columns!(), ", users.password_hash FROM users WHERE email_folded = $1")
        } else {
            concat!("SELECT ", user_columns!(), ", users.password_hash FROM users WHERE username_folded = $1")
        };
        let Some(row) = self.row(sql, values![folded(login)]).await? else { return Ok(None) };
        let hash: Option<String> = row.get("password_hash")?;
        Ok(Some((UserRecord::read(&row)?, hash.map(PasswordHash::new))))
    }

    /// Users, newest first, after a cursor; only those with `part` in their names or address, if it is given.
    pub async fn users(
        &self,
        part: Option<&str>,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Vec<UserRecord>, StoreError> {
        let (at, id) = super::values::after(after);
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

    /// Changes what is shown of a user. Tokens for setting a password that were mailed to an address before the new one end.
    pub async fn change_profile(
        &self,
        id: UserId,
        change: &ProfileChange,
        until: Timestamp,
    ) -> Result<UserPut, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(user) = transaction.locked_user(id).await? else { return Ok(UserPut::Unknown) };
        let username = change.username.clone().or(user.username);
        let email = change.email.clone().or(user.email);
        let full_name = change.full_name.clone().unwrap_or(user.full_name);
        if let Some(taken) = transaction.taken(id, username.as_deref(), email.as_deref()).await? {
            return Ok(taken);
        }
        let sql = "UPDATE users SET username = $2, username_folded = $3, email = $4, email_folded = $5, full_name = $6, \
                   search = $7 WHERE id = $1";
        let row = values![
            id,
            &username,
            username.as_deref().map(folded).as_deref(),
            &email,
            email.as_deref().map(folded).as_deref(),
            &full_name,
            searched(username.as_deref(), email.as_deref(), full_name.as_deref()),
        ];
        if let Err(error) = transaction.execute(sql, row).await {
            drop(transaction);
            // Somebody may have taken the name since it was looked for.
            let taken = self.begin().await?.taken(id, username.as_deref(), email.as_deref()).await?;
            return taken.ok_or(error);
        }
        if change.email.is_some() {
            // Whoever reads the mail of the address before must not set the password any more.
            transaction.drop_resets(id).await?;
        }
        transaction.revoke(RevocationKind::UserChanged, id.uuid(), until).await?;
        transaction.commit().await?;
        Ok(UserPut::Stored)
    }

    /// Changes what a user may. Losing a role or being shut out ends what the user has open: every session and access token.
    /// False when there is no such user.
    pub async fn change_access(
        &self,
        id: UserId,
        change: &AccessChange,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let Some(user) = transaction.locked_user(id).await? else { return Ok(false) };
        let role = change.role.unwrap_or(user.role);
        let disabled = change.disabled.unwrap_or(user.disabled);
        let sql = "UPDATE users SET role = $2, quota = $3, rate_limit = $4, disabled = $5 WHERE id = $1";
        let quota = change.quota.unwrap_or(user.quota).stored();
        let rate_limit = change.rate_limit.unwrap_or(user.rate_limit).stored();
        transaction.execute(sql, values![id, role.name(), quota, rate_limit, disabled]).await?;
        if role != user.role || disabled {
            transaction.end_sessions(id, None, now, until).await?;
        } else {
            transaction.revoke(RevocationKind::UserChanged, id.uuid(), until).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Deletes a user with everything that is kept of it here, but for the audit log. False when there is no such user.
    pub async fn delete_user(&self, id: UserId, until: Timestamp) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        if !transaction.lock_user(id).await? {
            return Ok(false);
        }
        // What hangs on a user goes in the order in which others take it. By the cascade alone the database would take it the
        // other way round, and a request of this user and its deletion could wait for each other.
        for sql in [
            "DELETE FROM quota_counters WHERE user_id = $1",
            "DELETE FROM quota_charges WHERE user_id = $1",
            "DELETE FROM sessions WHERE user_id = $1",
            "DELETE FROM users WHERE id = $1",
        ] {
            transaction.execute(sql, values![id]).await?;
        }
        transaction.revoke(RevocationKind::User, id.uuid(), until).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

impl Transaction {
    /// Holds whoever else changes this user, or signs it in, until this transaction ends. False when there is none.
    pub(super) async fn lock_user(&mut self, id: UserId) -> Result<bool, StoreError> {
        Ok(self.execute("UPDATE users SET id = id WHERE id = $1", values![id]).await? == 1)
    }

    async fn locked_user(&mut self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        if !self.lock_user(id).await? {
            return Ok(None);
        }
        let sql = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");
        self.row(sql, values![id]).await?.as_ref().map(UserRecord::read).transpose()
    }

    /// Which of the two another user has.
    async fn taken(
        &mut self,
        id: UserId,
        username: Option<&str>,
        email: Option<&str>,
    ) -> Result<Option<UserPut>, StoreError> {
        if let Some(username) = username {
            let sql = "SELECT id FROM users WHERE username_folded = $1 AND id <> $2";
            if self.row(sql, values![folded(username), id]).await?.is_some() {
                return Ok(Some(UserPut::UsernameTaken));
            }
        }
        if let Some(email) = email {
            let sql = "SELECT id FROM users WHERE email_folded = $1 AND id <> $2";
            if self.row(sql, values![folded(email), id]).await?.is_some() {
                return Ok(Some(UserPut::EmailTaken));
            }
        }
        Ok(None)
    }
}
