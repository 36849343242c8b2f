//! The model that compares: a request or a message reads it once, at its beginning, and uses it to its end.

use std::sync::Arc;

use contracts::TenantId;
use gallery::GalleryKey;
use store::{Relational, StoreError};

use crate::encoder::{EncodeError, Encoder, Encoders, FaceModel};

/// The model that compares, open, and the one to which it is being changed.
pub struct CurrentModel {
    /// The model.
    pub model: FaceModel,
    /// Finds faces and makes its embeddings.
    pub encoder: Arc<Encoder>,
    /// Name of the model to which it is being changed.
    pub target: Option<String>,
}

/// Why there is no model to compare with.
#[derive(Debug, thiserror::Error)]
pub enum NoCurrentModel {
    /// The database is out of reach.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none, or it cannot be opened.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl CurrentModel {
    /// The model that compares from now on. The first call opens it.
    ///
    /// # Errors
    /// If there is none, or the database is out of reach.
    pub async fn read(database: &Relational, encoders: &Encoders) -> Result<Self, NoCurrentModel> {
        let (active, target) = names(database, encoders).await?;
        let encoder = encoders.of(&active);
        Ok(Self { model: encoder.model().await?, encoder, target })
    }

    /// The gallery of a tenant for the model.
    pub fn key(&self, tenant: &TenantId) -> GalleryKey {
        GalleryKey { tenant: tenant.clone(), model: self.model.name.clone() }
    }
}

/// The names of the model that compares, and of the one to which it is being changed. Opens none.
///
/// # Errors
/// As those of [`CurrentModel::read`].
pub async fn names(database: &Relational, encoders: &Encoders) -> Result<(String, Option<String>), NoCurrentModel> {
    Ok(match database.face_models().await? {
        Some(models) => (models.active, models.target),
        None => (encoders.preferred().await?.to_owned(), None),
    })
}
