use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::RwLock;

use super::*;
use crate::memory::MemoryVectors;
use crate::seam::{Changes, GalleryState, Position};
use crate::stored_vector::{StoredVector, VectorKind};
use crate::suite::{DIMENSIONS, Writer, face, key, subject};
use crate::{Identity, decide};

const BIG: usize = 64 << 20;

/// Counts what is read, and stops the reading of a gallery after its first page while the gate is held.
#[derive(Default)]
struct Watched {
    inner: MemoryVectors,
    /// How often a gallery was read from the beginning.
    reads: AtomicUsize,
    searches: AtomicUsize,
    at_gate: AtomicUsize,
    gate: RwLock<()>,
}

#[async_trait]
impl VectorStore for Watched {
    async fn state(&self, gallery: &GalleryKey) -> Result<GalleryState, GalleryError> {
        self.inner.state(gallery).await
    }

    async fn changes(&self, gallery: &GalleryKey, after: &Position, limit: usize) -> Result<Changes, GalleryError> {
        if *after == Position::START {
            self.reads.fetch_add(1, Ordering::SeqCst);
        } else {
            self.at_gate.fetch_add(1, Ordering::SeqCst);
            let _open = self.gate.read().await;
        }
        tokio::task::yield_now().await;
        self.inner.changes(gallery, after, limit).await
    }

    async fn active_model(&self) -> Result<Option<String>, GalleryError> {
        self.inner.active_model().await
    }

    async fn search(
        &self,
        gallery: &GalleryKey,
        query: &Embedding,
        k: usize,
        floor: f32,
    ) -> Result<Vec<Match>, GalleryError> {
        self.searches.fetch_add(1, Ordering::SeqCst);
        let _open = self.gate.read().await;
        self.inner.search(gallery, query, k, floor).await
    }
}

