//! What [`Documents::put`] promises.

use contracts::Outcome;
use contracts::result::FailureCode;
use store::{DetectionFilter, Documents, Paged, PutOutcome, Scope, StoreError};

use crate::fixture::{But, car, face, result, time, with};
use crate::suite::lists::NEWEST;

const NOON: &str = "2026-01-02T12:00:00Z";

pub async fn what_is_put_reads_back_as_it_was(store: &dyn Documents) {
    let red = with(with(car("SUV", "Audi", "Q3"), "colour", "red"), "parked", true);
    let seen = result(NOON, vec![with(face(0.5), "age", 30.5), red]).of("a").on("gate-1").alerting("face seen");
    let mut failed = result(NOON, vec![]).of("a").failed(FailureCode::Undecodable, "not an image");
    failed.result.reply_to = Some("replica-1".to_owned());
    failed.result.traceparent = None;
    let mut empty = result(NOON, vec![]);
    empty.result.data.outcome =
        Outcome::Ok { width: 0, height: 0, detections: vec![], image: Some("frames/2026-01-02/a/1".to_owned()) };
    let batch = [seen, failed, empty];

    assert_eq!(store.put(&batch).await.unwrap(), [PutOutcome::Stored; 3]);

    for put in &batch {
        let [read] = store.frame(&Scope::All, put.frame()).await.unwrap().try_into().unwrap();
        assert_eq!(read.result, put.result);
        assert_eq!(read.indexed_at, put.indexed_at);
    }
    let alerts = store.alerts(&Scope::All, &Default::default(), &NEWEST).await.unwrap();
    assert_eq!(alerts.into_iter().map(|stored| stored.alert).collect::<Vec<_>>(), batch[0].alerts);
    let id = format!("{}-face-1", batch[0].frame()).parse().unwrap();
    let detection = store.detection(&Scope::All, &id).await.unwrap().unwrap();
    assert_eq!(detection.id, id);
    assert_eq!(detection.tenant, batch[0].result.tenant);
    assert_eq!(detection.stream, batch[0].result.data.stream);
    assert_eq!(detection.captured_at, time(NOON));
    assert_eq!(detection.detection, batch[0].detections()[1]);
}

pub async fn the_same_batch_again_changes_nothing(store: &dyn Documents) {
    let batch = [
        result(NOON, vec![face(0.5), face(0.25)]).alerting("face seen"),
        result(NOON, vec![]).of("a"),
        result(NOON, vec![]).failed(FailureCode::TooLarge, "too large"),
    ];
    store.put(&batch).await.unwrap();
    let before = everything(store).await;

    assert_eq!(store.put(&batch).await.unwrap(), [PutOutcome::Stored; 3]);

    assert_eq!(everything(store).await, before);
    assert_eq!(before, [3, 2, 1]);
}

pub async fn what_a_crash_left_out_is_completed(store: &dyn Documents) {
    // A crash after the results were written: the same results without what belongs to them, or with half of it.
    let whole = [
        result(NOON, vec![face(0.5), face(0.25), face(0.125)]).alerting("face seen"),
        result(NOON, vec![car("SUV", "Audi", "Q3")]).by("vehicle").alerting("suspicious vehicle"),
    ];
    let mut torn = whole.clone();
    for half in &mut torn {
        half.alerts.clear();
        if let Outcome::Ok { detections, .. } = &mut half.result.data.outcome {
            detections.truncate(detections.len() / 2);
        }
    }
    store.put(&torn).await.unwrap();
    assert_eq!(everything(store).await, [2, 1, 0]);

    assert_eq!(store.put(&whole).await.unwrap(), [PutOutcome::Stored; 2]);

    assert_eq!(everything(store).await, [2, 4, 2]);
}

pub async fn the_first_result_of_a_frame_and_detector_wins(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]).alerting("face seen");
    let mut second = first.again().alerting("another rule");
    if let Outcome::Ok { detections, .. } = &mut second.result.data.outcome {
        detections.push(face(0.25));
    }
    let other_detector = first.again().by("vehicle");
    let fresh = result(NOON, vec![face(0.5)]);
    store.put(std::slice::from_ref(&first)).await.unwrap();

    let outcomes = store.put(&[second, other_detector.clone(), fresh]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Stored, PutOutcome::Stored]);
    let read: Vec<_> = store.frame(&Scope::All, first.frame()).await.unwrap();
    let read: Vec<_> = read.into_iter().map(|stored| stored.result).collect();
    assert_eq!(read, [first.result, other_detector.result]);
    let alerts = store.alerts(&Scope::All, &Default::default(), &NEWEST).await.unwrap();
    assert_eq!(alerts.len(), 1, "the ignored result's alert is ignored too");
}

pub async fn the_first_result_wins_within_a_batch_too(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]);
    let mut second = first.again().alerting("face seen");
    if let Outcome::Ok { detections, .. } = &mut second.result.data.outcome {
        detections.push(face(0.25));
    }

    let outcomes = store.put(&[first.clone(), second, first.clone()]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Stored, PutOutcome::Superseded, PutOutcome::Stored]);
    assert_eq!(everything(store).await, [1, 1, 0]);
}

