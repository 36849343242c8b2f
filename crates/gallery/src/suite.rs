//! The contract suite of [`VectorStore`]: each function checks one guarantee on a store without vectors. For tests only.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed expectation is how a test fails")]

use std::collections::BTreeMap;

use async_trait::async_trait;
use contracts::{SubjectId, VectorId};
use uuid::Uuid;

use crate::best::Match;
use crate::codes::Codes;
use crate::embedding::Embedding;
use crate::seam::{Change, Changes, GalleryError, GalleryKey, GalleryState, Position, VectorStore};
use crate::stored_vector::{StoredVector, VectorKind};

/// How the suite writes to the store that it checks. Each call is one transaction and one change of the gallery's version.
#[async_trait]
pub trait Writer: Send + Sync {
    /// Adds vectors, or replaces those with the same ids.
    async fn put(&self, gallery: &GalleryKey, vectors: Vec<StoredVector>);
    /// Removes vectors.
    async fn remove(&self, gallery: &GalleryKey, vectors: &[VectorId]);
    /// Removes all vectors and negatives of a subject.
    async fn remove_subject(&self, gallery: &GalleryKey, subject: &SubjectId);
    /// Forgets which vectors were removed, as the store does after some time. No change of the version.
    async fn forget_removals(&self, gallery: &GalleryKey);
    /// Deletes the gallery with everything that belongs to it.
    async fn erase(&self, gallery: &GalleryKey);
}

/// Passes the list of all tests to `$run!`, so that an implementation cannot leave one out.
#[macro_export]
macro_rules! for_each_vector_store_test {
    ($run:ident) => {
        $run! {
            vectors_read_back_unchanged,
            pages_have_no_gap_or_repeat,
            changes_after_a_position_are_only_those,
            a_change_during_a_paged_read_is_seen,
            forgotten_removals_expire_old_positions_only,
            a_version_never_returns,
            an_erased_gallery_expires_every_position,
            galleries_of_tenants_and_models_are_separate,
            the_state_counts_vectors_and_subjects,
            the_store_finds_the_same_subjects,
            rejected_subjects_take_no_place_in_the_store_either,
            a_query_of_another_length_is_refused,
        }
    };
}

/// Numbers of the suite's embeddings.
pub const DIMENSIONS: usize = 128;

/// A gallery of the suite.
pub fn key(tenant: &str) -> GalleryKey {
    GalleryKey { tenant: tenant.parse().unwrap(), model: "mobilefacenet_128d".to_owned() }
}

/// The subject with this number.
pub fn subject(number: u128) -> SubjectId {
    SubjectId::from_uuid(Uuid::from_u128(number))
}

/// A face of the subject; the same number gives the same id and the same vector.
pub fn face(number: u128, owner: u128) -> StoredVector {
    // Far apart, so that the sequences of two faces do not overlap.
    let mut state = (number as u64).wrapping_mul(0xd1b5_4a32_d192_ed03);
    let numbers: Vec<f32> = (0..DIMENSIONS).map(|_| noise(&mut state)).collect();
    StoredVector {
        id: VectorId::from_uuid(Uuid::from_u128(number)),
        subject: subject(owner),
        kind: VectorKind::Enrolled,
        embedding: Embedding::new(&numbers, DIMENSIONS).unwrap(),
    }
}

/// SplitMix64, for a number from −1 to 1.
fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

fn negative(number: u128, owner: u128) -> StoredVector {
    StoredVector { kind: VectorKind::Negative, ..face(number, owner) }
}

/// What a reader knows of a gallery.
struct Reader {
    position: Position,
    vectors: BTreeMap<VectorId, StoredVector>,
}

impl Reader {
    fn new() -> Self {
        Self { position: Position::START, vectors: BTreeMap::new() }
    }

    /// Reads one page. Returns how many changes it had and whether it was the last; nothing if the position has expired.
    async fn page(&mut self, store: &dyn VectorStore, key: &GalleryKey, limit: usize) -> Option<(usize, bool)> {
        let Changes::Page { changes, next, complete } = store.changes(key, &self.position, limit).await.unwrap() else {
            return None;
        };
        let count = changes.len();
        for change in changes {
            match change {
                Change::Put(vector) => self.vectors.insert(vector.id, vector),
                Change::Removed(id) => self.vectors.remove(&id),
            };
        }
        self.position = next;
        Some((count, complete))
    }

    /// Reads to the end. Returns the number of changes.
    async fn rest(&mut self, store: &dyn VectorStore, key: &GalleryKey, limit: usize) -> usize {
        let mut read = 0;
        loop {
            let Some((count, complete)) = self.page(store, key, limit).await else {
                panic!("the position has expired");
            };
            read += count;
            if complete {
                assert_eq!(self.position, Position::end_of(state(store, key).await.version));
                return read;
            }
        }
    }
}

async fn state(store: &dyn VectorStore, key: &GalleryKey) -> GalleryState {
    store.state(key).await.unwrap()
}

async fn all(store: &dyn VectorStore, key: &GalleryKey) -> Vec<StoredVector> {
    let mut reader = Reader::new();
    reader.rest(store, key, 3).await;
    reader.vectors.into_values().collect()
}

