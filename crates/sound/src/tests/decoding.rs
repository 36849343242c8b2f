//! Samples for speech recognition.

use std::time::Duration;

use crate::samples::{decoder, probed, sample, samples_of, wav};
use crate::{Decoder, SPEECH_RATE};

/// Every format, from a decoder with and one without an index.
const FILES: [(&str, &[u8]); 11] = [
    ("cbr.mp3", sample!("cbr.mp3")),
    ("vbr-without-table.mp3", sample!("vbr-without-table.mp3")),
    ("mpeg25.mp3", sample!("mpeg25.mp3")),
    ("aac.m4a", sample!("aac.m4a")),
    ("fragments.mp4", sample!("fragments.mp4")),
    ("video.mp4", sample!("video.mp4")),
    ("adts.aac", sample!("adts.aac")),
    ("alac.m4a", sample!("alac.m4a")),
    ("vorbis.ogg", sample!("vorbis.ogg")),
    ("flac.flac", sample!("flac.flac")),
    ("surround.flac", sample!("surround.flac")),
];

/// The tone of `samples/make` at a time: its pitch changes, so that another time is another sound.
fn tone(at: usize) -> f32 {
    let seconds = at as f64 / f64::from(SPEECH_RATE);
    (0.4 * (std::f64::consts::TAU * (300.0 + 60.0 * seconds) * seconds).sin()) as f32
}

/// How like the tone the samples are, from 0 to 1, when they begin with sample `start` of it.
fn likeness(samples: &[f32], start: usize) -> f32 {
    let (mut product, mut left, mut right) = (0.0_f32, 0.0_f32, 0.0_f32);
    for (place, sample) in samples.iter().enumerate() {
        let expected = tone(start + place);
        product += sample * expected;
        left += sample * sample;
        right += expected * expected;
    }
    product / (left * right).sqrt().max(f32::MIN_POSITIVE)
}

/// The best likeness within the delay of an encoder.
fn best_likeness(samples: &[f32]) -> f32 {
    (0..1_100).map(|delay| likeness(&samples[delay..delay + 4_000], 0)).fold(0.0, f32::max)
}

#[test]
fn every_format_decodes_to_its_tone_and_duration() {
    for (name, bytes) in FILES {
        let samples = samples_of(&mut decoder(bytes));
        let expected = probed(bytes).unwrap().duration.as_secs_f64() * f64::from(SPEECH_RATE);
        assert!((samples.len() as f64 - expected).abs() < 32.0, "{name}: {} samples of {expected}", samples.len());
        let best = best_likeness(&samples);
        assert!(best > 0.95, "{name}: {best}");
    }
}

#[test]
fn the_delay_of_an_encoder_is_removed_where_the_file_tells_it() {
    for (name, bytes) in FILES.into_iter().filter(|(name, _)| ["cbr.mp3", "mpeg25.mp3", "flac.flac"].contains(name)) {
        let samples = samples_of(&mut decoder(bytes));
        let same = likeness(&samples[2_000..7_000], 2_000);
        assert!(same > 0.97, "{name}: {same}");
    }
}

#[test]
fn a_decode_from_the_middle_gives_the_same_samples() {
    for (name, bytes) in FILES {
        let whole = samples_of(&mut decoder(bytes));
        let mut decoder = decoder(bytes);
        for milliseconds in [300, 100, 450, 0] {
            decoder.seek(Duration::from_millis(milliseconds)).unwrap();
            let rest = samples_of(&mut decoder);
            // Not `assert_eq!`, which would print all samples.
            assert!(rest == whole[milliseconds as usize * 16..], "{name} from {milliseconds} ms has other samples");
        }
        decoder.seek(Duration::from_secs(100)).unwrap();
        assert_eq!(decoder.next_block().unwrap(), None, "{name} after its end");
    }
}

#[test]
fn damage_in_the_middle_is_silence_and_later_times_stay() {
    for (name, bytes, later) in [("cbr.mp3", sample!("cbr.mp3"), 60_000), ("flac.flac", sample!("flac.flac"), 13_000)] {
        let whole = samples_of(&mut decoder(bytes));
        let mut bytes = bytes.to_vec();
        let from = bytes.len() / 10 * 4;
        let to = from + bytes.len() / 20;
        bytes[from..to].fill(0x55);
        let samples = samples_of(&mut decoder(&bytes));
        assert!(samples.len().abs_diff(whole.len()) < 1_000, "{name}: {} of {}", samples.len(), whole.len());
        for start in [500, later] {
            let same = likeness(&samples[start..start + 2_000], start);
            assert!(same > 0.95, "{name} from {start}: {same}");
        }
    }
}

#[test]
fn every_rate_and_number_of_channels_becomes_speech() {
    for (rate, channels) in [(8_000, 1), (11_025, 1), (16_000, 2), (44_100, 2), (48_000, 6), (96_000, 1), (192_000, 1)]
    {
        let samples = samples_of(&mut decoder(&wav(rate, channels, rate / 10)));
        assert_eq!(samples.len(), 1_600, "{rate} Hz, {channels} channels");
        let loudest = samples.iter().fold(0.0, |loudest: f32, sample| loudest.max(sample.abs()));
        assert!((0.25..0.35).contains(&loudest), "{rate} Hz, {channels} channels: {loudest}");
    }
}

#[test]
fn a_decoder_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Decoder>();
}
