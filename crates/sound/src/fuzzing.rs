//! The body of the fuzz target `sound`. `scripts/fuzz` runs it on generated inputs; the test below runs it on the inputs in
//! `fuzz/corpus`. It is compiled for these two only.

#[path = "../../../fuzz/reason.rs"]
mod reason;

use std::io::Cursor;
use std::time::Duration;

use crate::{Decoder, Limits, Refusal, SPEECH_RATE, Sound, SoundError, preview, probe};
use reason::assert_clean;

/// Short, so that many sounds are decoded per second.
const LIMITS: Limits = Limits { max_duration: Duration::from_secs(60) };

/// Probes any bytes. Either they are refused with a reason, or they are a sound within the limits, which decodes without a gap and has
/// a preview.
pub fn sound(data: &[u8]) {
    contain_panics();
    let found = probed(data);
    assert_eq!(found, probed(data), "the same bytes gave something else");
    match found {
        Ok(sound) => {
            assert_facts(&sound);
            assert_decodes(data, &sound);
            assert_preview(data, &sound);
        }
        Err(refusal) => assert_clean(&refusal),
    }
}

fn probed(data: &[u8]) -> Result<Sound, Refusal> {
    probe(Cursor::new(data.to_vec()), data.len() as u64, &LIMITS).map_err(refusal)
}

/// The refusal of an error. Memory does not fail as a source.
fn refusal(error: SoundError) -> Refusal {
    match error {
        SoundError::Refused(refusal) => refusal,
        SoundError::Source(error) => unreachable!("memory failed: {error}"),
    }
}

fn assert_facts(sound: &Sound) {
    assert!(sound.duration > Duration::ZERO && sound.duration <= LIMITS.max_duration, "{sound:?}");
    assert!((1..=8).contains(&sound.channels) && (4_000..=192_000).contains(&sound.sample_rate), "{sound:?}");
    for text in [&sound.title, &sound.artist].into_iter().flatten() {
        assert!((1..=256).contains(&text.chars().count()) && !text.contains(char::is_control), "{text:?}");
    }
}

fn assert_decodes(data: &[u8], sound: &Sound) {
    let opened = Decoder::open(Cursor::new(data.to_vec()), data.len() as u64, sound);
    let Ok(mut decoder) = opened.map_err(|error| assert_clean(&refusal(error))) else { return };
    let mut next = 0;
    loop {
        match decoder.next_block() {
            Ok(Some(block)) => {
                assert_eq!(block.start, next);
                next += block.samples.len() as u64;
            }
            Ok(None) => break,
            Err(error) => return assert_clean(&refusal(error)),
        }
    }
    let longest = (sound.duration.as_secs() + 1) * u64::from(SPEECH_RATE);
    assert!(next <= longest, "{next} samples of {sound:?}");
}

fn assert_preview(data: &[u8], sound: &Sound) {
    let (source, second) = (Cursor::new(data.to_vec()), Duration::from_secs(1));
    match preview(source, data.len() as u64, sound, sound.duration / 2, second) {
        Ok(preview) if preview.extension == "flac" => {
            let again = probed(&preview.bytes);
            assert!(again.is_ok(), "a preview is no sound: {again:?}");
        }
        Ok(preview) => assert!(!preview.bytes.is_empty() && preview.duration > Duration::ZERO),
        Err(error) => assert_clean(&refusal(error)),
    }
}

/// A fuzzer ends at any panic. That of a decoder is caught and is a refusal; any other still ends it, after the harness.
fn contain_panics() {
    #[cfg(fuzzing)]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| std::panic::set_hook(Box::new(|panic| eprintln!("{panic}"))));
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn any_bytes_are_a_sound_or_refused() {
        replay("sound", super::sound);
    }
}
