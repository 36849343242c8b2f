//! One window of speech: its checkpoint, or the first provider whose text passes the gate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::{BookId, MediaStep, TranscriptFlag, TranscriptSegment};
use media::{CallEnd, MediaError, WindowKey, codes, transcript};
use store::relational::NewCheckpoint;

use super::calls::{Answered, Bill, Called, Used};
use super::file::OpenAi;
use super::http::{Billed, CallFailure};
use super::openai::audio::{self, AudioRequest};
use super::outcome::{Outcome, WindowAnswer};
use super::provider::{Provider, Runs};
use super::search::{Next, Search, Turn};
use super::{Providers, language, wav};
use crate::speech::{Engine, Heard, Judged, SpeechError, SpeechOptions, gate};

/// Samples in a millisecond.
const SAMPLES_A_MS: u64 = 16;
/// The temperature of each attempt at a server. Whisper in this process has the same.
const TEMPERATURES: [f32; 2] = [0.0, 0.2];
/// What else changes an answer: part of the key of a checkpoint.
const PARAMETERS: &str = "words; temperatures 0, 0.2";
/// Calls for one attempt: a server may object to each of three fields.
const MAX_REPEATS: usize = 4;
/// Pause that an engine with a full queue gets.
const BUSY: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// One window of speech.
#[derive(Debug, Clone)]
pub struct TranscribeJob<'a> {
    /// The book.
    pub book: BookId,
    /// The generation of its pipeline.
    pub generation: u32,
    /// The number of the window.
    pub window: u32,
    /// Mono, 16 kHz, from -1 to 1.
    pub samples: Arc<[f32]>,
    /// The language of the book, as a code such as `en`, if it is known.
    pub language: Option<&'a str>,
    /// The group of providers that is asked for; all of them if it is `None`.
    pub group: Option<&'a str>,
    /// The cap of the book in millionths of the currency's unit, instead of the file's.
    pub budget_micro: Option<i64>,
}

/// What a provider made of a window.
enum Tried {
    Good(WindowAnswer),
    Doubtful(WindowAnswer),
    Refused(String),
    Failed(String),
    Stop(Outcome<WindowAnswer>),
}

impl TranscribeJob<'_> {
    fn milliseconds(&self) -> u64 {
        (self.samples.len() as u64).div_ceil(SAMPLES_A_MS)
    }

    fn length(&self) -> Duration {
        Duration::from_millis(self.milliseconds())
    }

    /// The language as a code, where it is one that servers know.
    fn language(&self) -> Option<&'static str> {
        self.language.and_then(language::code_of)
    }

    fn key(&self, provider: &Provider) -> [u8; 32] {
        let model = match &provider.engine {
            Ok(Runs::Whisper(engine)) => engine.model(self.language()).sha256.clone(),
            _ => provider.model().to_owned(),
        };
        let kind = provider.entry.kind.as_str();
        let (pcm, language) = (&*self.samples, self.language());
        WindowKey { pcm, kind, model: &model, language, parameters: PARAMETERS, gate: gate::VERSION }.key()
    }

    fn bill(&self, provider: &Provider) -> Bill {
        Bill {
            book: Some(self.book),
            generation: self.generation,
            step: MediaStep::Transcribe,
            window: Some(self.window),
            budget_micro: self.budget_micro,
            estimate: Used { audio_ms: Some(self.milliseconds()), ..Used::default() },
            limit: provider.limit(self.length()),
        }
    }

    /// What is wrong with a text, if anything: the gate of speech, and the language that was asked for.
    fn fault(&self, heard: &Heard) -> Option<TranscriptFlag> {
        let expected = self.language();
        let is_other = || expected.is_some_and(|code| language::is_other(&heard.text(), code));
        gate::fault(heard, self.length()).or_else(|| is_other().then_some(TranscriptFlag::WrongLanguage))
    }

    fn answer(&self, provider: &Provider, key: [u8; 32], heard: Heard, flag: Option<TranscriptFlag>) -> WindowAnswer {
        let mut segments = heard.clamped(self.length()).into_segments(Duration::ZERO, "", "", flag);
        // The same window of another book has the same checkpoint; the window's row says whose it is.
        for segment in &mut segments {
            (segment.provider, segment.model) = (None, None);
        }
        let (name, model) = (provider.name().to_owned(), provider.model().to_owned());
        let body = transcript::body(&segments);
        let checkpoint = NewCheckpoint { key, kind: "window", provider: name.clone(), model: model.clone(), body };
        WindowAnswer { key, provider: name, model, flag, segments, checkpoint: Some(checkpoint) }
    }
}

