//! Why a book waits or has failed, in words, and what to do about it.

use contracts::media::PipelineCause;

/// Why a step or a window waits or has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Stable code, one of [`codes`] or the code of a refusal of the file.
    pub code: String,
    /// What it is about, such as the name of a provider. No secret, and no text of the book.
    pub detail: String,
}

impl Cause {
    /// A cause with what it is about.
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }
}

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $message:literal, $action:literal;)*) => {
        /// The codes of causes.
        pub mod codes {
            $($(#[$doc])* pub const $name: &str = $code;)*
        }

        /// What happened and what to do, by code.
        const KNOWN: &[(&str, &str, &str)] = &[$(($code, $message, $action)),*];
    };
}

causes! {
    /// There is no file.
    NO_FILE = "no_file", "the book has no file", "upload one, and resume";
    /// The book was deleted.
    BOOK_DELETED = "book_deleted", "the book is deleted", "nothing is to be done";
    /// The cap of a book.
    BUDGET_BOOK = "budget_book", "the next call would cost more than is left for the book", "raise its budget, or choose a provider without a price, and resume";
    /// The cap of a day.
    BUDGET_DAY = "budget_day", "the next call would cost more than is left for today", "wait for tomorrow (UTC), or raise the budget of a day in the providers file";
    /// All providers cool.
    COOLING = "cooling", "every provider of this step is paused after failures", "wait, or enable another provider";
    /// All providers are off.
    PROVIDERS_OFF = "providers_off", "every provider of this step is off", "enable one, or correct its key or address in the providers file, and resume";
    /// The group has no provider.
    NO_PROVIDER = "no_provider", "no provider is configured for this step and group", "name another group, or add a provider to the providers file, and resume";
    /// A part of the sound is refused by all.
    WINDOW_REFUSED = "window_refused", "every provider refused a part of the sound", "look at the refusals in the ledger of calls, add another provider, and resume";
    /// The text is refused by all.
    DESCRIPTION_REFUSED = "description_refused", "every provider refused the text, or answered with a poor one", "add another provider, or write the description yourself, and resume";
    /// Speech cannot be recognised here.
    SPEECH_UNAVAILABLE = "speech_unavailable", "this machine cannot recognise speech", "see the worker's log for what is missing, or add another provider, and resume";
    /// A worker ends with it again and again.
    CRASHED = "crashed", "the worker ended five times in the middle of it", "see the worker's log, and resume";
    /// The sound cannot be decoded.
    DAMAGED = "damaged", "the sound of the file is damaged", "encode it again, and upload that";
    /// The file ends early.
    TRUNCATED = "truncated", "the file ends before its end", "upload it again";
    /// The file has no sound.
    NO_SOUND = "no_sound", "the file has no sound track", "upload a file with sound";
    /// The file is no sound.
    NOT_AUDIO = "not_audio", "the file is not audio", "upload an audio file";
    /// The file is protected.
    ENCRYPTED = "encrypted", "the file is encrypted", "upload one without protection";
    /// The codec is not known.
    CODEC_UNSUPPORTED = "codec_unsupported", "the codec of the file is not supported", "upload MP3, AAC, FLAC, Vorbis or WAV";
    /// The file is too long.
    TOO_LONG = "too_long", "the file plays longer than is allowed", "upload it in parts, as several books";
    /// The book lacks what it needs to be offered.
    INCOMPLETE = "incomplete", "the book lacks something that it needs to be offered", "add what is named, and resume";
    /// A model is missing.
    MODEL_MISSING = "model_missing", "a model is not on this machine", "run `sightline models pull` with its name, and resume";
    /// The file cannot be read now.
    FILE_UNREADABLE = "file_unreadable", "the file of the book cannot be read now", "look at the media store; it is tried again by itself";
    /// The preview is being made.
    PREVIEW_PENDING = "preview_pending", "the preview of the book is being made", "wait; if it takes long, see the log of shop-api";
    /// A worker stopped in the middle of it.
    WORKER_STOPPED = "worker_stopped", "a worker was stopped in the middle of it", "nothing is to be done: the next worker goes on";
    /// Something else.
    INTERNAL = "internal", "the step failed", "see the worker's log, and resume";
}

/// What happened and what to do, of a code. A code that is not known keeps its name, so a newer worker's is still shown.
pub fn explain(code: &str, detail: Option<&str>) -> PipelineCause {
    let known = KNOWN.iter().find(|(known, ..)| *known == code);
    let (message, action) =
        known.map_or((code, "see the worker's log, and resume"), |(_, message, action)| (*message, *action));
    let message = match detail.filter(|detail| !detail.is_empty()) {
        Some(detail) => format!("{message}: {detail}"),
        None => message.to_owned(),
    };
    PipelineCause { code: code.to_owned(), message, action: action.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_cause_says_what_happened_and_what_to_do() {
        let codes: BTreeSet<&str> = KNOWN.iter().map(|(code, ..)| *code).collect();
        assert_eq!(codes.len(), KNOWN.len(), "a code is there once");
        for (code, message, action) in KNOWN {
            assert!(!message.is_empty() && !action.is_empty() && !message.ends_with('.'), "{code}");
        }
        let cause = explain(codes::COOLING, Some("groq, until 12:00"));
        assert_eq!(cause.message, "every provider of this step is paused after failures: groq, until 12:00");
        assert_eq!(explain("of_a_newer_worker", None).message, "of_a_newer_worker");
    }
}
