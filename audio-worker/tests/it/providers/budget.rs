//! The ledger beside the books of the servers, and what a cap does.

use audio_worker::providers::Outcome;
use media::codes;
use serde_json::json;

use super::fake_server::{FakeServer, Reply, SENTENCE};
use super::test_worker::{TestWorker, audio, done, entry};

const PRICE: &str = ", price: {per_audio_minute: {micro: 700, currency: USD}}";

/// Every third and fifth call fails, each in its own way.
async fn moody() -> FakeServer {
    FakeServer::start(|number, _| match number {
        n if n % 5 == 4 => Reply::status(500),
        n if n % 3 == 2 => Reply::body(413, "too large"),
        n if n % 7 == 6 => Reply::body(200, "<html>"),
        _ => Reply::text(SENTENCE),
    })
    .await
}

#[tokio::test]
async fn the_ledger_equals_the_books_of_the_providers() {
    let (a, b) = (moody().await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = TestWorker::new(&audio(&[entry("a", &a.url(), PRICE), entry("b", &b.url(), PRICE)])).await;
    for number in 0..30 {
        let window = worker.window(number, 1.0 + f64::from(number) * 0.37);
        done(worker.providers.transcribe(&window).await.unwrap());
    }
    let spent = u64::try_from(worker.spent().await).unwrap();
    assert_eq!(spent, a.charged() + b.charged());
    assert!(spent > 0 && a.charged() > 0 && b.charged() > 0);
    let calls = worker.calls().await;
    assert_eq!(calls.len(), a.requests() + b.requests(), "every call is in it");
    assert!(calls.iter().all(|call| call.state.as_str() == "settled" && call.call.book == Some(worker.book)));
}

#[tokio::test]
async fn what_a_server_says_that_it_charges_is_booked() {
    let charged = json!({"text": SENTENCE, "usage": {"type": "duration", "seconds": 30}});
    let server = FakeServer::always(Reply::json(&charged).with("x-request-id", "req-1")).await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), PRICE)])).await;
    worker.done(0).await;
    assert_eq!(worker.spent().await, 350);
    let call = worker.calls().await.remove(0);
    assert_eq!((call.cost_micro, call.request_id.as_deref()), (Some(350), Some("req-1")));
}

#[tokio::test]
async fn a_cap_stops_before_the_call_that_would_exceed_it() {
    let server = FakeServer::always(Reply::text(SENTENCE)).await;
    let budget = "budget: {per_book: {micro: 400, currency: USD}}\n";
    let file = format!("{budget}{}", audio(&[entry("a", &server.url(), PRICE)]));
    let worker = TestWorker::new(&file).await;
    // Ten seconds cost 117.
    for window in 0..3 {
        worker.done(window).await;
    }
    let (code, detail, _) = worker.waits(3).await;
    assert_eq!((code.as_str(), server.requests(), worker.spent().await), (codes::BUDGET_BOOK, 3, 351));
    assert!(detail.contains("0.000351 USD of the 0.000400 USD"), "{detail}");
    let mut more = worker.window(3, 10.0);
    more.budget_micro = Some(1_000);
    assert!(matches!(worker.providers.transcribe(&more).await.unwrap(), Outcome::Done(_)), "an admin may raise it");
}

#[tokio::test]
async fn a_cap_holds_for_calls_at_the_same_time() {
    let server = FakeServer::always(Reply::text(SENTENCE)).await;
    let budget = "budget: {per_day: {micro: 600, currency: USD}}\n";
    let file = format!("{budget}{}", audio(&[entry("a", &server.url(), &format!("{PRICE}, concurrency: 20"))]));
    let worker = TestWorker::new(&file).await;
    let outcomes = futures::future::join_all((0..20).map(|window| worker.transcribe(window))).await;
    let finished = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done(_))).count();
    assert_eq!((finished, server.requests(), worker.spent().await), (5, 5, 585));
    let stopped = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Wait { cause, .. } => Some(cause.code.as_str()),
        _ => None,
    });
    assert!(stopped.eq(std::iter::repeat_n(codes::BUDGET_DAY, 15)));
}

#[tokio::test]
async fn a_probe_is_a_small_call_without_a_book() {
    let server = FakeServer::always(Reply::text("")).await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), PRICE)])).await;
    let probe = worker.providers.probe("a").await.unwrap().unwrap();
    assert!(probe.works, "{probe:?}");
    let call = worker.calls().await.remove(0);
    assert_eq!((call.call.book, call.call.audio_ms, server.charged()), (None, Some(1_000), 12));
    server.answers(Reply::status(402));
    let probe = worker.providers.probe("a").await.unwrap().unwrap();
    assert!(!probe.works && probe.text.contains("402"), "{probe:?}");
    assert_eq!(worker.providers.probe("nobody").await.unwrap(), None);
    assert!(worker.providers.probe("extract").await.unwrap().unwrap().works);
}

#[tokio::test]
async fn a_window_that_no_budget_is_left_for_is_not_decoded() {
    let server = FakeServer::always(Reply::text(SENTENCE)).await;
    for budget in ["per_book", "per_day"] {
        let budget = format!("budget: {{{budget}: {{micro: 200, currency: USD}}}}\n");
        let worker = TestWorker::new(&format!("{budget}{}", audio(&[entry("a", &server.url(), PRICE)]))).await;
        assert_eq!(worker.obstacle(None).await, None);
        worker.done(0).await;
        // 117 are spent, and ten seconds cost as much.
        let obstacle = worker.obstacle(None).await.map(|cause| cause.code);
        let (called, ..) = worker.waits(1).await;
        assert_eq!(obstacle.as_deref(), Some(called.as_str()), "a call would be refused for the same reason");
    }
}
