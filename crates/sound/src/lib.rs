//! Audio files: what one is, a preview of it, and its samples. No network, no database, no async: callers use a blocking thread.
//!
//! In: any `Read + Seek` and its length in bytes; [`Ranged`] is one for an object that is fetched in ranges.
//! Out: the facts of a [`Sound`] by [`probe`], a [`Preview`] by [`preview`], or 16 kHz mono samples by a [`Decoder`].
//!
//! Anybody may upload anything, so these guarantees hold for any bytes:
//! - No panic, and no loop without an end. A panic of a decoder is a refusal of the file.
//! - Memory is bounded: no length that a file declares is allocated before its bytes are there, and no part is longer than 128 MiB.
//! - A file is refused by name ([`Refusal::code`]), with what to do. A failure of the source is not a refusal: it may be tried again.
//! - The duration is that of the bytes. What a header claims is checked against them, or all frames are counted.
//!
//! A file that is damaged in the middle is decoded on: silence takes the place of a lost packet, so later times stay right.
//! In a video, the sound is taken and the pictures are never read into memory as a whole.

mod container;
mod decoder;
mod demuxer;
mod error;
mod flac;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard;
mod id3;
mod mp4;
mod mpeg;
mod packets;
mod pcm;
mod preview;
mod probe;
mod ranged;
mod resampler;
#[cfg(test)]
mod samples;
mod sound;
mod source;
#[cfg(test)]
mod tests;
mod wav;
mod window;

pub use container::Container;
pub use decoder::{Block, Decoder, SPEECH_RATE};
pub use error::{Refusal, SoundError};
pub use preview::{MAX_PREVIEW, Preview, preview};
pub use probe::probe;
pub use ranged::Ranged;
pub use sound::{Codec, Limits, Sound};
