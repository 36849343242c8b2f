//! Searches all documents of a database for texts.

use futures::TryStreamExt;
use mongodb::bson::{RawDocumentBuf, doc};

use super::{MongoDocuments, migrations};
use crate::StoreError;
use crate::rows_with::{TableRows, has_any};

impl MongoDocuments {
    /// The documents of every collection that have one of the texts in any field. It reads them all.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn rows_with(&self, texts: &[String]) -> Result<Vec<TableRows>, StoreError> {
        let mut names = self.with_timeout(Box::pin(async { Ok(self.database.list_collection_names().await?) })).await?;
        names.retain(|name| migrations::holds_documents(name));
        names.sort();
        let mut found = Vec::new();
        for table in names {
            let documents = self.collection::<RawDocumentBuf>(&table);
            let mut all = self.with_timeout(Box::pin(async { Ok(documents.find(doc! {}).await?) })).await?;
            let mut rows = 0;
            while let Some(document) = self.with_timeout(async { Ok(all.try_next().await?) }).await? {
                rows += u64::from(has_any(document.as_bytes(), texts));
            }
            if rows > 0 {
                found.push(TableRows { table, rows, columns: Vec::new() });
            }
        }
        Ok(found)
    }
}
