//! The keys of the galleries of a model, one tenant after the other.

use contracts::TenantId;
use gallery::GalleryKey;
use store::{Relational, StoreError};

/// Goes through the keys of the galleries that all tenants have for a model. Each is looked up when it is wanted.
pub struct GalleryKeys<'a> {
    database: &'a Relational,
    model: &'a str,
    /// The tenant of the last one.
    after: Option<TenantId>,
}

impl<'a> GalleryKeys<'a> {
    /// Those of a model.
    pub fn of(database: &'a Relational, model: &'a str) -> Self {
        Self { database, model, after: None }
    }

    /// The next one, by tenant; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<GalleryKey>, StoreError> {
        let tenant = self.database.next_tenant_of(self.model, self.after.as_ref()).await?;
        let Some(tenant) = tenant else { return Ok(None) };
        self.after = Some(tenant.clone());
        Ok(Some(GalleryKey { tenant, model: self.model.to_owned() }))
    }
}
