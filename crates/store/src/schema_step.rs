//! What the steps of a schema mean for programs of earlier versions.
//!
//! A database records from which version on programs can use it. So a program can go back to an earlier version after steps that only
//! add to the schema, and refuses a database that a later step changed (docs/UPGRADE.md). A test reads the steps and decides which only
//! add.

/// What a step does to the data of earlier versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It adds tables, indexes, or columns that earlier programs need not write. They read and write the data as before.
    Adds,
    /// It does more, so earlier programs cannot use the data.
    Changes,
}

/// The oldest version whose programs can use a database after these steps, the first ones of its schema.
pub(crate) fn compatible_from(effects: impl IntoIterator<Item = Effect>) -> i64 {
    let changes = (1..).zip(effects).filter(|(_, effect)| *effect == Effect::Changes);
    changes.map(|(version, _)| version).last().unwrap_or(1)
}

#[cfg(test)]
mod tests;