/// Ids, subjects, kinds and every bit of the vectors.
pub async fn vectors_read_back_unchanged(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    assert!(all(store, &key).await.is_empty());
    let written = vec![face(1, 1), face(2, 1), negative(3, 2)];
    writer.put(&key, written.clone()).await;
    assert_eq!(all(store, &key).await, written);
    let replaced = StoredVector { id: face(2, 1).id, ..face(9, 5) };
    writer.put(&key, vec![replaced.clone()]).await;
    assert_eq!(all(store, &key).await, [face(1, 1), replaced, negative(3, 2)]);
}

/// Pages of any size, over many vectors of one version.
pub async fn pages_have_no_gap_or_repeat(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, (0..20).map(|number| face(number, number)).collect()).await;
    writer.put(&key, (20..25).map(|number| face(number, number)).collect()).await;
    for limit in [1, 4, 5, 24, 25, 26, 1000] {
        let mut reader = Reader::new();
        assert_eq!(reader.rest(store, &key, limit).await, 25, "pages of {limit}");
        assert_eq!(reader.vectors.len(), 25);
    }
}

/// A reader that was complete reads additions, replacements and removals, and nothing else.
pub async fn changes_after_a_position_are_only_those(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, (0..10).map(|number| face(number, number % 4)).collect()).await;
    let mut reader = Reader::new();
    reader.rest(store, &key, 100).await;
    assert_eq!(reader.rest(store, &key, 100).await, 0);
    writer.put(&key, vec![face(30, 30), face(3, 31)]).await;
    writer.remove(&key, &[face(5, 1).id]).await;
    writer.remove_subject(&key, &subject(2)).await;
    // Added and removed before the reader comes back.
    writer.put(&key, vec![face(40, 40)]).await;
    writer.remove(&key, &[face(40, 40).id]).await;
    let changed = reader.rest(store, &key, 2).await;
    assert!((5..=6).contains(&changed), "{changed}");
    assert_eq!(reader.vectors.into_values().collect::<Vec<_>>(), all(store, &key).await);
}

/// Vectors that were read already and change before the last page.
pub async fn a_change_during_a_paged_read_is_seen(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, (0..10).map(|number| face(number, number)).collect()).await;
    let mut reader = Reader::new();
    assert_eq!(reader.page(store, &key, 4).await, Some((4, false)));
    writer.remove(&key, &[face(1, 1).id, face(8, 8).id]).await;
    writer.put(&key, vec![face(2, 77), face(50, 50)]).await;
    reader.rest(store, &key, 4).await;
    let read: Vec<_> = reader.vectors.into_values().map(|vector| (vector.id, vector.subject)).collect();
    let wanted = [(0, 0), (2, 77), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (9, 9), (50, 50)];
    assert_eq!(read, wanted.map(|(number, owner)| (face(number, owner).id, subject(owner))));
}

/// After removals are forgotten, a reader from before must begin again, and a new one can read.
pub async fn forgotten_removals_expire_old_positions_only(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, (0..6).map(|number| face(number, number)).collect()).await;
    let (mut complete, mut within) = (Reader::new(), Reader::new());
    complete.rest(store, &key, 100).await;
    within.page(store, &key, 2).await.unwrap();
    writer.remove(&key, &[face(0, 0).id]).await;
    writer.forget_removals(&key).await;
    assert_eq!(complete.page(store, &key, 100).await, None);
    assert_eq!(within.page(store, &key, 100).await, None);
    let mut new = Reader::new();
    assert_eq!(new.rest(store, &key, 2).await, 5);
    writer.put(&key, vec![face(9, 9)]).await;
    assert_eq!(new.rest(store, &key, 2).await, 1);
}

/// Versions grow with every change, also over the deletion of everything.
pub async fn a_version_never_returns(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    assert_eq!(state(store, &key).await, GalleryState::default());
    let mut last = 0;
    for _ in 0..3 {
        writer.put(&key, vec![face(1, 1), face(2, 2)]).await;
        let put = state(store, &key).await.version;
        writer.remove(&key, &[face(1, 1).id]).await;
        let removed = state(store, &key).await.version;
        writer.remove_subject(&key, &subject(2)).await;
        let emptied = state(store, &key).await.version;
        assert!(last < put && put < removed && removed < emptied, "{last} {put} {removed} {emptied}");
        writer.erase(&key).await;
        assert_eq!(state(store, &key).await.vectors, 0);
        last = emptied;
    }
}

/// Whether or not the gallery was created again.
pub async fn an_erased_gallery_expires_every_position(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, vec![face(1, 1), face(2, 2)]).await;
    let mut readers = [Reader::new(), Reader::new(), Reader::new()];
    for reader in &mut readers[..2] {
        reader.rest(store, &key, 100).await;
    }
    readers[2].page(store, &key, 1).await.unwrap();
    writer.erase(&key).await;
    assert_eq!(readers[0].page(store, &key, 100).await, None);
    writer.put(&key, vec![face(3, 3)]).await;
    for reader in &mut readers {
        assert_eq!(reader.page(store, &key, 100).await, None);
    }
    assert_eq!(all(store, &key).await, [face(3, 3)]);
}

