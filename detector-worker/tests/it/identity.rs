//! Faces of frames are compared with the enrolled faces of the frame's owner.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contracts::{BlobKind, Detection, Outcome, SubjectId, TenantId, TopicRole, VectorId};
use detector_worker::identity::FaceIdentifier;
use gallery::memory::MemoryVectors;
use gallery::suite::Writer;
use gallery::{Embedding, Galleries, GalleryKey, StoredVector, VectorKind, VectorStore};
use uuid::Uuid;
use vision::inference::{DetectorSpec, InferenceSettings};
use vision::model::Findings;

use crate::harness::{RunningWorker, TestWorker, detection, fake, frame, png, until};

/// A measured model.
const MODEL: &str = "mobilefacenet_128d";
const DIMENSIONS: usize = 128;
/// Another one, with longer embeddings.
const OTHER_MODEL: &str = "face_reid_0095";
const OTHER_DIMENSIONS: usize = 256;
/// Width of an image without a usable face.
const TINY: u32 = 9;

fn subject(number: u32) -> SubjectId {
    SubjectId::from_uuid(Uuid::from_u128(u128::from(number)))
}

/// The face of a person: orthogonal to that of every other, so strangers have a similarity of 0.
fn numbers(person: u32, dimensions: usize) -> Vec<f32> {
    (0..dimensions).map(|index| if index == person as usize { 1.0 } else { 0.0 }).collect()
}

fn enrolled(person: u32) -> StoredVector {
    StoredVector {
        id: VectorId::from_uuid(Uuid::from_u128(u128::from(person))),
        subject: subject(person),
        kind: VectorKind::Enrolled,
        embedding: Embedding::new(&numbers(person, DIMENSIONS), DIMENSIONS).unwrap(),
    }
}

/// A person's face for the other model.
fn enrolled_for_other(person: u32, owner: u32) -> StoredVector {
    let embedding = Embedding::new(&numbers(person, OTHER_DIMENSIONS), OTHER_DIMENSIONS).unwrap();
    StoredVector { subject: subject(owner), embedding, ..enrolled(person) }
}

/// Finds one face: that of the person whose number is the width of the image. Makes an embedding only where one is needed.
fn faces(dimensions: usize) -> DetectorSpec {
    fake("face", move |image| {
        let width = image.pixels.width();
        let mut findings = Findings::from(vec![detection("face", image)]);
        if image.embed_faces && width != TINY {
            findings.embeddings.insert(0, numbers(width, dimensions));
        }
        Ok(findings)
    })
}

struct TestGallery {
    store: Arc<MemoryVectors>,
    setup: TestWorker,
    tenant: TenantId,
}

impl TestGallery {
    fn new() -> Self {
        Self { store: Arc::default(), setup: TestWorker::new(), tenant: TenantId::admin() }
    }

    async fn enrol(&self, vectors: Vec<StoredVector>) {
        self.enrol_for(MODEL, vectors).await;
    }

    async fn enrol_for(&self, model: &str, vectors: Vec<StoredVector>) {
        let key = GalleryKey { tenant: self.tenant.clone(), model: model.to_owned() };
        self.store.put(&key, vectors).await;
    }

    fn start(&self, false_matches: f64) -> RunningWorker {
        self.start_with(false_matches, &[])
    }

    fn start_with(&self, false_matches: f64, flags: &[&str]) -> RunningWorker {
        let store: Arc<dyn VectorStore> = self.store.clone();
        let identifier = FaceIdentifier::new(Galleries::new(store, 64 << 20), MODEL, false_matches).unwrap();
        let settings = InferenceSettings {
            threads: 1,
            batch_size: None,
            batch_wait: Duration::ZERO,
            release_after: Duration::from_secs(10),
        };
        let identifier = identifier.with_other_models(settings, |model| {
            anyhow::ensure!(model == OTHER_MODEL, "there is no file of {model}");
            Ok(faces(OTHER_DIMENSIONS))
        });
        self.setup.start_with(vec![faces(DIMENSIONS)], Some(identifier), flags)
    }

    /// The detections of frames of a tenant with images of these widths, in their order.
    async fn found(&self, tenant: &TenantId, widths: &[u32]) -> Vec<Detection> {
        let mut ids = Vec::new();
        for width in widths {
            let mut event = frame("gate", png(*width, 10));
            event.tenant = tenant.clone();
            ids.push(event.id);
            self.setup.send(&event).await;
        }
        let mut found = Vec::new();
        for id in ids {
            until("the frame has a result", async || {
                found.retain(|(known, _)| *known != id);
                let results = self.setup.results().await;
                let own = results.iter().find(|result| result.data.frame_id == id);
                found.extend(own.map(|result| (id, crate::harness::detections(result)[0].clone())));
                own.is_some()
            })
            .await;
        }
        found.into_iter().map(|(_, detection)| detection).collect()
    }
}

