//! Images in, their faces with embeddings out.
//!
//! The models are opened by the first image: a process whose callers do not compare faces has no session for them. Each model for embeddings
//! has an [`Encoder`] of its own, so that both are there while the model is being changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use contracts::{Detection, DetectorName};
use gallery::{Calibration, Embedding};
use tokio::sync::OnceCell;
use vision::face_quality::{FaceFault, FaceQuality, QualityLimits, TURNS, turned_crops, upright_fault};
use vision::model::{DetectError, Findings, Image};
use vision::pipeline::{Decoded, Failure, Pipeline};
use vision::registry::OpenError;

use crate::config::SharedArgs;

/// Name of the detector whose faces are compared.
pub const DETECTOR: &str = "face";

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
    /// A model is there and cannot be opened, for example because its file is damaged.
    #[error("faces cannot be compared: {0}")]
    Unusable(OpenError),
    /// The bytes are no image that can be decoded.
    #[error("{}", .0.message)]
    Image(Failure),
    /// The models have no result now.
    #[error("the models returned no result; try again")]
    NoResult(String),
    /// It is not known how often the model takes strangers for one person.
    #[error("the false matches of the model {0} were not measured")]
    NotMeasured(String),
    /// A defect, or the threads of the models have ended.
    #[error("the models cannot be used")]
    Internal(anyhow::Error),
}

/// The encoders of a process, by the name of their model.
pub struct Encoders {
    shared: SharedArgs,
    preferred: OnceCell<String>,
    by_model: Mutex<HashMap<String, Arc<Encoder>>>,
}

impl Encoders {
    /// Opens nothing yet.
    pub fn new(shared: &SharedArgs) -> Self {
        Self { shared: shared.clone(), preferred: OnceCell::new(), by_model: Mutex::default() }
    }

    /// The model that compares where none is stored: the first of `models.yaml` whose file is there. The same until the process ends.
    ///
    /// # Errors
    /// If there is none.
    pub async fn preferred(&self) -> Result<&str, EncodeError> {
        let find = || async {
            let (_, name) = self.shared.models.with_embeddings(&detector(), None, &self.shared.inference())?;
            Ok(name)
        };
        self.preferred.get_or_try_init(find).await.map(String::as_str)
    }

    /// The encoder of a model.
    pub fn of(&self, model: &str) -> Arc<Encoder> {
        let mut encoders = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(Encoder {
                name: model.to_owned(),
                shared: self.shared.clone(),
                opened: OnceCell::new(),
                logged: Mutex::default(),
            })
        };
        Arc::clone(encoders.entry(model.to_owned()).or_insert_with(new))
    }

    /// Removes an encoder that could not be opened, so that names that somebody tried take no memory.
    pub fn forget(&self, model: &str) {
        self.by_model.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    /// Closes those of other models, once the images that they have are done.
    pub fn keep_only(&self, models: &[&str]) {
        let mut encoders = self.by_model.lock().unwrap_or_else(PoisonError::into_inner);
        encoders.retain(|name, _| models.contains(&name.as_str()));
    }
}

