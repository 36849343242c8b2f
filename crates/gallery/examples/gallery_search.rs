//! What a search costs: CPU time, latency and memory, and its recall against comparing every vector. Used by `scripts/gallery-bench`.
//!
//! ```text
//! gallery_search [--quick]                 all measurements
//! gallery_search write FILE COUNT QUERIES  writes vectors and queries for other programs
//! gallery_search round FILE                one round over a file; prints one line of JSON
//! ```
//!
//! A file has four numbers (`u32`: vectors, dimensions, queries, looks of each subject), then all vectors and all queries (`f32`),
//! little-endian.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::time::Instant;

use anyhow::Context;
use contracts::{SubjectId, VectorId};
use fastrand::Rng;
use gallery::{Codes, Embedding, StoredVector, VectorKind};

/// Results of a search.
const K: usize = 10;
/// Faces of each enrolled subject.
const LOOKS: usize = 4;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => measure_all(false),
        ["--quick"] => measure_all(true),
        ["write", file, count, queries] => World::new(count.parse()?, queries.parse()?, 128).write(file),
        ["round", file] => {
            let world = World::read(file)?;
            let measured = measure(&codes(&world.vectors)?, &world.queries)?;
            println!(
                "{{\"cpu_ms\": {:.4}, \"p50_ms\": {:.4}, \"p99_ms\": {:.4}}}",
                measured.cpu, measured.p50, measured.p99
            );
            Ok(())
        }
        _ => anyhow::bail!("usage: gallery_search [--quick] | write FILE COUNT QUERIES | round FILE"),
    }
}

fn measure_all(quick: bool) -> anyhow::Result<()> {
    let queries = if quick { 200 } else { 1_000 };
    for (count, dimensions) in [(100_000, 128), (100_000, 256), (1_000_000, 128)] {
        let world = World::new(count, queries, dimensions);
        let (began, codes) = (cpu(), codes(&world.vectors)?);
        let each_us = (cpu() - began) * 1e6 / count as f64;
        let checked = &world.queries[..queries.min(if count > 100_000 { 50 } else { 200 })];
        let recall = recall(&codes, &world.vectors, checked)?;
        let measured = measure(&codes, &world.queries)?;
        println!(
            "{count} x {dimensions}: recall@{K} {recall:.4} ({} queries), {measured}, {} bytes a vector, {each_us:.1} us to add one",
            checked.len(),
            codes.bytes() / count,
        );
    }
    one_of_a_hundred(queries)
}

/// 100,000 vectors of a hundred owners. An owner's search reads only its own 1 %.
fn one_of_a_hundred(queries: usize) -> anyhow::Result<()> {
    let world = World::new(100_000, queries, 128);
    let owners: Vec<&[StoredVector]> = world.vectors.chunks(1_000).collect();
    let galleries = owners.iter().map(|vectors| codes(vectors)).collect::<anyhow::Result<Vec<_>>>()?;
    let (mut times, mut right, began) = (Vec::new(), 0.0, cpu());
    for (number, query) in world.queries.iter().enumerate() {
        let begun = Instant::now();
        std::hint::black_box(galleries[number % owners.len()].search(query, K, -1.0)?);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let measured = Measured::of(cpu() - began, times);
    for (number, query) in world.queries.iter().enumerate() {
        let owner = number % owners.len();
        right += recall(&galleries[owner], owners[owner], std::slice::from_ref(query))?;
    }
    println!("1 % of 100000 x 128: recall@{K} {:.4}, {measured}", right / queries as f64);
    Ok(())
}

struct Measured {
    /// Milliseconds of CPU time for each query.
    cpu: f64,
    p50: f64,
    p99: f64,
    /// Vectors compared in full for each query.
    compared: f64,
}

impl Measured {
    fn of(cpu: f64, mut times: Vec<f64>) -> Self {
        times.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| times[((share * times.len() as f64).ceil() as usize).saturating_sub(1)];
        Self { cpu: cpu * 1e3 / times.len() as f64, p50: at(0.5), p99: at(0.99), compared: 0.0 }
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3} ms CPU a query, p50 {:.3} ms, p99 {:.3} ms", self.cpu, self.p50, self.p99)?;
        if self.compared > 0.0 { write!(f, ", {:.0} compared in full", self.compared) } else { Ok(()) }
    }
}

fn measure(codes: &Codes, queries: &[Embedding]) -> anyhow::Result<Measured> {
    let (mut times, mut compared) = (Vec::with_capacity(queries.len()), 0);
    codes.search(&queries[0], K, -1.0)?;
    let began = cpu();
    for query in queries {
        let begun = Instant::now();
        compared += codes.search(query, K, -1.0)?.compared;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let measured = Measured::of(cpu() - began, times);
    Ok(Measured { compared: compared as f64 / queries.len() as f64, ..measured })
}

/// The share of the `K` best subjects, found by comparing every vector, that a search finds too.
fn recall(codes: &Codes, vectors: &[StoredVector], queries: &[Embedding]) -> anyhow::Result<f64> {
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let mut all: Vec<(f32, SubjectId)> = Vec::with_capacity(vectors.len());
        for vector in vectors {
            all.push((vector.embedding.similarity(query)?, vector.subject));
        }
        all.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Vec<SubjectId> = Vec::new();
        for (_, subject) in all {
            if best.len() < K && !best.contains(&subject) {
                best.push(subject);
            }
        }
        let matches = codes.search(query, K, -1.0)?.matches;
        found += matches.iter().filter(|found| best.contains(&found.subject)).count();
        wanted += best.len();
    }
    Ok(found as f64 / wanted as f64)
}

