//! Who the faces of a frame are: their embeddings are compared with the enrolled faces of the frame's owner.
//!
//! In: the detections of a frame with their embeddings. Out: the attributes `identity`, `subject` and `similarity` of each face.
//!
//! Guarantees: an embedding ends here; results have ids and never names. A face that could not be compared is `unchecked`, never
//! `unknown`. While the database is unreachable, one frame at a time waits for it, at most a second. A frame of a tenant without enrolled
//! faces costs no embedding and has none of the attributes. An embedding is compared with vectors of its own model: a frame uses the
//! model that compared at its beginning, and the model may be changed while frames are processed.

mod models;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::{AttributeName, Detection, DetectorName, TenantId};
use gallery::{CalibrationError, Embedding, Galleries, GalleryError, GalleryKey, GalleryState, Identity, Look, decide};
use vision::inference::{DetectorSpec, Inference, InferenceSettings};
use vision::model::Findings;

use crate::metrics;
pub use models::LiveModel;
use models::{OtherModels, calibration};

/// The detector whose faces are compared.
pub const DETECTOR: &str = "face";
/// How long it is remembered what to do with a tenant's faces, and that the database is unreachable.
const REMEMBERED: Duration = Duration::from_secs(1);
/// Time limit for the size of a gallery.
const STATE_LIMIT: Duration = Duration::from_secs(1);
/// Time limit for a search: the frame keeps its pixels meanwhile.
const SEARCH_LIMIT: Duration = Duration::from_secs(2);
/// Number of tenants that are remembered. Beyond it, those of the past are forgotten.
const MAX_TENANTS: usize = 10_000;
/// Pause between two warnings that a gallery is too large.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The attributes that it sets.
struct Names {
    identity: AttributeName,
    subject: AttributeName,
    similarity: AttributeName,
}

/// Compares faces.
pub struct FaceIdentifier {
    detector: DetectorName,
    galleries: Galleries,
    /// That of the detector which the worker opened at its start.
    started: LiveModel,
    others: OtherModels,
    /// False matches that the face of a stranger may have.
    false_matches: f64,
    names: Names,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// What to do with the faces of a tenant, and when that was found out.
    tenants: HashMap<TenantId, (Instant, Comparison)>,
    /// When the galleries could not be read; `None` since they can.
    last_failure: Option<Instant>,
    /// When a frame last asked whether the outage is over.
    asked_at: Option<Instant>,
    warned_at: Option<Instant>,
}

/// What happens with the faces of one frame.
#[derive(Clone)]
pub enum Comparison {
    /// Nothing: the tenant has no enrolled faces.
    None,
    /// They are compared, so their embeddings of this model are needed.
    Compare(LiveModel),
    /// They are marked as unchecked, because the gallery is out of reach.
    Unchecked,
}

impl Comparison {
    /// Whether embeddings are needed.
    pub const fn needs_embeddings(&self) -> bool {
        matches!(self, Self::Compare(_))
    }

    /// What finds the faces, if it is not the worker's own detector.
    pub fn inference(&self) -> Option<&Inference> {
        match self {
            Self::Compare(model) => model.inference.as_deref(),
            Self::None | Self::Unchecked => None,
        }
    }
}

impl FaceIdentifier {
    /// Compares faces of `model`, whose embeddings the worker's own detector makes, so that the face of a stranger has at most
    /// `false_matches` matches on average.
    ///
    /// # Errors
    /// The model was not measured.
    pub fn new(galleries: Galleries, model: &str, false_matches: f64) -> anyhow::Result<Self> {
        let started = LiveModel { name: model.into(), calibration: calibration(model)?, inference: None };
        let name = |name: &str| -> anyhow::Result<AttributeName> { name.parse().map_err(anyhow::Error::msg) };
        let names = Names { identity: name("identity")?, subject: name("subject")?, similarity: name("similarity")? };
        Ok(Self {
            detector: DETECTOR.parse()?,
            galleries,
            started,
            others: OtherModels::default(),
            false_matches,
            names,
            memory: Mutex::default(),
        })
    }

