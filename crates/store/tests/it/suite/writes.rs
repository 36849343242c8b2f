//! Guarantees of [`store::ResultStore::put`].

use contracts::result::FailureCode;
use contracts::{BlobKey, BlobKind, Outcome};
use store::{DetectionFilter, Documents, PageRequest, PutOutcome, StoreError, TenantScope};

use crate::fixture::{IndexedBuilder, car, face, result, time, with_attribute};
use crate::suite::queries::NEWEST;

const NOON: &str = "2026-01-02T12:00:00Z";

pub async fn stored_results_read_back_unchanged(store: &dyn Documents) {
    let red = with_attribute(with_attribute(car("SUV", "Audi", "Q3"), "colour", "red"), "parked", true);
    let seen = result(NOON, vec![with_attribute(face(0.5), "age", 30.5), red])
        .with_tenant("a")
        .with_stream("gate-1")
        .with_alert("face seen");
    let mut failed = result(NOON, vec![]).with_tenant("a").with_failure(FailureCode::Undecodable, "not an image");
    failed.result.reply_to = Some("replica-1".to_owned());
    failed.result.traceparent = None;
    let mut empty = result(NOON, vec![]);
    let image = BlobKey::new(BlobKind::Frames, time(NOON), &empty.result.tenant, empty.frame_id());
    empty.result.data.outcome = Outcome::Ok { width: 0, height: 0, detections: vec![], image: Some(image) };
    let batch = [seen, failed, empty];

    assert_eq!(store.put(&batch).await.unwrap(), [PutOutcome::Stored; 3]);

    for put in &batch {
        let [read] = store.frame(&TenantScope::All, put.frame_id()).await.unwrap().try_into().unwrap();
        assert_eq!(read.result, put.result);
        assert_eq!(read.indexed_at, put.indexed_at);
    }
    let alerts = store.alerts(&TenantScope::All, &Default::default(), &NEWEST).await.unwrap();
    assert_eq!(alerts.into_iter().map(|stored| stored.alert).collect::<Vec<_>>(), batch[0].alerts);
    let id = format!("{}-face-1", batch[0].frame_id()).parse().unwrap();
    let detection = store.detection(&TenantScope::All, &id).await.unwrap().unwrap();
    assert_eq!(detection.id, id);
    assert_eq!(detection.tenant, batch[0].result.tenant);
    assert_eq!(detection.stream, batch[0].result.data.stream);
    assert_eq!(detection.captured_at, time(NOON));
    assert_eq!(detection.detection, batch[0].detections()[1]);
}

pub async fn a_repeated_batch_changes_nothing(store: &dyn Documents) {
    let batch = [
        result(NOON, vec![face(0.5), face(0.25)]).with_alert("face seen"),
        result(NOON, vec![]).with_tenant("a"),
        result(NOON, vec![]).with_failure(FailureCode::TooLarge, "too large"),
    ];
    store.put(&batch).await.unwrap();
    let before = document_counts(store).await;

    assert_eq!(store.put(&batch).await.unwrap(), [PutOutcome::Stored; 3]);

    assert_eq!(document_counts(store).await, before);
    assert_eq!(before, [3, 2, 1]);
}

pub async fn a_repeated_batch_completes_a_partial_write(store: &dyn Documents) {
    // A crash after the results were written: no alerts, and half of the detections.
    let whole = [
        result(NOON, vec![face(0.5), face(0.25), face(0.125)]).with_alert("face seen"),
        result(NOON, vec![car("SUV", "Audi", "Q3")]).with_detector("vehicle").with_alert("suspicious vehicle"),
    ];
    let mut torn = whole.clone();
    for half in &mut torn {
        half.alerts.clear();
        if let Outcome::Ok { detections, .. } = &mut half.result.data.outcome {
            detections.truncate(detections.len() / 2);
        }
    }
    store.put(&torn).await.unwrap();
    assert_eq!(document_counts(store).await, [2, 1, 0]);

    assert_eq!(store.put(&whole).await.unwrap(), [PutOutcome::Stored; 2]);

    assert_eq!(document_counts(store).await, [2, 4, 2]);
}

pub async fn the_first_result_of_a_frame_and_detector_wins(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]).with_alert("face seen");
    let mut second = first.reprocessed().with_alert("another rule");
    if let Outcome::Ok { detections, .. } = &mut second.result.data.outcome {
        detections.push(face(0.25));
    }
    let other_detector = first.reprocessed().with_detector("vehicle");
    let fresh = result(NOON, vec![face(0.5)]);
    store.put(std::slice::from_ref(&first)).await.unwrap();

    let outcomes = store.put(&[second, other_detector.clone(), fresh]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Stored, PutOutcome::Stored]);
    let read: Vec<_> = store.frame(&TenantScope::All, first.frame_id()).await.unwrap();
    let read: Vec<_> = read.into_iter().map(|stored| stored.result).collect();
    assert_eq!(read, [first.result, other_detector.result]);
    let alerts = store.alerts(&TenantScope::All, &Default::default(), &NEWEST).await.unwrap();
    assert_eq!(alerts.len(), 1, "the alert of an ignored result is ignored");
}

pub async fn the_first_result_wins_within_a_batch(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]);
    let mut second = first.reprocessed().with_alert("face seen");
    if let Outcome::Ok { detections, .. } = &mut second.result.data.outcome {
        detections.push(face(0.25));
    }

    let outcomes = store.put(&[first.clone(), second, first.clone()]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Stored, PutOutcome::Superseded, PutOutcome::Stored]);
    assert_eq!(document_counts(store).await, [1, 1, 0]);
}

