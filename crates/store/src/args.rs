//! Settings of the stores: MongoDB, PostgreSQL, the galleries of faces, and the image store.

use std::sync::Arc;

use clap::Args;
use gallery::Galleries;
use settings::{Secret, bytes, required, secret_url};

use crate::Relational;

const MONGODB_EXAMPLE: &str = "mongodb://host:27017/?replicaSet=rs0";
const DATABASE_EXAMPLE: &str = "postgres://sightline:password@host:5432/sightline";

/// Settings of the MongoDB connection.
#[derive(Debug, Clone, Args)]
pub struct MongoArgs {
    /// Connection string of MongoDB
    #[arg(long, env = "SIGHTLINE_MONGODB_URI", value_name = "URI",
        value_parser = secret_url(&["mongodb", "mongodb+srv"], MONGODB_EXAMPLE))]
    pub mongodb_uri: Option<Secret>,

    /// MongoDB database; when not set, the one in the connection string, or `sightline`
    #[arg(long, env = "SIGHTLINE_MONGODB_DATABASE", value_name = "NAME")]
    pub mongodb_database: Option<String>,
}

impl MongoArgs {
    /// The connection string.
    ///
    /// # Errors
    /// When it is not set.
    pub fn uri(&self) -> anyhow::Result<&Secret> {
        required(self.mongodb_uri.as_ref(), "SIGHTLINE_MONGODB_URI", MONGODB_EXAMPLE)
    }
}

/// Settings of the PostgreSQL connection.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Connection string of PostgreSQL, which stores the accounts
    #[arg(long, env = "SIGHTLINE_DATABASE_URL", value_name = "URL",
        value_parser = secret_url(&["postgres", "postgresql"], DATABASE_EXAMPLE))]
    pub database_url: Option<Secret>,

    /// Maximum number of connections of this process to PostgreSQL
    #[arg(long, env = "SIGHTLINE_DATABASE_CONNECTIONS", default_value_t = 10, value_name = "NUMBER",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
}

impl DatabaseArgs {
    /// The connection string.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> anyhow::Result<&Secret> {
        required(self.database_url.as_ref(), "SIGHTLINE_DATABASE_URL", DATABASE_EXAMPLE)
    }
}

/// Settings of the galleries of faces in memory. A process has them once, whichever services it runs.
#[derive(Debug, Clone, Args)]
pub struct GalleryArgs {
    /// Memory of the galleries that are searched, in bytes, for all tenants; a larger gallery is searched in the database
    #[arg(long, env = "SIGHTLINE_FACES_GALLERY_BYTES", default_value = "256MiB", value_name = "BYTES",
        value_parser = bytes::<usize>(1 << 20..=1 << 40))]
    pub faces_gallery_bytes: usize,
}

impl GalleryArgs {
    /// The galleries of this database.
    pub fn galleries(&self, database: &Relational) -> Galleries {
        Galleries::new(Arc::new(database.clone()), self.faces_gallery_bytes)
    }
}

/// Settings of the image store.
#[derive(Debug, Clone, Args)]
pub struct BlobArgs {
    /// Image store: file:///a/folder or s3://bucket/prefix
    #[arg(long, env = "SIGHTLINE_BLOB_URL", value_name = "URL", value_parser = blob_url)]
    pub blob_url: Option<String>,
}

impl BlobArgs {
    /// The URL of the image store.
    ///
    /// # Errors
    /// When it is not set.
    pub fn url(&self) -> anyhow::Result<&str> {
        required(self.blob_url.as_deref(), "SIGHTLINE_BLOB_URL", "s3://sightline/images")
    }
}

fn blob_url(url: &str) -> Result<String, String> {
    let valid = url.starts_with("file:///")
        || url.strip_prefix("s3://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if valid { Ok(url.to_owned()) } else { Err("it must be file:///absolute/path or s3://bucket/prefix".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_url_is_a_folder_or_a_bucket() {
        for valid in ["file:///var/lib/images", "s3://bucket", "s3://bucket/prefix"] {
            assert!(blob_url(valid).is_ok(), "{valid}");
        }
        for wrong in ["", "x", "file://relative", "s3://", "s3:///prefix", "http://host/"] {
            assert!(blob_url(wrong).is_err(), "{wrong}");
        }
    }
}
