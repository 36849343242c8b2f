//! Runs demuxers and decoders on bytes from outside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Refusal, SoundError};
use crate::source::Source;

/// Runs `work`. A panic in it is a refusal of the file; a failure of the source comes before what it made of it.
pub(crate) fn guarded<T>(source: &Source, work: impl FnOnce() -> Result<T, SoundError>) -> Result<T, SoundError> {
    let result = catch_unwind(AssertUnwindSafe(work));
    match source.failure() {
        Some(failure) => Err(failure),
        None => result.unwrap_or_else(|_| Err(Refusal::damaged("its decoder panicked").into())),
    }
}
