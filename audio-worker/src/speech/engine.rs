//! Whisper in this process: windows in, words out.
//!
//! ```text
//! window ──▶ a place (as many as sessions) ──▶ blocking thread: session of the model ──▶ Heard ──▶ gate ──▶ Judged
//!                                                                                          └─ fault: again at 0.2
//! ```
//!
//! Guarantees: the same samples give the same words, whatever was transcribed before and beside them. A window whose caller has gone ends
//! within a fraction of a second. Sessions bound the threads and the memory; a model is in memory only while it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::TranscriptFlag;
use metrics::counter;
use models::{FolderArgs, ModelError};
use onnx::{ExecutionProvider, OnnxArgs};
use sound::SPEECH_RATE;
use tokio::sync::Semaphore;

use super::args::SpeechArgs;
use super::cpu::check_cpu;
use super::error::SpeechError;
use super::gate;
use super::heard::Heard;
use super::slot::{EngineModel, Slot};
use super::whisper::{Attempt, language_code};

/// Temperature of the attempt after one with a fault.
const SECOND_TEMPERATURE: f32 = 0.2;

/// How a window is transcribed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpeechOptions {
    /// The name of a model; without one, or with that of the settings for English, the language decides.
    pub model: Option<String>,
    /// The language of the recording, such as `en`; without one it is detected, if the model for other languages is installed.
    pub language: Option<String>,
    /// Whether the time of each word is found.
    pub words: bool,
}

/// Words that passed the gate, or the best that there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The words, with times in the window.
    pub heard: Heard,
    /// Why they are doubtful, although they were asked for twice.
    pub flag: Option<TranscriptFlag>,
}

/// Whisper in this process. Clones share the sessions.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    english: Arc<Slot>,
    /// For other languages. A machine may have only English.
    other: Result<Arc<Slot>, String>,
    threads: usize,
    sessions: usize,
    places: Arc<Semaphore>,
}

