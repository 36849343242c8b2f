//! Schema versions before and after a migration.

use std::fmt;

/// Schema versions of a database before and after its migration; 0 is an empty database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Version before the migration.
    pub from: i64,
    /// Version of this program.
    pub to: i64,
}

impl Migrated {
    /// Logs the migration of a database, if the version changed.
    pub(crate) fn log(self, database: &str) {
        if self.is_changed() {
            tracing::info!("{database}: {self}");
        }
    }

    /// Whether the version changed.
    pub const fn is_changed(self) -> bool {
        self.from != self.to
    }
}

impl fmt::Display for Migrated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { from: 0, to } => write!(formatter, "created with schema version {to}"),
            Self { from, to } if from == to => write!(formatter, "schema version {to}, up to date"),
            Self { from, to } => write!(formatter, "migrated from schema version {from} to {to}"),
        }
    }
}
