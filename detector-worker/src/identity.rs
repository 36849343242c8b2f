//! Who the faces of a frame are: their embeddings are compared with the enrolled faces of the frame's owner.
//!
//! In: the detections of a frame with their embeddings. Out: the attributes `identity`, `subject` and `similarity` of each face.
//!
//! Guarantees: an embedding ends here; results have ids and never names. A face that could not be compared is `unchecked`, never
//! `unknown`. While the database is unreachable, one frame at a time waits for it, at most a second. A frame of a tenant without enrolled
//! faces costs no embedding and has none of the attributes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{AttributeName, Detection, DetectorName, TenantId};
use gallery::{
    Calibration, CalibrationError, Embedding, Galleries, GalleryError, GalleryKey, GalleryState, Identity, Look, decide,
};
use vision::model::Findings;

use crate::metrics;

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
    model: String,
    calibration: &'static Calibration,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Nothing: the tenant has no enrolled faces.
    None,
    /// They are compared, so their embeddings are needed.
    Compare,
    /// They are marked as unchecked, because the gallery is out of reach.
    Unchecked,
}

impl FaceIdentifier {
    /// Compares faces of `model`, so that the face of a stranger has at most `false_matches` matches on average.
    ///
    /// # Errors
    /// The model was not measured.
    pub fn new(galleries: Galleries, model: &str, false_matches: f64) -> anyhow::Result<Self> {
        let calibration = Calibration::of(model)
            .with_context(|| format!("the false matches of the model {model} were not measured"))?;
        let name = |name: &str| -> anyhow::Result<AttributeName> { name.parse().map_err(anyhow::Error::msg) };
        let names = Names { identity: name("identity")?, subject: name("subject")?, similarity: name("similarity")? };
        Ok(Self {
            detector: DETECTOR.parse()?,
            galleries,
            model: model.to_owned(),
            calibration,
            false_matches,
            names,
            memory: Mutex::default(),
        })
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
        let state = tokio::time::timeout(STATE_LIMIT, self.galleries.state(&self.key(tenant))).await;
        let state =
            state.unwrap_or_else(|_| Err(GalleryError::Unavailable("the database does not respond".to_owned())));
        let comparison = match state {
            Ok(GalleryState { vectors: 0, .. }) => Comparison::None,
            Ok(state) => match self.threshold(state.vectors) {
                Ok(_) => Comparison::Compare,
                Err(error) => {
                    self.memory().warn(tenant, &error);
                    Comparison::Unchecked
                }
            },
            Err(error) => {
                let mut memory = self.memory();
                memory.failed(&error);
                return memory.during_outage(tenant);
            }
        };
        self.memory().remember(tenant, comparison);
        comparison
    }

    /// Sets the attributes of all faces.
    pub async fn identify(&self, tenant: &TenantId, comparison: Comparison, findings: &mut Findings) {
        let embeddings = std::mem::take(&mut findings.embeddings);
        if comparison == Comparison::None {
            return;
        }
        let mut identities = vec![Identity::Unchecked; findings.detections.len()];
        if comparison == Comparison::Compare {
            let dimensions = self.calibration.dimensions;
            let usable = embeddings.into_iter().filter_map(|(index, numbers)| {
                // A network without a direction for a face gives none, so this does not happen.
                Embedding::new(&numbers, dimensions).ok().map(|embedding| (index, embedding))
            });
            let (places, queries): (Vec<usize>, Vec<Embedding>) = usable.unzip();
            for (place, identity) in places.into_iter().zip(self.compare(tenant, &queries).await) {
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
    async fn compare(&self, tenant: &TenantId, queries: &[Embedding]) -> Vec<Identity> {
        let unchecked = vec![Identity::Unchecked; queries.len()];
        // The lowest threshold of all: which one holds follows from the size of the gallery that is searched.
        let Some(floor) = self.calibration.points().first().map(|point| point.threshold) else { return unchecked };
        let key = self.key(tenant);
        let search = self.galleries.search(&key, queries, 1, floor);
        // A gallery that is being read is read on, for the frames after this one.
        let Ok(found) = tokio::time::timeout(SEARCH_LIMIT, search).await else { return unchecked };
        match found {
            Ok(answers) => {
                let decided = answers.into_iter().map(|answer| match self.threshold(answer.vectors) {
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

    fn threshold(&self, vectors: u64) -> Result<f32, CalibrationError> {
        self.calibration.threshold_for(self.calibration.rate_for_search(self.false_matches, vectors)?)
    }

    fn key(&self, tenant: &TenantId) -> GalleryKey {
        GalleryKey { tenant: tenant.clone(), model: self.model.clone() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        self.tenants.get(tenant).filter(|(read, _)| is_recent(*read)).map(|(_, comparison)| *comparison)
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
