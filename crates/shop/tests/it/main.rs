//! The guarantees of the shop, with two instances on one database: always on SQLite, and the checkout also on PostgreSQL if
//! `SIGHTLINE_TEST_DATABASE_URL` names a server.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails, in its helpers too")]

mod catalogue;
mod checkout;
mod files;
mod links;
mod reconciler;
mod refunds;
mod repair;
#[path = "../../../store/src/relational/test_database.rs"]
mod test_database;
mod test_shop;
mod wav;