pub async fn a_result_replaces_a_failure(store: &dyn Documents) {
    let good = result(NOON, vec![face(0.5)]).with_alert("face seen");
    let failure = good.reprocessed().with_failure(FailureCode::TooLarge, "too many pixels");
    let later_failure = good.reprocessed().with_failure(FailureCode::Crashed, "the worker crashed");
    store.put(std::slice::from_ref(&failure)).await.unwrap();

    let outcomes = store.put(&[later_failure.clone(), good.clone()]).await.unwrap();
    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Stored]);
    assert_eq!(document_counts(store).await, [1, 1, 1]);

    // The failure again, as after a crash, and another result: the first success stays.
    let outcomes = store.put(&[failure, good.reprocessed(), good.clone()]).await.unwrap();
    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Superseded, PutOutcome::Stored]);
    let read = store.frame(&TenantScope::All, good.frame_id()).await.unwrap();
    assert_eq!(read.into_iter().map(|stored| stored.result).collect::<Vec<_>>(), [good.result]);
}

pub async fn a_result_of_another_tenant_with_the_same_id_is_ignored(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]).with_tenant("a");
    store.put(std::slice::from_ref(&first)).await.unwrap();

    let outcomes = store.put(&[first.reprocessed().with_tenant("b")]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Superseded]);
    assert!(store.frame(&crate::fixture::scope("b"), first.frame_id()).await.unwrap().is_empty());
}

pub async fn ten_thousand_detections_fit_in_one_batch(store: &dyn Documents) {
    let large = result(NOON, (0..5_000).map(|n| face(f64::from(n) / 8_192.0)).collect());
    let mut batch: Vec<_> = (0..50).map(|_| result(NOON, (0..100).map(|_| face(0.5)).collect())).collect();
    batch.push(large.clone());

    store.put(&batch).await.unwrap();

    let counted = store.count(&TenantScope::All, &DetectionFilter::default(), store::GroupBy::Label).await.unwrap();
    assert_eq!(counted.items[0].count, 10_000);
    let [read] = store.frame(&TenantScope::All, large.frame_id()).await.unwrap().try_into().unwrap();
    assert_eq!(read.result, large.result, "the order of detections is kept");
}

pub async fn concurrent_puts_of_the_same_results_agree(store: &dyn Documents) {
    let one: Vec<_> = (0..40).map(|_| result(NOON, vec![face(0.5), face(0.25)]).with_alert("face seen")).collect();
    let other: Vec<_> = one.iter().map(IndexedBuilder::reprocessed).collect();

    let (first, again, contender) = futures::join!(store.put(&one), store.put(&one), store.put(&other));

    let (first, again, contender) = (first.unwrap(), again.unwrap(), contender.unwrap());
    assert_eq!(first, again, "the same result has the same outcome everywhere");
    for (one, other) in first.iter().zip(&contender) {
        assert_ne!(one, other, "exactly one of two results wins");
    }
    assert_eq!(document_counts(store).await, [40, 80, 40]);
}

pub async fn non_finite_numbers_are_refused(store: &dyn Documents) {
    let mut boxed = face(0.5);
    boxed.bounds.as_mut().unwrap().width = f64::INFINITY;
    let mut pointed = face(0.5);
    pointed.landmarks[0].x = f64::NAN;
    let mut alerted = result(NOON, vec![face(0.5)]).with_alert("face seen");
    alerted.alerts[0].data.confidence = f64::NAN;
    let poisoned =
        [result(NOON, vec![face(f64::NAN)]), result(NOON, vec![boxed]), result(NOON, vec![pointed]), alerted];

    for bad in poisoned {
        let refused = store.put(&[result(NOON, vec![face(0.5)]), bad]).await;
        assert!(matches!(refused, Err(StoreError::Fatal(_))), "{refused:?}");
    }

    assert_eq!(document_counts(store).await, [0, 0, 0]);
}

pub async fn any_text_reads_back_unchanged(store: &dyn Documents) {
    for text in ["Škoda", "\u{1F697}", "a\0b", "x' OR '1'='1", "{\"$gt\": 1}", "$make", "a.b", "\u{202E}evil", "ﬁ\n\t"]
    {
        let put = result(NOON, vec![with_attribute(car(text, text, text), "plate", text)]);
        // Attributes drop NUL, so that every database compares them alike.
        let text = text.replace('\0', "");
        store.put(std::slice::from_ref(&put)).await.unwrap();
        let plate = vec![("plate".parse().unwrap(), vec![text.clone()])];
        let only = DetectionFilter { make: Some(text.clone()), attributes: plate, ..Default::default() };
        let [read] = store.detections(&TenantScope::All, &only, &NEWEST).await.unwrap().try_into().unwrap();
        assert_eq!(read.detection, put.detections()[0]);
        let counted = store.count(&TenantScope::All, &only, store::GroupBy::Model).await.unwrap();
        assert_eq!((counted.items[0].key.as_str(), counted.items[0].count), (text.as_str(), 1));
    }
}

/// Numbers of frames, detections and alerts.
pub async fn document_counts(store: &dyn Documents) -> [usize; 3] {
    let page = PageRequest::Newest { after: None, limit: 20_000 };
    let scope = TenantScope::All;
    [
        store.frames(&scope, &Default::default(), &page).await.unwrap().len(),
        store.detections(&scope, &Default::default(), &page).await.unwrap().len(),
        store.alerts(&scope, &Default::default(), &page).await.unwrap().len(),
    ]
}
