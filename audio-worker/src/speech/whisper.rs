//! whisper.cpp through whisper-rs: a loaded model, and sessions that transcribe one window at a time. Blocking.
//!
//! The same samples give the same words, whatever a session transcribed before: no text of an earlier window is a prompt, an attempt at
//! temperature 0 draws no random number, and one at another temperature has a session of its own, whose random numbers begin anew.

use std::ffi::c_void;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use whisper_rs::{
    FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperError, WhisperSegment, WhisperState,
    WhisperTokenId,
};

use super::gate::compression_ratio;
use super::heard::{Heard, HeardSegment, HeardWord, Measures};

/// Texts that an attempt at a temperature above 0 chooses from, as Whisper's authors do.
const BEST_OF: i32 = 5;

/// A model in memory. Its sessions keep it.
pub(super) struct Model {
    context: WhisperContext,
}

/// The memory with which one thread transcribes.
pub(super) struct Session {
    state: WhisperState,
    is_multilingual: bool,
    end_of_text: WhisperTokenId,
}

/// How a window is transcribed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// The code of a language that the model knows; `None` to detect it.
    pub language: Option<&'static str>,
    /// Whether the time of each word is found.
    pub words: bool,
    /// 0 to 1.
    pub temperature: f32,
    /// Threads.
    pub threads: usize,
}

impl Model {
    /// Reads a file of whisper.cpp's format. `gpu` is the index of the GPU, if there is one to use.
    pub fn load(file: &Path, gpu: Option<i32>) -> Result<Self, WhisperError> {
        // Otherwise whisper.cpp prints some fifty lines to standard error.
        whisper_rs::install_logging_hooks();
        let mut parameters = WhisperContextParameters::default();
        parameters.use_gpu(gpu.is_some()).gpu_device(gpu.unwrap_or(0));
        Ok(Self { context: WhisperContext::new_with_params(file, parameters)? })
    }

    /// A session of its own memory.
    pub fn session(&self) -> Result<Session, WhisperError> {
        let (is_multilingual, end_of_text) = (self.context.is_multilingual(), self.context.token_eot());
        Ok(Session { state: self.context.create_state()?, is_multilingual, end_of_text })
    }
}

impl Session {
    /// Transcribes one window of 16 kHz. Ends early, with an error, when `cancelled` becomes true.
    pub fn run(&mut self, samples: &[f32], attempt: &Attempt, cancelled: &AtomicBool) -> Result<Heard, WhisperError> {
        if samples.is_empty() {
            return Ok(Heard::default());
        }
        let mut parameters = attempt.parameters(self.is_multilingual);
        // SAFETY: the callback reads the flag, which outlives the call below; whisper.cpp calls it only during that call.
        unsafe {
            parameters.set_abort_callback(Some(is_cancelled));
            parameters.set_abort_callback_user_data(std::ptr::from_ref(cancelled).cast_mut().cast());
        }
        self.state.full(parameters, samples)?;
        let mut segments = Vec::new();
        for segment in self.state.as_iter() {
            segments.extend(self.heard(&segment, attempt)?);
        }
        Ok(Heard { language: self.language(), segments })
    }

    fn language(&self) -> Option<String> {
        if !self.is_multilingual {
            return Some("en".to_owned());
        }
        whisper_rs::get_lang_str(self.state.full_lang_id_from_state()).map(str::to_owned)
    }

    /// A segment, or none if nothing is said in it.
    fn heard(&self, segment: &WhisperSegment<'_>, attempt: &Attempt) -> Result<Option<HeardSegment>, WhisperError> {
        let text = segment.to_str_lossy()?.trim().to_owned();
        if text.is_empty() || is_annotation(&text) {
            return Ok(None);
        }
        let measures = Measures {
            avg_logprob: self.mean_logprob(segment),
            no_speech_prob: Some(segment.no_speech_probability()),
            compression_ratio: Some(compression_ratio(&text)),
            temperature: Some(attempt.temperature),
        };
        let words = if attempt.words { self.words(segment)? } else { Vec::new() };
        let (start, end) = (time(segment.start_timestamp()), time(segment.end_timestamp()));
        Ok(Some(HeardSegment { start, end, text, words, measures }))
    }

    /// Mean logarithm of the probability of the tokens that are text.
    fn mean_logprob(&self, segment: &WhisperSegment<'_>) -> Option<f32> {
        let (mut sum, mut count) = (0.0, 0_u16);
        for number in 0..segment.n_tokens() {
            let Some(token) = segment.get_token(number) else { continue };
            let data = token.token_data();
            if data.id < self.end_of_text {
                (sum, count) = (sum + data.plog, count.saturating_add(1));
            }
        }
        (count > 0).then(|| sum / f32::from(count))
    }

