//! Accounts in PostgreSQL or SQLite: users, what they sign in with, what was taken back and what they used.
//!
//! In: facts that `accounts` has decided on. Out: facts. No password or token comes here, only their hashes. Promised: what
//! is answered is committed; of several that spend, charge or claim the same thing at once exactly one succeeds, on either
//! database and from several processes; [`Relational::revocations_after`] leaves nothing out.
//!
//! Every statement is written once and runs on both databases. What differs between them is in two places: their types
//! (`database.rs`) and their tables (`migrations/`), so that PostgreSQL has a UUID and a time where SQLite has a text and a
//! number.

mod api_tokens;
mod audit;
mod database;
mod failure;
mod identities;
mod migrations;
mod passwords;
mod quota;
mod revocations;
mod sessions;
mod signing_keys;
mod sweep;
mod users;
mod values;

#[cfg(test)]
mod plans;
#[cfg(test)]
mod test_database;

pub use api_tokens::{ApiTokenOwner, ApiTokenPut, ApiTokenRecord, MAX_API_TOKENS, NewApiToken};
pub use audit::AuditEntry;
pub use database::Relational;
pub use identities::{Identity, LinkedIdentity};
pub use migrations::init_sql;
pub use passwords::{PasswordHash, TokenHash};
pub use quota::{Charge, Charged};
pub use revocations::{Revocation, RevocationKind};
pub use sessions::{NewSession, Rotation, SessionRecord};
pub use signing_keys::{KeyChange, SigningKeyRecord};
pub use users::{AccessChange, Allowance, NewUser, ProfileChange, Role, UserPut, UserRecord};
