//! What fails for a while loses nothing, what fails for good is buried or ends the service.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use contracts::{Event, FrameId, ResultEvent};

use crate::unsteady::Unsteady;
use crate::world::{World, eventually, result, seen};

fn faces(count: usize) -> (Vec<ResultEvent>, Vec<FrameId>) {
    let events: Vec<ResultEvent> = (0..count).map(|_| result(vec![seen("face", 0.9)])).collect();
    let frames = events.iter().map(|event| event.data.frame_id).collect();
    (events, frames)
}

#[tokio::test]
async fn a_store_out_of_reach_for_a_while_loses_nothing() {
    let world = World::new();
    let store = Arc::new(Unsteady::over(&world.documents));
    let indexer = world.index_into(store.clone(), &[]);
    store.away.store(true, Ordering::SeqCst);
    let (events, frames) = faces(50);
    for event in &events {
        world.publish(event.to_message()).await;
    }
    eventually("it is tried again", async || store.puts.load(Ordering::SeqCst) > 2).await;
    store.away.store(false, Ordering::SeqCst);
    world.indexed(&frames).await;
    world.all_finished().await;
    indexer.stop().await;
    assert_eq!(world.alerts().await.len(), 50);
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn a_crash_between_alert_and_document_repeats_no_alert_and_loses_no_document() {
    crash_between(&World::new()).await;
}

/// An indexer dies after its alerts and before its documents; another does its work.
pub async fn crash_between(world: &World) {
    let store = Arc::new(Unsteady::over(&world.documents));
    store.away.store(true, Ordering::SeqCst);
    let indexer = world.index_into(store, &[]);
    let (events, frames) = faces(20);
    for event in &events {
        world.publish(event.to_message()).await;
    }
    eventually("an alert is on the log", async || !world.alerts().await.is_empty()).await;
    let before = world.alerts().await.len();
    indexer.kill().await;
    assert!(world.frame(frames[0]).await.is_empty(), "nothing was stored before the crash");

    let indexer = world.index(&[]);
    world.indexed(&frames).await;
    world.all_finished().await;
    indexer.stop().await;
    let alerts = world.alerts().await;
    assert!(before > 0);
    assert_eq!(alerts.len(), 20, "each frame's alert once, {before} of them before the crash");
}

#[tokio::test]
async fn a_stop_while_the_store_is_out_of_reach_is_clean_and_loses_nothing() {
    let world = World::new();
    let store = Arc::new(Unsteady::over(&world.documents));
    let indexer = world.index_into(store.clone(), &[]);
    store.away.store(true, Ordering::SeqCst);
    let (events, frames) = faces(5);
    for event in &events {
        world.publish(event.to_message()).await;
    }
    eventually("it is tried", async || store.puts.load(Ordering::SeqCst) > 0).await;
    indexer.stop().await;

    let indexer = world.index(&[]);
    world.indexed(&frames).await;
    indexer.stop().await;
}

#[tokio::test]
async fn a_document_that_the_store_never_takes_is_buried_alone() {
    let world = World::new();
    let (events, frames) = faces(30);
    let store = Unsteady { never: Some(frames[17]), ..Unsteady::over(&world.documents) };
    for event in &events {
        world.publish(event.to_message()).await;
    }
    let indexer = world.index_into(Arc::new(store), &[]);
    let others: Vec<FrameId> = frames.iter().copied().filter(|frame| *frame != frames[17]).collect();
    world.indexed(&others).await;
    world.all_finished().await;
    indexer.stop().await;

    assert!(world.frame(frames[17]).await.is_empty());
    let letters = world.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].cause.code.as_str(), &letters[0].original), ("unstorable", &events[17].to_message()));
}

#[tokio::test]
async fn a_store_that_refuses_everything_ends_the_service_loudly() {
    let world = World::new();
    let store = Unsteady::over(&world.documents);
    store.ruined.store(true, Ordering::SeqCst);
    let indexer = world.index_into(Arc::new(store), &[]);
    world.publish(result(vec![seen("face", 0.9)]).to_message()).await;
    let error = indexer.failed().await;
    assert!(error.contains("another program's data"), "{error}");
    assert!(world.dead_letters().await.is_empty());
}
