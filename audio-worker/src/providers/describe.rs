//! The description of a book: the first provider whose text passes the gate.

use std::sync::Arc;
use std::time::Duration;

use contracts::{BookId, MediaStep};
use media::{CallEnd, MediaError, codes};
use store::relational::CategoryRecord;

use super::calls::{Answered, Bill, Called, Used};
use super::file::Kind;
use super::http::{Billed, CallFailure};
use super::map_reduce::{Draft, Writer, Written};
use super::outcome::{Description, Outcome};
use super::provider::Backend;
use super::selection::{Next, Selection, Turn};
use super::text_gate::TextFault;
use super::{Providers, language};

/// Characters of a book by which its language is known.
const SAMPLE: usize = 4_000;

/// One book to describe.
#[derive(Debug, Clone)]
pub struct DescribeJob<'a> {
    /// The book.
    pub book: BookId,
    /// The generation of its pipeline.
    pub generation: u32,
    /// Its title.
    pub title: &'a str,
    /// Its author.
    pub author: &'a str,
    /// Its language, as a code such as `en`, if it is known.
    pub language: Option<&'a str>,
    /// Its sentences, in order.
    pub sentences: Arc<[String]>,
    /// The embedding of each sentence.
    pub embeddings: Arc<[text::Embedding]>,
    /// The accepted categories.
    pub categories: &'a [CategoryRecord],
    /// The group of providers that is asked for; all of them if it is `None`.
    pub group: Option<&'a str>,
    /// The cap of the book in millionths of the currency's unit, instead of the file's.
    pub budget_micro: Option<i64>,
}

/// What a provider made of a book.
enum Tried {
    Good(Description),
    Doubtful(Description, TextFault),
    Refused(String),
    Failed { text: String, cools: bool },
    Stop(Outcome<Description>),
}

impl DescribeJob<'_> {
    /// The language in which it is to be described: the book's own, as it says or as its text is.
    fn written_in(&self) -> Option<&'static str> {
        let of_text = || {
            let mut sample = String::new();
            for sentence in &*self.sentences {
                sample.push_str(sentence);
                sample.push(' ');
                if sample.len() > SAMPLE {
                    break;
                }
            }
            language::of_text(&sample)
        };
        self.language.and_then(language::code_of).or_else(of_text)
    }
}

impl Providers {
    /// The description of a book.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn describe(&self, job: &DescribeJob<'_>) -> Result<Outcome<Description>, MediaError> {
        let mut selection = Selection::default();
        let mut kept: Option<Description> = None;
        loop {
            let step = MediaStep::Summarise;
            let next = self.next(&self.0.describe, step, job.group, &mut selection, codes::DESCRIPTION_REFUSED).await?;
            let turn = match next {
                Next::Call(turn) => turn,
                Next::Stop(stopped) => return Ok(kept.map_or(stopped, Outcome::Done)),
            };
            let provider = turn.provider;
            let tried = self.try_book(&turn, job).await?;
            // A trial may have ended without a call: all answers were stored, or the book does not fit.
            self.give_back_probe(&turn, step).await?;
            match tried {
                Tried::Good(description) => return Ok(Outcome::Done(description)),
                Tried::Doubtful(description, fault) => {
                    selection.refused(provider, format!("its text is doubtful ({})", fault.as_str()));
                    kept = kept.or(Some(description));
                }
                Tried::Refused(text) => selection.refused(provider, text),
                Tried::Failed { text, cools } => selection.failed(provider, text, cools),
                Tried::Stop(stopped) => return Ok(kept.map_or(stopped, Outcome::Done)),
            }
        }
    }

    async fn try_book(&self, turn: &Turn<'_>, job: &DescribeJob<'_>) -> Result<Tried, MediaError> {
        match (&turn.provider.engine, &turn.provider.entry.kind) {
            (Ok(Backend::Extract), _) => self.by_extract(turn, job).await,
            (Ok(Backend::Server), Kind::OpenAi(server)) => {
                let writer = Writer { providers: self, turn, job, server, language: job.written_in() };
                Ok(match writer.write().await? {
                    Written::Good(draft) => Tried::Good(described(turn, draft, None)),
                    Written::Doubtful(draft, fault) => Tried::Doubtful(described(turn, draft, Some(fault)), fault),
                    Written::Ended(ended) => Tried::of(ended),
                })
            }
            _ => Ok(Tried::Refused("it does not describe".to_owned())),
        }
    }

    /// Whole sentences of the book. It costs nothing, and is in the ledger like every call.
    async fn by_extract(&self, turn: &Turn<'_>, job: &DescribeJob<'_>) -> Result<Tried, MediaError> {
        let provider = turn.provider;
        let bill = Bill {
            book: Some(job.book),
            generation: job.generation,
            step: MediaStep::Summarise,
            window: None,
            budget_micro: None,
            estimate: Used::default(),
            limit: provider.limit(Duration::ZERO),
        };
        let (sentences, embeddings) = (job.sentences.clone(), job.embeddings.clone());
        let call = Box::pin(async move {
            let chosen = tokio::task::spawn_blocking(move || {
                let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
                text::describe(&sentences, &embeddings)
            });
            let value = chosen.await.map_err(|error| CallFailure::failed(error.to_string(), Billed::No))?;
            Ok::<_, CallFailure>(Answered { value, used: Used::default(), request_id: None })
        });
        Ok(match self.paid(provider, &turn.fingerprint, &bill, call).await? {
            Called::Answered(text) => Tried::Good(Description {
                text,
                source: "extract",
                categories: Vec::new(),
                proposed: None,
                provider: provider.name().to_owned(),
                model: provider.model().to_owned(),
                flag: None,
            }),
            ended => Tried::of(ended.without_answer()),
        })
    }
}

impl Tried {
    /// A call without an answer.
    fn of(called: Called<()>) -> Self {
        match called {
            Called::Failed { failure, cools } => match failure.end {
                CallEnd::InputRefused => Self::Refused(failure.text),
                _ => Self::Failed { text: failure.text, cools },
            },
            Called::NoBudget { until, cause } => Self::Stop(Outcome::Wait { until, cause }),
            // Its caller has taken the answer.
            Called::Answered(()) => Self::Failed { text: "its answer was lost".to_owned(), cools: false },
        }
    }
}

/// A model's description. One that repeats itself or is in another language is not shown; one of the wrong length is.
fn described(turn: &Turn<'_>, draft: Draft, flag: Option<TextFault>) -> Description {
    let is_shown = !draft.text.is_empty() && matches!(flag, None | Some(TextFault::Length));
    Description {
        text: is_shown.then_some(draft.text),
        source: "ai",
        categories: draft.categories,
        proposed: draft.proposed,
        provider: turn.provider.name().to_owned(),
        model: turn.provider.model().to_owned(),
        flag,
    }
}
