//! Rows of several subjects, by their ids.

use contracts::SubjectId;

use crate::StoreError;
use crate::relational::database::Relational;
use crate::relational::values::{Row, Value};

/// Subjects that one statement reads by their ids.
const IDS_AT_ONCE: usize = 16;

impl Relational {
    /// The rows of a statement that has a list of 16 ids after the `first` arguments, for any number of ids.
    pub(super) async fn rows_by_ids(
        &self,
        sql: &'static str,
        first: Vec<Value>,
        ids: &[SubjectId],
    ) -> Result<Vec<Row>, StoreError> {
        // One statement with a placeholder for each id: the two databases have no common form of a list.
        let mut rows = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let mut values = first.clone();
            // A repeated id fills the rest, so that there is one statement, and the database knows its plan.
            values.extend((0..IDS_AT_ONCE).map(|index| Value::from(ids[index.min(ids.len() - 1)])));
            rows.extend(self.rows(sql, values).await?);
        }
        Ok(rows)
    }
}
