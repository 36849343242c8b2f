//! Servers with the interface of OpenAI: `/audio/transcriptions` for speech, `/chat/completions` for text.
//!
//! They differ in what they accept and in what they answer. A field that a server refuses is left out of the repeat and of all later
//! calls; an answer is read for what it has.

pub(super) mod audio;
pub(super) mod audio_answer;
pub(super) mod chat;
pub(super) mod chat_answer;

use std::sync::atomic::{AtomicU8, Ordering};

use super::classify::{Field, Objection};
use super::http::CallFailure;

/// The fields that a server does not know, as it said in its refusals. Shared by all calls of this process.
#[derive(Debug, Default)]
pub(super) struct LeftOut(AtomicU8);

impl LeftOut {
    /// Whether the field is left out.
    pub(super) fn has(&self, field: Field) -> bool {
        self.0.load(Ordering::Relaxed) & bit(field) != 0
    }

    /// Leaves out the field that the server objects to, if it is one of `sent`. Whether the call can be repeated without it.
    pub(super) fn learn(&self, failure: &CallFailure, sent: &[Field]) -> bool {
        let Some(Objection::Field(field)) = failure.objection else { return false };
        if !sent.contains(&field) {
            return false;
        }
        self.leave(field);
        true
    }

    /// Leaves out a field from now on.
    pub(super) fn leave(&self, field: Field) {
        self.0.fetch_or(bit(field), Ordering::Relaxed);
    }
}

const fn bit(field: Field) -> u8 {
    match field {
        Field::Granularities => 1,
        Field::Format => 2,
        Field::MaxTokens => 4,
        Field::Temperature => 8,
    }
}