impl Providers {
    /// The words of a window. Dropping the future cancels the call.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn transcribe(&self, job: &TranscribeJob<'_>) -> Result<Outcome<WindowAnswer>, MediaError> {
        let providers = &self.0.transcribe;
        let mut search = Search::default();
        let mut kept: Option<WindowAnswer> = None;
        loop {
            let step = MediaStep::Transcribe;
            let next = self.next(providers, step, job.group, &mut search, codes::WINDOW_REFUSED).await?;
            let turn = match next {
                Next::Call(turn) => turn,
                Next::Stop(stopped) => {
                    // A doubtful text is better than none; the admin sees its flag.
                    let answer = if kept.is_some() { kept } else { self.earlier(job).await? };
                    return Ok(answer.map_or(stopped, Outcome::Done));
                }
            };
            let provider = turn.provider;
            match self.try_window(&turn, job).await? {
                Tried::Good(answer) => return Ok(Outcome::Done(answer)),
                Tried::Doubtful(answer) => {
                    let flag = answer.flag.map_or("", TranscriptFlag::as_str);
                    search.refused(provider, format!("its text is doubtful ({flag})"));
                    kept = kept.or(Some(answer));
                }
                Tried::Refused(text) => search.refused(provider, text),
                Tried::Failed(text) => search.failed(provider, text),
                Tried::Stop(stopped) => return Ok(kept.map_or(stopped, Outcome::Done)),
            }
        }
    }

    /// The answer of an earlier time, of any provider of the group: nobody can be asked now.
    async fn earlier(&self, job: &TranscribeJob<'_>) -> Result<Option<WindowAnswer>, MediaError> {
        for provider in &self.0.transcribe {
            let is_of_group = job.group.is_none_or(|group| group == provider.entry.group);
            if is_of_group && let Some(answer) = self.stored(job, provider).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// The checkpoint of a window from this provider.
    async fn stored(&self, job: &TranscribeJob<'_>, provider: &Provider) -> Result<Option<WindowAnswer>, MediaError> {
        let key = job.key(provider);
        let Some(record) = self.0.desk.checkpoint(&key).await? else { return Ok(None) };
        // One that a later version wrote is not read; the window is asked for again.
        let Ok(segments) = serde_json::from_slice::<Vec<TranscriptSegment>>(&record.body) else { return Ok(None) };
        let flag = segments.iter().find_map(|segment| segment.flag);
        let (provider, model) = (record.provider, record.model);
        Ok(Some(WindowAnswer { key, provider, model, flag, segments, checkpoint: None }))
    }

    async fn try_window(&self, turn: &Turn<'_>, job: &TranscribeJob<'_>) -> Result<Tried, MediaError> {
        let provider = turn.provider;
        // The claim of a probe is for a call.
        if !turn.is_probe
            && let Some(answer) = self.stored(job, provider).await?
        {
            return Ok(Tried::Good(answer));
        }
        match (&provider.engine, &provider.entry.kind) {
            (Ok(Runs::Whisper(engine)), _) => self.by_whisper(turn, job, engine).await,
            (Ok(Runs::Server), super::Kind::OpenAi(server)) => self.by_server(turn, job, server).await,
            _ => Ok(Tried::Refused("it does not transcribe".to_owned())),
        }
    }

    async fn by_whisper(&self, turn: &Turn<'_>, job: &TranscribeJob<'_>, engine: &Engine) -> Result<Tried, MediaError> {
        let provider = turn.provider;
        let options = SpeechOptions { language: job.language().map(str::to_owned), words: true };
        let bill = job.bill(provider);
        let call = async {
            let heard = engine.transcribe(job.samples.clone(), &options);
            let judged = tokio::time::timeout(bill.limit, heard).await.map_err(|_| {
                let text = format!("it did not end within {} s", bill.limit.as_secs());
                CallFailure { timed_out: true, ..CallFailure::failed(text, Billed::No) }
            })?;
            let value = judged.map_err(|error| whisper_failure(&error))?;
            Ok(Answered { value, used: Used::default(), request_id: None })
        };
        let Judged { heard, flag } = match self.paid(provider, &turn.fingerprint, &bill, call).await? {
            Called::Answered(judged) => judged,
            ended => return Ok(Tried::of(ended)),
        };
        let flag = flag.or_else(|| job.fault(&heard));
        let answer = job.answer(provider, job.key(provider), heard, flag);
        Ok(if flag.is_none() { Tried::Good(answer) } else { Tried::Doubtful(answer) })
    }

    async fn by_server(&self, turn: &Turn<'_>, job: &TranscribeJob<'_>, server: &OpenAi) -> Result<Tried, MediaError> {
        if wav::size(job.samples.len()) > server.max_bytes {
            let text = format!("the window is larger than max_bytes, which is {}", server.max_bytes);
            return Ok(Tried::Refused(text));
        }
        let mut request = AudioRequest {
            file: Bytes::from(wav::file(&job.samples)),
            length: job.length(),
            language: job.language().map(str::to_owned),
            temperature: 0.0,
        };
        let mut doubtful = None;
        for temperature in TEMPERATURES {
            request.temperature = temperature;
            let heard = match self.ask_server(turn, job, server, &request).await? {
                Called::Answered(heard) => heard,
                // The doubtful text of the first attempt is all there is.
                ended => return Ok(doubtful.map_or_else(|| Tried::of(ended), Tried::Doubtful)),
            };
            let flag = job.fault(&heard);
            let answer = job.answer(turn.provider, job.key(turn.provider), heard, flag);
            if flag.is_none() {
                return Ok(Tried::Good(answer));
            }
            doubtful = doubtful.or(Some(answer));
        }
        Ok(doubtful.map_or_else(|| Tried::Refused("it was not asked".to_owned()), Tried::Doubtful))
    }

    /// One attempt; again without each field to which the server objects.
    async fn ask_server(
        &self,
        turn: &Turn<'_>,
        job: &TranscribeJob<'_>,
        server: &OpenAi,
        request: &AudioRequest,
    ) -> Result<Called<Heard>, MediaError> {
        let provider = turn.provider;
        let mut repeats = 0;
        loop {
            let sent = audio::optional(&provider.left_out);
            let call = async {
                let (answer, request_id) =
                    audio::transcribe(&self.0.client, server, &provider.left_out, request).await?;
                let charged = answer.charged.map(|length| length.as_micros().div_ceil(1000));
                let audio_ms = charged.and_then(|charged| u64::try_from(charged).ok());
                Ok(Answered { value: answer.heard, used: Used { audio_ms, ..Used::default() }, request_id })
            };
            let called = self.paid(provider, &turn.fingerprint, &job.bill(provider), call).await?;
            repeats += 1;
            match &called {
                Called::Failed { failure, cools: false }
                    if repeats < MAX_REPEATS && provider.left_out.learn(failure, &sent) => {}
                _ => return Ok(called),
            }
        }
    }
}

impl Tried {
    /// A call without an answer.
    fn of<T>(called: Called<T>) -> Self {
        match called {
            Called::Failed { failure, .. } => match failure.end {
                CallEnd::InputRefused => Self::Refused(failure.text),
                _ => Self::Failed(failure.text),
            },
            Called::NoBudget { until, cause } => Self::Stop(Outcome::Wait { until, cause }),
            // Its caller has taken the answer.
            Called::Answered(_) => Self::Failed("its answer was lost".to_owned()),
        }
    }
}

/// What an error of Whisper in this process means.
fn whisper_failure(error: &SpeechError) -> CallFailure {
    let text = error.to_string();
    match error {
        SpeechError::Busy => CallFailure::new(CallEnd::RateLimited { retry_after: Some(BUSY) }, text, Billed::No),
        error if error.is_permanent() => CallFailure::input_refused(text),
        _ => CallFailure::failed(text, Billed::No),
    }
}