impl Watched {
    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    async fn someone_waits_at_the_gate(&self) {
        while self.at_gate.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn faces(numbers: std::ops::Range<u128>) -> Vec<StoredVector> {
    numbers.map(|number| face(number, number)).collect()
}

async fn filled(vectors: Vec<StoredVector>, bound: usize) -> (Arc<Watched>, Galleries) {
    let store = Arc::new(Watched::default());
    store.inner.put(&key("a"), vectors).await;
    let galleries = Galleries::new(Arc::clone(&store) as Arc<dyn VectorStore>, bound);
    (store, galleries)
}

/// The best subject for a face, and its similarity.
async fn best(galleries: &Galleries, key: &GalleryKey, number: u128) -> Option<(contracts::SubjectId, f32)> {
    let answers = galleries.search(key, &[face(number, 0).embedding], 3, -1.0).await.unwrap();
    answers[0].matches.first().map(|found| (found.subject, found.similarity))
}

async fn is_found(galleries: &Galleries, number: u128) -> bool {
    best(galleries, &key("a"), number)
        .await
        .is_some_and(|(id, similarity)| id == subject(number) && similarity > 0.9999)
}

#[tokio::test]
async fn concurrent_first_uses_read_once() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let search = |number: u128| {
        let galleries = galleries.clone();
        tokio::spawn(async move { is_found(&galleries, number * 7).await })
    };
    let searches: Vec<_> = (0..50).map(search).collect();
    for search in searches {
        assert!(search.await.unwrap());
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn each_search_sees_every_change_before_it() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    assert!(is_found(&galleries, 7).await && !is_found(&galleries, 60).await);
    store.inner.put(&key("a"), faces(60..61)).await;
    assert!(is_found(&galleries, 60).await);
    store.inner.remove_subject(&key("a"), &subject(7)).await;
    assert!(!is_found(&galleries, 7).await && is_found(&galleries, 8).await);
    assert_eq!(store.reads(), 1, "changes are read, not everything");

    store.inner.remove(&key("a"), &[face(8, 8).id]).await;
    store.inner.forget_removals(&key("a")).await;
    assert!(!is_found(&galleries, 8).await && is_found(&galleries, 9).await);
    assert_eq!(store.reads(), 2);

    store.inner.erase(&key("a")).await;
    assert_eq!(best(&galleries, &key("a"), 9).await, None);
    assert_eq!(galleries.bytes(), 0);
    store.inner.put(&key("a"), faces(90..91)).await;
    assert!(is_found(&galleries, 90).await && !is_found(&galleries, 9).await);
}

#[tokio::test]
async fn with_many_changes_everything_is_read_again() {
    // In the second bound there is no room for both the old content and the new.
    for bound in [BIG, Codes::estimate(12_000, DIMENSIONS)] {
        let (store, galleries) = filled(faces(0..11_000), bound).await;
        assert!(is_found(&galleries, 3).await);
        store.inner.put(&key("a"), faces(500..11_500)).await;
        assert!(is_found(&galleries, 11_499).await && is_found(&galleries, 3).await);
        assert_eq!(store.reads(), 2);
        assert_eq!(store.searches.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_change_during_the_first_read_counts() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let closed = store.gate.write().await;
    let before = tokio::spawn({
        let galleries = galleries.clone();
        async move { galleries.search(&key("a"), &[face(1, 1).embedding], 3, 0.99).await.unwrap().remove(0) }
    });
    store.someone_waits_at_the_gate().await;
    // One transaction: face 1, which was read already, goes from subject 1 to subject 5000.
    store.inner.put(&key("a"), vec![face(1, 5_000)]).await;
    let version = store.inner.state(&key("a")).await.unwrap().version;
    let after = tokio::spawn({
        let galleries = galleries.clone();
        async move { galleries.search(&key("a"), &[face(1, 1).embedding], 3, 0.99).await.unwrap().remove(0) }
    });
    drop(closed);
    for answer in [before.await.unwrap(), after.await.unwrap()] {
        let subjects: Vec<_> = answer.matches.iter().map(|found| found.subject).collect();
        assert_eq!((subjects, answer.version), (vec![subject(5_000)], version));
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn a_gallery_erased_during_the_first_read_is_empty() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let closed = store.gate.write().await;
    let search = tokio::spawn({
        let galleries = galleries.clone();
        async move { best(&galleries, &key("a"), 1).await }
    });
    store.someone_waits_at_the_gate().await;
    store.inner.erase(&key("a")).await;
    drop(closed);
    assert_eq!(search.await.unwrap(), None);
}

/// In each transaction, one face goes from one subject to another. A search must see it with exactly one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_search_sees_half_of_a_change() {
    let (store, galleries) = filled(faces(0..1_500), BIG).await;
    let done = Arc::new(AtomicU64::new(0));
    let writing = tokio::spawn({
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        async move {
            for round in 0..300_u128 {
                // Two vectors of the same face with different ids: one is replaced by a far one, the other by the face.
                let (there, gone) = if round % 2 == 0 { (5_000, 5_001) } else { (5_001, 5_000) };
                let the_face = face(9_999, 0).embedding;
                let put = StoredVector { embedding: the_face, ..face(there, there) };
                store.inner.put(&key("a"), vec![put, face(gone, gone)]).await;
                done.store(round as u64 + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    while done.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut searched = 0;
    while !writing.is_finished() || searched < 20 {
        let answer = galleries.search(&key("a"), &[face(9_999, 0).embedding], 5, 0.9999).await.unwrap().remove(0);
        assert_eq!(answer.matches.len(), 1, "{:?}", answer.matches);
        searched += 1;
    }
    writing.await.unwrap();
}

/// Begins a search while the gate is closed, and cancels it when its reading waits there.
async fn cancel_search(store: &Watched, galleries: &Galleries) {
    let search = tokio::spawn({
        let galleries = galleries.clone();
        async move { is_found(&galleries, 1).await }
    });
    store.someone_waits_at_the_gate().await;
    search.abort();
    assert!(search.await.unwrap_err().is_cancelled());
}

#[tokio::test]
async fn a_reading_goes_on_when_its_caller_is_gone() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let closed = store.gate.write().await;
    cancel_search(&store, &galleries).await;
    drop(closed);
    assert!(is_found(&galleries, 1).await);
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn the_least_recently_used_gallery_gives_way() {
    let one = Codes::estimate(100, DIMENSIONS);
    let (store, galleries) = filled(faces(0..100), 2 * one + one / 2).await;
    for tenant in ["b", "c"] {
        store.inner.put(&key(tenant), faces(0..100)).await;
    }
    // (the gallery that is used, readings afterwards)
    for (tenant, reads) in [("a", 1), ("b", 2), ("a", 2), ("c", 3), ("a", 3), ("b", 4), ("a", 4), ("c", 5)] {
        let (found, _) = best(&galleries, &key(tenant), 33).await.unwrap();
        assert_eq!((found, store.reads()), (subject(33), reads), "{tenant}");
        assert!(galleries.bytes() <= 2 * one + one / 2);
    }
    assert_eq!(store.searches.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_gallery_beyond_the_bound_is_searched_by_the_store() {
    let (store, galleries) = filled(faces(0..300), Codes::estimate(100, DIMENSIONS)).await;
    let answer = galleries.search(&key("a"), &[face(200, 0).embedding], 2, -1.0).await.unwrap().remove(0);
    assert_eq!((answer.matches[0].subject, answer.in_memory, answer.subjects), (subject(200), false, 300));
    assert_eq!((store.reads(), galleries.bytes()), (0, 0));
    // It shrinks below the bound, and grows beyond it again.
    let ids: Vec<_> = faces(50..300).iter().map(|vector| vector.id).collect();
    store.inner.remove(&key("a"), &ids).await;
    let answer = galleries.search(&key("a"), &[face(20, 0).embedding], 2, -1.0).await.unwrap().remove(0);
    assert_eq!((answer.matches[0].subject, answer.in_memory, answer.subjects), (subject(20), true, 50));
    store.inner.put(&key("a"), faces(300..600)).await;
    let answer = galleries.search(&key("a"), &[face(599, 0).embedding], 2, -1.0).await.unwrap().remove(0);
    assert_eq!((answer.matches[0].subject, answer.in_memory), (subject(599), false));
    assert_eq!(galleries.bytes(), 0, "what it was before it grew is not kept");
}

#[tokio::test]
async fn few_searches_run_in_the_store_at_the_same_time() {
    let (store, galleries) = filled(faces(0..300), 1).await;
    let closed = store.gate.write().await;
    let search = || {
        let galleries = galleries.clone();
        tokio::spawn(async move { galleries.search(&key("a"), &[face(7, 0).embedding], 1, -1.0).await })
    };
    let running = [search(), search()];
    while store.searches.load(Ordering::SeqCst) < running.len() {
        tokio::task::yield_now().await;
    }
    let third = tokio::time::timeout(Duration::from_secs(10), search()).await.expect("the third search does not wait");
    assert_eq!(third.unwrap(), Err(GalleryError::Busy));
    drop(closed);
    for search in running {
        assert_eq!(search.await.unwrap().unwrap()[0].matches[0].subject, subject(7));
    }
    assert!(search().await.unwrap().is_ok(), "the permits are returned");
}

#[tokio::test]
async fn a_store_out_of_reach_is_unchecked_and_comes_back() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    for known in [false, true] {
        store.inner.set_down(true);
        let answer = galleries.search(&key("a"), &[face(1, 1).embedding], 2, -1.0).await;
        let look = answer.map(|mut answers| answers.remove(0));
        assert!(matches!(look, Err(GalleryError::Unavailable(_))));
        assert_eq!(decide(&[look.into()], 0.5), Identity::Unchecked);
        store.inner.set_down(false);
        assert!(is_found(&galleries, 1).await, "known: {known}");
    }
}

#[tokio::test]
async fn a_failed_first_read_is_tried_again() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let closed = store.gate.write().await;
    let search = tokio::spawn({
        let galleries = galleries.clone();
        async move { galleries.search(&key("a"), &[face(1, 1).embedding], 2, -1.0).await }
    });
    store.someone_waits_at_the_gate().await;
    store.inner.set_down(true);
    drop(closed);
    assert!(matches!(search.await.unwrap(), Err(GalleryError::Unavailable(_))));
    assert_eq!(galleries.bytes(), 0);
    store.inner.set_down(false);
    assert!(is_found(&galleries, 1).await);
}

#[tokio::test]
async fn a_query_of_another_model_is_refused_and_spoils_nothing() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    let short = Embedding::new(&[1.0; 8], 8).unwrap();
    for _ in 0..2 {
        let refused = galleries.search(&key("a"), std::slice::from_ref(&short), 2, -1.0).await;
        assert!(matches!(refused, Err(GalleryError::WrongQuery(_))));
        assert!(is_found(&galleries, 1).await);
    }
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn a_damaged_vector_is_an_error_until_it_is_mended() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    assert!(is_found(&galleries, 1).await);
    let short = Embedding::new(&[1.0; 8], 8).unwrap();
    let damaged = StoredVector { embedding: short, ..face(60, 60) };
    store.inner.put(&key("a"), vec![face(61, 61), damaged.clone()]).await;
    let refused = galleries.search(&key("a"), &[face(1, 1).embedding], 2, -1.0).await;
    assert!(matches!(refused, Err(GalleryError::Damaged(_))));
    store.inner.remove(&key("a"), &[damaged.id]).await;
    assert!(is_found(&galleries, 61).await && is_found(&galleries, 1).await);
}

#[tokio::test]
async fn negatives_come_with_the_answer() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    assert!(is_found(&galleries, 1).await);
    let rejected = StoredVector { kind: VectorKind::Negative, ..face(70, 1) };
    store.inner.put(&key("a"), vec![rejected.clone()]).await;
    let of_subject = |answer: &Answer| answer.matches.iter().find(|found| found.subject == subject(1)).copied();
    let answers = galleries.search(&key("a"), &[face(1, 1).embedding, rejected.embedding], 50, -1.0).await.unwrap();
    assert!(of_subject(&answers[0]).unwrap().negative.unwrap() < 0.9);
    assert_eq!(of_subject(&answers[1]), None, "nearer to the negative");
    assert_eq!((answers[1].matches.len(), answers[1].subjects, answers[1].vectors), (49, 50, 50));
}

/// Nobody waits for the reading that fails, so nobody learns how it ended.
#[tokio::test]
async fn a_failure_that_nobody_waited_for_is_not_the_answer_of_a_later_search() {
    let (store, galleries) = filled(faces(0..2_500), BIG).await;
    let closed = store.gate.write().await;
    cancel_search(&store, &galleries).await;
    store.inner.set_down(true);
    drop(closed);
    tokio::time::timeout(Duration::from_secs(10), async {
        while galleries.bytes() > 0 {
            tokio::task::yield_now().await;
        }
        // The task gives its memory back before it has ended.
        tokio::time::sleep(Duration::from_millis(20)).await;
    })
    .await
    .unwrap();
    store.inner.set_down(false);
    assert!(is_found(&galleries, 1).await);
}

/// The state is read, the changes are not: the gallery stays, and only the changes are read afterwards.
#[tokio::test]
async fn a_failed_update_keeps_the_gallery() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    assert!(is_found(&galleries, 1).await);
    store.inner.put(&key("a"), faces(60..61)).await;
    let closed = store.gate.write().await;
    store.at_gate.store(0, Ordering::SeqCst);
    let search = tokio::spawn({
        let galleries = galleries.clone();
        async move { galleries.search(&key("a"), &[face(1, 1).embedding], 2, -1.0).await }
    });
    store.someone_waits_at_the_gate().await;
    store.inner.set_down(true);
    drop(closed);
    assert!(matches!(search.await.unwrap(), Err(GalleryError::Unavailable(_))));
    assert!(galleries.bytes() > 0);
    store.inner.set_down(false);
    assert!(is_found(&galleries, 60).await);
    assert_eq!(store.reads(), 1);
}

#[tokio::test]
async fn an_idle_gallery_is_removed_and_read_again() {
    let (store, galleries) = filled(faces(0..50), BIG).await;
    assert!(is_found(&galleries, 1).await);
    galleries.sweep(Galleries::IDLE);
    assert!(galleries.bytes() > 0, "it was searched just now");
    galleries.sweep(Duration::ZERO);
    assert_eq!(galleries.bytes(), 0);
    assert!(is_found(&galleries, 1).await);
    assert_eq!(store.reads(), 2);
}
