//! Descriptions by language models: in pieces, in words, and by somebody else when they are of no use.

use std::sync::Arc;

use audio_worker::providers::{DescribeJob, Description, Outcome, TextFault};
use media::codes;
use serde_json::{Value, json};
use store::relational::CategoryRecord;
use text::Embedding;

use super::fake_server::{FakeServer, Reply, Seen};
use super::test_worker::{TestWorker, done};

const GOOD: &str = "The family of Dashwood had long been settled in Sussex, at Norland Park, in the centre of their large property. When \
    their father dies, the sisters Elinor and Marianne must leave it, and learn in a cottage in Devonshire what sense and sensibility are \
    worth.";
const CONTEXT: usize = 2_048;

fn file(server: &FakeServer, more: &str) -> String {
    let url = server.url();
    format!(
        "transcribe:\n  - {{name: here, group: local, kind: whisper, model: whisper-tiny.en}}\ndescribe:\n\
         \x20 - {{name: model, group: local, kind: openai, base_url: \"{url}\", model: m, context_tokens: {CONTEXT}}}\n{more}"
    )
}

fn extract() -> &'static str {
    "  - {name: extract, group: local, kind: extract}\n"
}

/// Sentences of a book whose text needs several pieces, with an embedding each.
pub fn book() -> (Arc<[String]>, Arc<[Embedding]>) {
    let sentence = |number: usize| {
        format!(
            "In chapter {number} the sisters walk over the hills to the cottage of their aunt and speak about the letter of number {number}."
        )
    };
    let sentences: Arc<[String]> = (0..150).map(sentence).collect();
    let embedding = |number: usize| {
        let value = |place: usize| if place == number % text::DIMENSIONS { 1.0_f32 } else { 0.0 };
        let bytes: Vec<u8> = (0..text::DIMENSIONS).flat_map(|place| value(place).to_le_bytes()).collect();
        Embedding::from_bytes(&bytes).unwrap()
    };
    (sentences, (0..150).map(embedding).collect())
}

fn categories() -> Vec<CategoryRecord> {
    ["romance", "crime", "sea"]
        .map(|slug| CategoryRecord {
            slug: slug.parse().unwrap(),
            label: format!("{slug} stories"),
            hint: None,
            accepted: true,
        })
        .into()
}

async fn describe(worker: &TestWorker, generation: u32) -> Outcome<Description> {
    let (sentences, embeddings) = book();
    let categories = categories();
    let job = DescribeJob {
        book: worker.book,
        generation,
        title: "Sense and Sensibility",
        author: "Jane Austen",
        language: Some("en"),
        sentences,
        embeddings,
        categories: &categories,
        group: None,
        budget_micro: None,
    };
    worker.providers.describe(&job).await.unwrap()
}

fn is_map(seen: &Seen) -> bool {
    seen.texts().contains("You take notes")
}

fn description(text: &str) -> Value {
    json!({"description": text, "categories": ["romance", "moon", "Crime Stories", "romance"], "new_category": "Sister stories"})
}

/// A model that does what it is told.
fn able(seen: &Seen) -> Reply {
    if is_map(seen) {
        return Reply::said(json!({"summary": "The sisters walk over the hills and speak about a letter."}));
    }
    Reply::said(description(GOOD))
}

#[tokio::test]
async fn a_long_book_is_described_in_pieces_that_fit() {
    let server = FakeServer::start(|_, seen| able(seen)).await;
    let worker = TestWorker::new(&file(&server, "")).await;
    let described = done(describe(&worker, 1).await);
    assert_eq!((described.text.as_deref(), described.source, described.flag), (Some(GOOD), "ai", None));
    let slugs: Vec<&str> = described.categories.iter().map(contracts::CategorySlug::as_str).collect();
    assert_eq!((slugs, described.proposed.as_deref()), (vec!["romance", "crime"], Some("Sister stories")));
    let seen = server.seen();
    assert!(seen.len() > 4, "{} calls", seen.len());
    for seen in &seen {
        assert_eq!(seen.path, "/v1/chat/completions");
        // Four letters are at least one token.
        assert!(seen.texts().len() / 4 < CONTEXT, "{}", seen.texts().len());
        assert_eq!(seen.question()["response_format"]["type"], "json_schema");
    }
    let whole: String = seen.iter().filter(|seen| is_map(seen)).map(Seen::texts).collect();
    assert!((0..150).all(|number| whole.contains(&format!("In chapter {number} "))), "nothing of the book is left out");
    // Every answer is a checkpoint; another generation asks again.
    done(describe(&worker.other(), 1).await);
    assert_eq!(server.requests(), seen.len());
    done(describe(&worker, 2).await);
    assert_eq!(server.requests(), 2 * seen.len());
}

