//! A search among faces that do not fit into memory: in PostgreSQL with pgvector, and by the program, which reads the bytes.
//!
//! A tenant of the bench's own gets the vectors. The same queries are then searched in alternation in both ways, and must find the same
//! subjects. Both compare every vector. PostgreSQL runs beside the bench on this machine, with its default settings.

use std::time::Instant;

use clap::Args;
use contracts::{SubjectId, TenantId, VectorId};
use gallery::{Embedding, GalleryKey, Match, StoredVector, VectorKind};
use jiff::Timestamp;
use store::Relational;
use store::relational::{
    FaceSearch, MAX_VECTORS_AT_ONCE, Metadata, NewSubject, SubjectWriteOutcome, VectorWriteOutcome,
};
use uuid::Uuid;

use super::RunLength;
use super::namespace::Servers;
use super::report::Report;
use super::stats::Times;

/// Numbers of each vector.
const DIMENSIONS: usize = 128;
/// Enrolled faces of each subject.
const LOOKS: usize = 4;
/// Subjects of an answer.
const K: usize = 10;
/// The least similarity of an answer: about that of one false match in a thousand comparisons.
const FLOOR: f32 = 0.3;

/// Arguments of the bench.
#[derive(Debug, Args)]
pub struct FaceSearchBench {
    /// Vectors of the gallery [default: 100000, or 10000 with --quick]
    #[arg(long, value_name = "NUMBER")]
    face_vectors: Option<usize>,
}

impl FaceSearchBench {
    /// Enrols, searches and erases.
    ///
    /// # Errors
    /// When PostgreSQL is not given, has no pgvector or fails, or both ways find different subjects.
    pub async fn run(&self, servers: &Servers, run_length: RunLength) -> anyhow::Result<Report> {
        let database = Relational::postgres(servers.database_url()?, 4).await?;
        database.migrate().await?;
        let FaceSearch::Pgvector(version) = database.face_search().await? else {
            anyhow::bail!("PostgreSQL has no pgvector");
        };
        let (vectors, queries) =
            (self.face_vectors.unwrap_or_else(|| run_length.pick(100_000, 10_000)), run_length.pick(30, 10));
        let mut report = Report::new("face-search");
        report.setting("vectors", vectors);
        report.setting("numbers_of_each_vector", DIMENSIONS);
        report.setting("queries", queries);
        report.setting("pgvector", version);
        let gallery = GalleryKey { tenant: TenantId::from_uuid(Uuid::new_v4()), model: "bench_128d".to_owned() };
        let measured = measure(&database, &gallery, vectors, queries, &mut report).await;
        database.erase_faces(&gallery.tenant).await?;
        database.close().await;
        measured.map(|()| report)
    }
}

async fn measure(
    database: &Relational,
    gallery: &GalleryKey,
    vectors: usize,
    queries: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut random = fastrand::Rng::with_seed(1);
    let began = Instant::now();
    let queries = enrol(database, gallery, vectors, queries, &mut random).await?;
    report.figure("enrolled, 1,000 at once", vectors as f64 / began.elapsed().as_secs_f64(), "vectors/s");
    let (mut in_postgres, mut in_program) = (Vec::new(), Vec::new());
    // The first query of each way also prepares its statements.
    for (number, query) in queries.iter().enumerate() {
        let began = Instant::now();
        let found = database.search_in_postgres(gallery, query, K, FLOOR).await?;
        let found = found.ok_or_else(|| anyhow::anyhow!("PostgreSQL cannot search"))?;
        let middle = Instant::now();
        let read = database.search_in_program(gallery, query, K, FLOOR).await?;
        anyhow::ensure!(agree(&found, &read), "the two ways find different subjects");
        if number > 0 {
            in_postgres.push(middle - began);
            in_program.push(middle.elapsed());
        }
    }
    let (in_postgres, in_program): (Times, Times) =
        (in_postgres.into_iter().collect(), in_program.into_iter().collect());
    for (way, times) in [("PostgreSQL", &in_postgres), ("the program", &in_program)] {
        report.figure(format!("a search by {way}, median"), times.ms(0.5), "ms");
        report.figure(format!("a search by {way}, the slowest of ten"), times.ms(0.9), "ms");
    }
    report.figure("times as fast in PostgreSQL, median", in_program.ms(0.5) / in_postgres.ms(0.5), "×");
    Ok(())
}

/// Writes the vectors, and returns queries: other faces of some of the subjects.
async fn enrol(
    database: &Relational,
    gallery: &GalleryKey,
    vectors: usize,
    queries: usize,
    random: &mut fastrand::Rng,
) -> anyhow::Result<Vec<Embedding>> {
    let mut looks = Vec::new();
    let (mut batch, mut written) = (Vec::with_capacity(MAX_VECTORS_AT_ONCE), 0);
    while written < vectors {
        let subject = SubjectId::now();
        let new = NewSubject { id: subject, external_id: None, name: None, metadata: Metadata::new(), consent: None };
        let added = database.add_subject(&gallery.tenant, None, &new, Timestamp::now()).await?;
        anyhow::ensure!(added == SubjectWriteOutcome::Stored, "a subject was not stored: {added:?}");
        let face: Vec<f32> = (0..DIMENSIONS).map(|_| normal(random)).collect();
        for _ in 0..LOOKS.min(vectors - written) {
            let embedding = look(&face, random)?;
            batch.push(StoredVector { id: VectorId::now(), subject, kind: VectorKind::Enrolled, embedding });
            written += 1;
        }
        if looks.len() < queries {
            looks.push(look(&face, random)?);
        }
        if batch.len() + LOOKS > MAX_VECTORS_AT_ONCE || written == vectors {
            let stored = database.put_vectors(gallery, &batch, Timestamp::now()).await?;
            anyhow::ensure!(stored == VectorWriteOutcome::Stored, "vectors were not stored: {stored:?}");
            batch.clear();
        }
    }
    Ok(looks)
}

/// Another image of a face: the cosine of two is about 0.7.
fn look(face: &[f32], random: &mut fastrand::Rng) -> anyhow::Result<Embedding> {
    let numbers: Vec<f32> = face.iter().map(|number| number + 0.65 * normal(random)).collect();
    Ok(Embedding::new(&numbers, DIMENSIONS)?)
}

/// A number of a normal distribution, nearly: the sum of twelve equal ones.
fn normal(random: &mut fastrand::Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

/// Whether both found the query's subject, and others of the same similarities.
fn agree(found: &[Match], read: &[Match]) -> bool {
    let near = |(a, b): (&Match, &Match)| (a.similarity - b.similarity).abs() < 1e-5;
    let first = |matches: &[Match]| matches.first().map(|found| found.subject);
    first(found).is_some()
        && first(found) == first(read)
        && found.len() == read.len()
        && found.iter().zip(read).all(near)
}
