//! Who the faces of a frame are: their embeddings are compared with the enrolled faces of the frame's owner.
//!
//! In: the detections of a frame with their embeddings. Out: the attributes `identity`, `subject` and `similarity` of each face.
//!
//! Guarantees: an embedding ends here; results have ids and never names. A face that could not be compared is `unchecked`, never
//! `unknown`. A frame waits for an unreachable database at most once a second, over all tenants. A frame of a tenant without enrolled
//! faces costs no embedding and has none of the attributes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{AttributeName, Detection, DetectorName, TenantId};
use gallery::{Calibration, CalibrationError, Embedding, Galleries, GalleryError, GalleryKey, Identity, Look, decide};
use vision::model::Findings;

use crate::metrics;

/// The detector whose faces are compared.
pub const DETECTOR: &str = "face";
/// How long it is remembered whether a tenant has enrolled faces, and that the database is unreachable.
const REMEMBERED: Duration = Duration::from_secs(1);
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
    /// Whether a tenant has enrolled faces, and when that was read.
    tenants: HashMap<TenantId, (Instant, bool)>,
    unreachable_since: Option<Instant>,
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
        let now = Instant::now();
        {
            let memory = self.memory();
            let is_recent = |at: Instant| now.duration_since(at) < REMEMBERED;
            if memory.unreachable_since.is_some_and(is_recent) {
                return memory.during_outage(tenant);
            }
            if let Some((_, enrolled)) = memory.tenants.get(tenant).filter(|(read, _)| is_recent(*read)) {
                return if *enrolled { Comparison::Compare } else { Comparison::None };
            }
        }
        let state = self.galleries.state(&self.key(tenant)).await;
        let mut memory = self.memory();
        match state {
            Ok(state) => {
                let enrolled = state.vectors > 0;
                memory.remember(tenant, enrolled);
                if enrolled { Comparison::Compare } else { Comparison::None }
            }
            Err(error) => {
                memory.failed(&error);
                memory.during_outage(tenant)
            }
        }
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
        match self.galleries.search(&self.key(tenant), queries, 1, floor).await {
            Ok(answers) => {
                let decided = answers.into_iter().map(|answer| match self.threshold(answer.vectors) {
                    Ok(threshold) => decide(&[Look::Compared(answer.matches)], threshold),
                    Err(error) => {
                        self.warn(tenant, &error);
                        Identity::Unchecked
                    }
                });
                decided.collect()
            }
            Err(error) => {
                self.memory().failed(&error);
                unchecked
            }
        }
    }

    fn threshold(&self, vectors: u64) -> Result<f32, CalibrationError> {
        self.calibration.threshold_for(self.calibration.rate_for_search(self.false_matches, vectors)?)
    }

    fn warn(&self, tenant: &TenantId, error: &CalibrationError) {
        let mut memory = self.memory();
        if memory.warned_at.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            memory.warned_at = Some(Instant::now());
            tracing::warn!(
                %tenant, %error,
                "SIGHTLINE_FACES_LIVE_FALSE_MATCHES: faces stay unchecked; set a higher number, or enrol fewer faces"
            );
        }
    }

    fn key(&self, tenant: &TenantId) -> GalleryKey {
        GalleryKey { tenant: tenant.clone(), model: self.model.clone() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn remember(&mut self, tenant: &TenantId, enrolled: bool) {
        self.unreachable_since = None;
        if self.tenants.len() >= MAX_TENANTS {
            self.tenants.retain(|_, (read, _)| read.elapsed() < REMEMBERED);
        }
        self.tenants.insert(tenant.clone(), (Instant::now(), enrolled));
    }

    /// A tenant without enrolled faces still has none; of others, nothing is known.
    fn during_outage(&self, tenant: &TenantId) -> Comparison {
        match self.tenants.get(tenant) {
            Some((_, false)) => Comparison::None,
            _ => Comparison::Unchecked,
        }
    }

    fn failed(&mut self, error: &GalleryError) {
        if !matches!(error, GalleryError::Unavailable(_)) {
            tracing::warn!(%error, "faces of a frame are unchecked");
            return;
        }
        if self.unreachable_since.is_none() {
            tracing::warn!(%error, "faces are unchecked until the galleries can be read again");
        }
        self.unreachable_since = Some(Instant::now());
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
