//! The texts of a book: its sentences with their embeddings, which are also searched, its description, and its categories.

use std::sync::Arc;
use std::time::Duration;

use contracts::CategorySlug;
use jiff::Timestamp;
use media::{Cause, MediaError, codes};
use store::relational::{BookDescription, BookRecord, BookWriteOutcome, CategoryRecord, PipelineRecord};
use text::{Embedding, Label, PASSAGES, Passage, Score, TextError, parts_of, passages_of};

use super::passages::{TimedSentence, sentences_of};
use super::steps::{StepEnd, Steps};
use crate::providers::{DescribeJob, Description, Outcome, TextFault};

/// Parts that are read at once.
const PARTS: u32 = 64;
/// Sentences that one call embeds.
const AT_ONCE: usize = 1_000;
/// Pause before a model that is busy is asked again.
const BUSY: Duration = Duration::from_secs(2);
/// Longest label of a proposed category, in characters.
const MAX_LABEL: usize = 60;

/// Why sentences have no embeddings, as the end of the step.
type NoEmbeddings = StepEnd;

impl Steps {
    /// Makes the texts of a book out of its transcript.
    pub(super) async fn summarise(&self, record: &PipelineRecord) -> Result<StepEnd, MediaError> {
        let database = self.pipelines.database();
        let Some(book) = database.book(record.book).await? else {
            return Ok(StepEnd::Failed(Cause::new(codes::BOOK_DELETED, "")));
        };
        let passages = match self.passages(record).await? {
            Ok(passages) => passages,
            Err(end) => return Ok(end),
        };
        if passages.is_empty() {
            tracing::info!(book.id = %book.id, "nobody speaks in the recording of a book, so it has no description");
            return Ok(StepEnd::Finished);
        }
        let embeddings: Arc<[Embedding]> = passages.iter().map(|passage| passage.embedding.clone()).collect();
        let accepted: Vec<CategoryRecord> =
            database.categories().await?.into_iter().filter(|category| category.accepted).collect();
        let scores = match self.scores(&accepted, &embeddings).await {
            Ok(scores) => scores,
            Err(error) => return Ok(failed(&error)),
        };
        let description = match self.describe(record, &book, passages, embeddings, &accepted).await? {
            Described::As(description) => Some(description),
            Described::ByAdmin => None,
            Described::Ends(end) => return Ok(end),
        };
        self.store_description(&book, description, &scores).await?;
        Ok(StepEnd::Finished)
    }

    /// The sentences with their embeddings: those that are stored, or new ones, which are stored.
    async fn passages(&self, record: &PipelineRecord) -> Result<Result<Vec<Passage>, NoEmbeddings>, MediaError> {
        let stored = self.stored_passages(record).await?;
        if !stored.is_empty() {
            return Ok(Ok(stored));
        }
        // The segments, with the times of all words, are not kept while the sentences are embedded.
        let sentences = sentences_of(&self.pipelines.transcript(record.book).await?.unwrap_or_default());
        let mut passages = Vec::with_capacity(sentences.len());
        for chunk in sentences.chunks(AT_ONCE) {
            match self.embed(chunk.iter().map(|sentence| sentence.text.clone()).collect()).await {
                Ok(embeddings) => passages.extend(chunk.iter().zip(embeddings).map(passage)),
                Err(error) => return Ok(Err(failed(&error))),
            }
        }
        let parts = parts_of(&passages);
        self.pipelines.database().put_text_parts(record.book, record.generation, PASSAGES, &parts).await?;
        tracing::info!(book.id = %record.book, sentences = passages.len(), "the sentences of a book are embedded");
        Ok(Ok(passages))
    }

    /// What an earlier try of the same run has stored. Parts that cannot be read are made again.
    async fn stored_passages(&self, record: &PipelineRecord) -> Result<Vec<Passage>, MediaError> {
        let (database, mut passages, mut from) = (self.pipelines.database(), Vec::new(), 0);
        loop {
            let parts = database.text_parts(record.book, record.generation, PASSAGES, from, PARTS).await?;
            let count = u32::try_from(parts.len()).unwrap_or(PARTS);
            for part in parts {
                match passages_of(&part) {
                    Some(read) => passages.extend(read),
                    None => return Ok(Vec::new()),
                }
            }
            if count < PARTS {
                return Ok(passages);
            }
            from += count;
        }
    }

    /// Embeddings, as soon as the model is free.
    async fn embed(&self, texts: Vec<String>) -> Result<Vec<Embedding>, TextError> {
        loop {
            match self.embeddings.embed(texts.clone()).await {
                Err(TextError::Busy) => tokio::time::sleep(BUSY).await,
                done => return done,
            }
        }
    }

    /// How well each category fits, the best first.
    async fn scores(&self, accepted: &[CategoryRecord], sentences: &[Embedding]) -> Result<Fits, TextError> {
        let hint = |category: &CategoryRecord| match &category.hint {
            Some(hint) => format!("{}: {hint}", category.label),
            None => category.label.clone(),
        };
        let hints = self.embed(accepted.iter().map(hint).collect()).await?;
        let labels: Vec<Label<'_>> =
            accepted.iter().zip(&hints).map(|(category, hint)| Label { slug: category.slug.as_str(), hint }).collect();
        Ok(Fits { all: text::scores(sentences, &labels), chosen: text::categories(sentences, &labels) })
    }

