//! The tables, version by version, and whether a database is ours to put them in.

use sha2::{Digest, Sha256};
use sqlx::ConnectOptions;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnectOptions;

use super::database::{Relational, Transaction};
use super::failure::{Place, within};
use super::values::values;
use crate::StoreError;

/// One step from a version to the next. Never changed once it was released: its checksum is stored where it was applied.
struct Migration {
    version: i64,
    name: &'static str,
    postgres: &'static str,
    sqlite: &'static str,
}

const MIGRATIONS: [Migration; 1] = [Migration {
    version: 1,
    name: "accounts",
    postgres: include_str!("../../migrations/postgres/0001_accounts.sql"),
    sqlite: include_str!("../../migrations/sqlite/0001_accounts.sql"),
}];

const VERSIONS_POSTGRES: &str = "\
CREATE TABLE sightline_schema (
    version BIGINT PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL
);
";

/// `0x534c6163`, "SLac" in the file's header: accounts of Sightline.
const APPLICATION_ID: i64 = 0x534c_6163;
const VERSIONS_SQLITE: &str = "\
CREATE TABLE sightline_schema (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
PRAGMA application_id = 1397514595;
";

/// Held by whoever migrates a PostgreSQL database, so that several processes may start on one at once. Any number that no
/// other program is likely to take.
const LOCK: i64 = 0x534c_6163_0000_0001;

impl Migration {
    const fn sql(&self, postgres: bool) -> &'static str {
        if postgres { self.postgres } else { self.sqlite }
    }
}

fn checksum(sql: &str) -> String {
    Sha256::digest(sql).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The whole schema for an empty PostgreSQL database, the same as [`Relational::migrate`] makes.
pub fn init_sql() -> String {
    let mut sql =
        "-- The accounts' tables, as `sightline migrate` makes them; a test holds the two in step.\n\nBEGIN;\n\n"
            .to_owned();
    sql.push_str(VERSIONS_POSTGRES);
    for Migration { version, name, postgres, .. } in &MIGRATIONS {
        sql.push_str(&format!(
            "\n{postgres}\nINSERT INTO sightline_schema (version, name, checksum, applied_at)\nVALUES ({version}, '{name}', \
             '{}', now());\n",
            checksum(postgres)
        ));
    }
    sql.push_str("\nCOMMIT;\n");
    sql
}

impl Relational {
    /// Brings the tables to this program's version; returns how many steps that took. Several processes may do so at once.
    ///
    /// # Errors
    /// `Fatal`, with nothing changed, when the database is another program's or a later version's.
    pub async fn migrate(&self) -> Result<usize, StoreError> {
        let mut transaction = self.begin().await?;
        if transaction.is_postgres() {
            transaction.execute("SELECT pg_advisory_xact_lock($1)", values![LOCK]).await?;
        }
        let applied = match transaction.applied().await? {
            Some(applied) => {
                self.same_versions(&applied, transaction.is_postgres())?;
                applied.len()
            }
            None => {
                transaction.refuse_foreign(&self.place).await?;
                let versions = if transaction.is_postgres() { VERSIONS_POSTGRES } else { VERSIONS_SQLITE };
                transaction.script(versions).await?;
                0
            }
        };
        for migration in &MIGRATIONS[applied..] {
            transaction.apply(migration).await?;
        }
        transaction.commit().await?;
        Ok(MIGRATIONS.len() - applied)
    }

    /// Succeeds when the tables are of this program's version.
    ///
    /// # Errors
    /// `Fatal` when they are not, saying what to do.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let applied = transaction.applied().await?.unwrap_or_default();
        self.same_versions(&applied, transaction.is_postgres())?;
        if applied.len() < MIGRATIONS.len() {
            return Err(StoreError::Fatal(format!(
                "{} has schema version {}, this program needs {}; run `sightline migrate`",
                self.place,
                applied.len(),
                MIGRATIONS.len()
            )));
        }
        Ok(())
    }

    /// Whether what was applied is the beginning of what this program knows.
    fn same_versions(&self, applied: &[(i64, String)], postgres: bool) -> Result<(), StoreError> {
        if applied.len() > MIGRATIONS.len() {
            return Err(StoreError::Fatal(format!(
                "{} has schema version {}, this program knows {}; run the version that wrote it or choose another \
                 database with {} (nothing was changed)",
                self.place,
                applied.len(),
                MIGRATIONS.len(),
                self.place.setting()
            )));
        }
        for ((version, sum), known) in applied.iter().zip(&MIGRATIONS) {
            if *version != known.version || *sum != checksum(known.sql(postgres)) {
                return Err(StoreError::Fatal(format!(
                    "{} was made by another program's version {version} of the schema; choose another database with {} \
                     (nothing was changed)",
                    self.place,
                    self.place.setting()
                )));
            }
        }
        Ok(())
    }
}

