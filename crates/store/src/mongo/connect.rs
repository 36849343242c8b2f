//! Connecting: is it there, is it a replica set, is the database ours, are its indexes there.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::{
    Acknowledgment, ClientOptions, IndexOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Database, IndexModel};

use super::failure::Failure;
use super::{MongoDocuments, write_error_code};
use crate::StoreError;
use crate::mongo::failure::{DUPLICATE_KEY, shortened};
use crate::query::{Collection, Path};

/// How long a server is looked for.
const SEARCH: Duration = Duration::from_secs(5);
/// How often the servers are looked after; a connection that died silently is found out with the look after.
const LOOK: Duration = Duration::from_secs(2);
/// How long a majority may take to have a write.
const MAJORITY: Duration = Duration::from_secs(30);
/// Version of the documents and indexes.
const VERSION: i32 = 1;
/// Collection and id of the document that makes a database ours.
const META: &str = "meta";
const MARKER: &str = "sightline";

impl MongoDocuments {
    /// Connects to a replica set and makes collections and indexes where the database is empty: the named one, else the one
    /// in the address, else `sightline`. Takes at most about ten seconds to fail.
    ///
    /// # Errors
    /// `Unavailable` when no server answers. `Fatal` when the address is none or names another database, the server is not a
    /// replica set, or the database holds collections that are not ours: it is left as it was.
    pub async fn connect(uri: &str, named: Option<&str>) -> Result<Self, StoreError> {
        let options = options(uri).await?;
        let in_address = options.default_database.clone();
        let database = database(named, in_address.as_deref())?;
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let shown = format!("MongoDB at {}, database {database}", hosts.join(","));
        let client = Client::with_options(options).map_err(|error| Failure::from(error).at(&shown))?;
        // One handle is never dropped: the last one's end starts a task that panics where the runtime ends before it, as it
        // does when a start fails. The server ends the sessions of a closed connection by itself.
        std::mem::forget(client.clone());
        let connected = Self { database: client.database(database), client, shown };
        let ready = async {
            connected.must_be_replicated().await?;
            connected.must_be_ours().await?;
            make_indexes(&connected.database).await
        };
        connected.within(Box::pin(ready)).await?;
        Ok(connected)
    }

    async fn must_be_replicated(&self) -> Result<(), Failure> {
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

    async fn must_be_ours(&self) -> Result<(), Failure> {
        let names = self.database.list_collection_names().await?;
        let others: Vec<_> = names.iter().filter(|name| *name != META && !name.starts_with("system.")).collect();
        let meta = self.database.collection::<Document>(META);
        let marker = meta.find_one(doc! { "_id": MARKER }).await?;
        match marker.map(|marker| marker.get_i32("version")) {
            Some(Ok(VERSION)) => Ok(()),
            Some(version) => Err(StoreError::Fatal(format!(
                "{} has schema version {}, this program knows {VERSION}; run the version that wrote it, or name another \
                 database with SIGHTLINE_MONGODB_DATABASE (nothing was changed)",
                self.shown,
                version.map_or_else(|_| "unknown".to_owned(), |version| version.to_string())
            ))
            .into()),
            None if others.is_empty() => mark(&self.database).await,
            None => Err(StoreError::Fatal(format!(
                "{} holds collections that are not Sightline's (such as {}); name an empty database with \
                 SIGHTLINE_MONGODB_DATABASE (nothing was changed)",
                self.shown, others[0]
            ))
            .into()),
        }
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
    options.server_selection_timeout = Some(SEARCH);
    options.connect_timeout = Some(SEARCH);
    options.heartbeat_freq.get_or_insert(LOOK);
    options.retry_writes = Some(true);
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(MAJORITY).build();
    options.write_concern = Some(durable);
    Ok(options)
}

/// Makes an empty database ours. Another process may do so at the same time.
async fn mark(database: &Database) -> Result<(), Failure> {
    let meta = database.collection::<Document>(META);
    let ours = doc! { "$setOnInsert": { "version": VERSION } };
    match meta.update_one(doc! { "_id": MARKER }, ours).upsert(true).await {
        Err(error) if write_error_code(&error) != Some(DUPLICATE_KEY) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Five indexes for each collection, `_id` included: three to page by, one to delete by.
async fn make_indexes(database: &Database) -> Result<(), Failure> {
    let named = |name: &str| IndexOptions::builder().name(name.to_owned());
    let index = |keys: Document, options: IndexOptions| IndexModel::builder().keys(keys).options(options).build();
    for collection in Collection::ALL {
        // Most frames of programs have no stream and cost this index nothing.
        let streamed = doc! { "stream": { "$exists": true } };
        let indexes = [
            index(doc! { "at": 1, "_id": 1 }, named(Path::Time.index()).build()),
            index(doc! { "tenant": 1, "at": 1, "_id": 1 }, named(Path::Tenant.index()).build()),
            index(
                doc! { "stream": 1, "at": 1, "_id": 1 },
                named(Path::Stream.index()).partial_filter_expression(streamed).build(),
            ),
            index(doc! { "expires_at": 1 }, named("by_expiry").expire_after(Duration::ZERO).build()),
        ];
        database.collection::<Document>(collection.name()).create_indexes(indexes).await.map_err(differing)?;
    }
    let rules = index(doc! { "tenant": 1, "name": 1, "_id": 1 }, named("by_tenant").build());
    let rule_docs = database.collection::<Document>("rules");
    rule_docs.create_indexes([rules]).await.map_err(differing)?;
    let unique = named("by_name").unique(true).build();
    match rule_docs.create_index(index(doc! { "tenant": 1, "name": 1 }, unique)).await {
        // Rules from before names were unique: nobody is kept from starting for them.
        Err(error) if is_command(&error, &[DUPLICATE_KEY]) => {
            tracing::warn!("rules of one tenant have the same name; rename or delete all but one of them");
            Ok(())
        }
        made => made.map(drop).map_err(differing),
    }
}

fn is_command(error: &mongodb::error::Error, codes: &[i32]) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if codes.contains(&command.code))
}

/// Somebody changed an index under its name.
fn differing(error: mongodb::error::Error) -> Failure {
    match error.kind.as_ref() {
        ErrorKind::Command(command) if [85, 86].contains(&command.code) => StoreError::Fatal(format!(
            "an index of the database of SIGHTLINE_MONGODB_DATABASE is not as it was made; drop that index, it is made \
             again at the next start ({})",
            shortened(&command.message)
        ))
        .into(),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_the_one_that_is_named_and_two_names_are_refused() {
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
