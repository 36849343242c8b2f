//! The ledger of calls, states of providers, and what a program says of a book.

use contracts::{BookId, CategorySlug, MediaStep};
use jiff::{SignedDuration, Timestamp};
use store::Relational;
use store::relational::{
    BookChange, BookDescription, BookWriteOutcome, CallCaps, CallFilter, CallPrice, CallState, CategoryRecord, NewCall,
    ProviderStateRecord, ReserveOutcome, Settlement, Spent,
};
use uuid::Uuid;

use super::pipelines::add_book;
use crate::relational::{TwoStores, now};

const STEP: MediaStep = MediaStep::Transcribe;

fn call(book: Option<BookId>, micro: Option<i64>) -> NewCall {
    NewCall {
        id: Uuid::now_v7(),
        book,
        generation: 3,
        step: STEP,
        window: Some(7),
        provider: "groq".to_owned(),
        group: "cloud".to_owned(),
        model: "whisper-large-v3".to_owned(),
        price: micro.map(|reserved_micro| CallPrice { currency: "USD".to_owned(), reserved_micro }),
        audio_ms: Some(60_000),
        expires_at: now() + SignedDuration::from_mins(5),
    }
}

fn caps(book_micro: Option<i64>, day_micro: Option<i64>) -> CallCaps {
    CallCaps { currency: "USD".to_owned(), book_micro, day_micro }
}

fn cost(micro: i64) -> Settlement<'static> {
    Settlement { outcome: "done", cost_micro: Some(micro), ..Settlement::default() }
}

async fn spent(store: &Relational, book: BookId) -> i64 {
    store.spent_on_book(book).await.unwrap().iter().map(|spent| spent.micro).sum()
}

pub async fn a_call_is_in_the_ledger_from_its_reservation_on(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let book = BookId::now();
    let priced = call(Some(book), Some(700));
    assert_eq!(one.reserve_call(&priced, None, now()).await.unwrap(), ReserveOutcome::Reserved);
    let of_book = CallFilter { book: Some(book), provider: None };
    let reserved = other.provider_calls(&of_book, None, 9).await.unwrap();
    assert_eq!((&reserved[0].call, reserved[0].state, reserved[0].cost_micro), (&priced, CallState::Reserved, None));
    assert_eq!(spent(other, book).await, 700);

    let settlement = Settlement {
        outcome: "done",
        cost_micro: Some(650),
        audio_ms: Some(59_000),
        tokens_in: Some(1),
        tokens_out: Some(2),
        request_id: Some("req-1"),
    };
    assert!(one.settle_call(priced.id, &settlement, now()).await.unwrap());
    assert!(!other.settle_call(priced.id, &cost(1), now()).await.unwrap(), "it is settled");
    assert!(!other.settle_call(Uuid::now_v7(), &cost(1), now()).await.unwrap(), "nobody knows it");
    let settled = &other.provider_calls(&of_book, None, 9).await.unwrap()[0];
    assert_eq!(
        (settled.state, settled.outcome.as_deref(), settled.cost_micro),
        (CallState::Settled, Some("done"), Some(650))
    );
    assert_eq!((settled.call.audio_ms, settled.tokens_in, settled.tokens_out), (Some(59_000), Some(1), Some(2)));
    assert_eq!((settled.request_id.as_deref(), settled.settled_at.is_some()), (Some("req-1"), true));
    assert_eq!(spent(other, book).await, 650);
    assert_eq!(other.spent_on_day(now()).await.unwrap(), [Spent { currency: "USD".to_owned(), micro: 650 }]);

    // A provider without a price has none, whatever it says.
    let free = call(Some(book), None);
    one.reserve_call(&free, Some(&caps(Some(0), Some(0))), now()).await.unwrap();
    assert!(one.settle_call(free.id, &cost(5), now()).await.unwrap());
    assert_eq!(spent(other, book).await, 650);
}

pub async fn callers_at_once_do_not_exceed_a_cap_together(stores: &TwoStores) {
    let book = BookId::now();
    let limit = &caps(Some(35), None);
    let reservations = (0..10).map(|n| {
        let store = if n % 2 == 0 { &stores.one } else { &stores.other };
        async move { store.reserve_call(&call(Some(book), Some(10)), Some(limit), now()).await.unwrap() }
    });
    let outcomes = futures::future::join_all(reservations).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == ReserveOutcome::Reserved).count(), 3);
    let over = ReserveOutcome::OverBook { spent: 30, cap: 35 };
    assert!(outcomes.iter().all(|outcome| [ReserveOutcome::Reserved, over].contains(outcome)), "{outcomes:?}");
    assert_eq!(spent(&stores.one, book).await, 30);
    let of_book = CallFilter { book: Some(book), provider: None };
    assert_eq!(stores.one.provider_calls(&of_book, None, 99).await.unwrap().len(), 3, "a refused call is none");
    // What was cheaper than reserved makes room.
    let first = stores.one.provider_calls(&of_book, None, 1).await.unwrap().remove(0);
    assert!(stores.other.settle_call(first.call.id, &cost(2), now()).await.unwrap());
    let outcome = stores.one.reserve_call(&call(Some(book), Some(10)), Some(limit), now()).await.unwrap();
    assert_eq!(outcome, ReserveOutcome::Reserved);
}

