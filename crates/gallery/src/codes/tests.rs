use std::collections::HashMap;

use fastrand::Rng;
use uuid::Uuid;

use super::quantised::{Quantised, Query};
use super::*;
use crate::best::Match;
use crate::ordered_search::OrderedSearch;
use crate::scan::Kernel;
use crate::suite::subject;

fn vector(number: u128, owner: u128, numbers: &[f32]) -> StoredVector {
    StoredVector {
        id: VectorId::from_uuid(Uuid::from_u128(number)),
        subject: subject(owner),
        kind: VectorKind::Enrolled,
        embedding: Embedding::new(numbers, numbers.len()).unwrap(),
    }
}

fn noise(random: &mut Rng, dimensions: usize) -> Vec<f32> {
    (0..dimensions).map(|_| random.f32() + random.f32() + random.f32() - 1.5).collect()
}

/// Subjects with several looks each, which are some way from the subject's middle.
fn looks(random: &mut Rng, count: usize, per_subject: usize, dimensions: usize) -> Vec<StoredVector> {
    let middles: Vec<Vec<f32>> = (0..count.div_ceil(per_subject)).map(|_| noise(random, dimensions)).collect();
    let look = |number: usize| {
        let owner = number % middles.len();
        let numbers: Vec<f32> =
            middles[owner].iter().zip(noise(random, dimensions)).map(|(middle, noise)| middle + 0.7 * noise).collect();
        vector(number as u128, owner as u128, &numbers)
    };
    (0..count).map(look).collect()
}

fn codes(vectors: &[StoredVector], dimensions: usize) -> Codes {
    let mut codes = Codes::new(dimensions);
    for vector in vectors {
        codes.put(vector.clone()).unwrap();
    }
    codes
}

/// The definition of a search: every vector is compared.
fn brute_force(vectors: &[StoredVector], query: &Embedding, k: usize, floor: f32) -> Vec<Match> {
    let mut best: HashMap<SubjectId, Match> = HashMap::new();
    for stored in vectors.iter().filter(|stored| stored.kind == VectorKind::Enrolled) {
        let similarity = stored.embedding.similarity(query).unwrap();
        let new = Match { subject: stored.subject, similarity, vector: stored.id, negative: None };
        let known = best.entry(stored.subject).or_insert(new);
        if (known.similarity, new.vector) < (similarity, known.vector) {
            *known = new;
        }
    }
    let mut all: Vec<Match> = best.into_values().filter(|found| found.similarity >= floor).collect();
    all.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.subject.cmp(&b.subject)));
    all.truncate(k);
    all
}

#[test]
fn a_search_equals_comparing_every_vector() {
    let mut random = Rng::with_seed(7);
    for (count, dimensions) in [(0, 8), (1, 1), (15, 3), (16, 128), (17, 130), (300, 64), (5_000, 128), (1_000, 256)] {
        let vectors = looks(&mut random, count, 3, dimensions);
        let codes = codes(&vectors, dimensions);
        for _ in 0..20 {
            let query = Embedding::new(&noise(&mut random, dimensions), dimensions).unwrap();
            for (k, floor) in [(0, -1.0), (1, -1.0), (10, -1.0), (10, 0.2), (100, 0.0)] {
                let wanted = brute_force(&vectors, &query, k, floor);
                for kernel in Kernel::available() {
                    let found = codes.search_with(kernel, &query, k, floor).unwrap();
                    assert_eq!(found.matches, wanted, "{count} x {dimensions}, {kernel:?}");
                }
            }
        }
    }
}

/// The similarities of 5,000 vectors differ by a millionth each, far below the error of the codes. The best ten are among the
/// best 64 of the codes only by luck.
#[test]
fn near_ties_below_the_error_of_the_codes_are_exact() {
    const DIMENSIONS: usize = 128;
    let mut random = Rng::with_seed(3);
    let query = Embedding::new(&noise(&mut random, DIMENSIONS), DIMENSIONS).unwrap();
    let mut order: Vec<usize> = (0..5_000).collect();
    random.shuffle(&mut order);
    let vectors: Vec<StoredVector> = order
        .iter()
        .map(|rank| vector(*rank as u128, *rank as u128, &at_cosine(&mut random, &query, 0.9 - *rank as f64 * 1e-6)))
        .collect();
    let wanted = brute_force(&vectors, &query, 10, -1.0);
    let by_codes = best_by_codes(&vectors, &query, 64);
    let missed = wanted.iter().filter(|found| !by_codes.contains(&found.vector)).count();
    assert!(missed >= 5, "the best 64 of the codes miss only {missed} of 10: no near-ties");
    assert_eq!(codes(&vectors, DIMENSIONS).search(&query, 10, -1.0).unwrap().matches, wanted);
}

