//! The operator's file of providers: which services transcribe and describe, in which order, and what they may cost.
//!
//! ```yaml
//! budget: {per_book: {micro: 5000000, currency: USD}, per_day: {micro: 20000000, currency: USD}}
//! transcribe:
//!   - {name: here, group: local, kind: whisper, model: whisper-tiny.en}
//!   - {name: groq, group: cloud, kind: openai, base_url: "https://api.groq.com/openai/v1", model: whisper-large-v3,
//!      api_key_file: /run/secrets/groq, price: {per_audio_minute: {micro: 700, currency: USD}}}
//! describe:
//!   - {name: extract, group: local, kind: extract}
//! ```
//!
//! In: the file. Out: entries whose values are possible, or all mistakes at once, each with its place. Addresses come from this file
//! only, so no request of a client can make the worker call another one. Keys are in files of their own and in no message.

mod entry;
mod fields;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use contracts::{Currency, MediaStep};
use serde_yaml_ng::Value;
use settings::{Check, SettingErrors};
use store::relational::CallCaps;

pub use entry::{Entry, Kind, OpenAi, TimeLimit};
use fields::Fields;

/// Largest file, in bytes.
const MAX_FILE: u64 = 256 << 10;
/// Most providers of one list.
const MAX_PROVIDERS: usize = 32;

/// Where the providers are configured.
#[derive(Debug, Clone, Default, Args)]
pub struct ProviderArgs {
    /// File of the providers that transcribe and describe, YAML (docs/PROVIDERS.md). When not set, this worker does both itself, without
    /// any other service
    #[arg(long, env = "SIGHTLINE_PROVIDERS_FILE", value_name = "FILE")]
    pub providers_file: Option<PathBuf>,
}

impl ProviderArgs {
    /// The providers of the file, or those of this process. Blocking.
    ///
    /// # Errors
    /// When the file cannot be read, or has mistakes: all of them, one per line, each with its place.
    pub fn load(&self) -> anyhow::Result<ProviderFile> {
        let Some(path) = &self.providers_file else { return Ok(ProviderFile::built_in()) };
        let shown = format!("SIGHTLINE_PROVIDERS_FILE: {}", path.display());
        let text = read(path).map_err(|error| anyhow::anyhow!("{shown} cannot be read: {error}"))?;
        ProviderFile::parse(&text).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(|mistake| format!("{shown}: {mistake}")).collect();
            anyhow::anyhow!("{}", lines.join("\n"))
        })
    }
}

impl Check for ProviderArgs {
    fn check(&self, errors: &mut SettingErrors) {
        errors.collect(self.load());
    }
}