/// The same ids under another tenant or model are other vectors.
pub async fn galleries_of_tenants_and_models_are_separate(store: &dyn VectorStore, writer: &dyn Writer) {
    let (a, b) = (key("a"), key("b"));
    let other_model = GalleryKey { model: "face_reid_0095".to_owned(), ..a.clone() };
    writer.put(&a, vec![face(1, 1), face(2, 2)]).await;
    writer.put(&b, vec![face(3, 1)]).await;
    writer.put(&other_model, vec![face(4, 1)]).await;
    let before = state(store, &a).await;
    writer.remove_subject(&b, &subject(1)).await;
    assert_eq!(state(store, &a).await, before);
    assert_eq!(all(store, &a).await, [face(1, 1), face(2, 2)]);
    assert!(all(store, &b).await.is_empty());
    assert_eq!(all(store, &other_model).await, [face(4, 1)]);
    let query = face(3, 1).embedding;
    for key in [&a, &other_model] {
        let found = store.search(key, &query, 5, -1.0).await.unwrap();
        assert!(found.iter().all(|found| found.vector != face(3, 1).id));
    }
    assert!(store.search(&b, &query, 5, -1.0).await.unwrap().is_empty());
}

/// Negatives are vectors, and give no subject.
pub async fn the_state_counts_vectors_and_subjects(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, vec![face(1, 1), face(2, 1), face(3, 2), negative(4, 1), negative(5, 9)]).await;
    let found = state(store, &key).await;
    assert_eq!((found.vectors, found.subjects), (5, 2));
    writer.remove(&key, &[face(3, 2).id, negative(4, 1).id]).await;
    let found = state(store, &key).await;
    assert_eq!((found.vectors, found.subjects), (3, 1));
}

/// As [`Codes`] does: the nearest vector of each subject, the floor, the order, and the nearest negative.
pub async fn the_store_finds_the_same_subjects(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    let mut vectors: Vec<StoredVector> = (0..60).map(|number| face(number, number % 20)).collect();
    vectors.extend((100..110).map(|number| negative(number, number % 5)));
    writer.put(&key, vectors.clone()).await;
    let mut codes = Codes::new(DIMENSIONS);
    for vector in vectors {
        codes.put(vector).unwrap();
    }
    for number in 0..30 {
        let query = face(number * 7 + 200, 0).embedding;
        let floor = if number % 2 == 0 { -1.0 } else { 0.05 };
        let (found, wanted) =
            (store.search(&key, &query, 7, floor).await.unwrap(), codes.search(&query, 7, floor).unwrap().matches);
        let near = |a: &Match, b: &Match| (a.similarity - b.similarity).abs() < 1e-5;
        assert_eq!(found.len(), wanted.len());
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!(near(found, wanted), "{found:?} {wanted:?}");
            assert_eq!((found.subject, found.vector), (wanted.subject, wanted.vector));
            assert_eq!(found.negative.is_some(), wanted.negative.is_some());
            let negatives = found.negative.zip(wanted.negative);
            assert!(negatives.is_none_or(|(found, wanted)| (found - wanted).abs() < 1e-5));
        }
    }
}

/// The two nearest subjects were rejected as this face: the third is found, even if only one is asked for.
pub async fn rejected_subjects_take_no_place_in_the_store_either(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    let query = face(1, 1).embedding;
    let same = |vector: StoredVector| StoredVector { embedding: query.clone(), ..vector };
    // The negatives have lower and higher ids than the vectors, so they are read before and after them.
    let vectors = vec![
        same(face(11, 1)),
        same(negative(10, 1)),
        same(face(21, 2)),
        same(negative(22, 2)),
        same(face(31, 3)),
        negative(30, 3),
        face(41, 4),
    ];
    writer.put(&key, vectors).await;
    for (k, wanted) in [(1, vec![3]), (2, vec![3, 4]), (5, vec![3, 4])] {
        let found = store.search(&key, &query, k, -1.0).await.unwrap();
        assert_eq!(
            found.iter().map(|found| found.subject).collect::<Vec<_>>(),
            wanted.into_iter().map(subject).collect::<Vec<_>>()
        );
        assert!(found[0].negative.is_some_and(|negative| negative < 0.9));
    }
    assert!(store.search(&key, &query, 0, -1.0).await.unwrap().is_empty());
    writer.remove(&key, &[negative(22, 2).id]).await;
    assert_eq!(store.search(&key, &query, 1, -1.0).await.unwrap()[0].subject, subject(2));
}

/// It is of another model.
pub async fn a_query_of_another_length_is_refused(store: &dyn VectorStore, writer: &dyn Writer) {
    let key = key("a");
    writer.put(&key, vec![face(1, 1)]).await;
    let short = Embedding::new(&[1.0; DIMENSIONS / 2], DIMENSIONS / 2).unwrap();
    let refused = store.search(&key, &short, 1, -1.0).await;
    assert!(matches!(refused, Err(GalleryError::WrongQuery(_))), "{refused:?}");
}
