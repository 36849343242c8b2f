//! A transient failure loses nothing; a permanent one is dead-lettered or ends the service.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::{Event, FrameId, ResultEvent};

use crate::flaky_store::FlakyStore;
use crate::test_indexer::{TestIndexer, detection, eventually, result};

fn faces(count: usize) -> (Vec<ResultEvent>, Vec<FrameId>) {
    let events: Vec<ResultEvent> = (0..count).map(|_| result(vec![detection("face", 0.9)])).collect();
    let frames = events.iter().map(|event| event.data.frame_id).collect();
    (events, frames)
}

#[tokio::test]
async fn an_unavailable_store_loses_nothing() {
    let test = TestIndexer::new();
    let store = Arc::new(FlakyStore::over(&test.documents));
    let indexer = test.index_into(store.clone(), &[]);
    store.is_unavailable.store(true, Ordering::SeqCst);
    let (events, frames) = faces(50);
    for event in &events {
        test.publish(event.to_message()).await;
    }
    eventually("the store is tried again", async || store.puts.load(Ordering::SeqCst) > 2).await;
    store.is_unavailable.store(false, Ordering::SeqCst);
    test.indexed(&frames).await;
    test.all_finished().await;
    indexer.stop().await;
    assert_eq!(test.alerts().await.len(), 50);
    assert!(test.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_crash_between_alert_and_document_loses_nothing() {
    crash_between(&TestIndexer::new()).await;
}

/// An indexer dies after sending its alerts and before storing its documents; another one repeats the work.
pub async fn crash_between(test: &TestIndexer) {
    let store = Arc::new(FlakyStore::over(&test.documents));
    store.is_unavailable.store(true, Ordering::SeqCst);
    let indexer = test.index_into(store, &[]);
    let (events, frames) = faces(20);
    for event in &events {
        test.publish(event.to_message()).await;
    }
    eventually("an alert is on the log", async || !test.alerts().await.is_empty()).await;
    let before = test.alerts().await.len();
    indexer.kill().await;
    assert!(test.frame(frames[0]).await.is_empty(), "nothing was stored before the crash");

    let indexer = test.index(&[]);
    test.indexed(&frames).await;
    test.all_finished().await;
    indexer.stop().await;
    let alerts = test.alerts().await;
    assert!(before > 0);
    assert_eq!(alerts.len(), 20, "each frame's alert once, {before} of them before the crash");
}

#[tokio::test]
async fn a_stop_while_the_store_is_unavailable_is_clean() {
    let test = TestIndexer::new();
    let store = Arc::new(FlakyStore::over(&test.documents));
    let indexer = test.index_into(store.clone(), &[]);
    store.is_unavailable.store(true, Ordering::SeqCst);
    let (events, frames) = faces(5);
    for event in &events {
        test.publish(event.to_message()).await;
    }
    eventually("the store is tried", async || store.puts.load(Ordering::SeqCst) > 0).await;
    indexer.stop().await;

    let indexer = test.index(&[]);
    test.indexed(&frames).await;
    indexer.stop().await;
}

#[tokio::test]
async fn a_document_that_the_store_refuses_is_dead_lettered() {
    let test = TestIndexer::new();
    let (events, frames) = faces(30);
    let store = FlakyStore { refused_frame: Some(frames[17]), ..FlakyStore::over(&test.documents) };
    for event in &events {
        test.publish(event.to_message()).await;
    }
    let indexer = test.index_into(Arc::new(store), &[]);
    let others: Vec<FrameId> = frames.iter().copied().filter(|frame| *frame != frames[17]).collect();
    test.indexed(&others).await;
    test.all_finished().await;
    indexer.stop().await;

    assert!(test.frame(frames[17]).await.is_empty());
    let letters = test.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].cause.code.as_str(), &letters[0].original), ("unstorable", &events[17].to_message()));
}

#[tokio::test]
async fn a_store_that_refuses_everything_ends_the_service() {
    let test = TestIndexer::new();
    let store = FlakyStore::over(&test.documents);
    store.refuses_all.store(true, Ordering::SeqCst);
    let indexer = test.index_into(Arc::new(store), &[]);
    test.publish(result(vec![detection("face", 0.9)]).to_message()).await;
    let error = indexer.failed().await;
    assert!(error.contains("another program's data"), "{error}");
    assert!(test.dead_letters().await.is_empty());
}
