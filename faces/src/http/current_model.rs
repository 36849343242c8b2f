//! The model that compares, for requests.

use api_kit::error::ApiError;
use bytes::Bytes;
use gallery::Embedding;
use vision::face_quality::QualityLimits;

use super::App;
use super::image_places::Place;
use crate::checks::{comparable, one_face};
use crate::current_model::{CurrentModel, NoCurrentModel, names};
use crate::encoder::{EncodeError, Face};

impl CurrentModel {
    /// The embedding of the one face of an image, to be compared.
    ///
    /// # Errors
    /// When the image cannot be decoded, does not have exactly one face, or is not upright.
    pub async fn face(&self, _: &Place, encoded: Bytes) -> Result<Embedding, ApiError> {
        Ok(comparable(self.encoder.faces_to_compare(encoded).await?)?)
    }

    /// The one face of an image with its quality for enrolment, and its embedding.
    ///
    /// # Errors
    /// When the image cannot be decoded, or does not have exactly one face.
    pub async fn face_to_enrol(&self, _: &Place, encoded: Bytes) -> Result<(Face, Embedding), ApiError> {
        Ok(one_face(self.encoder.faces_to_enrol(encoded, &QualityLimits::default()).await?)?)
    }
}

impl From<NoCurrentModel> for ApiError {
    fn from(error: NoCurrentModel) -> Self {
        match error {
            NoCurrentModel::Store(error) => error.into(),
            NoCurrentModel::Encode(error) => error.into(),
        }
    }
}

impl App {
    /// The model that compares from now on. The first call opens it.
    ///
    /// # Errors
    /// If there is none, or the database is out of reach.
    pub async fn current_model(&self) -> Result<CurrentModel, ApiError> {
        Ok(CurrentModel::read(&self.database, &self.encoders).await?)
    }

    /// The name of the model that compares; `None` if there is none.
    ///
    /// # Errors
    /// The database is out of reach.
    pub async fn active_name(&self) -> Result<Option<String>, ApiError> {
        match names(&self.database, &self.encoders).await {
            Ok((active, _)) => Ok(Some(active)),
            Err(NoCurrentModel::Encode(EncodeError::NoModel(_))) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