impl Transaction {
    /// The versions that were applied, with their checksums; none where the table of them is missing.
    async fn applied(&mut self) -> Result<Option<Vec<(i64, String)>>, StoreError> {
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
        Ok(Some(versions.collect::<Result<_, StoreError>>()?))
    }

    async fn count(&mut self, sql: &'static str) -> Result<i64, StoreError> {
        self.row(sql, values![]).await?.map_or(Ok(0), |row| row.get("known"))
    }

    /// A database with anything in it that we did not put there is left alone. What extensions brought does not count.
    async fn refuse_foreign(&mut self, place: &Place) -> Result<(), StoreError> {
        let theirs = if self.is_postgres() {
            "SELECT relname::TEXT AS theirs FROM pg_class c WHERE relnamespace = current_schema()::regnamespace
             AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
             AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') LIMIT 1"
        } else {
            "SELECT name AS theirs FROM sqlite_schema LIMIT 1"
        };
        match self.row(theirs, values![]).await? {
            Some(row) => Err(not_ours(place, Some(&row.get::<String>("theirs")?))),
            None => Ok(()),
        }
    }

    async fn apply(&mut self, migration: &Migration) -> Result<(), StoreError> {
        let sql = migration.sql(self.is_postgres());
        self.script(sql).await?;
        let noted = "INSERT INTO sightline_schema (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
        let now = jiff::Timestamp::now();
        self.execute(noted, values![migration.version, migration.name, checksum(sql), now]).await?;
        Ok(())
    }
}

fn not_ours(place: &Place, theirs: Option<&str>) -> StoreError {
    let such = theirs.map(|name| format!(" (it has {name})")).unwrap_or_default();
    StoreError::Fatal(format!(
        "{place} is not empty and not an account database of Sightline{such}; choose another with {} (nothing was changed)",
        place.setting()
    ))
}

/// A file with anything in it that we did not put there is left alone.
pub(super) async fn refuse_foreign_file(file: &SqliteConnectOptions, place: &Place) -> Result<(), StoreError> {
    let mut connection = within(place, file.connect()).await?;
    let sql = "SELECT (SELECT application_id FROM pragma_application_id) AS owner, (SELECT count(*) FROM sqlite_schema) AS objects";
    let row = within(place, sqlx::query(sql).fetch_one(&mut connection)).await;
    let row = row.map_err(|error| match error {
        StoreError::Fatal(_) => not_ours(place, None),
        passing => passing,
    })?;
    let (owner, objects): (i64, i64) = (
        row.try_get("owner").map_err(|error| super::values::unreadable("owner", &error))?,
        row.try_get("objects").map_err(|error| super::values::unreadable("number of tables", &error))?,
    );
    if owner == APPLICATION_ID || (owner == 0 && objects == 0) {
        return Ok(());
    }
    Err(not_ours(place, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Table by table: its columns with what may be missing, and its indexes.
    fn outline(sql: &str) -> Vec<String> {
        let mut table = "";
        let mut found = Vec::new();
        for line in sql.lines().map(str::trim).filter(|line| !line.starts_with("--")) {
            let mut words = line.split_whitespace().map(|word| word.trim_end_matches(','));
            match (words.next(), words.next(), words.next()) {
                (Some("CREATE"), Some("TABLE"), Some(name)) => table = name,
                (Some("CREATE"), Some("INDEX"), _) if !line.contains("gin_trgm_ops") => found.push(line.to_owned()),
                (
                    Some(column),
                    Some("UUID" | "TEXT" | "BIGINT" | "INTEGER" | "BYTEA" | "BLOB" | "BOOLEAN" | "TIMESTAMPTZ"),
                    _,
                ) => {
                    let required = line.contains("NOT NULL") || line.contains("PRIMARY KEY");
                    found.push(format!("{table}.{column} {required} {}", line.contains("UNIQUE")));
                }
                (Some("PRIMARY" | "CHECK"), ..) => found.push(format!("{table}: {line}")),
                _ => {}
            }
        }
        found
    }

    #[test]
    fn both_databases_have_the_same_tables_columns_and_indexes() {
        for migration in &MIGRATIONS {
            let (postgres, sqlite) = (outline(migration.postgres), outline(migration.sqlite));
            assert!(postgres.len() > 80, "the outline of {} was not read", migration.name);
            assert_eq!(postgres, sqlite, "{}", migration.name);
        }
    }

    #[test]
    fn the_script_for_a_new_postgresql_is_what_the_migrations_make() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docker/postgres/init.sql");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, init_sql()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        assert!(written == init_sql(), "docker/postgres/init.sql is not in step; UPDATE_GOLDEN=1 writes it anew");
    }

    #[test]
    fn versions_are_numbered_without_a_gap() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        assert_eq!(versions, (1..).take(MIGRATIONS.len()).collect::<Vec<_>>());
    }
}