/// A unit vector with this cosine to the query, else in a random direction.
fn at_cosine(random: &mut Rng, query: &Embedding, cosine: f64) -> Vec<f32> {
    let other = noise(random, query.dimensions());
    let pairs = || other.iter().zip(query.numbers()).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let along: f64 = pairs().map(|(a, b)| a * b).sum();
    let across: Vec<f64> = pairs().map(|(a, b)| a - along * b).collect();
    let norm = across.iter().map(|number| number * number).sum::<f64>().sqrt();
    let sine = (1.0 - cosine * cosine).sqrt() / norm;
    query.numbers().iter().zip(across).map(|(a, b)| (cosine * f64::from(*a) + sine * b) as f32).collect()
}

fn best_by_codes(vectors: &[StoredVector], query: &Embedding, count: usize) -> Vec<VectorId> {
    let query = Quantised::of(query.numbers());
    let product =
        |codes: &[i8]| codes.iter().zip(&query.codes).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
    let approximate = |stored: &StoredVector| {
        let vector = Quantised::of(stored.embedding.numbers());
        product(&vector.codes) as f32 * vector.scale
    };
    let mut all: Vec<(f32, VectorId)> = vectors.iter().map(|stored| (approximate(stored), stored.id)).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().take(count).map(|(_, id)| id).collect()
}

/// All that a vector shares with the query is lost in its codes: the error is exactly as large as its radius allows.
#[test]
fn a_vector_whose_codes_hide_it_is_found() {
    for sign in [1.0, -1.0] {
        let mut hidden = vec![sign * 0.99 / 254.0; 128];
        hidden[0] = 1.0;
        let mut across = vec![sign; 128];
        across[0] = 0.0;
        let query = Embedding::new(&across, 128).unwrap();
        let hidden = vector(999, 999, &hidden);
        let lost = Quantised::of(hidden.embedding.numbers());
        assert!(lost.codes[1..].iter().all(|code| *code == 0));
        let best = hidden.embedding.similarity(&query).unwrap();
        assert!(best > 0.95 * lost.radius);
        let mut random = Rng::with_seed(11);
        let below = |number| vector(number, number, &at_cosine(&mut random, &query, f64::from(best) - 1e-4));
        let mut vectors: Vec<StoredVector> = (0..50).map(below).collect();
        vectors.push(hidden.clone());
        let found = codes(&vectors, 128).search(&query, 1, -1.0).unwrap();
        assert_eq!(found.matches[0].subject, hidden.subject);
    }
}

#[test]
fn the_bound_holds_for_any_pair() {
    let mut random = Rng::with_seed(5);
    for dimensions in [1, 2, 64, 128, 1024] {
        for _ in 0..500 {
            let [a, b] = [0, 1].map(|_| {
                let mut numbers = noise(&mut random, dimensions);
                numbers[0] *= 1.0 + 30.0 * random.f32();
                Embedding::new(&numbers, dimensions).unwrap()
            });
            let (vector, query) = (Quantised::of(a.numbers()), Query::of(b.numbers()));
            let codes = query.lines.iter().flatten().zip(&vector.codes);
            let product: i32 = codes.map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
            let near = product as f32 * (vector.scale * query.scale);
            let bound = vector.radius * query.norm + query.radius + 1e-5;
            assert!((a.similarity(&b).unwrap() - near).abs() <= bound);
            assert!(bound < 0.2, "a bound of {bound} excludes nothing");
        }
    }
}

#[test]
fn equal_vectors_are_found_in_the_order_of_their_ids() {
    let same: Vec<f32> = noise(&mut Rng::with_seed(1), 32);
    let vectors: Vec<StoredVector> = [7, 3, 9, 1, 5].map(|owner| vector(owner + 100, owner, &same)).into();
    let query = vectors[0].embedding.clone();
    let mut gallery = codes(&vectors, 32);
    gallery.put(vector(50, 9, &same)).unwrap();
    let found = gallery.search(&query, 4, -1.0).unwrap().matches;
    assert_eq!(found.iter().map(|found| found.subject).collect::<Vec<_>>(), [1, 3, 5, 7].map(subject));
    let all = gallery.search(&query, 9, -1.0).unwrap().matches;
    assert_eq!(all[4].vector, vector(50, 9, &same).id);
}

