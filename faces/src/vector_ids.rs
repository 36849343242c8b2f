//! Ids of vectors. They follow from what a vector was made of, so the same image or detection has one vector of a model, however often it is
//! sent. A model to which the service changes later has its vector under the same id, so an id has the name of the model by which a face was
//! first compared.

use std::collections::BTreeSet;

use contracts::{DetectionId, SubjectId, VectorId};
use gallery::GalleryKey;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The id of an enrolled face.
pub fn of_image(subject: SubjectId, model: &str, encoded: &[u8]) -> VectorId {
    hashed(b"image", subject, model, encoded)
}

/// The id of the negative of a rejected detection.
pub fn of_negative(subject: SubjectId, model: &str, detection: &DetectionId) -> VectorId {
    hashed(b"negative", subject, model, detection.to_string().as_bytes())
}

/// The ids that a face may have: one for each model that compares or compared, this model's first.
pub fn of_any_model(model: &str, galleries: &[GalleryKey], id: impl Fn(&str) -> VectorId) -> Vec<VectorId> {
    let others: BTreeSet<&str> = galleries.iter().map(|key| key.model.as_str()).filter(|name| *name != model).collect();
    [model].into_iter().chain(others).map(id).collect()
}

fn hashed(kind: &[u8], subject: SubjectId, model: &str, content: &[u8]) -> VectorId {
    let mut hash = Sha256::new();
    let subject = subject.to_string();
    for part in [kind, subject.as_bytes(), model.as_bytes(), content] {
        // With its length, so that no two lists of parts run together.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    VectorId::from_uuid(Uuid::new_v8(bytes))
}
