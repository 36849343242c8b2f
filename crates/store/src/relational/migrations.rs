//! The tables, version by version, and the check that a database is empty or ours.

use sha2::{Digest, Sha256};

use super::database::Relational;
use super::transaction::Transaction;
use super::values::values;
use crate::schema_step::Effect::{self, Adds, Changes};
use crate::schema_step::compatible_from;
use crate::{Migrated, StoreError};

/// One step from a version to the next. It must not change after its release, because databases store its checksum.
struct Migration {
    version: i64,
    name: &'static str,
    effect: Effect,
    postgres: &'static str,
    sqlite: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "accounts",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0001_accounts.sql"),
        sqlite: include_str!("../../migrations/sqlite/0001_accounts.sql"),
    },
    // `recompute_email_keys` computes the keys, because the databases do not implement IDNA.
    Migration {
        version: 2,
        name: "email_keys",
        effect: Changes,
        postgres: include_str!("../../migrations/postgres/0002_email_keys.sql"),
        sqlite: include_str!("../../migrations/sqlite/0002_email_keys.sql"),
    },
    Migration {
        version: 3,
        name: "narrowed_sessions",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0003_narrowed_sessions.sql"),
        sqlite: include_str!("../../migrations/sqlite/0003_narrowed_sessions.sql"),
    },
    Migration {
        version: 4,
        name: "compatible_versions",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0004_compatible_versions.sql"),
        sqlite: include_str!("../../migrations/sqlite/0004_compatible_versions.sql"),
    },
    Migration {
        version: 5,
        name: "faces",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0005_faces.sql"),
        sqlite: include_str!("../../migrations/sqlite/0005_faces.sql"),
    },
    Migration {
        version: 6,
        name: "former_subjects",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0006_former_subjects.sql"),
        sqlite: include_str!("../../migrations/sqlite/0006_former_subjects.sql"),
    },
    Migration {
        version: 7,
        name: "subject_counts",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0007_subject_counts.sql"),
        sqlite: include_str!("../../migrations/sqlite/0007_subject_counts.sql"),
    },
    Migration {
        version: 8,
        name: "consent",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0008_consent.sql"),
        sqlite: include_str!("../../migrations/sqlite/0008_consent.sql"),
    },
    Migration {
        version: 9,
        name: "face_models",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0009_face_models.sql"),
        sqlite: include_str!("../../migrations/sqlite/0009_face_models.sql"),
    },
    Migration {
        version: 10,
        name: "uploads",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0010_uploads.sql"),
        sqlite: include_str!("../../migrations/sqlite/0010_uploads.sql"),
    },
    Migration {
        version: 11,
        name: "latest_outcomes",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0011_latest_outcomes.sql"),
        sqlite: include_str!("../../migrations/sqlite/0011_latest_outcomes.sql"),
    },
    Migration {
        version: 12,
        name: "deleted_tenants",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0012_deleted_tenants.sql"),
        sqlite: include_str!("../../migrations/sqlite/0012_deleted_tenants.sql"),
    },
    Migration {
        version: 13,
        name: "shop",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0013_shop.sql"),
        sqlite: include_str!("../../migrations/sqlite/0013_shop.sql"),
    },
    Migration {
        version: 14,
        name: "media_uploads",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0014_media_uploads.sql"),
        sqlite: include_str!("../../migrations/sqlite/0014_media_uploads.sql"),
    },
    Migration {
        version: 15,
        name: "user_state",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0015_user_state.sql"),
        sqlite: include_str!("../../migrations/sqlite/0015_user_state.sql"),
    },
    Migration {
        version: 16,
        name: "pipeline",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0016_pipeline.sql"),
        sqlite: include_str!("../../migrations/sqlite/0016_pipeline.sql"),
    },
    Migration {
        version: 17,
        name: "provider_list",
        effect: Adds,
        postgres: include_str!("../../migrations/postgres/0017_provider_list.sql"),
        sqlite: include_str!("../../migrations/sqlite/0017_provider_list.sql"),
    },
];
/// The version from which on a step records which programs can use the tables after it.
pub(crate) const COMPATIBLE_VERSIONS: i64 = 4;
/// The version from which on e-mail addresses are found by [`login_key`](super::login_key).
const EMAIL_KEYS: i64 = 2;