pub async fn a_day_has_a_cap_of_its_own(stores: &TwoStores) {
    let store = &stores.one;
    let day: Timestamp = "2026-01-02T23:00:00Z".parse().unwrap();
    let limit = caps(Some(100), Some(15));
    let reserve = async |at: Timestamp, micro| {
        store.reserve_call(&call(Some(BookId::now()), Some(micro)), Some(&limit), at).await.unwrap()
    };
    assert_eq!(reserve(day, 10).await, ReserveOutcome::Reserved);
    assert_eq!(reserve(day, 10).await, ReserveOutcome::OverDay { spent: 10, cap: 15 });
    assert_eq!(reserve(day, 5).await, ReserveOutcome::Reserved);
    assert_eq!(reserve(day + SignedDuration::from_hours(1), 10).await, ReserveOutcome::Reserved);
    let sums = store.spent_on_day(day).await.unwrap();
    assert_eq!(sums, [Spent { currency: "USD".to_owned(), micro: 15 }]);
    // A cap in another currency does not count.
    let euros = CallCaps { currency: "EUR".to_owned(), ..limit.clone() };
    let other = store.reserve_call(&call(None, Some(99)), Some(&euros), day).await.unwrap();
    assert_eq!(other, ReserveOutcome::Reserved);
}

pub async fn a_call_that_nobody_settles_stays_spent(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let book = BookId::now();
    let (lost, late) = (call(Some(book), Some(10)), call(Some(book), Some(20)));
    for call in [&lost, &late] {
        one.reserve_call(call, None, now()).await.unwrap();
    }
    assert_eq!(other.expire_calls(now(), 9).await.unwrap(), 0, "they may still end");
    assert_eq!(other.expire_calls(now() + SignedDuration::from_mins(6), 9).await.unwrap(), 2);
    assert_eq!(spent(one, book).await, 30);
    // One is heard of after all.
    assert!(one.settle_call(late.id, &cost(15), now()).await.unwrap());
    assert_eq!(spent(one, book).await, 25);
    // Nobody knows what the other one cost.
    let unknown = Settlement { outcome: "timed_out", ..Settlement::default() };
    assert!(one.settle_call(lost.id, &unknown, now()).await.unwrap());
    assert_eq!(spent(one, book).await, 25);
}

pub async fn calls_are_listed_without_gap_or_repeat(stores: &TwoStores) {
    let store = &stores.one;
    let (book, at) = (BookId::now(), now());
    for n in 0..7 {
        let provider = if n % 2 == 0 { "groq" } else { "here" };
        let new = NewCall { provider: provider.to_owned(), ..call((n < 5).then_some(book), None) };
        // Several at the same time.
        store.reserve_call(&new, None, at + SignedDuration::from_secs(n / 3)).await.unwrap();
    }
    let listed = async |filter: CallFilter| {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = stores.other.provider_calls(&filter, after.as_ref(), 2).await.unwrap();
            let Some(last) = page.last() else { return found };
            after = Some(last.cursor());
            found.extend(page.into_iter().map(|call| (call.reserved_at, call.call.id)));
        }
    };
    let all = listed(CallFilter::default()).await;
    assert!(all.len() == 7 && all.is_sorted_by(|one, next| one > next), "{all:?}");
    let groq = Some("groq".to_owned());
    assert_eq!(listed(CallFilter { book: Some(book), provider: None }).await.len(), 5);
    assert_eq!(listed(CallFilter { book: None, provider: groq.clone() }).await.len(), 4);
    assert_eq!(listed(CallFilter { book: Some(book), provider: groq }).await.len(), 3);
}

pub async fn of_many_changes_of_a_provider_none_is_lost(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let cooling = |until| ProviderStateRecord { cools_until: Some(until), ..ProviderStateRecord::new(STEP, "groq") };
    let (first, second) = (cooling(now()), cooling(now()));
    let at = now();
    let (mine, theirs) = tokio::join!(one.put_provider_state(&first, at), other.put_provider_state(&second, at));
    assert!(mine.unwrap() != theirs.unwrap(), "of two that knew nothing, one is stored");
    let known = one.provider_states(STEP).await.unwrap().remove(0);
    let changed = ProviderStateRecord {
        off_config: Some("abc".to_owned()),
        failures: 2,
        cooldowns: 3,
        cause: Some("failed".to_owned()),
        detail: Some("503".to_owned()),
        ..known.clone()
    };
    assert!(other.put_provider_state(&changed, at).await.unwrap());
    assert!(!one.put_provider_state(&known, at).await.unwrap(), "it was read before");
    let stored = one.provider_states(STEP).await.unwrap().remove(0);
    assert_eq!(stored, ProviderStateRecord { revision: stored.revision, updated_at: stored.updated_at, ..changed });
    assert!(stored.revision > known.revision);
    assert!(one.provider_states(MediaStep::Summarise).await.unwrap().is_empty(), "each task has its own");
}

