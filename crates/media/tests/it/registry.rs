//! The registry of providers: choices, reports and reservations of several workers.

use std::time::Duration;

use contracts::MediaStep;
use jiff::SignedDuration;
use media::{Call, CallEnd, Candidate, Cap, Choice, ProviderRegistry, Reservation};
use store::relational::{CallCaps, CallPrice, Settlement};

use super::Fixture;

const STEP: MediaStep = MediaStep::Transcribe;
const GROQ: Candidate<'static> = Candidate { name: "groq", group: "cloud", fingerprint: "a key" };
const HERE: Candidate<'static> = Candidate { name: "here", group: "local", fingerprint: "" };

fn registry(fixture: &Fixture) -> ProviderRegistry {
    ProviderRegistry::new(fixture.database().clone(), fixture.clock.clone())
}

const fn used(index: usize, probe: bool) -> Choice {
    Choice::Use { index, probe }
}

#[tokio::test]
async fn a_provider_that_cools_is_left_alone_by_every_worker() {
    let fixture = Fixture::new().await;
    let (one, other) = (registry(&fixture), registry(&fixture));
    let choose = async |registry: &ProviderRegistry| registry.choose(STEP, &[GROQ, HERE], None, &[]).await.unwrap();
    assert_eq!(choose(&one).await, used(0, false));
    let limited = CallEnd::RateLimited { retry_after: Some(SignedDuration::from_secs(5)) };
    one.report(STEP, "groq", "a key", &limited).await.unwrap();
    assert_eq!(choose(&other).await, used(1, false), "the next one is used at once");
    fixture.clock.advance(Duration::from_secs(4));
    assert_eq!(choose(&one).await, used(1, false));
    fixture.clock.advance(Duration::from_secs(2));
    // One tries it, and the others do not wait for that.
    assert_eq!(choose(&one).await, used(0, true));
    assert_eq!(choose(&other).await, used(1, false));
    // No call was made after all, for example for want of a budget.
    one.give_back_probe(STEP, "groq").await.unwrap();
    assert_eq!(choose(&other).await, used(0, true));
    assert_eq!(choose(&one).await, used(1, false));
    one.report(STEP, "groq", "a key", &CallEnd::Done).await.unwrap();
    assert_eq!(choose(&other).await, used(0, false));
}

#[tokio::test]
async fn failures_of_several_workers_count_together() {
    let fixture = Fixture::new().await;
    let (one, other) = (registry(&fixture), registry(&fixture));
    let failed = CallEnd::Failed { what: "connection refused".to_owned() };
    for registry in [&one, &other, &one] {
        registry.report(STEP, "groq", "a key", &failed).await.unwrap();
    }
    let Choice::Wait { until } = other.choose(STEP, &[GROQ], None, &[]).await.unwrap() else {
        unreachable!("three failures in a row cool it")
    };
    assert!(until > other.now() + SignedDuration::from_secs(28));
    // What a provider of one task does is nothing to the other task.
    assert_eq!(other.choose(MediaStep::Summarise, &[GROQ], None, &[]).await.unwrap(), used(0, false));
    // It works again for an admin who lets it.
    fixture.database().set_provider_enabled(STEP, "groq", true, None, fixture.clock.now()).await.unwrap();
    assert_eq!(other.choose(STEP, &[GROQ], None, &[]).await.unwrap(), used(0, false));
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_not_made() {
    let fixture = Fixture::new().await;
    let (registry, book) = (registry(&fixture), fixture.add_book().await);
    let caps = CallCaps { currency: "USD".to_owned(), book_micro: Some(1_000), day_micro: Some(1_500) };
    let call = |book| Call {
        book: Some(book),
        generation: 1,
        step: STEP,
        window: Some(0),
        provider: "groq",
        group: "cloud",
        model: "whisper-large-v3",
        price: Some(CallPrice { currency: "USD".to_owned(), reserved_micro: 700 }),
        audio_ms: Some(60_000),
        timeout: SignedDuration::from_secs(30),
    };
    let Reservation::Granted(first) = registry.reserve(call(book), Some(&caps)).await.unwrap() else {
        unreachable!("there is room")
    };
    let over = registry.reserve(call(book), Some(&caps)).await.unwrap();
    assert_eq!(over, Reservation::OverCap { which: Cap::Book, spent: 700, cap: 1_000, until: None });
    let settlement = Settlement { outcome: "done", cost_micro: Some(100), ..Settlement::default() };
    registry.settle(first, &settlement).await.unwrap();
    registry.settle(first, &settlement).await.unwrap();
    assert!(matches!(registry.reserve(call(book), Some(&caps)).await.unwrap(), Reservation::Granted(_)));
    let other = fixture.add_book().await;
    assert!(matches!(registry.reserve(call(other), Some(&caps)).await.unwrap(), Reservation::Granted(_)));
    let over = registry.reserve(call(fixture.add_book().await), Some(&caps)).await.unwrap();
    let Reservation::OverCap { which: Cap::Day, spent: 1_500, cap: 1_500, until: Some(until) } = over else {
        unreachable!("{over:?}")
    };
    assert!(until > registry.now() && until.to_string().ends_with("T00:00:00Z"), "{until}");

    let status = fixture.pipelines.start(book, super::FILE, None).await.unwrap();
    let progress = fixture.pipelines.progress(&status).await.unwrap();
    assert_eq!((progress.cost[0].micro, progress.provider.as_deref()), (800, Some("groq")));
    // The two that nobody settles are unknown after their time, and stay spent.
    fixture.clock.advance(Duration::from_secs(30 + 121));
    assert_eq!(fixture.pipelines.sweep().await.unwrap(), 2);
    assert_eq!(fixture.database().spent_on_book(book).await.unwrap()[0].micro, 800);
}
