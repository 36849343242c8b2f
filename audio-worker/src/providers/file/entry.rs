//! One provider of the operator's file.

use std::ops::RangeInclusive;
use std::time::Duration;

use contracts::{Currency, MediaStep};
use media::Price;
use reqwest::Url;
use serde_yaml_ng::Value;

use super::fields::Fields;
use crate::providers::key_file::KeyFile;

/// Limits of `timeout.base`.
const BASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// Limits of `timeout.per_audio_second`.
const PER_SECOND: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
/// Limits of `max_bytes`. A second of audio has 32,000 bytes.
const BYTES: RangeInclusive<u64> = 64 << 10..=512 << 20;
/// What a server takes of a file, without a setting: OpenAI's limit, which others copied.
const DEFAULT_BYTES: u64 = 25 << 20;
/// Limits of `concurrency`.
const CONCURRENCY: RangeInclusive<u64> = 1..=64;
/// Calls at the same time from one worker, without a setting.
const DEFAULT_CONCURRENCY: u64 = 2;
/// Limits of `context_tokens`. Below it, no piece fits beside the instructions and the answer.
const CONTEXT: RangeInclusive<u64> = 2_048..=4_000_000;
/// The context of a model, without a setting: a small one, because a longer text would be cut without a word.
const DEFAULT_CONTEXT: u64 = 8_192;
/// Limits of a price: a thousand units of a currency.
const MICRO: RangeInclusive<u64> = 0..=1_000_000_000;

/// A provider as the operator's file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique name.
    pub name: String,
    /// The group for which a book may ask.
    pub group: String,
    /// What it is.
    pub kind: Kind,
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Whisper in this process.
    Whisper {
        /// Its name in `models.yaml`.
        model: String,
    },
    /// Whole sentences of the book itself, without a language model.
    Extract,
    /// A server with the interface of OpenAI.
    OpenAi(Box<OpenAi>),
}

impl Kind {
    /// Its name in the file and in checkpoints.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Whisper { .. } => "whisper",
            Self::Extract => "extract",
            Self::OpenAi(_) => "openai",
        }
    }
}

/// A server with the interface of OpenAI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAi {
    /// Its address, to which `/audio/transcriptions` or `/chat/completions` is added.
    pub base_url: Url,
    /// The model to ask for.
    pub model: String,
    /// Where its key is.
    pub api_key_file: Option<KeyFile>,
    /// How long it may take.
    pub timeout: TimeLimit,
    /// Largest request.
    pub max_bytes: u64,
    /// Calls at the same time.
    pub concurrency: usize,
    /// Tokens of a request and its answer together.
    pub context_tokens: u64,
    /// What it costs; nothing if it is not set.
    pub price: Option<Price>,
}

impl OpenAi {
    /// The address of a route below the server's.
    pub fn endpoint(&self, route: &str) -> String {
        format!("{}/{route}", self.base_url.as_str().trim_end_matches('/'))
    }
}

/// How long a call may take. It grows with the audio, because a fixed limit fails for long windows on slow machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimit {
    /// For any call.
    pub base: Duration,
    /// In addition, for each second of audio.
    pub per_audio_second: Duration,
}

impl TimeLimit {
    /// The limit for this length of audio.
    pub fn of(&self, audio: Duration) -> Duration {
        self.base.saturating_add(self.per_audio_second.mul_f64(audio.as_secs_f64().min(86_400.0)))
    }
}

impl Entry {
    /// A provider without settings of its own.
    pub(super) fn built_in(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), group: "local".to_owned(), kind }
    }

    /// What the provider costs.
    pub fn price(&self) -> Option<&Price> {
        match &self.kind {
            Kind::OpenAi(server) => server.price.as_ref(),
            Kind::Whisper { .. } | Kind::Extract => None,
        }
    }

    /// The model's name; `None` for a provider without a model.
    pub fn model(&self) -> Option<&str> {
        match &self.kind {
            Kind::Whisper { model } => Some(model),
            Kind::OpenAi(server) => Some(&server.model),
            Kind::Extract => None,
        }
    }

    /// Reads an entry of the list of `task`; `None`, and mistakes, if it is wrong.
    pub(super) fn read(task: MediaStep, place: String, value: Value, mistakes: &mut Vec<String>) -> Option<Self> {
        let before = mistakes.len();
        let mut fields = Fields::of(place, value, mistakes)?;
        let name = fields.required("name", "groq").filter(|name| is_named(&mut fields, "name", name));
        if let Some(name) = &name {
            fields.called(name);
        }
        let group = fields.required("group", "local").filter(|group| is_named(&mut fields, "group", group));
        let kind = kind(task, &mut fields);
        // Only what the kind knows was taken, so a field of another kind is a mistake.
        fields.finish(advice);
        let entry = Self { name: name?, group: group?, kind: kind? };
        (mistakes.len() == before).then_some(entry)
    }
}

/// What a field that does not exist was probably meant to be.
fn advice(field: &str) -> Option<&'static str> {
    match field {
        "api_key" | "key" | "token" | "password" => {
            Some("a key is never in this file: write it into a file of its own, and name that in api_key_file")
        }
        "url" | "address" | "endpoint" => Some("the address of a server is its base_url"),
        _ => None,
    }
}

fn is_named(fields: &mut Fields<'_>, field: &str, text: &str) -> bool {
    let is_name = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte));
    if !is_name {
        fields.mistake(field, "it must be 1 to 32 characters out of a-z, 0-9, '.', '_' and '-'");
    }
    is_name
}