fn identity(detection: &Detection) -> (Option<&str>, Option<String>) {
    let attributes = &detection.attributes;
    assert_eq!(attributes.text("subject").is_some(), attributes.number("similarity").is_some());
    (attributes.text("identity"), attributes.text("subject").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_compared_with_those_of_their_owner() {
    let gallery = TestGallery::new();
    gallery.enrol(vec![enrolled(20), enrolled(21)]).await;
    let worker = gallery.start(0.01);
    let found = gallery.found(&gallery.tenant, &[20, 30, TINY, 21]).await;
    let identities: Vec<_> = found.iter().map(identity).collect();
    let is = |person| (Some("subject"), Some(subject(person).to_string()));
    assert_eq!(identities, [is(20), (Some("unknown"), None), (Some("unchecked"), None), is(21)]);
    assert_eq!(found[0].attributes.number("similarity"), Some(1.0));

    let other = gallery.found(&"another".parse().unwrap(), &[20]).await;
    assert_eq!(identity(&other[0]), (None, None), "the tenant has nobody");
    worker.stop().await;
    for delivery in gallery.setup.all(TopicRole::Results).await {
        let text = String::from_utf8_lossy(&delivery.message.value).into_owned();
        assert!(!text.contains("embedding"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_with_only_strangers_are_kept_for_their_own_time() {
    let gallery = TestGallery::new();
    gallery.enrol(vec![enrolled(20)]).await;
    let worker = gallery.start_with(0.01, &["--faces-strangers-retention", "36h"]);
    gallery.found(&gallery.tenant, &[20, 30, TINY]).await;
    gallery.found(&"another".parse().unwrap(), &[31]).await;
    worker.stop().await;
    let results = gallery.setup.results().await;
    let kinds: BTreeMap<u32, BlobKind> = results
        .iter()
        .map(|result| match &result.data.outcome {
            Outcome::Ok { width, image: Some(image), .. } => (*width, image.kind()),
            outcome => panic!("no image: {outcome:?}"),
        })
        .collect();
    // Where nobody is enrolled, nobody is a stranger.
    let (days, until) = (BlobKind::Frames, BlobKind::FramesUntil);
    assert_eq!(kinds, [(TINY, until), (20, days), (30, until), (31, days)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_gallery_counts_within_two_seconds() {
    let gallery = TestGallery::new();
    let worker = gallery.start(0.01);
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]), (None, None));
    gallery.enrol(vec![enrolled(20)]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]).0, Some("subject"));
    // Another person under the same subject: this one is in memory, and no longer true.
    gallery.enrol(vec![StoredVector { subject: subject(5), ..enrolled(20) }]).await;
    let changed = gallery.found(&gallery.tenant, &[20]).await;
    assert_eq!(identity(&changed[0]).1, Some(subject(5).to_string()));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_unchecked_while_the_database_is_away() {
    let gallery = TestGallery::new();
    gallery.enrol(vec![enrolled(20)]).await;
    let worker = gallery.start(0.01);
    let empty: TenantId = "another".parse().unwrap();
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]).0, Some("subject"));
    assert_eq!(identity(&gallery.found(&empty, &[20]).await[0]), (None, None));
    gallery.store.set_down(true);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for detection in gallery.found(&gallery.tenant, &[20, 30, 20]).await {
        assert_eq!(identity(&detection), (Some("unchecked"), None));
    }
    assert_eq!(identity(&gallery.found(&empty, &[20]).await[0]), (None, None), "it had nobody");
    gallery.store.set_down(false);
    let since = Instant::now();
    until("the gallery is back", async || {
        identity(&gallery.found(&gallery.tenant, &[20]).await[0]).0 == Some("subject")
    })
    .await;
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_stay_unchecked_where_the_model_cannot_keep_the_promise() {
    let gallery = TestGallery::new();
    gallery.enrol((20..40).map(enrolled).collect()).await;
    // At the lowest measured rate, 20 comparisons have more false matches than that.
    let worker = gallery.start(1e-5);
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]), (Some("unchecked"), None));
    worker.stop().await;
}

/// The other model has the face under another subject, so that it is seen whose vectors were compared. Frames come all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_model_compares_with_its_own_vectors_and_back() {
    let gallery = TestGallery::new();
    gallery.enrol(vec![enrolled(20)]).await;
    gallery.enrol_for(OTHER_MODEL, vec![enrolled_for_other(20, 7)]).await;
    let worker = gallery.start(0.01);
    let known = [20, 7].map(|owner| (Some("subject"), Some(subject(owner).to_string())));
    for (model, owner) in [(MODEL, 20), (OTHER_MODEL, 7), (MODEL, 20), (OTHER_MODEL, 7)] {
        gallery.store.set_active_model(model);
        let changed = Instant::now();
        while changed.elapsed() < Duration::from_millis(1_500) {
            for detection in gallery.found(&gallery.tenant, &[20, 20]).await {
                assert!(known.contains(&identity(&detection)), "{model}: {:?}", identity(&detection));
            }
        }
        let found = gallery.found(&gallery.tenant, &[20, 30]).await;
        let expected = [(Some("subject"), Some(subject(owner).to_string())), (Some("unknown"), None)];
        assert_eq!([identity(&found[0]), identity(&found[1])], expected, "{model}");
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_are_unchecked_with_a_model_that_the_worker_does_not_have() {
    let gallery = TestGallery::new();
    gallery.enrol(vec![enrolled(20)]).await;
    let worker = gallery.start(0.01);
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]).0, Some("subject"));
    gallery.enrol_for("another", vec![enrolled(20)]).await;
    gallery.store.set_active_model("another");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]), (Some("unchecked"), None));
    gallery.store.set_active_model(MODEL);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(identity(&gallery.found(&gallery.tenant, &[20]).await[0]).0, Some("subject"));
    worker.stop().await;
}
