//! One suite for both databases of accounts, with two instances on each. SQLite always runs; PostgreSQL runs where
//! `SIGHTLINE_TEST_DATABASE_URL` names a server.

mod face_search;
mod postgres;
mod roles;
mod sqlite;
mod suite;
#[path = "../../src/relational/test_database.rs"]
mod test_database;
mod vectors;

use contracts::{SessionId, UserId};
use jiff::{SignedDuration, Timestamp};
use store::relational::{NewSession, NewUser, PasswordHash, Relational, Role, TokenHash, UserLimit, UserWriteOutcome};
use uuid::Uuid;

/// Two instances on one database.
pub struct TwoStores {
    pub one: Relational,
    pub other: Relational,
}

pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap()
}

/// A time before which nothing in these tests expires.
pub fn later() -> Timestamp {
    now() + SignedDuration::from_hours(24)
}

pub fn password() -> PasswordHash {
    PasswordHash::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".to_owned())
}

pub fn token() -> TokenHash {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    TokenHash(bytes)
}

/// A new user with this name and an e-mail address of this name.
pub fn named(name: &str) -> NewUser {
    NewUser {
        id: UserId::now(),
        tenant: Uuid::new_v4(),
        username: Some(name.to_owned()),
        email: Some(format!("{name}@example.org")),
        full_name: None,
        password: Some(password()),
        identity: None,
        role: Role::User,
        quota: UserLimit::Configured,
        rate_limit: UserLimit::Configured,
    }
}

pub async fn add(store: &Relational, name: &str) -> UserId {
    let user = named(name);
    assert_eq!(store.add_user(&user, now()).await.unwrap(), UserWriteOutcome::Stored);
    user.id
}

pub fn session(user: UserId) -> NewSession {
    NewSession {
        id: SessionId::now(),
        user,
        scopes: "frames:write".to_owned(),
        narrowed: true,
        client: Some("curl/8".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        token: token(),
        expires_at: later(),
    }
}