fn codes(vectors: &[StoredVector]) -> anyhow::Result<Codes> {
    let mut codes = Codes::new(vectors[0].embedding.dimensions());
    for vector in vectors {
        codes.put(vector.clone())?;
    }
    Ok(codes)
}

/// Seconds that this thread has run.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// Faces like those of the models: looks of one subject have a cosine of about 0.7, and strangers spread as measured on photographs
/// (a standard deviation of 0.11 with 128 numbers, 0.13 with 256).
struct World {
    vectors: Vec<StoredVector>,
    /// Half are further looks of enrolled subjects, half are strangers.
    queries: Vec<Embedding>,
}

impl World {
    fn new(count: usize, queries: usize, dimensions: usize) -> Self {
        let mut faces = Faces { random: Rng::with_seed(12), dimensions };
        let middles: Vec<Vec<f32>> = (0..count.div_ceil(LOOKS)).map(|_| faces.direction()).collect();
        let mut order: Vec<usize> = (0..count).collect();
        faces.random.shuffle(&mut order);
        let vectors = order.into_iter().map(|number| {
            let owner = number % middles.len();
            stored(number, owner, faces.look(&middles[owner]))
        });
        let vectors = vectors.collect();
        let queries = (0..queries).map(|number| {
            let middle = if number % 2 == 0 { middles[number * 31 % middles.len()].clone() } else { faces.direction() };
            faces.look(&middle)
        });
        Self { queries: queries.collect(), vectors }
    }

    fn write(&self, file: &str) -> anyhow::Result<()> {
        let mut out = BufWriter::new(File::create(file).with_context(|| file.to_owned())?);
        let dimensions = self.queries[0].dimensions();
        for number in [self.vectors.len(), dimensions, self.queries.len(), LOOKS] {
            out.write_all(&u32::try_from(number)?.to_le_bytes())?;
        }
        for embedding in self.vectors.iter().map(|vector| &vector.embedding).chain(&self.queries) {
            out.write_all(&embedding.to_bytes())?;
        }
        Ok(out.flush()?)
    }

    fn read(file: &str) -> anyhow::Result<Self> {
        let mut input = BufReader::new(File::open(file).with_context(|| file.to_owned())?);
        let mut head = [0; 16];
        input.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (count, dimensions, queries, looks) = (number(0), number(4), number(8), number(12));
        let mut embedding = || -> anyhow::Result<Embedding> {
            let mut bytes = vec![0; dimensions * 4];
            input.read_exact(&mut bytes)?;
            Ok(Embedding::from_bytes(&bytes, dimensions)?)
        };
        // Whose look a vector is does not matter for the time; that a subject has several does.
        let vectors = (0..count).map(|number| Ok(stored(number, number / looks, embedding()?)));
        let vectors = vectors.collect::<anyhow::Result<_>>()?;
        Ok(Self { vectors, queries: (0..queries).map(|_| embedding()).collect::<anyhow::Result<_>>()? })
    }
}

fn stored(number: usize, owner: usize, embedding: Embedding) -> StoredVector {
    let id = |number: usize| uuid::Uuid::from_u128(number as u128);
    StoredVector {
        id: VectorId::from_uuid(id(number)),
        subject: SubjectId::from_uuid(id(owner)),
        kind: VectorKind::Enrolled,
        embedding,
    }
}

struct Faces {
    random: Rng,
    dimensions: usize,
}

impl Faces {
    /// A unit vector. Its spread falls along hidden axes, as that of real embeddings does.
    fn direction(&mut self) -> Vec<f32> {
        let fall = if self.dimensions == 128 { 1.4 } else { 4.25 };
        let dimensions = self.dimensions;
        let spread = |at: usize| (-fall * at as f32 / dimensions as f32).exp();
        let mut numbers: Vec<f32> = (0..dimensions).map(|at| spread(at) * self.normal()).collect();
        // Twice a sign for each number and a Hadamard transform: a fixed rotation, so that no number stands for one axis.
        let mut signs = Rng::with_seed(99);
        for _ in 0..2 {
            for number in &mut numbers {
                *number = if signs.bool() { *number } else { -*number };
            }
            hadamard(&mut numbers);
        }
        let norm = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        numbers.iter().map(|number| number / norm).collect()
    }

    fn look(&mut self, middle: &[f32]) -> Embedding {
        let noise = self.direction();
        let numbers: Vec<f32> = middle.iter().zip(noise).map(|(middle, noise)| middle + 0.65 * noise).collect();
        Embedding::new(&numbers, self.dimensions).expect("the sum of two unit vectors of different lengths is not zero")
    }

    /// Nearly normal, with a standard deviation of 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.random.f32()).sum::<f32>() - 6.0
    }
}

fn hadamard(numbers: &mut [f32]) {
    let mut half = 1;
    while half < numbers.len() {
        for pair in numbers.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
}
