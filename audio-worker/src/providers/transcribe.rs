//! One window of speech: its checkpoint, or the first provider whose text passes the gate.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contracts::{BookId, MediaStep, TranscriptFlag, TranscriptSegment};
use media::{CallEnd, MediaError, WindowKey, codes, transcript};
use store::relational::NewCheckpoint;

use super::calls::{Answered, Bill, Called, Used};
use super::file::{Kind, OpenAi};
use super::http::{Billed, CallFailure};
use super::openai::audio::{self, AudioRequest};
use super::outcome::{Outcome, WindowAnswer};
use super::provider::{Backend, Provider};
use super::selection::{Next, Selection, Turn};
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
    Failed { text: String, cools: bool },
    Stop(Outcome<WindowAnswer>),
}

impl TranscribeJob<'_> {
    fn milliseconds(&self) -> u64 {
        (self.samples.len() as u64).div_ceil(SAMPLES_A_MS)
    }

    fn length(&self) -> Duration {
        Duration::from_millis(self.milliseconds())
    }

    /// What Whisper in this process is told.
    fn options(&self, provider: &Provider) -> SpeechOptions {
        let model = provider.entry.model().map(str::to_owned);
        SpeechOptions { model, language: self.language.and_then(language::told), words: true }
    }

    /// The name of the model that a provider uses for this job, and what stands for it in the key of a checkpoint.
    fn model<'p>(&self, provider: &'p Provider) -> (&'p str, &'p str) {
        if let Ok(Backend::Whisper(engine)) = &provider.engine
            && let Ok(model) = engine.model(&self.options(provider))
        {
            return (&model.name, &model.sha256);
        }
        (provider.model(), provider.model())
    }

    fn key(&self, provider: &Provider) -> [u8; 32] {
        let told = self.language.and_then(language::told);
        let (kind, (_, model)) = (provider.entry.kind.as_str(), self.model(provider));
        let (pcm, language) = (&*self.samples, told.as_deref());
        WindowKey { pcm, kind, model, language, parameters: PARAMETERS, gate: gate::VERSION }.key()
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

    /// Whether a text is in another language than the book.
    fn language_fault(&self, heard: &Heard) -> Option<TranscriptFlag> {
        let is_other = self.language.is_some_and(|expected| language::is_other(&heard.text(), expected));
        is_other.then_some(TranscriptFlag::WrongLanguage)
    }

    fn answer(&self, provider: &Provider, key: [u8; 32], heard: Heard, flag: Option<TranscriptFlag>) -> WindowAnswer {
        let mut segments = heard.clamped(self.length()).into_segments(Duration::ZERO, "", "", flag);
        // The same window of another book has the same checkpoint; the window's row says whose it is.
        for segment in &mut segments {
            (segment.provider, segment.model) = (None, None);
        }
        let (name, model) = (provider.name().to_owned(), self.model(provider).0.to_owned());
        // With its flag, so that a doubtful text that is found again is still doubtful.
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
        let mut selection = Selection::default();
        let mut kept: Option<WindowAnswer> = None;
        loop {
            let step = MediaStep::Transcribe;
            let next = self.next(providers, step, job.group, &mut selection, codes::WINDOW_REFUSED).await?;
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
                    selection.refused(provider, format!("its text is doubtful ({flag})"));
                    kept = kept.or(Some(answer));
                }
                Tried::Refused(text) => selection.refused(provider, text),
                Tried::Failed { text, cools } => selection.failed(provider, text, cools),
                Tried::Stop(stopped) => {
                    self.give_back_probe(&turn, step).await?;
                    return Ok(kept.map_or(stopped, Outcome::Done));
                }
            }
        }
    }

    /// The answer of an earlier time, of any provider of the group: nobody can be asked now.
    async fn earlier(&self, job: &TranscribeJob<'_>) -> Result<Option<WindowAnswer>, MediaError> {
        for provider in &self.0.transcribe {
            let is_of_group = job.group.is_none_or(|group| group == provider.entry.group);
            if is_of_group && let Some(answer) = self.stored(job.key(provider)).await? {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// The checkpoint with this key.
    async fn stored(&self, key: [u8; 32]) -> Result<Option<WindowAnswer>, MediaError> {
        let Some(record) = self.0.registry.checkpoint(&key).await? else { return Ok(None) };
        // One that a later version wrote is not read; the window is asked for again.
        let Ok(segments) = serde_json::from_slice::<Vec<TranscriptSegment>>(&record.body) else { return Ok(None) };
        let flag = segments.iter().find_map(|segment| segment.flag);
        let (provider, model) = (record.provider, record.model);
        Ok(Some(WindowAnswer { key, provider, model, flag, segments, checkpoint: None }))
    }

    async fn try_window(&self, turn: &Turn<'_>, job: &TranscribeJob<'_>) -> Result<Tried, MediaError> {
        let provider = turn.provider;
        let key = job.key(provider);
        // The claim of a probe is for a call.
        if !turn.is_probe
            && let Some(answer) = self.stored(key).await?
        {
            // A doubtful one is not asked for again here, and a provider that was added since may have a better one.
            return Ok(Tried::judged(answer));
        }
        match (&provider.engine, &provider.entry.kind) {
            (Ok(Backend::Whisper(engine)), _) => self.by_whisper(turn, job, key, engine).await,
            (Ok(Backend::Server), Kind::OpenAi(server)) => self.by_server(turn, job, key, server).await,
            _ => Ok(Tried::Refused("it does not transcribe".to_owned())),
        }
    }

    async fn by_whisper(
        &self,
        turn: &Turn<'_>,
        job: &TranscribeJob<'_>,
        key: [u8; 32],
        engine: &Engine,
    ) -> Result<Tried, MediaError> {
        let provider = turn.provider;
        let options = job.options(provider);
        let bill = job.bill(provider);
        let call = Box::pin(async {
            let heard = engine.transcribe(job.samples.clone(), &options);
            let judged = tokio::time::timeout(bill.limit, heard).await.map_err(|_| {
                let text = format!("it did not end within {} s", bill.limit.as_secs());
                CallFailure { timed_out: true, ..CallFailure::failed(text, Billed::No) }
            })?;
            let value = judged.map_err(|error| whisper_failure(&error))?;
            Ok::<_, CallFailure>(Answered { value, used: Used::default(), request_id: None })
        });
        let Judged { heard, flag } = match self.paid(provider, &turn.fingerprint, &bill, call).await? {
            Called::Answered(judged) => judged,
            ended => return Ok(Tried::of(ended)),
        };
        let flag = flag.or_else(|| job.language_fault(&heard));
        Ok(Tried::judged(job.answer(provider, key, heard, flag)))
    }

    async fn by_server(
        &self,
        turn: &Turn<'_>,
        job: &TranscribeJob<'_>,
        key: [u8; 32],
        server: &OpenAi,
    ) -> Result<Tried, MediaError> {
        if !audio::fits(server, wav::size(job.samples.len())) {
            self.give_back_probe(turn, MediaStep::Transcribe).await?;
            let text = format!("the window is larger than max_bytes, which is {}", server.max_bytes);
            return Ok(Tried::Refused(text));
        }
        let mut request = AudioRequest {
            file: Bytes::from(wav::file(&job.samples)),
            length: job.length(),
            language: job.language.and_then(language::told),
            temperature: 0.0,
        };
        let mut doubtful: Option<(Heard, TranscriptFlag)> = None;
        for temperature in TEMPERATURES {
            request.temperature = temperature;
            let heard = match self.ask_server(turn, job, server, &request).await? {
                Called::Answered(heard) if gate::is_too_large(&heard) => match doubtful {
                    None => return Ok(Tried::Refused("its text is larger than a window can hold".to_owned())),
                    Some(_) => break,
                },
                Called::Answered(heard) => heard,
                // The doubtful text of the first attempt is all there is.
                ended if doubtful.is_none() => return Ok(Tried::of(ended)),
                _ => break,
            };
            let fault = gate::fault(&heard, job.length()).or_else(|| job.language_fault(&heard));
            let Some(fault) = fault else {
                return Ok(Tried::Good(job.answer(turn.provider, key, heard, None)));
            };
            // The shorter one: the longer one repeats itself more.
            let is_better = doubtful.as_ref().is_none_or(|(best, _)| heard.text().len() < best.text().len());
            if is_better {
                doubtful = Some((heard, fault));
            }
        }
        // There were two attempts, and none was good.
        let Some((heard, fault)) = doubtful else { return Ok(Tried::Refused("it has no text".to_owned())) };
        Ok(Tried::Doubtful(job.answer(turn.provider, key, gate::kept(heard), Some(fault))))
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
            let call = Box::pin(async {
                let (answer, request_id) =
                    audio::transcribe(&self.0.client, server, &provider.left_out, request).await?;
                let charged = answer.charged.map(|length| length.as_micros().div_ceil(1000));
                let audio_ms = charged.and_then(|charged| u64::try_from(charged).ok());
                Ok::<_, CallFailure>(Answered {
                    value: answer.heard,
                    used: Used { audio_ms, ..Used::default() },
                    request_id,
                })
            });
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
    /// A text, which is doubtful if it has a flag.
    fn judged(answer: WindowAnswer) -> Self {
        if answer.flag.is_none() { Self::Good(answer) } else { Self::Doubtful(answer) }
    }

    /// A call without an answer.
    fn of<T>(called: Called<T>) -> Self {
        match called {
            Called::Failed { failure, cools } => match failure.end {
                CallEnd::InputRefused => Self::Refused(failure.text),
                _ => Self::Failed { text: failure.text, cools },
            },
            Called::NoBudget { until, cause } => Self::Stop(Outcome::Wait { until, cause }),
            // Its caller has taken the answer.
            Called::Answered(_) => Self::Failed { text: "its answer was lost".to_owned(), cools: false },
        }
    }
}

/// What an error of Whisper in this process means.
fn whisper_failure(error: &SpeechError) -> CallFailure {
    let text = error.to_string();
    if error.is_permanent() { CallFailure::input_refused(text) } else { CallFailure::failed(text, Billed::No) }
}
