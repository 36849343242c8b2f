//! A gallery of many people, each with one made embedding.

use std::time::{Duration, Instant};

use anyhow::ensure;
use contracts::{SubjectId, VectorId};
use fastrand::Rng;
use gallery::{Embedding, GalleryKey, StoredVector, VectorKind};
use jiff::Timestamp;
use store::Relational;
use store::relational::{MAX_VECTORS_AT_ONCE, Metadata, NewSubject, SubjectWriteOutcome, VectorWriteOutcome};
use uuid::Uuid;

/// Rates of filling, a second.
pub struct Filled {
    /// Subjects, each in a transaction of its own.
    pub subjects: f64,
    /// Vectors, in transactions of [`MAX_VECTORS_AT_ONCE`].
    pub vectors: f64,
}

/// Adds people to a gallery, each with a vector.
pub async fn fill(
    store: &Relational,
    gallery: &GalleryKey,
    dimensions: usize,
    people: usize,
) -> anyhow::Result<Filled> {
    let mut subjects = Vec::with_capacity(people);
    let began = Instant::now();
    for number in 0..people {
        let id = SubjectId::from_uuid(Uuid::now_v7());
        let name = Some(format!("Person {number}"));
        let new = NewSubject { id, external_id: None, name, metadata: Metadata::new(), consent: None };
        let added = store.add_subject(&gallery.tenant, None, &new, Timestamp::now()).await?;
        ensure!(added == SubjectWriteOutcome::Stored, "a subject was not added: {added:?}");
        subjects.push(id);
    }
    let adding = began.elapsed();
    let (mut random, mut writing) = (Rng::with_seed(12), Duration::ZERO);
    for subjects in subjects.chunks(MAX_VECTORS_AT_ONCE) {
        let vectors = subjects.iter().map(|subject| vector(*subject, dimensions, &mut random));
        let vectors = vectors.collect::<anyhow::Result<Vec<_>>>()?;
        let began = Instant::now();
        let written = store.put_vectors(gallery, &vectors, Timestamp::now()).await?;
        writing += began.elapsed();
        ensure!(written == VectorWriteOutcome::Stored, "vectors were not added: {written:?}");
    }
    let people = people as f64;
    Ok(Filled { subjects: people / adding.as_secs_f64(), vectors: people / writing.as_secs_f64() })
}

/// A face in a random direction, far from all others.
fn vector(subject: SubjectId, dimensions: usize, random: &mut Rng) -> anyhow::Result<StoredVector> {
    // Of a sum of three, which is close to a normal distribution; so no direction is preferred.
    let mut number = || (0..3).map(|_| random.f32() * 2.0 - 1.0).sum::<f32>();
    let numbers: Vec<f32> = (0..dimensions).map(|_| number()).collect();
    let embedding = Embedding::new(&numbers, dimensions)?;
    Ok(StoredVector { id: VectorId::from_uuid(Uuid::new_v4()), subject, kind: VectorKind::Enrolled, embedding })
}
