use contracts::{BookId, BookStatus, CategorySlug, MediaStep, MediaTask, PipelineState};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::*;
use crate::relational::{BookChange, BookDescription, BookWriteOutcome, CategoryRecord, NewBook, Relational};

async fn add_book(store: &Relational) -> BookId {
    let new = NewBook {
        id: BookId::now(),
        title: "Emma".to_owned(),
        author: "Jane Austen".to_owned(),
        language: None,
        price: None,
        description: None,
        categories: Vec::new(),
        status: BookStatus::Processing,
    };
    let outcome = store.create_book(&new, None, Timestamp::now()).await.unwrap();
    assert!(matches!(outcome, BookWriteOutcome::Stored(_)), "{outcome:?}");
    new.id
}

fn pipeline(book: BookId, now: Timestamp) -> PipelineRecord {
    PipelineRecord {
        book,
        generation: 1,
        step: MediaStep::Transcribe,
        state: PipelineState::Due,
        cause: None,
        detail: None,
        group: None,
        budget_micro: None,
        source: Some([7; 32]),
        windows_total: None,
        windows_done: 0,
        transcript: None,
        texts: None,
        crashes: 0,
        revision: 0,
        wake_at: Some(now),
        started_at: now,
        updated_at: now,
    }
}

/// Runs every statement of pipelines once.
pub async fn run_pipelines(store: &Relational) {
    let (now, later) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_hours(1));
    let book = add_book(store).await;
    let none = PipelineExtras::default();
    let first = store.put_pipeline(&pipeline(book, now), None, &none, now).await.unwrap().unwrap();
    assert_eq!(store.claim_pipelines(later, 9).await.unwrap().len(), 1);
    let plan = PipelineRecord { windows_total: Some(3), wake_at: None, ..first.clone() };
    let planned = store.put_plan(&plan, first.revision, &[(0, 10), (10, 20), (30, 40)], now).await.unwrap().unwrap();
    run_windows(store, book, later).await;
    let extras = PipelineExtras { retry_windows: true, drop_earlier: true, audit: None };
    let known = store.pipeline(book).await.unwrap().unwrap();
    assert!(known.revision > planned.revision);
    let next = PipelineRecord { generation: 2, state: PipelineState::Due, transcript: Some(1), ..known.clone() };
    assert!(store.put_pipeline(&next, Some(known.revision), &extras, now).await.unwrap().is_some());
    assert_eq!(store.windows(book, 1, 0, 9).await.unwrap().len(), 3, "they are served");
    store.put_text_parts(book, 2, "sentences", &[vec![1]]).await.unwrap();
    assert_eq!(store.text_parts(book, 2, "sentences", 0, 9).await.unwrap(), [vec![1]]);
    run_descriptions(store, book).await;
    store.delete_book(book, None, now).await.unwrap();
    assert_eq!(store.pipeline(book).await.unwrap().unwrap().state, PipelineState::Failed);
    run_calls(store, book).await;
    run_providers(store).await;
}

async fn run_windows(store: &Relational, book: BookId, later: Timestamp) {
    let now = Timestamp::now();
    let claimed = store.claim_windows(later, 9).await.unwrap();
    assert_eq!(claimed.len(), 3);
    let mut taken = Vec::new();
    for task in &claimed {
        taken.push(store.take_window(task, later, now).await.unwrap().unwrap());
    }
    assert!(store.renew_window(&taken[0], later).await.unwrap());
    let [key, other] = [[1; 32], [2; 32]];
    let (provider, model) = ("here".to_owned(), "tiny".to_owned());
    let checkpoint = NewCheckpoint { key, kind: "window", provider, model, body: vec![5] };
    let result = WindowResult { key, provider: "here", model: "tiny", flag: None, checkpoint: Some(&checkpoint) };
    assert!(store.finish_window(&taken[0], &result, now).await.unwrap().is_some());
    assert!(store.release_window(&taken[1], now, "cooling", "groq", now).await.unwrap());
    assert!(store.next_window_at(book, 1).await.unwrap().is_some());
    store.wake_waiting(now).await.unwrap();
    assert!(store.fail_window(&taken[2], "window_refused", "", now).await.unwrap().is_some());
    store.put_checkpoint(&NewCheckpoint { key: other, ..checkpoint }, now).await.unwrap();
    assert!(store.checkpoint(&other).await.unwrap().is_some());
    assert_eq!(store.window_texts(book, 1, 0, 9).await.unwrap()[0].1, Some(vec![5]));
    let task = MediaTask { window: None, ..claimed[0] };
    assert_eq!(store.take_window(&task, later, now).await.unwrap(), None);
}

async fn run_descriptions(store: &Relational, book: BookId) {
    let now = Timestamp::now();
    let slug: CategorySlug = "novel".parse().unwrap();
    assert!(store.propose_category(&slug, "Novel").await.unwrap());
    let category = CategoryRecord { slug: slug.clone(), label: "Novel".to_owned(), hint: None, accepted: true };
    assert!(store.put_category(&category, None).await.unwrap());
    let said = BookDescription {
        description: Some("A match".to_owned()),
        source: "extract",
        categories: vec![(slug.clone(), 0.5)],
    };
    assert!(matches!(store.describe_book(book, &said, now).await.unwrap(), BookWriteOutcome::Stored(_)));
    assert_eq!(store.description(book).await.unwrap().unwrap().categories[0].score, Some(0.5));
    let change = BookChange { description: Some(Some("Mine".to_owned())), ..BookChange::default() };
    store.change_book(book, None, &change, None, now).await.unwrap();
    assert!(store.remove_category(&slug, None, now).await.unwrap());
}