const VERSIONS_POSTGRES: &str = "\
CREATE TABLE sightline_schema (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
);
";

const VERSIONS_SQLITE: &str = "\
CREATE TABLE sightline_schema (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
PRAGMA application_id = 1397514595;
";

/// Advisory lock of migrations in PostgreSQL, so that several processes may start at once. An arbitrary number that no other
/// program is likely to use.
const LOCK: i64 = 0x534c_6163_0000_0001;

impl Migration {
    const fn sql(&self, postgres: bool) -> &'static str {
        if postgres { self.postgres } else { self.sqlite }
    }

    /// The oldest version whose programs can use the tables after this step; `None` before it is recorded.
    fn compatible_from(&self) -> Option<i64> {
        let steps = MIGRATIONS.iter().filter(|step| step.version <= self.version);
        (self.version >= COMPATIBLE_VERSIONS).then(|| compatible_from(steps.map(|step| step.effect)))
    }
}

/// What each step does.
#[cfg(test)]
pub(crate) fn effects() -> Vec<Effect> {
    MIGRATIONS.iter().map(|migration| migration.effect).collect()
}

/// What a database has.
#[derive(Default)]
struct Applied {
    /// The versions with their checksums.
    versions: Vec<(i64, String)>,
    /// The oldest version whose programs can use it, if it records that.
    compatible_from: Option<i64>,
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The whole schema for an empty PostgreSQL database, equal to the one that [`Relational::migrate`] creates.
pub fn init_sql() -> String {
    let mut sql =
        "-- The accounts' tables, as `sightline migrate` makes them; a test holds the two in step.\n\nBEGIN;\n\n"
            .to_owned();
    sql.push_str(VERSIONS_POSTGRES);
    for migration in MIGRATIONS {
        let Migration { version, name, postgres, .. } = migration;
        let (column, value) = match migration.compatible_from() {
            Some(oldest) => (", compatible_from", format!(", {oldest}")),
            None => ("", String::new()),
        };
        sql.push_str(&format!(
            "\n{postgres}\nINSERT INTO sightline_schema (version, name, checksum, applied_at{column})\nVALUES ({version}, \
             '{name}', '{}', now(){value});\n",
            checksum(postgres)
        ));
    }
    sql.push_str("\nCOMMIT;\n");
    sql
}

impl Relational {
    /// The schema version that this program reads and writes.
    pub const VERSION: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

    /// Migrates the tables to this program's version, and prepares the search for faces where PostgreSQL has pgvector. Several processes may do
    /// so at once.
    ///
    /// # Errors
    /// `Fatal` when the database is another program's, or a later version changed what this one uses; nothing is changed then.
    pub async fn migrate(&self) -> Result<Migrated, StoreError> {
        let migrated = self.migrate_to(MIGRATIONS.len()).await?;
        self.prepare_face_search().await?;
        Ok(migrated)
    }

    async fn migrate_to(&self, version: usize) -> Result<Migrated, StoreError> {
        let mut transaction = self.begin().await?;
        transaction.lock_migrations().await?;
        let applied = match transaction.applied().await? {
            Some(applied) => {
                self.same_versions(&applied, transaction.is_postgres())?;
                applied.versions.len()
            }
            None => {
                transaction.refuse_foreign(&self.label).await?;
                let versions = if transaction.is_postgres() { VERSIONS_POSTGRES } else { VERSIONS_SQLITE };
                transaction.script(versions).await?;
                0
            }
        };
        for migration in &MIGRATIONS[applied.min(version)..version] {
            transaction.apply(migration).await?;
        }
        transaction.commit().await?;
        // A process that was killed may have left what it deleted in the journal.
        self.empty_journal().await;
        // Versions have no gap, so the number of steps is the version.
        Ok(Migrated { from: applied as i64, to: version.max(applied) as i64 })
    }

    /// Succeeds when this program can use the tables, or can once they are migrated. Changes nothing.
    ///
    /// # Errors
    /// `Fatal` otherwise, as from [`migrate`](Self::migrate).
    pub async fn check_can_migrate(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        match transaction.applied().await? {
            Some(applied) => self.same_versions(&applied, transaction.is_postgres()),
            None => transaction.refuse_foreign(&self.label).await,
        }
    }

