//! The memory that a gallery says it has, against what the allocator gave it.
#![expect(unsafe_code, reason = "a counting allocator")]
#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use contracts::{SubjectId, VectorId};
use gallery::{Codes, Embedding, StoredVector, VectorKind};
use uuid::Uuid;

struct Counting;

thread_local! {
    /// Below 0 in a thread that frees what another one allocated.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn add(bytes: usize) {
    LIVE.set(LIVE.get() + bytes.cast_signed());
    PEAK.set(PEAK.get().max(LIVE.get()));
}

fn subtract(bytes: usize) {
    LIVE.set(LIVE.get() - bytes.cast_signed());
}

// SAFETY: each call is passed on unchanged. A move to a larger place is counted as if both were in use, as it may be.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        subtract(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn stored(random: &mut fastrand::Rng, number: usize, kind: VectorKind, dimensions: usize) -> StoredVector {
    let numbers: Vec<f32> = (0..dimensions).map(|_| random.f32() - 0.5).collect();
    let id = |number: usize| Uuid::from_u128(number as u128);
    StoredVector {
        id: VectorId::from_uuid(id(number)),
        subject: SubjectId::from_uuid(id(number)),
        kind,
        embedding: Embedding::new(&numbers, dimensions).unwrap(),
    }
}

/// Every third is a negative.
fn kind(number: usize) -> VectorKind {
    if number % 3 == 2 { VectorKind::Negative } else { VectorKind::Enrolled }
}

#[test]
fn the_bytes_of_a_gallery_cover_what_was_allocated() {
    let mut random = fastrand::Rng::with_seed(1);
    for dimensions in [1, 30, 128] {
        let before = LIVE.get();
        let mut gallery = Codes::new(dimensions);
        let check = |gallery: &Codes, number: usize| {
            let (live, said) = (LIVE.get() - before, gallery.bytes().cast_signed());
            assert!(live <= said, "{said} bytes said, {live} allocated, {number} x {dimensions}");
            assert!(said <= live + live / 8 + 1024, "{said} bytes said, {live} allocated, {number} x {dimensions}");
        };
        for number in 0..3_000 {
            gallery.put(stored(&mut random, number, kind(number), dimensions)).unwrap();
            check(&gallery, number);
        }
        for number in 0..2_900 {
            gallery.remove(&VectorId::from_uuid(Uuid::from_u128(number)));
        }
        let (live, said) = (LIVE.get() - before, gallery.bytes().cast_signed());
        assert!(live <= said, "{said} bytes said, {live} allocated after removals");
    }
}

#[test]
fn growth_stays_below_what_was_announced() {
    let mut random = fastrand::Rng::with_seed(2);
    let mut gallery = Codes::new(128);
    let before = LIVE.get();
    let mut number = 0;
    for batch in [1, 500, 3, 2_000, 40, 1, 1] {
        let own = LIVE.get() - before;
        let vectors: Vec<StoredVector> =
            (number..number + batch).map(|number| stored(&mut random, number, kind(number), 128)).collect();
        number += batch;
        let enrolled = vectors.iter().filter(|vector| vector.kind == VectorKind::Enrolled).count();
        let announced = gallery.bytes_with(enrolled, batch - enrolled).cast_signed();
        let others = LIVE.get() - before - own;
        PEAK.set(LIVE.get());
        gallery.reserve(enrolled);
        let peak = PEAK.get() - before - others;
        assert!(peak <= announced, "{peak} bytes at the peak, {announced} announced for {batch} more");
        for vector in vectors {
            gallery.put(vector).unwrap();
        }
        let allocated = LIVE.get() - before;
        assert!(allocated <= announced, "{allocated} bytes allocated, {announced} announced for {batch} more");
    }
}