/// Tells a thread that nobody waits for it any more.
pub(super) struct CancelOnDrop(pub(super) Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Engine {
    /// Checks the processor and the files, which it reads: call it on a blocking thread. Loads no model.
    ///
    /// # Errors
    /// When the processor cannot run it, or the model for English is not in the folder.
    pub fn new(args: &SpeechArgs, folder: &FolderArgs, runtime: &OnnxArgs) -> Result<Self, SpeechError> {
        check_cpu()?;
        let gpu = gpu(runtime);
        let english = Arc::new(Slot::new(&args.speech_model, folder, gpu)?);
        let other = if args.speech_other_model == args.speech_model {
            Ok(Arc::clone(&english))
        } else {
            match Slot::new(&args.speech_other_model, folder, gpu) {
                Ok(slot) => Ok(Arc::new(slot)),
                Err(SpeechError::Model(ModelError::NotInFolder { .. })) => Err(args.speech_other_model.clone()),
                Err(error) => return Err(error),
            }
        };
        let (threads, sessions) = (args.speech_threads, args.sessions());
        let places = Arc::new(Semaphore::new(sessions));
        Ok(Self(Arc::new(Inner { english, other, threads, sessions, places })))
    }

    /// Windows that are transcribed at the same time; further ones wait.
    pub fn sessions(&self) -> usize {
        self.0.sessions
    }

    /// The installed models.
    pub fn models(&self) -> Vec<&EngineModel> {
        let english = &self.0.english;
        let other = self.0.other.as_ref().ok().filter(|other| !Arc::ptr_eq(other, english));
        [Some(english), other].into_iter().flatten().map(|slot| &slot.model).collect()
    }

    /// The model for these options: its name and hash are part of the key of a checkpoint.
    ///
    /// # Errors
    /// When there is no such model or language, or the model does not know the language.
    pub fn model(&self, options: &SpeechOptions) -> Result<&EngineModel, SpeechError> {
        self.slot(options).map(|(slot, _)| &slot.model)
    }

    /// One attempt, without the gate. It is cancelled when the future is dropped.
    ///
    /// # Errors
    /// As [`Self::model`], or when the model cannot be loaded or fails.
    pub async fn attempt(
        &self,
        samples: Arc<[f32]>,
        options: &SpeechOptions,
        temperature: f32,
    ) -> Result<Heard, SpeechError> {
        let (slot, language) = self.slot(options)?;
        let slot = Arc::clone(slot);
        let attempt = Attempt { language, words: options.words, temperature, threads: self.0.threads };
        let place = Arc::clone(&self.0.places).acquire_owned().await;
        let place = place.map_err(|_| SpeechError::Failed("the engine has stopped".to_owned()))?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let _cancel = CancelOnDrop(Arc::clone(&cancelled));
        let running = tokio::task::spawn_blocking(move || {
            let heard = slot.run(&samples, &attempt, &cancelled);
            drop(place);
            slot.free_later();
            heard
        });
        running.await.unwrap_or_else(|error| Err(SpeechError::Failed(error.to_string())))
    }

    /// The words of a window that has speech in it. A text with a fault is asked for once more.
    ///
    /// # Errors
    /// As [`Self::attempt`].
    pub async fn transcribe(&self, samples: Arc<[f32]>, options: &SpeechOptions) -> Result<Judged, SpeechError> {
        let window = duration(samples.len());
        let first = self.attempt(Arc::clone(&samples), options, 0.0).await?;
        let Some(fault) = gate::fault(&first, window) else { return Ok(passed(first, window)) };
        counter!("sightline_speech_faults_total", "fault" => fault.as_str()).increment(1);
        let second = self.attempt(samples, options, SECOND_TEMPERATURE).await?;
        Ok(match gate::fault(&second, window) {
            None => passed(second, window),
            Some(again) => better((first, fault), (second, again), window),
        })
    }

    /// The model for these options, and the language to tell it.
    fn slot(&self, options: &SpeechOptions) -> Result<(&Arc<Slot>, Option<&'static str>), SpeechError> {
        let language = options.language.as_deref().map(|text| {
            language_code(text).ok_or_else(|| SpeechError::UnknownLanguage(text.chars().take(40).collect()))
        });
        let language = language.transpose()?;
        let Inner { english, other, .. } = &*self.0;
        let name = options.model.as_deref().filter(|name| *name != english.model.name);
        match (name, language, other) {
            (Some(name), _, Ok(other)) if name == other.model.name => Ok((other, language)),
            (Some(name), ..) => {
                let known = self.models().iter().map(|model| &*model.name).collect::<Vec<_>>().join(" or ");
                Err(SpeechError::UnknownModel { name: name.chars().take(80).collect(), known })
            }
            (None, Some("en"), _) => Ok((english, language)),
            (None, _, Ok(other)) => Ok((other, language)),
            // Without the model for other languages, a recording of an unknown language is taken for English.
            (None, None, Err(_)) => Ok((english, Some("en"))),
            (None, Some(language), Err(other)) => Err(SpeechError::OnlyEnglish {
                model: english.model.name.clone(),
                language: language.to_owned(),
                other: other.clone(),
            }),
        }
    }
}

/// The index of the GPU, if models run on one and whisper.cpp was built for it.
fn gpu(runtime: &OnnxArgs) -> Option<i32> {
    if runtime.execution_provider == ExecutionProvider::Cpu {
        return None;
    }
    if cfg!(feature = "cuda") {
        return Some(runtime.gpu_device);
    }
    tracing::info!("speech is transcribed on the CPU: this program was built without CUDA for it (docs/AUDIO.md)");
    None
}

/// The length of so many samples.
pub(super) fn duration(samples: usize) -> Duration {
    Duration::from_nanos((samples as u64).saturating_mul(1_000_000_000 / u64::from(SPEECH_RATE)))
}

fn passed(heard: Heard, window: Duration) -> Judged {
    Judged { heard: heard.clamped(window), flag: None }
}

/// Of two doubtful texts the shorter one: the longer one repeats itself more.
fn better(first: (Heard, TranscriptFlag), second: (Heard, TranscriptFlag), window: Duration) -> Judged {
    let (heard, fault) = if second.0.text().len() <= first.0.text().len() { second } else { first };
    Judged { heard: gate::kept(heard).clamped(window), flag: Some(fault) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::heard::{HeardSegment, Measures};

    fn heard(text: &str) -> Heard {
        Heard { language: None, segments: vec![HeardSegment { text: text.to_owned(), ..HeardSegment::default() }] }
    }

    #[test]
    fn of_two_doubtful_texts_the_shorter_one_is_kept() {
        let window = Duration::from_secs(30);
        let (long, short) = (heard("so so so so"), heard("so so"));
        for pair in [(long.clone(), short.clone()), (short.clone(), long)] {
            let judged = better((pair.0, TranscriptFlag::Loop), (pair.1, TranscriptFlag::Loop), window);
            assert_eq!((judged.heard.text(), judged.flag), ("so so".to_owned(), Some(TranscriptFlag::Loop)));
        }
        let mut silence = heard("Thank you for watching.");
        silence.segments[0].measures =
            Measures { no_speech_prob: Some(0.9), avg_logprob: Some(-1.4), ..Measures::default() };
        let judged = better((silence.clone(), TranscriptFlag::NoSpeech), (silence, TranscriptFlag::NoSpeech), window);
        assert_eq!((judged.heard.text(), judged.flag), (String::new(), Some(TranscriptFlag::NoSpeech)));
    }

    #[test]
    fn a_sample_has_its_exact_time() {
        assert_eq!(duration(16_000), Duration::from_secs(1));
        assert_eq!(duration(1), Duration::from_nanos(62_500));
    }
}