/// Opens the models once, and runs them.
pub struct Encoder {
    name: String,
    shared: SharedArgs,
    opened: OnceCell<Opened>,
    /// The last cause that was logged.
    logged: Mutex<String>,
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
        Ok(self.find(encoded).await?.1)
    }

    /// As [`Encoder::faces`]. If there is only one that has an embedding, its quality says whether it is not upright: its landmarks, and so its
    /// embedding, are those of a face that is not there then.
    ///
    /// # Errors
    /// If there is no model, or the image cannot be decoded.
    pub async fn faces_to_compare(&self, encoded: Bytes) -> Result<Vec<Face>, EncodeError> {
        let (decoded, mut faces) = self.find(encoded).await?;
        if let [face] = faces.as_mut_slice()
            && face.embedding.is_some()
            && let Some(fault) = self.upright_fault(&decoded, &face.detection).await?
        {
            face.quality = Err(fault);
        }
        Ok(faces)
    }

    /// As [`Encoder::faces`]. If there is only one, its quality is that for enrolment: the fault of a face that must not be enrolled.
    ///
    /// # Errors
    /// If there is no model, or the image cannot be decoded.
    pub async fn faces_to_enrol(&self, encoded: Bytes, limits: &QualityLimits) -> Result<Vec<Face>, EncodeError> {
        let (decoded, mut faces) = self.find(encoded).await?;
        let [face] = faces.as_mut_slice() else { return Ok(faces) };
        let Ok(quality) = face.quality else { return Ok(faces) };
        let fault = match quality.fault(limits) {
            // The direction of a face follows from landmarks, which are wrong if the image is not upright.
            fault @ (None | Some(FaceFault::Turned { .. })) => {
                self.upright_fault(&decoded, &face.detection).await?.or(fault)
            }
            fault => fault,
        };
        if let Some(fault) = fault {
            face.quality = Err(fault);
        }
        Ok(faces)
    }

    /// The fault of a face that is not upright.
    async fn upright_fault(&self, decoded: &Decoded, face: &Detection) -> Result<Option<FaceFault>, EncodeError> {
        let Some(crops) = turned_crops(&decoded.image.pixels, face) else { return Ok(None) };
        let pipeline = &self.opened().await?.pipeline;
        let mut confidences = [0.0; TURNS];
        for (confidence, pixels) in confidences.iter_mut().zip(crops) {
            let crop = Image { pixels, encoded: Bytes::new(), media_type: "image/png", embed_faces: false };
            // The most confident first.
            let surest = detect(pipeline, &Arc::new(crop)).await?.detections.into_iter().next();
            *confidence = surest.map_or(0.0, |found| found.confidence);
        }
        Ok(upright_fault(confidences))
    }

    /// The image and all of its faces.
    async fn find(&self, encoded: Bytes) -> Result<(Decoded, Vec<Face>), EncodeError> {
        let Opened { pipeline, model } = self.opened().await?;
        let pixels = pipeline.reserve(&encoded).await.map_err(EncodeError::Internal)?.map_err(EncodeError::Image)?;
        let decoded = pipeline.decode(pixels, encoded, true).await;
        let decoded = decoded.map_err(EncodeError::Internal)?.map_err(EncodeError::Image)?;
        let mut found = detect(pipeline, &decoded.image).await?;
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
        let faces = faces.collect::<Result<_, EncodeError>>()?;
        Ok((decoded, faces))
    }

    async fn opened(&self) -> Result<&Opened, EncodeError> {
        let opened = self.opened.get_or_try_init(|| open(&self.name, &self.shared)).await;
        opened.inspect_err(|error| self.log(error))
    }

    /// Logs why a model cannot be opened: once for each cause, because every request meets it until the operator repairs it.
    fn log(&self, error: &EncodeError) {
        let EncodeError::Unusable(cause) = error else { return };
        let cause = cause.to_string();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if *logged != cause {
            tracing::error!(
                error = cause.as_str(),
                "faces cannot be compared until this is repaired; no restart is needed then"
            );
            *logged = cause;
        }
    }
}

/// What the detector finds in an image.
async fn detect(pipeline: &Pipeline, image: &Arc<Image>) -> Result<Findings, EncodeError> {
    let outcome = pipeline.detect(image, &[0]).await.map_err(EncodeError::Internal)?.pop();
    let none = || Err(DetectError::Inference("no detector is running".to_owned()));
    outcome.unwrap_or_else(none).map_err(|error| match error.failure_code() {
        Some(code) => EncodeError::Image(Failure { code, message: error.to_string() }),
        None => EncodeError::NoResult(error.to_string()),
    })
}

/// [`DETECTOR`].
#[expect(clippy::expect_used, reason = "a constant")]
pub fn detector() -> DetectorName {
    DETECTOR.parse().expect("a name")
}

async fn open(model: &str, shared: &SharedArgs) -> Result<Opened, EncodeError> {
    let (spec, name) = shared.models.with_embeddings(&detector(), Some(model), &shared.inference())?;
    let calibration = Calibration::of(&name).ok_or_else(|| EncodeError::NotMeasured(name.clone()))?;
    let pipeline = Pipeline::start(vec![spec], shared.pipeline()).await.map_err(unopened)?;
    Ok(Opened { pipeline, model: FaceModel { name, calibration } })
}

/// A file or a setting is the operator's to mend; anything else is a defect.
fn unopened(error: anyhow::Error) -> EncodeError {
    error.downcast::<OpenError>().map_or_else(EncodeError::Internal, EncodeError::Unusable)
}
