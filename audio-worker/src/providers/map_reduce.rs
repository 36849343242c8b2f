//! A description by a language model: notes on the pieces of a book that fit the model's context, notes on the notes until they fit, and
//! the description of them.
//!
//! ```text
//!  sentences ─▶ pieces ─▶ note, note, note… ─▶ (more notes) ─▶ description ─▶ gate
//! ```
//!
//! Each answer that passes its gate is a checkpoint, so that a crash, a pause or another provider's turn repeats none. A text that the
//! server finds too long for its context is cut into smaller pieces.

use std::time::Duration;

use contracts::{CategorySlug, MediaStep};
use media::{CallEnd, MediaError, text_key};
use serde_json::Value;
use store::relational::{CategoryRecord, NewCheckpoint};

use super::calls::{Answered, Bill, Called, Used};
use super::classify::{Field, Objection};
use super::describe::DescribeJob;
use super::file::OpenAi;
use super::http::CallFailure;
use super::openai::chat::{self, ChatRequest};
use super::openai::chat_answer::{after_thoughts, object};
use super::pieces::{cut, pieces, tokens};
use super::selection::Turn;
use super::text_gate::{TextFault, description_fault, fitted, note_fault};
use super::{Providers, prompts};

/// Tokens of a note.
const NOTE_TOKENS: u64 = 320;
/// Tokens of a description with its categories.
const DESCRIPTION_TOKENS: u64 = 480;
/// Tokens that a server adds to the texts.
const TEMPLATE_TOKENS: u64 = 128;
/// Fewer tokens of material are not worth a call.
const MIN_MATERIAL: u64 = 512;
/// Most pieces of a book: two days of speech in pieces of 2,000 tokens.
const MAX_PIECES: usize = 400;
/// Most rounds of notes on notes.
const MAX_ROUNDS: usize = 6;
/// How often pieces are made smaller for a server that finds them too long.
const MAX_SHRINKS: u32 = 2;
/// The temperature of each attempt.
const TEMPERATURES: [f32; 2] = [0.2, 0.7];
/// Calls for one attempt: three fields to which a server may object, and two failures.
const MAX_TRIES: u32 = 6;
/// Pause after a failure; it doubles.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest label of a new category, in characters.
const MAX_LABEL: usize = 40;

/// What a language model made of a book.
pub(super) enum Written {
    /// It passes the gate.
    Good(Draft),
    /// Both attempts have this fault.
    Doubtful(Draft, TextFault),
    /// A call without an answer.
    Ended(Called<()>),
}

/// The parts of a description.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// The description.
    pub text: String,
    /// Accepted categories, the best one first.
    pub categories: Vec<CategorySlug>,
    /// The label of a new one.
    pub proposed: Option<String>,
}

/// One book before one model.
pub(super) struct Writer<'a> {
    /// The providers.
    pub providers: &'a Providers,
    /// The provider whose turn it is.
    pub turn: &'a Turn<'a>,
    /// The book.
    pub job: &'a DescribeJob<'a>,
    /// The server.
    pub server: &'a OpenAi,
    /// The code of the language in which it is to write.
    pub language: Option<&'static str>,
}

/// A question with the form of its answer.
struct Question {
    kind: &'static str,
    system: String,
    user: String,
    schema: Value,
    max_tokens: u64,
}

/// How a question ends.
enum Asked<T> {
    Good(T),
    Doubtful(T, TextFault),
    Ended(Called<()>),
}