#[tokio::test]
async fn a_description_goes_on_where_a_server_failed() {
    let server = FakeServer::start(|number, seen| if number < 2 { able(seen) } else { Reply::status(402) }).await;
    let worker = TestWorker::new(&file(&server, "")).await;
    let outcome = describe(&worker, 1).await;
    assert!(matches!(&outcome, Outcome::Wait { cause, .. } if cause.code == codes::COOLING), "{outcome:?}");
    assert_eq!(server.requests(), 3);
    server.plays(|_, seen| able(seen));
    worker.advance(3_700);
    let first_two: Vec<String> = server.seen()[..2].iter().map(Seen::texts).collect();
    done(describe(&worker, 1).await);
    assert!(server.seen()[2..].iter().all(|seen| !first_two.contains(&seen.texts())), "no note is asked for again");
}

#[tokio::test]
async fn a_server_without_schemas_is_told_the_form_in_words() {
    for refusal in [Reply::body(400, "response_format is not supported"), Reply::status(422)] {
        let server = FakeServer::start(move |_, seen| {
            let is_refused = !seen.question()["response_format"].is_null();
            if is_refused { refusal.clone() } else { able(seen) }
        })
        .await;
        let worker = TestWorker::new(&file(&server, "")).await;
        assert_eq!(done(describe(&worker, 1).await).text.as_deref(), Some(GOOD));
        let with_format = server.seen().iter().filter(|seen| !seen.question()["response_format"].is_null()).count();
        assert_eq!(with_format, 1, "it is not asked in vain again");
        assert!(server.seen().last().unwrap().texts().contains("one JSON object of this schema"));
    }
}

#[tokio::test]
async fn a_model_that_answers_in_plain_words_is_understood() {
    let note = "<think>Let me see.</think>The sisters walk over the hills and speak about a letter.";
    let server = FakeServer::start(move |_, seen| Reply::said(if is_map(seen) { note } else { GOOD })).await;
    let worker = TestWorker::new(&file(&server, "")).await;
    let described = done(describe(&worker, 1).await);
    assert_eq!((described.text.as_deref(), described.categories.len()), (Some(GOOD), 0));
}

#[tokio::test]
async fn a_model_that_repeats_itself_is_replaced_by_the_next() {
    let again = "The book is about a romance and a crime. ".repeat(7);
    let reply = Reply::said(description(&again));
    let server = FakeServer::start(move |_, seen| if is_map(seen) { able(seen) } else { reply.clone() }).await;
    let alone = TestWorker::new(&file(&server, "")).await;
    let doubtful = done(describe(&alone, 1).await);
    assert_eq!((doubtful.text, doubtful.flag), (None, Some(TextFault::Loop)), "a loop is not shown");
    let advised = server.seen().last().unwrap().texts();
    assert!(advised.contains("Your last answer repeated itself"), "{advised}");
    let worker = TestWorker::new(&file(&server, extract())).await;
    let described = done(describe(&worker, 1).await);
    assert_eq!((described.source, described.provider.as_str(), described.flag), ("extract", "extract", None));
    assert!(described.text.is_some_and(|text| text.starts_with("In chapter")));
}

#[tokio::test]
async fn a_text_that_is_too_long_for_the_server_is_cut_smaller() {
    let too_long = r#"{"error": {"code": "context_length_exceeded", "message": "maximum context length"}}"#;
    let server = FakeServer::start(
        move |_, seen| {
            if seen.texts().len() > 5_000 { Reply::body(400, too_long) } else { able(seen) }
        },
    )
    .await;
    let worker = TestWorker::new(&file(&server, "").replace("context_tokens: 2048", "context_tokens: 4096")).await;
    assert_eq!(done(describe(&worker, 1).await).text.as_deref(), Some(GOOD));
}

#[tokio::test]
async fn tokens_are_booked_as_the_server_counts_them() {
    let server = FakeServer::start(|_, seen| able(seen)).await;
    let price = "model: m, price: {per_million_tokens_in: {micro: 150000, currency: USD}, per_million_tokens_out: {micro: 600000, currency: USD}}";
    let worker = TestWorker::new(&file(&server, "").replace("model: m", price)).await;
    done(describe(&worker, 1).await);
    // 100 and 10 tokens a call: 15 and 6 millionths.
    assert_eq!(worker.spent().await, 21 * i64::try_from(server.requests()).unwrap());
}

#[tokio::test]
async fn a_trial_that_needed_no_call_is_left_to_the_next_job() {
    let server = FakeServer::start(|_, seen| able(seen)).await;
    let worker = TestWorker::new(&file(&server, "")).await;
    done(describe(&worker, 1).await);
    server.answers(Reply::status(402));
    let outcome = describe(&worker, 2).await;
    assert!(matches!(&outcome, Outcome::Wait { cause, .. } if cause.code == codes::COOLING), "{outcome:?}");
    server.plays(|_, seen| able(seen));
    worker.advance(3_700);
    // After the cooldown one job tries the server. All answers of this one are stored.
    done(describe(&worker, 1).await);
    done(describe(&worker.other(), 2).await);
}
