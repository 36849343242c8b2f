//! What a migration did.

use std::fmt;

/// Schema versions of a database before and after its migration; 0 is an empty database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The version that was found.
    pub from: i64,
    /// This program's version.
    pub to: i64,
}

impl Migrated {
    /// Logs what was done to a database, unless nothing was to do.
    pub(crate) fn log(self, database: &str) {
        if self.is_changed() {
            tracing::info!("{database}: {self}");
        }
    }

    /// Whether any step was taken.
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
