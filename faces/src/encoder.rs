//! Images in, their faces with embeddings out.
//!
//! The models are opened by the first image: a process whose callers do not compare faces has no session for them.

use bytes::Bytes;
use contracts::{Detection, DetectorName};
use gallery::{Calibration, Embedding};
use tokio::sync::OnceCell;
use vision::face_quality::{FaceFault, FaceQuality};
use vision::pipeline::{Failure, Pipeline};
use vision::registry::OpenError;

use crate::config::SharedArgs;

/// The detector whose faces are compared.
const DETECTOR: &str = "face";

/// A face that was found in an image.
pub struct Face {
    /// Box, confidence and landmarks, in pixels of the upright image.
    pub detection: Detection,
    /// `None` if it is too small for one.
    pub embedding: Option<Embedding>,
    /// Its figures, or why there are none.
    pub quality: Result<FaceQuality, FaceFault>,
}

/// Why an image has no faces that can be compared.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// There is no model for embeddings.
    #[error("faces cannot be compared: {0}")]
    NoModel(#[from] OpenError),
    /// The bytes are no image that can be decoded.
    #[error("{}", .0.message)]
    Image(Failure),
    /// The models have no result now.
    #[error("the models returned no result; try again")]
    NoResult(String),
    /// The models cannot be opened, or their threads have ended.
    #[error("the models cannot be used")]
    Internal(anyhow::Error),
}

/// Opens the models once, and runs them.
pub struct Encoder {
    shared: SharedArgs,
    opened: OnceCell<Opened>,
}

struct Opened {
    pipeline: Pipeline,
    model: FaceModel,
}

/// The model that makes the embeddings.
#[derive(Debug, Clone)]
pub struct FaceModel {
    /// Its name in `models.yaml`.
    pub name: String,
    /// What was measured of it.
    pub calibration: &'static Calibration,
}

impl Encoder {
    /// Opens nothing yet.
    pub fn new(shared: &SharedArgs) -> Self {
        Self { shared: shared.clone(), opened: OnceCell::new() }
    }

    /// The model that makes embeddings. The first call opens it.
    ///
    /// # Errors
    /// If there is none.
    pub async fn model(&self) -> Result<FaceModel, EncodeError> {
        Ok(self.opened().await?.model.clone())
    }

    /// All faces of an image, the most confident first.
    ///
    /// # Errors
    /// If there is no model, or the image cannot be decoded.
    pub async fn faces(&self, encoded: Bytes) -> Result<Vec<Face>, EncodeError> {
        let Opened { pipeline, model } = self.opened().await?;
        let pixels = pipeline.reserve(&encoded).await.map_err(EncodeError::Internal)?.map_err(EncodeError::Image)?;
        let decoded = pipeline.decode(pixels, encoded, true).await;
        let decoded = decoded.map_err(EncodeError::Internal)?.map_err(EncodeError::Image)?;
        let outcome = pipeline.detect(&decoded.image, &[0]).await.map_err(EncodeError::Internal)?.pop();
        let none = || Err(vision::model::DetectError::Inference("no detector is running".to_owned()));
        let mut found = outcome.unwrap_or_else(none).map_err(|error| match error.failure_code() {
            Some(code) => EncodeError::Image(Failure { code, message: error.to_string() }),
            None => EncodeError::NoResult(error.to_string()),
        })?;
        let embedding = |numbers: Vec<f32>| {
            let embedding = Embedding::new(&numbers, model.calibration.dimensions);
            embedding.map_err(|error| EncodeError::Internal(anyhow::anyhow!("{}: {error}", model.name)))
        };
        let detections = found.detections.into_iter().enumerate();
        let faces = detections.map(|(index, detection)| {
            let embedding = found.embeddings.remove(&index).map(embedding).transpose()?;
            let quality = FaceQuality::measure(&decoded.image.pixels, &detection);
            Ok(Face { detection, embedding, quality })
        });
        faces.collect()
    }

    async fn opened(&self) -> Result<&Opened, EncodeError> {
        self.opened.get_or_try_init(|| open(&self.shared)).await
    }
}

async fn open(shared: &SharedArgs) -> Result<Opened, EncodeError> {
    #[expect(clippy::expect_used, reason = "a constant")]
    let detector: DetectorName = DETECTOR.parse().expect("a name");
    let (spec, name) = shared.models.with_embeddings(&detector, &shared.inference)?;
    let unmeasured =
        || EncodeError::Internal(anyhow::anyhow!("the false matches of the model {name} were not measured"));
    let calibration = Calibration::of(&name).ok_or_else(unmeasured)?;
    let pipeline = Pipeline::start(vec![spec], shared.pipeline()).await.map_err(EncodeError::Internal)?;
    Ok(Opened { pipeline, model: FaceModel { name, calibration } })
}
