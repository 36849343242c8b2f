//! The model that compares: a request reads it once, at its beginning, and uses it to its end.

use std::sync::Arc;

use api_kit::error::ApiError;
use bytes::Bytes;
use gallery::{Embedding, GalleryKey};
use vision::face_quality::QualityLimits;

use super::App;
use super::error::FaceError;
use super::image_places::Place;
use crate::encoder::{EncodeError, Encoder, Face, FaceModel};

/// The model that compares, open, and the one to which it is being changed.
pub struct CurrentModel {
    /// The model.
    pub model: FaceModel,
    /// Finds faces and makes its embeddings.
    pub encoder: Arc<Encoder>,
    /// Name of the model to which it is being changed.
    pub target: Option<String>,
}

impl CurrentModel {
    /// The gallery of a tenant for the model.
    pub fn key(&self, tenant: &contracts::TenantId) -> GalleryKey {
        GalleryKey { tenant: tenant.clone(), model: self.model.name.clone() }
    }

    /// The one face of an image, with its embedding.
    ///
    /// # Errors
    /// When the image cannot be decoded, or does not have exactly one face.
    pub async fn face(&self, _: &Place, encoded: Bytes) -> Result<(Face, Embedding), ApiError> {
        one_face(self.encoder.faces(encoded).await?)
    }

    /// As [`Self::face`], with its quality for enrolment.
    ///
    /// # Errors
    /// As those of [`Self::face`].
    pub async fn face_to_enrol(&self, _: &Place, encoded: Bytes) -> Result<(Face, Embedding), ApiError> {
        one_face(self.encoder.faces_to_enrol(encoded, &QualityLimits::default()).await?)
    }
}

/// The only face, with its embedding.
fn one_face(mut faces: Vec<Face>) -> Result<(Face, Embedding), ApiError> {
    let count = faces.len();
    let mut face = faces.pop().filter(|_| count == 1).ok_or(FaceError::FaceCount(count))?;
    let embedding = face.embedding.take().ok_or(FaceError::NotComparable)?;
    Ok((face, embedding))
}

impl App {
    /// The model that compares from now on. The first call opens it.
    ///
    /// # Errors
    /// If there is none, or the database is out of reach.
    pub async fn current_model(&self) -> Result<CurrentModel, ApiError> {
        let stored = self.database.face_models().await?;
        let (active, target) = match stored {
            Some(models) => (models.active, models.target),
            None => (self.encoders.preferred().await?.to_owned(), None),
        };
        let encoder = self.encoders.of(&active);
        Ok(CurrentModel { model: encoder.model().await?, encoder, target })
    }

    /// The name of the model that compares; `None` if there is none.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn active_name(&self) -> Result<Option<String>, ApiError> {
        if let Some(models) = self.database.face_models().await? {
            return Ok(Some(models.active));
        }
        match self.encoders.preferred().await {
            Ok(name) => Ok(Some(name.to_owned())),
            Err(EncodeError::NoModel(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
