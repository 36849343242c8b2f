//! Who cools, for how long, and what the job does meanwhile.

use std::time::{Duration, Instant};

use media::codes;

use super::fake_server::{FakeServer, Reply, SENTENCE, closed_port};
use super::test_worker::{TestWorker, audio, entry, failed};

fn limited(seconds: u64) -> Reply {
    Reply::status(429).with("retry-after", seconds)
}

async fn two(a: &FakeServer, b: &FakeServer) -> TestWorker {
    TestWorker::new(&audio(&[entry("a", &a.url(), ""), entry("b", &b.url(), "")])).await
}

#[tokio::test]
async fn a_server_that_asks_for_five_seconds_gets_them() {
    let server = FakeServer::always(limited(5)).await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), "")])).await;
    let (code, detail, seconds) = worker.waits(0).await;
    assert_eq!((code.as_str(), seconds), (codes::COOLING, 4), "{detail}");
    assert!(detail.contains("a: it answered 429"), "{detail}");
    for window in 1..5 {
        worker.waits(window).await;
        worker.other().waits(window).await;
    }
    assert_eq!(server.requests(), 1, "nobody calls it while it cools");
    server.answers(Reply::text(SENTENCE));
    worker.advance(6);
    assert_eq!(worker.done(0).await.provider, "a");
}

#[tokio::test]
async fn another_provider_takes_over_within_a_second() {
    let (a, b) = (FakeServer::always(Reply::status(503)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, &b).await;
    for reply in [Reply::status(503), Reply::status(500), limited(60)] {
        a.answers(reply);
        let began = Instant::now();
        assert_eq!(worker.done(a.requests() as u32).await.provider, "b");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    assert_eq!(a.requests(), 3);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_costs_nothing() {
    let b = FakeServer::always(Reply::text(SENTENCE)).await;
    let closed = format!("http://{}/v1", closed_port().await);
    let price = ", price: {per_audio_minute: {micro: 700, currency: USD}}";
    let worker = TestWorker::new(&audio(&[entry("a", &closed, price), entry("b", &b.url(), "")])).await;
    assert_eq!(worker.done(0).await.provider, "b");
    assert_eq!(worker.spent().await, 0);
    let state = worker.state("a").await.unwrap();
    assert_eq!((state.failures, state.cools_until), (1, None));
}

#[tokio::test]
async fn three_failures_cool_for_all_workers_and_one_call_tries_it() {
    let (a, b) = (FakeServer::always(Reply::status(500)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, &b).await;
    let other = worker.other();
    for window in 0..6 {
        let worker = if window % 2 == 0 { &worker } else { &other };
        assert_eq!(worker.done(window).await.provider, "b");
    }
    assert_eq!(a.requests(), 3);
    worker.advance(31);
    futures::future::join_all((10..16).map(|window| worker.done(window))).await;
    assert_eq!(a.requests(), 4, "one call after the cooldown");
    // It failed, so the next cooldown is twice as long.
    worker.advance(31);
    worker.done(20).await;
    assert_eq!(a.requests(), 4);
    worker.advance(31);
    a.answers(Reply::text(SENTENCE));
    assert_eq!(worker.done(21).await.provider, "a");
    assert_eq!(worker.done(22).await.provider, "a");
}

#[tokio::test]
async fn while_all_cool_the_job_waits_and_then_it_ends() {
    let (a, b) = (FakeServer::always(limited(60)).await, FakeServer::always(limited(90)).await);
    let worker = two(&a, &b).await;
    let (code, _, seconds) = worker.waits(0).await;
    assert_eq!((code.as_str(), seconds), (codes::COOLING, 59));
    assert_eq!((a.requests(), b.requests()), (1, 1));
    a.answers(Reply::text(SENTENCE));
    worker.advance(61);
    assert_eq!(worker.done(0).await.provider, "a");
    assert_eq!(b.requests(), 1);
}

#[tokio::test]
async fn a_server_that_wants_money_is_not_hammered() {
    let quota = Reply::body(400, r#"{"error": {"message": "You have reached your usage limit."}}"#);
    for reply in [Reply::status(402), quota] {
        let (a, b) = (FakeServer::always(reply).await, FakeServer::always(Reply::text(SENTENCE)).await);
        let worker = two(&a, &b).await;
        for window in 0..10 {
            assert_eq!(worker.done(window).await.provider, "b");
        }
        assert_eq!(a.requests(), 1);
        worker.advance(59 * 60);
        worker.done(10).await;
        assert_eq!(a.requests(), 1);
        worker.advance(2 * 60);
        worker.done(11).await;
        worker.done(12).await;
        assert_eq!(a.requests(), 2, "one call an hour");
    }
}

#[tokio::test]
async fn a_refused_key_switches_off_until_another_one_is_there() {
    let server = FakeServer::start(|_, seen| match seen.authorization.as_deref() {
        Some("Bearer right") => Reply::text(SENTENCE),
        _ => Reply::body(401, r#"{"error": {"message": "wrong key: wrong"}}"#),
    });
    let server = server.await;
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "wrong\n").unwrap();
    let more = format!(", api_key_file: \"{}\"", key.path().display());
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), &more)])).await;
    worker.waits(0).await;
    let (code, ..) = worker.waits(0).await;
    assert_eq!((code.as_str(), server.requests()), (codes::PROVIDERS_OFF, 1));
    worker.advance(24 * 60 * 60);
    worker.waits(0).await;
    assert_eq!(server.requests(), 1);
    std::fs::write(key.path(), "right\n").unwrap();
    assert_eq!(worker.done(0).await.provider, "a");
    assert!(!format!("{:?}", worker.state("a").await).contains("wrong"));
}

#[tokio::test]
async fn an_input_that_is_refused_goes_to_the_next_and_nobody_cools() {
    let (a, b) = (FakeServer::always(Reply::status(413)).await, FakeServer::always(Reply::text(SENTENCE)).await);
    let worker = two(&a, &b).await;
    for (number, status) in [413, 415, 422, 400].into_iter().enumerate() {
        a.answers(Reply::status(status));
        assert_eq!(worker.done(number as u32).await.provider, "b");
        assert_eq!(a.requests(), number + 1, "it is asked first again");
    }
    b.answers(Reply::body(422, r#"{"detail": "no speech in it"}"#));
    let cause = failed(worker.transcribe(9).await);
    assert_eq!(cause.code, codes::WINDOW_REFUSED);
    assert!(cause.detail.contains("b: it answered 422: no speech in it"), "{cause:?}");
}

#[tokio::test]
async fn a_window_that_nobody_can_take_is_not_decoded() {
    let server = FakeServer::always(limited(5)).await;
    let worker = TestWorker::new(&audio(&[entry("a", &server.url(), "")])).await;
    assert_eq!(worker.obstacle(None).await, None);
    worker.waits(0).await;
    let cause = worker.other().obstacle(None).await.unwrap();
    assert_eq!((cause.code.as_str(), cause.detail.as_str()), (codes::COOLING, "a: it asks to wait"));
    worker.advance(6);
    // To look takes the probe from nobody.
    assert_eq!((worker.obstacle(None).await, worker.obstacle(None).await), (None, None));
    server.answers(Reply::text(SENTENCE));
    assert_eq!(worker.done(0).await.provider, "a");
}