    /// Succeeds when the tables have this program's version, or a later one that only added to it.
    ///
    /// # Errors
    /// `Fatal` otherwise, with what to do.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let applied = transaction.applied().await?.unwrap_or_default();
        self.same_versions(&applied, transaction.is_postgres())?;
        if applied.versions.len() < MIGRATIONS.len() {
            return Err(StoreError::Fatal(format!(
                "{} has schema version {}, this program needs {}; run `sightline migrate`",
                self.label,
                applied.versions.len(),
                MIGRATIONS.len()
            )));
        }
        Ok(())
    }

    /// Checks that the applied versions are the first of this program's, or all of them and later ones that only add.
    fn same_versions(&self, applied: &Applied, postgres: bool) -> Result<(), StoreError> {
        let Applied { versions, compatible_from } = applied;
        if versions.len() > MIGRATIONS.len() && compatible_from.is_none_or(|oldest| oldest > Self::VERSION) {
            return Err(StoreError::Fatal(format!(
                "{} has schema version {}, this program knows {}; run the version that wrote it or choose another \
                 database with {} (nothing was changed)",
                self.label,
                versions.len(),
                MIGRATIONS.len(),
                self.label.setting()
            )));
        }
        for ((version, sum), known) in versions.iter().zip(MIGRATIONS) {
            if *version != known.version || *sum != checksum(known.sql(postgres)) {
                return Err(StoreError::Fatal(format!(
                    "{} was made by another program's version {version} of the schema; choose another database with {} \
                     (nothing was changed)",
                    self.label,
                    self.label.setting()
                )));
            }
        }
        Ok(())
    }
}

impl Transaction {
    /// Waits until no other process migrates, until this transaction ends. A writer of SQLite is alone anyway.
    pub(super) async fn lock_migrations(&mut self) -> Result<(), StoreError> {
        if self.is_postgres() {
            self.execute("SELECT pg_advisory_xact_lock($1)", values![LOCK]).await?;
        }
        Ok(())
    }

    /// The applied versions; `None` without a table of them.
    async fn applied(&mut self) -> Result<Option<Applied>, StoreError> {
        let known = if self.is_postgres() {
            "SELECT count(*) AS known FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'sightline_schema'"
        } else {
            "SELECT count(*) AS known FROM sqlite_schema WHERE name = 'sightline_schema'"
        };
        let known: i64 = self.count(known).await?;
        if known == 0 {
            return Ok(None);
        }
        let rows = self.rows("SELECT version, checksum FROM sightline_schema ORDER BY version", values![]).await?;
        let versions = rows.iter().map(|row| Ok((row.get("version")?, row.get("checksum")?)));
        let versions: Vec<(i64, String)> = versions.collect::<Result<_, StoreError>>()?;
        let is_later = versions.len() > MIGRATIONS.len();
        let compatible_from = if is_later { self.compatible_from().await? } else { None };
        Ok(Some(Applied { versions, compatible_from }))
    }

    /// What a later version recorded.
    async fn compatible_from(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = "SELECT compatible_from FROM sightline_schema ORDER BY version DESC LIMIT 1";
        self.row(newest, values![]).await?.map_or(Ok(None), |row| row.get("compatible_from"))
    }

    async fn count(&mut self, sql: &'static str) -> Result<i64, StoreError> {
        self.row(sql, values![]).await?.map_or(Ok(0), |row| row.get("known"))
    }

    async fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        let sql = migration.sql(self.is_postgres());
        self.script(sql).await?;
        if migration.version == EMAIL_KEYS {
            self.recompute_email_keys().await?;
        }
        let insert = "INSERT INTO sightline_schema (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
        let now = jiff::Timestamp::now();
        self.execute(insert, values![migration.version, migration.name, checksum(sql), now]).await?;
        if let Some(oldest) = migration.compatible_from() {
            let update = "UPDATE sightline_schema SET compatible_from = $2 WHERE version = $1";
            self.execute(update, values![migration.version, oldest]).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