pub async fn after_a_cooldown_one_caller_tries_a_provider(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let (at, until) = (now(), now() + SignedDuration::from_secs(60));
    let cooling = ProviderStateRecord { cools_until: Some(at), ..ProviderStateRecord::new(STEP, "groq") };
    assert!(one.put_provider_state(&cooling, at).await.unwrap());
    assert!(!one.claim_probe(STEP, "groq", at - SignedDuration::from_secs(1), until).await.unwrap(), "it cools");
    assert!(!one.claim_probe(STEP, "here", at, until).await.unwrap(), "nothing is known of it");
    let claims = (0..6).map(|n| {
        let store = if n % 2 == 0 { one } else { other };
        async move { store.claim_probe(STEP, "groq", at, until).await.unwrap() }
    });
    let claims = futures::future::join_all(claims).await;
    assert_eq!(claims.into_iter().filter(|claimed| *claimed).count(), 1);
    assert!(other.claim_probe(STEP, "groq", until, until).await.unwrap(), "whoever tried it is gone");
}

pub async fn an_admin_orders_and_turns_off_providers(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let at = now();
    let order = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    one.set_provider_order(STEP, &order(&["groq", "here", "speaches"]), None, at).await.unwrap();
    one.set_provider_order(STEP, &order(&["speaches", "groq"]), None, at).await.unwrap();
    let places = async || {
        let states = other.provider_states(STEP).await.unwrap();
        states.into_iter().map(|state| (state.name, state.position)).collect::<Vec<_>>()
    };
    let expected = [("groq", Some(1)), ("here", None), ("speaches", Some(0))];
    assert_eq!(places().await, expected.map(|(name, place)| (name.to_owned(), place)));

    let known = one.provider_states(STEP).await.unwrap().remove(0);
    let cooling =
        ProviderStateRecord { cools_until: Some(at), off_config: Some("abc".to_owned()), failures: 2, ..known };
    assert!(one.put_provider_state(&cooling, at).await.unwrap());
    other.set_provider_enabled(STEP, "groq", false, None, at).await.unwrap();
    let off = one.provider_states(STEP).await.unwrap().remove(0);
    assert_eq!((off.enabled, off.cools_until, off.position), (false, Some(at), Some(1)));
    // What follows from a call leaves what an admin has set.
    assert!(one.put_provider_state(&ProviderStateRecord { enabled: true, position: None, ..off }, at).await.unwrap());
    let off = one.provider_states(STEP).await.unwrap().remove(0);
    assert_eq!((off.enabled, off.position), (false, Some(1)));
    other.set_provider_enabled(STEP, "groq", true, None, at).await.unwrap();
    let on = one.provider_states(STEP).await.unwrap().remove(0);
    assert_eq!((on.enabled, on.cools_until, on.off_config, on.failures), (true, None, None, 0));
}

pub async fn a_program_leaves_what_an_admin_has_written(stores: &TwoStores) {
    let (one, other) = (&stores.one, &stores.other);
    let book = add_book(one).await;
    let [novel, satire]: [CategorySlug; 2] = ["novel", "satire"].map(|slug| slug.parse().unwrap());
    for slug in [&novel, &satire] {
        let label = slug.to_string();
        let category = CategoryRecord { slug: slug.clone(), label, hint: None, accepted: true };
        assert!(one.put_category(&category, None).await.unwrap());
    }
    let said = |text: &str, slug: &CategorySlug| BookDescription {
        description: Some(text.to_owned()),
        source: "extract",
        categories: vec![(slug.clone(), 0.75)],
    };
    let describe = async |said: BookDescription| match other.describe_book(book, &said, now()).await.unwrap() {
        BookWriteOutcome::Stored(book) => (book.description.unwrap(), book.categories),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(describe(said("First", &novel)).await, ("First".to_owned(), vec![novel.clone()]));
    assert_eq!(
        describe(said("Second", &satire)).await,
        ("Second".to_owned(), vec![satire.clone()]),
        "its own is replaced"
    );
    let known = one.description(book).await.unwrap().unwrap();
    assert_eq!((known.source.as_deref(), known.categories[0].score), (Some("extract"), Some(0.75)));

    let mine = BookChange {
        description: Some(Some("Mine".to_owned())),
        categories: Some(vec![novel.clone()]),
        ..BookChange::default()
    };
    one.change_book(book, None, &mine, None, now()).await.unwrap();
    assert_eq!(describe(said("Third", &satire)).await, ("Mine".to_owned(), vec![novel.clone()]));
    let known = one.description(book).await.unwrap().unwrap();
    assert_eq!((known.source, &known.categories[0].source), (None, &None));
    // A label that is only proposed is on no book.
    let proposed: CategorySlug = "proposed".parse().unwrap();
    assert!(one.propose_category(&proposed, "Proposed").await.unwrap());
    assert!(!other.propose_category(&proposed, "Again").await.unwrap());
    let refused = one.describe_book(book, &said("Fourth", &proposed), now()).await.unwrap();
    assert_eq!(refused, BookWriteOutcome::UnknownCategory(proposed));
    assert_eq!(one.description(BookId::now()).await.unwrap(), None);
}