#[test]
fn few_vectors_are_compared_in_full() {
    let mut random = Rng::with_seed(13);
    let gallery = codes(&looks(&mut random, 20_000, 4, 128), 128);
    let mut compared = 0;
    for _ in 0..20 {
        let query = Embedding::new(&noise(&mut random, 128), 128).unwrap();
        compared += gallery.search(&query, 10, -1.0).unwrap().compared;
    }
    assert!(compared < 20 * 600, "{} of 20,000 each", compared / 20);
}

#[test]
fn additions_replacements_and_removals_leave_what_was_added_last() {
    let mut random = Rng::with_seed(21);
    let pool = looks(&mut random, 400, 4, 20);
    let mut gallery = Codes::new(20);
    let mut kept: Vec<StoredVector> = Vec::new();
    for step in 0..3_000 {
        let stored = pool[random.usize(..pool.len())].clone();
        match random.u8(..8) {
            0..4 => {
                let stored = StoredVector { subject: subject(random.u128(..100)), ..stored.clone() };
                kept.retain(|known| known.id != stored.id);
                kept.push(stored.clone());
                gallery.put(stored).unwrap();
            }
            4..7 => {
                let before = kept.len();
                kept.retain(|known| known.id != stored.id);
                assert_eq!(gallery.remove(&stored.id), kept.len() < before);
            }
            _ => {
                let before = kept.len();
                kept.retain(|known| known.subject != stored.subject);
                assert_eq!(gallery.remove_subject(&stored.subject), before - kept.len());
            }
        }
        assert_eq!(gallery.len(), kept.len());
        if step % 10 == 0 {
            let found = gallery.search(&stored.embedding, 7, -1.0).unwrap().matches;
            assert_eq!(found, brute_force(&kept, &stored.embedding, 7, -1.0), "step {step}");
            let mut subjects: Vec<SubjectId> = kept.iter().map(|known| known.subject).collect();
            subjects.sort_unstable();
            subjects.dedup();
            assert_eq!(gallery.subjects(), subjects.len());
        }
    }
    let left: Vec<VectorId> = kept.iter().map(|known| known.id).collect();
    assert!(left.iter().all(|id| gallery.remove(id)));
    assert!(gallery.is_empty() && gallery.subjects() == 0 && gallery.lines.is_empty());
}

/// A rejected subject takes no place of others, even if there are as many of them as places.
#[test]
fn rejected_subjects_are_left_out_before_the_best_are_taken() {
    let mut random = Rng::with_seed(2);
    let stored = looks(&mut random, 400, 4, 16);
    let query = Embedding::new(&noise(&mut random, 16), 16).unwrap();
    let all = brute_force(&stored, &query, 100, -1.0);
    let mut gallery = codes(&stored, 16);
    for (number, found) in (900..).zip(&all[..3]) {
        let near = vector(number, 0, query.numbers());
        gallery.put(StoredVector { kind: VectorKind::Negative, subject: found.subject, ..near }).unwrap();
    }
    // Not nearer than the subject: it is found, and the negative is in the answer.
    let far: Vec<f32> = query.numbers().iter().map(|number| -number).collect();
    gallery.put(StoredVector { kind: VectorKind::Negative, subject: all[3].subject, ..vector(910, 0, &far) }).unwrap();
    for k in [1, 2, 5] {
        let found = gallery.search(&query, k, -1.0).unwrap().matches;
        assert_eq!(found[0].negative.map(f32::round), Some(-1.0));
        let plain: Vec<Match> = found.iter().map(|found| Match { negative: None, ..*found }).collect();
        assert_eq!(plain, all[3..3 + k]);
    }
    assert!(gallery.remove(&vector(900, 0, &far).id));
    let back = gallery.search(&query, 1, -1.0).unwrap().matches[0];
    assert_eq!(back, all[0]);
    for found in &all[1..4] {
        assert_eq!(gallery.remove_subject(&found.subject), 4 + 1);
    }
    assert!(gallery.negatives.is_empty());
    assert_eq!(gallery.subjects(), 97);
}