    /// A token that begins with a space begins a word.
    fn words(&self, segment: &WhisperSegment<'_>) -> Result<Vec<HeardWord>, WhisperError> {
        // Bytes, because a character may be cut into several tokens.
        let mut words: Vec<(Duration, Duration, Vec<u8>)> = Vec::new();
        for number in 0..segment.n_tokens() {
            let Some(token) = segment.get_token(number) else { continue };
            let data = token.token_data();
            if data.id >= self.end_of_text {
                continue;
            }
            let (start, end, bytes) = (time(data.t0), time(data.t1), token.to_bytes()?);
            match words.last_mut() {
                Some((_, until, word)) if !bytes.starts_with(b" ") => {
                    *until = end.max(*until);
                    word.extend_from_slice(bytes);
                }
                last => {
                    let earliest = last.map_or(Duration::ZERO, |(_, until, _)| *until);
                    words.push((start.max(earliest), end.max(earliest), bytes.to_vec()));
                }
            }
        }
        let text = |word: &[u8]| String::from_utf8_lossy(word).trim().to_owned();
        let words = words.into_iter().map(|(start, end, word)| HeardWord { start, end, text: text(&word) });
        Ok(words.filter(|word| !word.text.is_empty()).collect())
    }
}

impl Attempt {
    fn parameters(&self, is_multilingual: bool) -> FullParams<'static, 'static> {
        let is_first = self.temperature == 0.0;
        let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: if is_first { 1 } else { BEST_OF } });
        parameters.set_n_threads(i32::try_from(self.threads).unwrap_or(1));
        parameters.set_temperature(self.temperature);
        // Whisper's own further attempts would draw random numbers that depend on earlier windows. The engine makes one of its own.
        parameters.set_temperature_inc(0.0);
        parameters.set_no_context(true);
        if !is_first {
            // What was just said may be the reason for the loop.
            parameters.set_n_max_text_ctx(0);
        }
        parameters.set_token_timestamps(self.words);
        parameters.set_print_special(false);
        parameters.set_print_progress(false);
        parameters.set_print_realtime(false);
        // Each call of this keeps the text for ever, a few bytes a window, so English, the default, is not set.
        if is_multilingual && self.language != Some("en") {
            parameters.set_language(self.language);
        }
        parameters
    }
}

/// Read by whisper.cpp between the parts of its work.
unsafe extern "C" fn is_cancelled(flag: *mut c_void) -> bool {
    // SAFETY: the pointer is that of the flag in `Session::run`, which outlives the work.
    unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

/// Hundredths of a second.
fn time(hundredths: i64) -> Duration {
    Duration::from_millis(u64::try_from(hundredths).unwrap_or(0).saturating_mul(10))
}

/// Whether a text names a sound instead of words: `[MUSIC PLAYING]`, `(wind blows)`, `*sighs*`, `♪♪♪`.
fn is_annotation(text: &str) -> bool {
    let within = |open: char, close: char| {
        let inner = text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
        inner.is_some_and(|inner| !inner.contains([open, close]))
    };
    within('[', ']') || within('(', ')') || within('*', '*') || text.chars().all(|c| "♪♫♬ .".contains(c))
}

/// The code of a language by what people write: `en`, `EN`, `en-GB`, `English`.
pub(super) fn language_code(text: &str) -> Option<&'static str> {
    let name = text.split(['-', '_']).next()?.trim().to_ascii_lowercase();
    // whisper-rs panics at a zero byte.
    let known = (2..=20).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
    // It prints a line about an unknown one.
    whisper_rs::install_logging_hooks();
    known.then(|| whisper_rs::get_lang_id(&name)).flatten().and_then(whisper_rs::get_lang_str)
}

/// The English name of a language: `english`.
pub(super) fn language_name(code: &str) -> Option<&'static str> {
    language_code(code).and_then(whisper_rs::get_lang_id).and_then(whisper_rs::get_lang_str_full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_told_from_words() {
        for text in ["[MUSIC PLAYING]", "(wind blows)", "*sighs*", "♪♪♪", "♪ ♪"] {
            assert!(is_annotation(text), "{text}");
        }
        for text in ["(He left.) She stayed. (Then she left.)", "Ask not.", "[He] left", "♪ la la la ♪"] {
            assert!(!is_annotation(text), "{text}");
        }
    }

    #[test]
    fn a_language_is_known_by_code_region_and_name() {
        for text in ["en", "EN", "en-GB", "en_US", "English"] {
            assert_eq!(language_code(text), Some("en"), "{text}");
        }
        assert_eq!(language_code("de"), Some("de"));
        for text in ["", "-", "xx", "e\0n", "klingon", "en;rm"] {
            assert_eq!(language_code(text), None, "{text:?}");
        }
        assert_eq!(language_name("de"), Some("german"));
    }
}