pub async fn a_failure_gives_way_to_a_result(store: &dyn Documents) {
    let good = result(NOON, vec![face(0.5)]).alerting("face seen");
    let failure = good.again().failed(FailureCode::TooLarge, "too many pixels");
    let later_failure = good.again().failed(FailureCode::Crashed, "the worker died");
    store.put(std::slice::from_ref(&failure)).await.unwrap();

    let outcomes = store.put(&[later_failure.clone(), good.clone()]).await.unwrap();
    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Stored]);
    assert_eq!(everything(store).await, [1, 1, 1]);

    // The failure once more, as after a crash, and another result: the good one stays.
    let outcomes = store.put(&[failure, good.again(), good.clone()]).await.unwrap();
    assert_eq!(outcomes, [PutOutcome::Superseded, PutOutcome::Superseded, PutOutcome::Stored]);
    let read = store.frame(&Scope::All, good.frame()).await.unwrap();
    assert_eq!(read.into_iter().map(|stored| stored.result).collect::<Vec<_>>(), [good.result]);
}

pub async fn another_tenants_result_under_the_same_id_is_ignored(store: &dyn Documents) {
    let first = result(NOON, vec![face(0.5)]).of("a");
    store.put(std::slice::from_ref(&first)).await.unwrap();

    let outcomes = store.put(&[first.again().of("b")]).await.unwrap();

    assert_eq!(outcomes, [PutOutcome::Superseded]);
    assert!(store.frame(&crate::fixture::scope("b"), first.frame()).await.unwrap().is_empty());
}

pub async fn ten_thousand_detections_go_in_at_once(store: &dyn Documents) {
    let large = result(NOON, (0..5_000).map(|n| face(f64::from(n) / 8_192.0)).collect());
    let mut batch: Vec<_> = (0..50).map(|_| result(NOON, (0..100).map(|_| face(0.5)).collect())).collect();
    batch.push(large.clone());

    store.put(&batch).await.unwrap();

    let counted = store.count(&Scope::All, &DetectionFilter::default(), store::GroupBy::Label).await.unwrap();
    assert_eq!(counted[0].count, 10_000);
    let [read] = store.frame(&Scope::All, large.frame()).await.unwrap().try_into().unwrap();
    assert_eq!(read.result, large.result, "also the order of its detections");
}

pub async fn concurrent_puts_of_the_same_results_agree(store: &dyn Documents) {
    let one: Vec<_> = (0..40).map(|_| result(NOON, vec![face(0.5), face(0.25)]).alerting("face seen")).collect();
    let other: Vec<_> = one.iter().map(But::again).collect();

    let (first, again, contender) = futures::join!(store.put(&one), store.put(&one), store.put(&other));

    let (first, again, contender) = (first.unwrap(), again.unwrap(), contender.unwrap());
    assert_eq!(first, again, "the same result has the same outcome everywhere");
    for (one, other) in first.iter().zip(&contender) {
        assert_ne!(one, other, "of two results one wins");
    }
    assert_eq!(everything(store).await, [40, 80, 40]);
}

pub async fn numbers_that_are_none_do_not_get_in(store: &dyn Documents) {
    let mut boxed = face(0.5);
    boxed.bounds.as_mut().unwrap().width = f64::INFINITY;
    let mut pointed = face(0.5);
    pointed.landmarks[0].x = f64::NAN;
    let mut alerted = result(NOON, vec![face(0.5)]).alerting("face seen");
    alerted.alerts[0].data.confidence = f64::NAN;
    let poisoned =
        [result(NOON, vec![face(f64::NAN)]), result(NOON, vec![boxed]), result(NOON, vec![pointed]), alerted];

    for bad in poisoned {
        let refused = store.put(&[result(NOON, vec![face(0.5)]), bad]).await;
        assert!(matches!(refused, Err(StoreError::Fatal(_))), "{refused:?}");
    }

    assert_eq!(everything(store).await, [0, 0, 0]);
}

pub async fn any_text_reads_back_as_it_was(store: &dyn Documents) {
    for text in ["Škoda", "\u{1F697}", "a\0b", "x' OR '1'='1", "{\"$gt\": 1}", "$make", "a.b", "\u{202E}evil", "ﬁ\n\t"]
    {
        let put = result(NOON, vec![with(car(text, text, text), "plate", text)]);
        store.put(std::slice::from_ref(&put)).await.unwrap();
        let plate = vec![("plate".parse().unwrap(), text.to_owned())];
        let only = DetectionFilter { make: Some(text.to_owned()), attributes: plate, ..Default::default() };
        let [read] = store.detections(&Scope::All, &only, &NEWEST).await.unwrap().try_into().unwrap();
        assert_eq!(read.detection, put.detections()[0]);
        let counted = store.count(&Scope::All, &only, store::GroupBy::Model).await.unwrap();
        assert_eq!((counted[0].key.as_str(), counted[0].count), (text, 1));
    }
}

/// How many frames, detections and alerts there are.
pub async fn everything(store: &dyn Documents) -> [usize; 3] {
    let page = Paged::Newest { after: None, limit: 20_000 };
    let scope = Scope::All;
    [
        store.frames(&scope, &Default::default(), &page).await.unwrap().len(),
        store.detections(&scope, &Default::default(), &page).await.unwrap().len(),
        store.alerts(&scope, &Default::default(), &page).await.unwrap().len(),
    ]
}