impl Writer<'_> {
    /// The description of the book.
    pub(super) async fn write(&self) -> Result<Written, MediaError> {
        let mut shrinks = 0;
        loop {
            let written = self.within(self.server.context_tokens >> shrinks).await?;
            match &written {
                Written::Ended(Called::Failed { failure, cools: false })
                    if failure.objection == Some(Objection::TooLong) && shrinks < MAX_SHRINKS =>
                {
                    shrinks += 1;
                }
                _ => return Ok(written),
            }
        }
    }

    /// The same with a context of so many tokens.
    async fn within(&self, context: u64) -> Result<Written, MediaError> {
        let categories = self.categories(context);
        let of_note = self.room(context, NOTE_TOKENS, &self.note_question(""));
        let of_description = self.room(context, DESCRIPTION_TOKENS, &self.description_question("", false, categories));
        let most = of_note.min(of_description);
        if most < MIN_MATERIAL {
            return Ok(too_small(context));
        }
        let mut texts = pieces(self.job.sentences.iter().map(String::as_str), most);
        let mut rounds = 0;
        while texts.len() > 1 {
            if texts.len() > MAX_PIECES || rounds == MAX_ROUNDS {
                return Ok(too_small(context));
            }
            let mut notes = Vec::with_capacity(texts.len());
            for text in &texts {
                match self.ask(&self.note_question(text), |said| self.note(said)).await? {
                    Asked::Good(note) => notes.push(note),
                    Asked::Doubtful(_, fault) => return Ok(Written::Doubtful(Draft::default(), fault)),
                    Asked::Ended(ended) => return Ok(Written::Ended(ended)),
                }
            }
            texts = pieces(notes.iter().map(String::as_str), most);
            rounds += 1;
        }
        let material = texts.first().map_or("", String::as_str);
        let question = self.description_question(material, rounds == 0, categories);
        Ok(match self.ask(&question, |said| self.draft(said, categories)).await? {
            Asked::Good(draft) => Written::Good(draft),
            Asked::Doubtful(draft, fault) => Written::Doubtful(draft, fault),
            Asked::Ended(ended) => Written::Ended(ended),
        })
    }

    /// The accepted categories, unless their list leaves too little room for the book.
    fn categories(&self, context: u64) -> &[CategoryRecord] {
        let listed = prompts::description(None, false, self.job.categories);
        let schema = prompts::description_schema(self.job.categories).to_string();
        let fits = tokens(&listed) + tokens(&schema) < context / 3;
        if fits { self.job.categories } else { &[] }
    }

    /// Tokens that are left for the material of a question.
    fn room(&self, context: u64, answer: u64, question: &Question) -> u64 {
        let used = tokens(&question.system) + tokens(&question.user) + tokens(&question.schema.to_string());
        context.saturating_sub(used + answer + TEMPLATE_TOKENS)
    }

    fn note_question(&self, text: &str) -> Question {
        Question {
            kind: "map",
            system: prompts::note(self.language),
            user: prompts::material(self.job.title, self.job.author, text),
            schema: prompts::note_schema(),
            max_tokens: NOTE_TOKENS,
        }
    }

    fn description_question(&self, text: &str, is_whole: bool, categories: &[CategoryRecord]) -> Question {
        Question {
            kind: "reduce",
            system: prompts::description(self.language, is_whole, categories),
            user: prompts::material(self.job.title, self.job.author, text),
            schema: prompts::description_schema(categories),
            max_tokens: DESCRIPTION_TOKENS,
        }
    }

    /// The note in an answer, and what is wrong with it.
    fn note(&self, said: &str) -> (String, Option<TextFault>) {
        let note = text_in(said, "summary");
        let note = note.split_whitespace().collect::<Vec<_>>().join(" ");
        let fault = if note.is_empty() { Some(TextFault::Length) } else { note_fault(&note, self.language) };
        (cut(&note, NOTE_TOKENS).0.to_owned(), fault)
    }

    /// The description in an answer, and what is wrong with it.
    fn draft(&self, said: &str, categories: &[CategoryRecord]) -> (Draft, Option<TextFault>) {
        let text = fitted(&text_in(said, "description"));
        let fault = description_fault(&text, self.language);
        let answer = object(said).unwrap_or_default();
        let categories_said = answer["categories"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut chosen: Vec<CategorySlug> = Vec::new();
        for name in categories_said {
            let known = categories.iter().find(|known| is_name_of(known, name)).map(|known| &known.slug);
            if let Some(slug) = known.filter(|slug| chosen.len() < prompts::MAX_CHOSEN && !chosen.contains(slug)) {
                chosen.push(slug.clone());
            }
        }
        let proposed = answer["new_category"].as_str().and_then(|label| new_label(label, self.job.categories));
        (Draft { text, categories: chosen, proposed }, fault)
    }

    /// Asks until an answer passes `judge`: at most twice, the second time with advice.
    async fn ask<T>(
        &self,
        question: &Question,
        judge: impl Fn(&str) -> (T, Option<TextFault>),
    ) -> Result<Asked<T>, MediaError> {
        let registry = &self.providers.0.registry;
        let key = self.key(question);
        if let Some(record) = registry.checkpoint(&key).await?
            && let (value, None) = judge(&String::from_utf8_lossy(&record.body))
        {
            return Ok(Asked::Good(value));
        }
        let mut request = ChatRequest {
            system: question.system.clone(),
            user: question.user.clone(),
            schema: question.schema.clone(),
            temperature: 0.0,
            max_tokens: question.max_tokens,
            is_plain: false,
        };
        let mut doubtful = None;
        for temperature in TEMPERATURES {
            request.temperature = temperature;
            let said = match self.chat(&mut request).await? {
                Called::Answered(said) => said,
                ended => return Ok(Asked::Ended(ended.without_answer())),
            };
            match judge(&said) {
                (value, None) => {
                    let provider = self.turn.provider;
                    let (name, model) = (provider.name().to_owned(), provider.model().to_owned());
                    let kind = question.kind;
                    let checkpoint = NewCheckpoint { key, kind, provider: name, model, body: said.into_bytes() };
                    registry.put_checkpoint(&checkpoint).await?;
                    return Ok(Asked::Good(value));
                }
                (value, Some(fault)) => {
                    request.system = format!("{} {}", question.system, fault.advice());
                    doubtful = Some((value, fault));
                }
            }
        }
        Ok(match doubtful {
            Some((value, fault)) => Asked::Doubtful(value, fault),
            None => Asked::Ended(failed("it was not asked")),
        })
    }

    /// The key of an answer. Another generation asks again: that is what a redo is for.
    fn key(&self, question: &Question) -> [u8; 32] {
        let generation = self.job.generation.to_be_bytes();
        let parts = [generation.as_slice(), question.system.as_bytes(), question.user.as_bytes()];
        text_key(question.kind, self.turn.provider.model(), &parts)
    }

    /// One attempt: again without each field to which the server objects, and after failures that took no time.
    async fn chat(&self, request: &mut ChatRequest) -> Result<Called<String>, MediaError> {
        let provider = self.turn.provider;
        let mut tries = 0;
        loop {
            let sent = chat::optional(&provider.left_out);
            let called = self.call(request).await?;
            tries += 1;
            let failure = match &called {
                Called::Answered(_) if request.is_plain => {
                    // It took the question without the field that it had refused without naming it.
                    provider.left_out.leave(Field::Format);
                    return Ok(called);
                }
                Called::Failed { failure, cools: false } if tries < MAX_TRIES => failure,
                _ => return Ok(called),
            };
            if provider.left_out.learn(failure, &sent) {
                continue;
            }
            let is_refused = matches!(failure.end, CallEnd::InputRefused) && failure.objection.is_none();
            if is_refused && !request.is_plain && sent.contains(&Field::Format) {
                request.is_plain = true;
            } else if matches!(failure.end, CallEnd::Failed { .. }) && !failure.timed_out {
                tokio::time::sleep(PAUSE * 2_u32.pow(tries)).await;
            } else {
                return Ok(called);
            }
        }
    }

    async fn call(&self, request: &ChatRequest) -> Result<Called<String>, MediaError> {
        let provider = self.turn.provider;
        let asked = tokens(&request.system) + tokens(&request.user) + tokens(&request.schema.to_string());
        let estimate =
            Used { audio_ms: None, tokens_in: Some(asked + TEMPLATE_TOKENS), tokens_out: Some(request.max_tokens) };
        let bill = Bill {
            book: Some(self.job.book),
            generation: self.job.generation,
            step: MediaStep::Summarise,
            window: None,
            budget_micro: self.job.budget_micro,
            estimate,
            limit: provider.limit(Duration::ZERO),
        };
        let call = Box::pin(async {
            let client = &self.providers.0.client;
            let (answer, request_id) = chat::ask(client, self.server, &provider.left_out, request).await?;
            let used = Used { audio_ms: None, tokens_in: answer.tokens_in, tokens_out: answer.tokens_out };
            Ok::<_, CallFailure>(Answered { value: answer.content, used, request_id })
        });
        self.providers.paid(provider, &self.turn.fingerprint, &bill, call).await
    }
}

