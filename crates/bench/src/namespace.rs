//! Topics, a database and a folder for images with unique names for one run of a bench, and the
//! settings for services that use them. They are deleted at the end of the run. After a kill they
//! remain, with names that start with `bench-`.

use accounts::RedisArgs;
use anyhow::Context as _;
use bus::KafkaArgs;
use bus::KafkaConfig;
use bus::kafka::admin;
use clap::Args;
use contracts::Topics;
use contracts::topics::DEFAULT;
use store::{DatabaseArgs, MongoArgs};
use store::{MongoDocuments, Relational};
use tempfile::TempDir;
use uuid::Uuid;

/// The servers that benches of services use; the embedded parts need none.
#[derive(Debug, Args)]
pub struct Servers {
    #[command(flatten)]
    pub kafka: KafkaArgs,
    #[command(flatten)]
    mongo: MongoArgs,
    #[command(flatten)]
    database: DatabaseArgs,
    #[command(flatten)]
    redis: RedisArgs,
}

impl Servers {
    /// The address of PostgreSQL.
    ///
    /// # Errors
    /// When it is not set.
    pub fn database_url(&self) -> anyhow::Result<&str> {
        Ok(self.database.url()?.expose())
    }

    /// The address of PostgreSQL, if it is set.
    pub fn optional_database_url(&self) -> Option<&str> {
        Some(self.database.database_url.as_ref()?.expose())
    }

    /// The connection settings of Kafka; `None` if no brokers are set.
    pub fn kafka(&self) -> anyhow::Result<Option<KafkaConfig>> {
        self.kafka.kafka_brokers.is_some().then(|| kafka_config(&self.kafka)).transpose()
    }
}

/// The connection settings of Kafka from the arguments.
///
/// # Errors
/// When brokers are not set, or a property is invalid.
pub fn kafka_config(arguments: &KafkaArgs) -> anyhow::Result<KafkaConfig> {
    arguments.group_member_config()
}

/// Topics, a database and a folder that only one bench uses.
pub struct TestNamespace {
    /// The topics.
    pub topics: Topics,
    /// The connection settings of Kafka.
    pub kafka: KafkaConfig,
    /// The admin token.
    pub token: String,
    database: String,
    mongodb_uri: String,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl TestNamespace {
    /// Creates topics and folder; the first service that needs the database creates it.
    ///
    /// # Errors
    /// When a server is not set or cannot be reached.
    pub async fn create(servers: &Servers) -> anyhow::Result<Self> {
        Self::create_with(servers, str::to_owned).await
    }

    /// [`Self::create`] with a topics file that `change` edited.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn create_with(servers: &Servers, change: impl Fn(&str) -> String) -> anyhow::Result<Self> {
        let Servers { kafka, mongo, database, redis } = servers;
        let (config, mongodb_uri) = (kafka_config(kafka)?, mongo.uri()?.expose().to_owned());
        let name = format!("bench-{}", Uuid::new_v4().simple());
        let text = change(DEFAULT).replace("name: sightline.", &format!("name: {name}."));
        let topics = Topics::parse(&text)?;
        let folder = tempfile::tempdir().context("no folder for the bench")?;
        let file = folder.path().join("topics.yaml");
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        admin::apply(&config, &topics, None).await?;

        let token = accounts::generate_token();
        let properties = kafka.kafka_properties.as_ref().map_or("", |secret| secret.expose());
        let mut settings = vec![
            ("SIGHTLINE_KAFKA_BROKERS", config.brokers.clone()),
            ("SIGHTLINE_KAFKA_PROPERTIES", properties.to_owned()),
            ("SIGHTLINE_TOPICS_FILE", file.display().to_string()),
            ("SIGHTLINE_MONGODB_URI", mongodb_uri.clone()),
            ("SIGHTLINE_MONGODB_DATABASE", name.clone()),
            ("SIGHTLINE_BLOB_URL", format!("file://{}", folder.path().display())),
            ("SIGHTLINE_ADMIN_TOKEN", token.clone()),
        ];
        // Only services that authenticate callers need these two settings. A service that lacks one reports it.
        if let Some(url) = &database.database_url {
            Relational::postgres(url.expose(), 1).await?.migrate().await?;
            settings.push(("SIGHTLINE_DATABASE_URL", url.expose().to_owned()));
        }
        if let Some(url) = &redis.redis_url {
            settings.push(("SIGHTLINE_REDIS_URL", url.expose().to_owned()));
        }
        Ok(Self { topics, kafka: config, token, database: name, mongodb_uri, folder, settings })
    }

    /// The settings for a service, with additional ones.
    pub fn settings(&self, additional: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        [&self.settings, additional].concat()
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The address of MongoDB.
    pub fn mongodb_uri(&self) -> &str {
        &self.mongodb_uri
    }

    /// Deletes topics, database and folder.
    ///
    /// # Errors
    /// When a server refuses; the message names what is left.
    pub async fn delete(self) -> anyhow::Result<()> {
        let Self { topics, kafka, database, mongodb_uri, folder, .. } = self;
        let left = || format!("topics and database {database} were not deleted");
        admin::delete(&kafka, &topics).await.with_context(left)?;
        MongoDocuments::connect(&mongodb_uri, Some(&database)).await?.drop_database().await.with_context(left)?;
        folder.close().context("a folder could not be deleted")
    }
}