fn kind(task: MediaStep, fields: &mut Fields<'_>) -> Option<Kind> {
    let of_audio = task == MediaStep::Transcribe;
    let (known, example) = if of_audio { ("whisper, openai", "whisper") } else { ("extract, openai", "extract") };
    let kind = fields.required("kind", example);
    match kind.as_deref().unwrap_or_default() {
        "" => {
            fields.ignore_rest();
            None
        }
        "whisper" if of_audio => Some(Kind::Whisper { model: fields.required("model", "whisper-tiny.en")? }),
        "extract" if !of_audio => Some(Kind::Extract),
        "openai" => server(of_audio, fields).map(|server| Kind::OpenAi(Box::new(server))),
        "aws" => {
            fields.mistake("kind", "there is no kind aws; AWS of the gRPC interface is the group cloud, of any kind");
            fields.ignore_rest();
            None
        }
        _ => {
            fields.mistake("kind", format!("there is no such kind here; there are {known}"));
            fields.ignore_rest();
            None
        }
    }
}

fn server(of_audio: bool, fields: &mut Fields<'_>) -> Option<OpenAi> {
    let base_url = fields.required("base_url", "http://127.0.0.1:8000/v1");
    let base_url = base_url.and_then(|text| base_url_of(&text).map_err(|wrong| fields.mistake("base_url", wrong)).ok());
    let model = fields.required("model", if of_audio { "whisper-1" } else { "llama3.1:8b" });
    let api_key_file = fields.text("api_key_file").map(KeyFile::new);
    if let Some(Err(wrong)) = api_key_file.as_ref().map(KeyFile::read) {
        fields.mistake("api_key_file", wrong);
    }
    let timeout = timeout(of_audio, fields);
    let concurrency = fields.whole("concurrency", &CONCURRENCY).unwrap_or(DEFAULT_CONCURRENCY);
    let mut max_bytes = DEFAULT_BYTES;
    let mut context_tokens = DEFAULT_CONTEXT;
    if of_audio {
        max_bytes = fields.parsed("max_bytes", |text| settings::bytes_of(text, &BYTES)).unwrap_or(max_bytes);
    } else {
        context_tokens = fields.whole("context_tokens", &CONTEXT).unwrap_or(context_tokens);
    }
    let price = price(of_audio, fields);
    Some(OpenAi {
        base_url: base_url?,
        model: model?,
        api_key_file,
        timeout,
        max_bytes,
        concurrency: usize::try_from(concurrency).unwrap_or(1),
        context_tokens,
        price,
    })
}

fn base_url_of(text: &str) -> Result<Url, String> {
    let wrong = "it must be the address of a server, such as http://gpu:8000/v1";
    // The parser's error would show the address, which may have a password.
    let url = Url::parse(text).map_err(|_| wrong.to_owned())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(wrong.to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(
            "it must have no user, password, query or fragment; a key is in the file of api_key_file".to_owned()
        );
    }
    for route in ["/audio/transcriptions", "/chat/completions"] {
        if url.path().trim_end_matches('/').ends_with(route) {
            return Err(format!("leave out {route}, which is added"));
        }
    }
    Ok(url)
}

fn timeout(of_audio: bool, fields: &mut Fields<'_>) -> TimeLimit {
    let base = Duration::from_secs(if of_audio { 30 } else { 120 });
    let per_second = Duration::from_secs(u64::from(of_audio));
    let mut limit = TimeLimit { base, per_audio_second: per_second };
    let Some(mut of_timeout) = fields.map("timeout") else { return limit };
    if let Some(base) = of_timeout.parsed("base", |text| settings::duration_of(text, &BASE)) {
        limit.base = base;
    }
    if of_audio
        && let Some(more) = of_timeout.parsed("per_audio_second", |text| settings::duration_of(text, &PER_SECOND))
    {
        limit.per_audio_second = more;
    }
    of_timeout.finish(|_| None);
    limit
}

fn price(of_audio: bool, fields: &mut Fields<'_>) -> Option<Price> {
    let mut of_price = fields.map("price")?;
    let mut amounts = Vec::new();
    let names: &[&'static str] =
        if of_audio { &["per_audio_minute"] } else { &["per_million_tokens_in", "per_million_tokens_out"] };
    for &name in names {
        amounts.push(of_price.map(name).and_then(money));
    }
    if amounts.iter().all(Option::is_none) {
        of_price.mistake(names[0], "it is missing; set it, for example to {micro: 700, currency: USD}");
    }
    let currencies: Vec<Currency> = amounts.iter().flatten().map(|(_, currency)| *currency).collect();
    let currency = *currencies.first()?;
    if currencies.iter().any(|other| *other != currency) {
        of_price.mistake("currency", "all prices of a provider must have one currency");
    }
    of_price.finish(|_| None);
    let amount = |index: usize| amounts.get(index).copied().flatten().map_or(0, |(micro, _)| micro);
    let mut price = Price {
        currency: currency.code().to_owned(),
        per_audio_minute: 0,
        per_million_tokens_in: 0,
        per_million_tokens_out: 0,
    };
    if of_audio {
        price.per_audio_minute = amount(0);
    } else {
        price.per_million_tokens_in = amount(0);
        price.per_million_tokens_out = amount(1);
    }
    Some(price)
}

/// `{micro: 700, currency: USD}`: an amount in millionths of the currency's unit.
pub(super) fn money(mut fields: Fields<'_>) -> Option<(i64, Currency)> {
    let micro = fields.whole("micro", &MICRO);
    if micro.is_none() {
        fields.mistake("micro", "set it to an amount in millionths of the currency's unit, such as 700");
    }
    let currency = fields.parsed("currency", |text| text.parse::<Currency>().map_err(|error| error.to_string()));
    if currency.is_none() {
        fields.mistake("currency", "set it to a code of ISO 4217, such as USD");
    }
    fields.finish(|_| None);
    Some((i64::try_from(micro?).ok()?, currency?))
}