fn failed(text: &str) -> Called<()> {
    Called::Failed { failure: CallFailure::input_refused(text), cools: false }
}

fn too_small(context: u64) -> Written {
    Written::Ended(failed(&format!(
        "its context of {context} tokens is too small for this book; a larger context_tokens needs a model that has it"
    )))
}

/// The text of a field of the object in an answer, or the whole answer where there is no object.
fn text_in(said: &str, field: &str) -> String {
    match object(said) {
        Some(answer) => answer[field].as_str().unwrap_or_default().to_owned(),
        None => after_thoughts(said).to_owned(),
    }
}

/// Whether a model means this category. It may write its label instead of its slug.
fn is_name_of(category: &CategoryRecord, name: &str) -> bool {
    let name = name.trim();
    category.slug.as_str() == name || category.label.eq_ignore_ascii_case(name)
}

/// The label of a new category, if it is one, and new.
fn new_label(label: &str, known: &[CategoryRecord]) -> Option<String> {
    let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_label = (2..=MAX_LABEL).contains(&label.chars().count())
        && label.chars().all(|letter| letter.is_alphanumeric() || " -'&".contains(letter))
        && !["null", "none", "n/a"].contains(&label.to_lowercase().as_str());
    let is_new = !known.iter().any(|category| is_name_of(category, &label));
    (is_label && is_new).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(slug: &str, label: &str) -> CategoryRecord {
        CategoryRecord { slug: slug.parse().unwrap(), label: label.to_owned(), hint: None, accepted: true }
    }

    #[test]
    fn a_new_label_is_short_and_new() {
        let known = [category("crime", "Crime fiction")];
        assert_eq!(new_label(" Sea  stories ", &known).as_deref(), Some("Sea stories"));
        for label in ["", "x", "crime", "CRIME FICTION", "null", "<b>bold</b>", &"long ".repeat(20)] {
            assert_eq!(new_label(label, &known), None, "{label}");
        }
    }

    #[test]
    fn an_answer_without_an_object_is_its_own_text() {
        assert_eq!(text_in("<think>hm</think> A note.", "summary"), "A note.");
        assert_eq!(text_in(r#"{"summary": "A note."}"#, "summary"), "A note.");
        assert_eq!(text_in(r#"{"other": "A note."}"#, "summary"), "");
    }

    #[test]
    fn categories_are_chosen_by_slug_or_label() {
        let crime = category("crime", "Crime fiction");
        assert!(is_name_of(&crime, "crime") && is_name_of(&crime, " crime Fiction "));
        assert!(!is_name_of(&crime, "romance, crime"));
    }
}