    /// Makes the detectors for other models, to which the service may be changed. Without it, faces are unchecked then.
    #[must_use]
    pub fn with_other_models(
        mut self,
        settings: InferenceSettings,
        make: impl Fn(&str) -> anyhow::Result<DetectorSpec> + Send + Sync + 'static,
    ) -> Self {
        self.others.make = Some((Box::new(make), settings));
        self
    }

    /// Whether this detector finds the faces that are compared.
    pub fn is_of(&self, detector: &DetectorName) -> bool {
        self.detector == *detector
    }

    /// What to do with the faces of a tenant's next frame.
    pub async fn comparison(&self, tenant: &TenantId) -> Comparison {
        if let Some(known) = self.memory().known(tenant) {
            return known;
        }
        let state = tokio::time::timeout(STATE_LIMIT, self.state(tenant)).await;
        let state =
            state.unwrap_or_else(|_| Err(GalleryError::Unavailable("the database does not respond".to_owned())));
        let comparison = match state {
            Ok((_, GalleryState { vectors: 0, .. })) => Comparison::None,
            Ok((model, state)) => self.comparison_with(tenant, &model, state.vectors).await,
            Err(error) => {
                let mut memory = self.memory();
                memory.failed(&error);
                return memory.during_outage(tenant);
            }
        };
        self.memory().remember(tenant, comparison.clone());
        comparison
    }

    /// The model that compares, and the tenant's gallery for it.
    async fn state(&self, tenant: &TenantId) -> Result<(Arc<str>, GalleryState), GalleryError> {
        let model = self.galleries.active_model().await?.map_or_else(|| Arc::clone(&self.started.name), Arc::from);
        let state = self.galleries.state(&key(tenant, &model)).await?;
        Ok((model, state))
    }

    async fn comparison_with(&self, tenant: &TenantId, model: &Arc<str>, vectors: u64) -> Comparison {
        let model = if *model == self.started.name { Some(self.started.clone()) } else { self.others.get(model).await };
        let Some(model) = model else { return Comparison::Unchecked };
        match self.threshold(&model, vectors) {
            Ok(_) => Comparison::Compare(model),
            Err(error) => {
                self.memory().warn(tenant, &error);
                Comparison::Unchecked
            }
        }
    }

    /// Sets the attributes of all faces.
    pub async fn identify(&self, tenant: &TenantId, comparison: &Comparison, findings: &mut Findings) {
        let embeddings = std::mem::take(&mut findings.embeddings);
        if matches!(comparison, Comparison::None) {
            return;
        }
        let mut identities = vec![Identity::Unchecked; findings.detections.len()];
        if let Comparison::Compare(model) = comparison {
            let dimensions = model.calibration.dimensions;
            let usable = embeddings.into_iter().filter_map(|(index, numbers)| {
                // A network without a direction for a face gives none, so this does not happen.
                Embedding::new(&numbers, dimensions).ok().map(|embedding| (index, embedding))
            });
            let (places, queries): (Vec<usize>, Vec<Embedding>) = usable.unzip();
            for (place, identity) in places.into_iter().zip(self.compare(tenant, model, &queries).await) {
                if let Some(found) = identities.get_mut(place) {
                    *found = identity;
                }
            }
        }
        for (detection, identity) in findings.detections.iter_mut().zip(identities) {
            metrics::identity(word(identity));
            self.names.set(detection, identity);
        }
    }