fn read(path: &Path) -> Result<String, String> {
    let facts = std::fs::metadata(path).map_err(|error| error.to_string())?;
    // A pipe would be waited for.
    if !facts.is_file() || facts.len() > MAX_FILE {
        return Err(format!("it must be a file of at most {} KiB", MAX_FILE >> 10));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

/// The providers, each list in the order in which they are asked, and what may be spent on them.
#[derive(Debug, Clone)]
pub struct ProviderFile {
    /// They turn speech into text.
    pub transcribe: Vec<Entry>,
    /// They describe a book.
    pub describe: Vec<Entry>,
    /// What the calls may cost; without bound if it is not set.
    pub caps: Option<CallCaps>,
}

impl ProviderFile {
    /// The providers of an installation without a file: this process itself.
    pub fn built_in() -> Self {
        let whisper = Kind::Whisper { model: "whisper-tiny.en".to_owned() };
        Self {
            transcribe: vec![Entry::built_in("here", whisper)],
            describe: vec![Entry::built_in("extract", Kind::Extract)],
            caps: None,
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// All its mistakes, each with its place.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let document: Value = serde_yaml_ng::from_str(text).map_err(|error| vec![place_of(&error)])?;
        let mut mistakes = Vec::new();
        let file = Self::of(document, &mut mistakes);
        file.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    fn of(document: Value, mistakes: &mut Vec<String>) -> Option<Self> {
        let mut fields = Fields::of(String::new(), document, mistakes)?;
        let caps = fields.map("budget").and_then(caps);
        let transcribe = entries(MediaStep::Transcribe, "transcribe", &mut fields);
        let describe = entries(MediaStep::Summarise, "describe", &mut fields);
        fields.finish(|_| None);
        let file = Self { transcribe, describe, caps };
        mistakes.extend(file.repeated_names());
        mistakes.extend(file.currencies());
        Some(file)
    }

    /// The list of a step.
    pub fn of_step(&self, step: MediaStep) -> &[Entry] {
        if step == MediaStep::Transcribe { &self.transcribe } else { &self.describe }
    }

    /// All entries.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.transcribe.iter().chain(&self.describe)
    }

    /// The groups for which a book may ask.
    pub fn groups(&self) -> BTreeSet<&str> {
        self.entries().map(|entry| &*entry.group).collect()
    }

    /// Whether this process transcribes, for which it needs a model.
    pub fn uses_whisper(&self) -> bool {
        self.transcribe.iter().any(|entry| matches!(entry.kind, Kind::Whisper { .. }))
    }

    /// The routes of the interface name a provider without its step.
    fn repeated_names(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let repeated = self.entries().filter(|entry| !seen.insert(&*entry.name));
        repeated.map(|entry| format!("{}: two providers have this name; rename one of them", entry.name)).collect()
    }

    /// Prices and caps are added up, so they must be in one currency.
    fn currencies(&self) -> Option<String> {
        let mut places: BTreeMap<&str, &str> = BTreeMap::new();
        if let Some(caps) = &self.caps {
            places.insert(&caps.currency, "budget");
        }
        for entry in self.entries() {
            if let Some(price) = entry.price() {
                places.entry(&price.currency).or_insert(&entry.name);
            }
        }
        let listed: Vec<String> = places.iter().map(|(currency, place)| format!("{currency} ({place})")).collect();
        (places.len() > 1)
            .then(|| format!("all prices and the budget must have one currency; there are {}", listed.join(", ")))
    }
}

fn entries(step: MediaStep, list: &'static str, fields: &mut Fields<'_>) -> Vec<Entry> {
    let values = fields.list(list, MAX_PROVIDERS);
    if values.is_empty() {
        let kind = if step == MediaStep::Transcribe { "whisper, model: whisper-tiny.en" } else { "extract" };
        fields.mistake(list, format!("name at least one provider, such as {{name: here, group: local, kind: {kind}}}"));
    }
    let numbered = values.into_iter().enumerate();
    let mistakes = fields.mistakes();
    numbered.filter_map(|(index, value)| Entry::read(step, format!("{list}[{index}]"), value, mistakes)).collect()
}

fn caps(mut fields: Fields<'_>) -> Option<CallCaps> {
    let book = fields.map("per_book").and_then(entry::money);
    let day = fields.map("per_day").and_then(entry::money);
    let currencies: BTreeSet<Currency> = [book, day].into_iter().flatten().map(|(_, currency)| currency).collect();
    if currencies.len() != 1 {
        fields.mistake("per_book", "set per_book, per_day or both, in one currency");
    }
    fields.finish(|_| None);
    let currency = currencies.first()?.code().to_owned();
    Some(CallCaps { currency, book_micro: book.map(|(micro, _)| micro), day_micro: day.map(|(micro, _)| micro) })
}

/// The place of an error in the form of the document. The parser's words may quote a value.
fn place_of(error: &serde_yaml_ng::Error) -> String {
    let place = error.location().map_or_else(String::new, |at| format!("line {}, column {}: ", at.line(), at.column()));
    format!(
        "{place}this is not valid YAML, or a name is there twice; check the indentation, the brackets, and the blank after each colon"
    )
}

#[cfg(test)]
mod tests;