/// Stores that read vectors one by one give the same result, bit for bit.
#[test]
fn a_search_subject_by_subject_equals_that_of_the_codes() {
    let mut random = Rng::with_seed(17);
    let mut stored = looks(&mut random, 600, 3, 24);
    for (number, negative) in (1_000..).zip(looks(&mut random, 300, 3, 24)) {
        let id = VectorId::from_uuid(Uuid::from_u128(number));
        stored.push(StoredVector { id, kind: VectorKind::Negative, ..negative });
    }
    random.shuffle(&mut stored);
    let gallery = codes(&stored, 24);
    stored.sort_by_key(|vector| vector.subject);
    for round in 0..30 {
        let query = Embedding::new(&noise(&mut random, 24), 24).unwrap();
        for (k, floor) in [(0, -1.0), (1, -1.0), (7, 0.1), (1_000, -1.0)] {
            let mut search = OrderedSearch::new(&query, k, floor);
            stored.iter().for_each(|vector| search.compare(vector).unwrap());
            let (found, wanted) = (search.finish(), gallery.search(&query, k, floor).unwrap().matches);
            assert_eq!(found, wanted, "round {round}, the best {k}");
        }
    }
    let all = gallery.search(&stored[0].embedding, 1_000, -1.0).unwrap().matches.len();
    assert!((1..200).contains(&all), "{all} of 200: no subject is rejected");
}

/// Norms at the edge of what is accepted: the bound of a search must still hold.
#[test]
fn norms_at_the_edge_are_exact() {
    const DIMENSIONS: usize = 64;
    let scaled = |embedding: &Embedding, scale: f64| {
        let bytes: Vec<u8> =
            embedding.numbers().iter().flat_map(|number| ((f64::from(*number) * scale) as f32).to_le_bytes()).collect();
        Embedding::from_bytes(&bytes, DIMENSIONS)
    };
    // The constant of rounding in a search rests on norms that are 1 to 1e-6.
    let edge = 0.9e-6;
    let mut random = Rng::with_seed(31);
    let query = Embedding::new(&noise(&mut random, DIMENSIONS), DIMENSIONS).unwrap();
    let mut stored: Vec<StoredVector> = (0..2_000_u32)
        .map(|number| {
            vector(
                u128::from(number),
                u128::from(number),
                &at_cosine(&mut random, &query, 0.9 - f64::from(number) * 1e-7),
            )
        })
        .collect();
    for (number, stored) in stored.iter_mut().enumerate() {
        let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
        stored.embedding = scaled(&stored.embedding, 1.0 + sign * edge).unwrap();
    }
    let query = scaled(&query, 1.0 + edge).unwrap();
    assert!(scaled(&query, 1.0 + 4.0 * edge).is_err() && scaled(&query, 1.0 - 4.0 * edge).is_err());
    let found = codes(&stored, DIMENSIONS).search(&query, 10, -1.0).unwrap().matches;
    assert_eq!(found, brute_force(&stored, &query, 10, -1.0));
}

#[test]
fn no_number_of_a_vector_is_printed() {
    let numbers = [0.123, 0.5];
    let mut gallery = codes(&[vector(1, 1, &numbers)], 2);
    gallery.put(StoredVector { kind: VectorKind::Negative, ..vector(2, 1, &numbers) }).unwrap();
    assert_eq!(format!("{gallery:?}"), "Codes(1 vectors of 1 subjects, 2 numbers each)");
}

#[test]
fn the_estimate_is_near_the_memory() {
    let mut random = Rng::with_seed(4);
    for dimensions in [1, 30, 128] {
        let mut gallery = Codes::new(dimensions);
        for (number, stored) in looks(&mut random, 3_000, 1, dimensions).into_iter().enumerate() {
            gallery.put(stored).unwrap();
            let estimate = Codes::estimate(number + 1, dimensions);
            assert!(gallery.bytes() <= estimate, "{} > {estimate} for {number} x {dimensions}", gallery.bytes());
        }
        assert!(Codes::estimate(3_000, dimensions) < 2 * gallery.bytes() + 4096, "too pessimistic");
        for number in 0..2_990 {
            gallery.remove(&VectorId::from_uuid(Uuid::from_u128(number)));
        }
        assert!(gallery.bytes() < Codes::estimate(200, dimensions), "{} bytes kept", gallery.bytes());
    }
}

#[test]
fn an_embedding_of_another_length_is_refused() {
    let mut gallery = Codes::new(16);
    let other = vector(1, 1, &[1.0; 8]);
    assert!(gallery.put(other.clone()).is_err());
    assert!(gallery.search(&other.embedding, 1, -1.0).is_err());
    assert!(gallery.is_empty());
}
