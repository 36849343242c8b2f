//! Searches all documents of a database for texts.

use futures::TryStreamExt;
use mongodb::bson::{RawDocumentBuf, doc};

use super::{MongoDocuments, migrations};
use crate::StoreError;
use crate::rows_with::{Owner, TableRows, has_any};

impl MongoDocuments {
    /// The documents of every collection that have one of the texts in any field; those of other tenants than the owner are told apart.
    /// It reads them all.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn rows_with(&self, texts: &[String], owner: Option<Owner<'_>>) -> Result<Vec<TableRows>, StoreError> {
        let mut names = self.with_timeout(Box::pin(async { Ok(self.database.list_collection_names().await?) })).await?;
        names.retain(|name| migrations::holds_documents(name));
        names.sort();
        let mut found = Vec::new();
        for table in names {
            let documents = self.collection::<RawDocumentBuf>(&table);
            let mut all = self.with_timeout(Box::pin(async { Ok(documents.find(doc! {}).await?) })).await?;
            let (mut rows, mut others) = (0, 0);
            while let Some(document) = self.with_timeout(async { Ok(all.try_next().await?) }).await? {
                if !has_any(document.as_bytes(), texts) {
                    continue;
                }
                let tenant = owner.and_then(|owner| Some((document.get_str(owner.column).ok()?, owner.tenant)));
                match tenant {
                    Some((tenant, owner)) if tenant != owner => others += 1,
                    _ => rows += 1,
                }
            }
            if rows + others > 0 {
                found.push(TableRows { table, rows, others, columns: Vec::new() });
            }
        }
        Ok(found)
    }
}
