//! Deletes the ids of vectors that were removed long ago.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, values};

/// How long it is known which vectors were removed. A gallery stays in memory for minutes without a search, so a reader from before
/// this time is one whose clock or program stood still; it reads the whole gallery again.
pub const REMOVALS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Maximum number of removals that are read at once.
const BATCH: i64 = 1_000;

impl Relational {
    /// Deletes removals that are older than [`REMOVALS_KEPT`]. Returns their number.
    pub(in crate::relational) async fn sweep_removals(&self, now: Timestamp) -> Result<u64, StoreError> {
        let cutoff = now.checked_sub(REMOVALS_KEPT).unwrap_or(Timestamp::MIN);
        let mut deleted = 0;
        loop {
            let sql = "SELECT tenant, model, version FROM face_vector_removals WHERE removed_at < $1 \
                       ORDER BY removed_at LIMIT $2";
            let rows = self.rows(sql, values![cutoff, BATCH]).await?;
            if rows.is_empty() {
                return Ok(deleted);
            }
            for ((tenant, model), version) in last_versions(&rows)? {
                deleted += self.forget_removals(&tenant, &model, version).await?;
            }
        }
    }

    /// Deletes the removals of a gallery up to a version, in the transaction that says so to its readers.
    async fn forget_removals(&self, tenant: &str, model: &str, version: i64) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await?;
        let sql = "UPDATE face_galleries SET removals_known_after = $3 \
                   WHERE tenant = $1 AND model = $2 AND removals_known_after < $3";
        transaction.execute(sql, values![tenant, model, version]).await?;
        let sql = "DELETE FROM face_vector_removals WHERE tenant = $1 AND model = $2 AND version <= $3";
        let deleted = transaction.execute(sql, values![tenant, model, version]).await?;
        transaction.commit().await?;
        Ok(deleted)
    }
}

/// The highest version of the removals of each gallery.
fn last_versions(rows: &[Row]) -> Result<BTreeMap<(String, String), i64>, StoreError> {
    let mut last = BTreeMap::new();
    for row in rows {
        let known = last.entry((row.get("tenant")?, row.get("model")?)).or_default();
        *known = row.get::<i64>("version")?.max(*known);
    }
    Ok(last)
}
