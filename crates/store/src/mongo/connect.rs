//! Connects to a replica set and migrates the database.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};

use super::errors::CallError;
use super::{MongoDocuments, migrations};
use crate::{Migrated, StoreError};

/// Time limit for finding a server.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval of the driver's server checks, and so the longest time until a dead connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time limit of a migration: the index of a large collection takes minutes to build.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
/// Time limit for a majority to acknowledge a write.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(30);

impl MongoDocuments {
    /// Connects to a replica set and migrates the database: `named`, or the one in `uri`, or `sightline`.
    ///
    /// # Errors
    /// `Unavailable` if no server responds within about ten seconds. `Fatal`, with the database unchanged, if `uri` is invalid or
    /// names another database, the server is not a replica set, or the database belongs to another program or a later version.
    pub async fn connect(uri: &str, named: Option<&str>) -> Result<Self, StoreError> {
        let options = options(uri).await?;
        let in_uri = options.default_database.clone();
        let database = database(named, in_uri.as_deref())?;
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let shown = format!("MongoDB at {}, database {database}", hosts.join(","));
        let client = Client::with_options(options).map_err(|error| CallError::from(error).into_store_error(&shown))?;
        // This handle is never dropped. Dropping the last one spawns a task, which panics if the runtime ends first, as after a
        // failed start. The server ends the sessions of a closed connection itself.
        std::mem::forget(client.clone());
        let connected = Self { database: client.database(database), client, shown, migrated: Migrated::default() };
        connected.with_timeout(Box::pin(connected.check_replica_set())).await?;
        let migrating = Box::pin(migrations::migrate(&connected.database, &connected.shown));
        let migrated = connected.within(MIGRATION_TIMEOUT, migrating).await?;
        migrated.log(&connected.shown);
        Ok(Self { migrated, ..connected })
    }

    async fn check_replica_set(&self) -> Result<(), CallError> {
        let hello = self.client.database("admin").run_command(doc! { "hello": 1 }).await?;
        let sharded = hello.get_str("msg").is_ok_and(|kind| kind == "isdbgrid");
        if sharded || hello.contains_key("setName") {
            return Ok(());
        }
        let line = format!(
            "{} is not a replica set, so it cannot promise that a write survives; start mongod with --replSet rs0, run \
             rs.initiate() once, and name it in SIGHTLINE_MONGODB_URI (mongodb://host:27017/?replicaSet=rs0)",
            self.shown
        );
        Err(StoreError::Fatal(line).into())
    }
}

/// The database name from the setting and the URI. A system database in the URI is ignored: it contains the server's users.
fn database<'a>(named: Option<&'a str>, in_uri: Option<&'a str>) -> Result<&'a str, StoreError> {
    let in_uri = in_uri.filter(|name| !["admin", "local", "config"].contains(name));
    match (named, in_uri) {
        (Some(named), Some(other)) if named != other => Err(StoreError::Fatal(format!(
            "SIGHTLINE_MONGODB_URI names the database {other} and SIGHTLINE_MONGODB_DATABASE names {named}; leave one of them \
             out (if {other} only holds the user, write /?authSource={other} in the URI)"
        ))),
        (named, in_uri) => Ok(named.or(in_uri).unwrap_or("sightline")),
    }
}

async fn options(uri: &str) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(uri).await.map_err(|error| match error.kind.as_ref() {
        // The driver's message is not quoted: it may contain the password.
        ErrorKind::DnsResolve { .. } => StoreError::Unavailable(
            "the host of SIGHTLINE_MONGODB_URI cannot be resolved; check the host name and the network".to_owned(),
        ),
        _ => StoreError::Fatal(
            "SIGHTLINE_MONGODB_URI is not a MongoDB URI; write it like mongodb://host:27017/?replicaSet=rs0, with special \
             characters in user name and password percent-encoded"
                .to_owned(),
        ),
    })?;
    options.app_name.get_or_insert_with(|| "sightline".to_owned());
    options.server_selection_timeout = Some(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout = Some(SERVER_SELECTION_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.retry_writes = Some(true);
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY_TIMEOUT).build();
    options.write_concern = Some(durable);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_database_names_are_refused() {
        for (named, in_uri, expected) in [
            (None, None, "sightline"),
            (Some("a"), None, "a"),
            (None, Some("b"), "b"),
            (Some("a"), Some("a"), "a"),
            (None, Some("admin"), "sightline"),
            (Some("a"), Some("admin"), "a"),
        ] {
            assert_eq!(database(named, in_uri).unwrap(), expected);
        }
        let refused = database(Some("a"), Some("b")).unwrap_err().to_string();
        assert!(
            refused.contains("the database b") && refused.contains("SIGHTLINE_MONGODB_DATABASE names a"),
            "{refused}"
        );
    }
}
