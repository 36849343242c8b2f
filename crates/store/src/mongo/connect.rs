//! Connecting to a replica set and bringing the database to this version.

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
/// Interval of the driver's checks of the servers; a connection that died silently is noticed with the next one.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Time limit for a majority to acknowledge a write.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(30);

impl MongoDocuments {
    /// Connects to a replica set and brings the database to this version: the named one, else the one in the address, else
    /// `sightline`. A server that does not answer is an error after about ten seconds.
    ///
    /// # Errors
    /// `Unavailable` when no server answers. `Fatal` when the address is none or names another database, the server is not a
    /// replica set, or the database holds collections that are not ours or a later version's: it is left as it was.
    pub async fn connect(uri: &str, named: Option<&str>) -> Result<Self, StoreError> {
        let options = options(uri).await?;
        let in_address = options.default_database.clone();
        let database = database(named, in_address.as_deref())?;
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let shown = format!("MongoDB at {}, database {database}", hosts.join(","));
        let client = Client::with_options(options).map_err(|error| CallError::from(error).into_store_error(&shown))?;
        // One handle is never dropped: the last one's end starts a task that panics where the runtime ends before it, as it
        // does when a start fails. The server ends the sessions of a closed connection by itself.
        std::mem::forget(client.clone());
        let connected = Self { database: client.database(database), client, shown, migrated: Migrated::default() };
        let ready = async {
            connected.must_be_replicated().await?;
            migrations::migrate(&connected.database, &connected.shown).await
        };
        let migrated = connected.with_timeout(Box::pin(ready)).await?;
        migrated.log(&connected.shown);
        Ok(Self { migrated, ..connected })
    }

    async fn must_be_replicated(&self) -> Result<(), CallError> {
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

/// The database out of the setting and the address. In the address, one of the server's own is where its users are.
fn database<'a>(named: Option<&'a str>, in_address: Option<&'a str>) -> Result<&'a str, StoreError> {
    let in_address = in_address.filter(|name| !["admin", "local", "config"].contains(name));
    match (named, in_address) {
        (Some(named), Some(other)) if named != other => Err(StoreError::Fatal(format!(
            "SIGHTLINE_MONGODB_URI names the database {other} and SIGHTLINE_MONGODB_DATABASE names {named}; leave one of them \
             out (where {other} only holds the user, write /?authSource={other} in the address)"
        ))),
        (named, in_address) => Ok(named.or(in_address).unwrap_or("sightline")),
    }
}

async fn options(uri: &str) -> Result<ClientOptions, StoreError> {
    let mut options = ClientOptions::parse(uri).await.map_err(|error| match error.kind.as_ref() {
        // Of what the driver says about an address nothing is quoted: it may contain the password.
        ErrorKind::DnsResolve { .. } => StoreError::Unavailable(
            "the servers of SIGHTLINE_MONGODB_URI cannot be looked up; check the host name and the network".to_owned(),
        ),
        _ => StoreError::Fatal(
            "SIGHTLINE_MONGODB_URI is no MongoDB address; write it like mongodb://host:27017/?replicaSet=rs0, with special \
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
        for (named, in_address, expected) in [
            (None, None, "sightline"),
            (Some("a"), None, "a"),
            (None, Some("b"), "b"),
            (Some("a"), Some("a"), "a"),
            (None, Some("admin"), "sightline"),
            (Some("a"), Some("admin"), "a"),
        ] {
            assert_eq!(database(named, in_address).unwrap(), expected);
        }
        let refused = database(Some("a"), Some("b")).unwrap_err().to_string();
        assert!(
            refused.contains("the database b") && refused.contains("SIGHTLINE_MONGODB_DATABASE names a"),
            "{refused}"
        );
    }
}