async fn run_calls(store: &Relational, book: BookId) {
    let (now, later) = (Timestamp::now(), Timestamp::now() + SignedDuration::from_hours(1));
    let call = |currency: Option<&str>| NewCall {
        id: Uuid::now_v7(),
        book: Some(book),
        generation: 1,
        step: MediaStep::Transcribe,
        window: Some(0),
        provider: "groq".to_owned(),
        group: "cloud".to_owned(),
        model: "whisper".to_owned(),
        price: currency.map(|currency| CallPrice { currency: currency.to_owned(), reserved_micro: 5 }),
        audio_ms: Some(1),
        expires_at: now,
    };
    let caps = CallCaps { currency: "USD".to_owned(), book_micro: Some(6), day_micro: None };
    let first = call(Some("USD"));
    assert_eq!(store.reserve_call(&first, Some(&caps), now).await.unwrap(), ReserveOutcome::Reserved);
    let over = store.reserve_call(&call(Some("USD")), Some(&caps), now).await.unwrap();
    assert_eq!(over, ReserveOutcome::OverBook { spent: 5, cap: 6 });
    assert_eq!(store.expire_calls(later, 9).await.unwrap(), 1);
    let settlement = Settlement { outcome: "done", cost_micro: Some(4), ..Settlement::default() };
    assert!(store.settle_call(first.id, &settlement, now).await.unwrap());
    assert_eq!(store.spent_on_book(book).await.unwrap()[0].micro, 4);
    assert_eq!(store.spent_on_day(now).await.unwrap()[0].micro, 4);
    for filter in [
        CallFilter::default(),
        CallFilter { book: Some(book), provider: None },
        CallFilter { book: None, provider: Some("groq".to_owned()) },
    ] {
        assert_eq!(store.provider_calls(&filter, None, 9).await.unwrap().len(), 1);
    }
}

async fn run_providers(store: &Relational) {
    let (now, task) = (Timestamp::now(), MediaStep::Transcribe);
    let cooling = ProviderStateRecord { cools_until: Some(now), ..ProviderStateRecord::new(task, "groq") };
    assert!(store.put_provider_state(&cooling, now).await.unwrap());
    assert!(store.claim_probe(task, "groq", now, now).await.unwrap());
    store.give_back_probe(task, "groq", now).await.unwrap();
    store.set_provider_order(task, &["groq".to_owned(), "here".to_owned()], None, now).await.unwrap();
    for enabled in [false, true] {
        store.set_provider_enabled(task, "here", enabled, None, now).await.unwrap();
    }
    assert_eq!(store.provider_states(task).await.unwrap().len(), 2);
    run_trials(store).await;
}

async fn run_trials(store: &Relational) {
    let (now, task) = (Timestamp::now(), MediaStep::Transcribe);
    let (model, host) = (Some("whisper-large-v3"), Some("https://api.groq.com"));
    let groq =
        NewListedProvider { task, name: "groq", group: "cloud", kind: "openai", model, host, place: 0, missing: None };
    for _ in 0..2 {
        store.put_provider_list(&[groq], now).await.unwrap();
    }
    assert_eq!(store.listed_providers(task, now).await.unwrap().len(), 1);
    assert!(store.want_trial(task, "groq", now).await.unwrap());
    assert!(!store.want_trial(task, "nobody", now).await.unwrap());
    let mine = [(task, "groq")];
    assert_eq!(store.take_trial(&[(task, "here")], now).await.unwrap(), None, "another worker's");
    assert_eq!(store.take_trial(&mine, now).await.unwrap(), Some((task, "groq".to_owned())));
    assert_eq!(store.take_trial(&mine, now).await.unwrap(), None, "one worker tries it");
    let trial = ProviderTrial { at: contracts::whole_microseconds(now), works: true, answer: "hello".to_owned() };
    store.end_trial(task, "groq", &trial).await.unwrap();
    assert_eq!(store.listed_providers(task, now).await.unwrap()[0].trial, Some(trial));
}

#[tokio::test]
async fn the_windows_of_a_long_book_are_stored_in_few_statements() {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Relational::sqlite(folder.path().join("accounts.sqlite")).await.unwrap();
    store.migrate().await.unwrap();
    let (now, book) = (Timestamp::now(), add_book(&store).await);
    let first = store.put_pipeline(&pipeline(book, now), None, &PipelineExtras::default(), now).await.unwrap().unwrap();
    let spans: Vec<(u64, u64)> = (0..130).map(|n| (n * 60_000, n * 60_000 + 59_000)).collect();
    store.statements.take_runs();
    let wanted = PipelineRecord { windows_total: Some(130), ..first.clone() };
    store.put_plan(&wanted, first.revision, &spans, now).await.unwrap().unwrap();
    let runs = store.statements.take_runs();
    assert_eq!(runs.iter().filter(|sql| sql.starts_with("INSERT INTO windows")).count(), 3);
    let stored = store.windows(book, 1, 0, MAX_PAGE).await.unwrap();
    let stored: Vec<(u32, (u64, u64))> =
        stored.iter().map(|window| (window.n, (window.start_ms, window.end_ms))).collect();
    assert!(stored.into_iter().eq((0..).zip(spans)));
}