    /// The identity of each face.
    async fn compare(&self, tenant: &TenantId, model: &LiveModel, queries: &[Embedding]) -> Vec<Identity> {
        let unchecked = vec![Identity::Unchecked; queries.len()];
        // The lowest threshold of all: which one holds follows from the size of the gallery that is searched.
        let Some(floor) = model.calibration.points().first().map(|point| point.threshold) else { return unchecked };
        let key = key(tenant, &model.name);
        let search = self.galleries.search(&key, queries, 1, floor);
        // A gallery that is being read is read on, for the frames after this one.
        let Ok(found) = tokio::time::timeout(SEARCH_LIMIT, search).await else { return unchecked };
        match found {
            Ok(answers) => {
                let decided = answers.into_iter().map(|answer| match self.threshold(model, answer.vectors) {
                    Ok(threshold) => decide(&[Look::Compared(answer.matches)], threshold),
                    // It has grown since the frame began.
                    Err(_) => Identity::Unchecked,
                });
                decided.collect()
            }
            Err(error) => {
                let mut memory = self.memory();
                if matches!(error, GalleryError::Unavailable(_)) {
                    memory.failed(&error);
                } else {
                    memory.warn(tenant, &error);
                }
                unchecked
            }
        }
    }

    fn threshold(&self, model: &LiveModel, vectors: u64) -> Result<f32, CalibrationError> {
        model.calibration.threshold_for(model.calibration.rate_for_search(self.false_matches, vectors)?)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(tenant: &TenantId, model: &str) -> GalleryKey {
    GalleryKey { tenant: tenant.clone(), model: model.to_owned() }
}

impl Memory {
    /// What was found out within the last second; during an outage, unless it is time to ask again. One frame asks, and the others do not
    /// wait for it.
    fn known(&mut self, tenant: &TenantId) -> Option<Comparison> {
        let is_recent = |at: Instant| at.elapsed() < REMEMBERED;
        if let Some(failed) = self.last_failure {
            if is_recent(failed) || self.asked_at.is_some_and(is_recent) {
                return Some(self.during_outage(tenant));
            }
            self.asked_at = Some(Instant::now());
            return None;
        }
        self.tenants.get(tenant).filter(|(read, _)| is_recent(*read)).map(|(_, comparison)| comparison.clone())
    }

    fn remember(&mut self, tenant: &TenantId, comparison: Comparison) {
        self.last_failure = None;
        if self.tenants.len() >= MAX_TENANTS {
            self.tenants.retain(|_, (read, _)| read.elapsed() < REMEMBERED);
        }
        self.tenants.insert(tenant.clone(), (Instant::now(), comparison));
    }

    /// A tenant without enrolled faces still has none; of others, nothing is known.
    fn during_outage(&self, tenant: &TenantId) -> Comparison {
        match self.tenants.get(tenant) {
            Some((_, Comparison::None)) => Comparison::None,
            _ => Comparison::Unchecked,
        }
    }

    fn failed(&mut self, error: &GalleryError) {
        if self.last_failure.is_none() {
            tracing::warn!(%error, "faces are unchecked until the galleries can be read again");
        }
        self.last_failure = Some(Instant::now());
    }

    /// Warns that faces stay unchecked although the galleries can be read, once a minute.
    fn warn(&mut self, tenant: &TenantId, error: &dyn std::error::Error) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            self.warned_at = Some(Instant::now());
            tracing::warn!(
                %tenant, error = error.to_string(),
                "faces stay unchecked; if there are too many, set SIGHTLINE_FACES_LIVE_FALSE_MATCHES higher, or enrol fewer"
            );
        }
    }
}

impl Names {
    fn set(&self, detection: &mut Detection, identity: Identity) {
        detection.attributes.set(self.identity.clone(), word(identity).to_owned());
        if let Identity::Subject { id, similarity } = identity {
            detection.attributes.set(self.subject.clone(), id.to_string());
            // More digits mean nothing: the same face in another resolution differs in the second one.
            detection.attributes.set(self.similarity.clone(), (f64::from(similarity) * 1e4).round() / 1e4);
        }
    }
}

/// The value of the attribute `identity`.
const fn word(identity: Identity) -> &'static str {
    match identity {
        Identity::Subject { .. } => "subject",
        Identity::Unknown => "unknown",
        Identity::Unchecked => "unchecked",
    }
}