    async fn describe(
        &self,
        record: &PipelineRecord,
        book: &BookRecord,
        passages: Vec<Passage>,
        embeddings: Arc<[Embedding]>,
        accepted: &[CategoryRecord],
    ) -> Result<Described, MediaError> {
        let known = self.pipelines.database().description(book.id).await?;
        // What an admin has written stays, so no provider is paid for another one.
        if book.description.is_some() && known.is_some_and(|known| known.source.is_none()) {
            return Ok(Described::ByAdmin);
        }
        let job = DescribeJob {
            book: book.id,
            generation: record.generation,
            title: &book.title,
            author: &book.author,
            language: book.language.as_deref(),
            sentences: passages.into_iter().map(|passage| passage.text).collect(),
            embeddings,
            categories: accepted,
            group: record.group.as_deref(),
            budget_micro: record.budget_micro,
        };
        Ok(match Box::pin(self.providers.describe(&job)).await? {
            Outcome::Done(description) => Described::As(description),
            Outcome::Wait { until, cause } => Described::Ends(StepEnd::Waits(until, cause)),
            Outcome::Failed { cause } => Described::Ends(StepEnd::Failed(cause)),
        })
    }

    async fn store_description(
        &self,
        book: &BookRecord,
        description: Option<Description>,
        fits: &Fits,
    ) -> Result<(), MediaError> {
        let now = self.pipelines.now();
        let mut said = BookDescription { description: None, source: "extract", categories: fits.chosen() };
        if let Some(Description { text, source, categories, proposed, provider, flag, .. }) = description {
            let flag = flag.map(TextFault::as_str);
            tracing::info!(book.id = %book.id, provider, flag, "a book is described");
            if !categories.is_empty() {
                said.categories = fits.of(categories);
            }
            (said.description, said.source) = (text, source);
            self.propose(proposed.as_deref()).await?;
        }
        if self.describes(book, &said, now).await? {
            return Ok(());
        }
        // An admin has removed a category meanwhile.
        said.categories.clear();
        self.describes(book, &said, now).await.map(drop)
    }

    async fn describes(&self, book: &BookRecord, said: &BookDescription, now: Timestamp) -> Result<bool, MediaError> {
        let outcome = self.pipelines.database().describe_book(book.id, said, now).await?;
        Ok(!matches!(outcome, BookWriteOutcome::UnknownCategory(_)))
    }

    /// Proposes a new category. An admin accepts it or not.
    async fn propose(&self, label: Option<&str>) -> Result<(), MediaError> {
        let Some(label) = label.map(str::trim).filter(|label| !label.is_empty()) else { return Ok(()) };
        let label: String = label.chars().filter(|letter| !letter.is_control()).take(MAX_LABEL).collect();
        let Some(slug) = slug_of(&label) else { return Ok(()) };
        if self.pipelines.database().propose_category(&slug, &label).await? {
            tracing::info!(category = %slug, "a category is proposed");
        }
        Ok(())
    }
}

/// How a book is described.
enum Described {
    /// By a provider.
    As(Description),
    /// An admin has done it.
    ByAdmin,
    /// Not now.
    Ends(StepEnd),
}

/// How well the categories fit.
struct Fits {
    all: Vec<Score>,
    chosen: Vec<Score>,
}

impl Fits {
    fn chosen(&self) -> Vec<(CategorySlug, f64)> {
        let named = |score: &Score| Some((score.slug.parse::<CategorySlug>().ok()?, f64::from(score.score)));
        self.chosen.iter().filter_map(named).collect()
    }

    /// The categories that a language model chose, with how well they fit by their meaning.
    fn of(&self, slugs: Vec<CategorySlug>) -> Vec<(CategorySlug, f64)> {
        let score = |slug: &CategorySlug| {
            let known = self.all.iter().find(|score| score.slug == slug.as_str());
            known.map_or(0.0, |known| f64::from(known.score))
        };
        slugs.into_iter().map(|slug| (slug.clone(), score(&slug))).collect()
    }
}

fn passage((sentence, embedding): (&TimedSentence, Embedding)) -> Passage {
    let TimedSentence { start_ms, end_ms, text } = sentence.clone();
    Passage { start_ms, end_ms, text, embedding }
}

/// The end of a step that needs embeddings and has none.
fn failed(error: &TextError) -> StepEnd {
    let code = match error {
        TextError::Model(_) | TextError::Vocabulary { .. } => codes::MODEL_MISSING,
        TextError::Runtime(_) | TextError::Busy | TextError::TooMany(_) | TextError::Stopped(_) => codes::INTERNAL,
    };
    StepEnd::Failed(Cause::new(code, error.to_string()))
}

/// The name of a category with this label, such as `sea-stories` of "Sea stories".
fn slug_of(label: &str) -> Option<CategorySlug> {
    let words = label.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name_in_paths() {
        let slug = |label: &str| slug_of(label).map(|slug| slug.to_string());
        assert_eq!(slug("Sea stories & Travel").as_deref(), Some("sea-stories-travel"));
        assert_eq!(slug("海"), None);
    }

    #[test]
    fn chosen_categories_have_the_scores_of_their_meaning() {
        let score = |slug: &str, score: f32| Score { slug: slug.to_owned(), score };
        let fits = Fits { all: vec![score("travel", 0.5), score("crime", 0.25)], chosen: vec![score("travel", 0.5)] };
        let slug = |slug: &str| slug.parse::<CategorySlug>().unwrap();
        assert_eq!(fits.chosen(), [(slug("travel"), 0.5)]);
        let of = fits.of(vec![slug("crime"), slug("poetry")]);
        assert_eq!(of, [(slug("crime"), 0.25), (slug("poetry"), 0.0)]);
    }
}
