//! `sightline erase check`: what still has the id of a deleted person, and what of that a receipt lists.
//!
//! In: the id of a subject or of a user. Out: every place that has it, with numbers, and until when a receipt lists it. What other tenants
//! wrote with it is no remainder of the deletion, and is told apart. Ids and numbers are
//! printed, never a name or a vector. Nothing is changed. It works while services run and after they ended.

mod places;
mod receipt;

use std::path::PathBuf;

use accounts::RedisArgs;
use anyhow::{bail, ensure};
use bus::{KafkaArgs, TopicArgs};
use clap::{Args, Subcommand};
use contracts::{SubjectId, TenantId, Topics, UserId};
use faces::UploadArgs;
use jiff::Timestamp;
use store::{BlobArgs, DatabaseArgs, MongoArgs, Relational};
use uuid::Uuid;

use crate::data_dir::{DataDir, check_part};
use crate::out;
use crate::up::dependencies::{ACCOUNTS_FILE, database};
use places::Place;
use receipt::{Listed, Receipt};

/// Checks that nothing has the id of a deleted person any more
#[derive(Debug, Args)]
pub struct Erase {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List everything that has the id of a subject or a user; fails if a place has it that no receipt lists
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline erase check [OPTIONS] <ID>")]
    Check(Check),
}

#[derive(Debug, Args)]
struct Check {
    /// Id of the subject or the user
    #[arg(value_name = "ID")]
    id: Uuid,

    /// Tenant of a user, where it is no longer known because the deletion was long ago
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,

    #[command(flatten)]
    data_dir: DataDir,

    #[command(flatten)]
    topics: TopicArgs,

    #[command(flatten)]
    uploads: UploadArgs,

    #[command(flatten, next_help_heading = "Servers instead of embedded parts")]
    kafka: KafkaArgs,

    #[command(flatten)]
    mongo: MongoArgs,

    #[command(flatten)]
    blobs: BlobArgs,

    #[command(flatten)]
    database: DatabaseArgs,

    #[command(flatten)]
    redis: RedisArgs,
}

impl Erase {
    /// Runs the command and prints the places.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::Check(check) = self.action;
        let accounts = check.accounts().await?;
        let done = check.run(&accounts).await;
        accounts.close().await;
        done
    }
}

impl Check {
    async fn run(&self, accounts: &Relational) -> anyhow::Result<()> {
        let topics = self.topics.load()?;
        let (texts, owner) = self.texts(accounts).await?;
        let receipt = Receipt::of(accounts, self.id, &topics).await?;
        let found = self.places(accounts, &topics, &texts, owner.as_ref()).await?;
        let mut unlisted = 0;
        for place in &found {
            let listed = match &receipt {
                Some(receipt) => receipt.lists(place, Timestamp::now()),
                None if place.is_of_others() => Listed::OfOthers,
                None => Listed::No,
            };
            unlisted += usize::from(matches!(listed, Listed::Overdue(_) | Listed::No));
            out::line(format_args!("{place}: {listed}"))?;
        }
        if found.is_empty() {
            out::line(
                "nothing has the id; an id that never existed gives the same result: check that it is not mistyped",
            )?;
        }
        let places = out::counted(unlisted, "place has the id and is", "places have the id and are");
        match receipt {
            _ if unlisted == 0 => Ok(()),
            Some(_) => bail!(
                "{places} in no receipt; what came after the deletion is deleted one minute after it, two, four and so on; \
                 if it stays, send the DELETE request again, or see the docs of these places"
            ),
            None => bail!("{places} in no receipt; no deletion of this id is recorded in {}", accounts.describe()),
        }
    }

    /// The accounts' database. A missing file is not created.
    async fn accounts(&self) -> anyhow::Result<Relational> {
        let folder = match &self.database.database_url {
            Some(_) => PathBuf::new(),
            None => self.part(ACCOUNTS_FILE)?.0,
        };
        let accounts = database(&self.database, &folder).await?;
        accounts.check_schema().await?;
        Ok(accounts)
    }

    /// What is searched for, the id and the tenant of a user; and whose data it is, if that is known.
    async fn texts(&self, accounts: &Relational) -> anyhow::Result<(Vec<String>, Option<TenantId>)> {
        let mut texts = vec![self.id.to_string()];
        let id = UserId::from_uuid(self.id);
        let tenant = match accounts.user(id).await? {
            Some(user) => Some(user.tenant),
            None => accounts.tenant_of_deleted_user(id).await?.or_else(|| self.tenant.clone()),
        };
        let owner = match &tenant {
            Some(tenant) => Some(tenant.clone()),
            None => accounts.tenant_of_subject(SubjectId::from_uuid(self.id)).await?,
        };
        if let Some(tenant) = tenant {
            ensure!(tenant != TenantId::shared(), "the tenant {tenant} is that of all users");
            out::line(format_args!("the user's data have the tenant {tenant}, which is searched for too"))?;
            texts.push(tenant.to_string());
        }
        Ok((texts, owner))
    }

    /// The data folder and a part in it.
    fn part(&self, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let folder = self.data_dir.path()?;
        let path = folder.join(name);
        check_part(&folder, &path)?;
        Ok((folder, path))
    }

    async fn places(
        &self,
        accounts: &Relational,
        topics: &Topics,
        texts: &[String],
        owner: Option<&TenantId>,
    ) -> anyhow::Result<Vec<Place>> {
        let owner = owner.map(TenantId::as_str);
        let mut found = self.in_accounts(accounts, texts, owner).await?;
        found.extend(self.in_documents(texts, owner).await?);
        found.extend(self.in_images(texts).await?);
        found.extend(self.in_log(topics, texts, owner).await?);
        found.extend(self.in_uploads(texts)?);
        found.extend(self.in_caches(texts).await?);
        Ok(found)
    }
}
