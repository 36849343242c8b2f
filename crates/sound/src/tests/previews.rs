//! Previews are files that play.

use std::time::Duration;

use crate::mpeg::frames::{Frames, find};
use crate::samples::{decoder, previewed, probed, sample, samples_of, wav};
use crate::source::Source;
use crate::{Codec, Container};

#[test]
fn a_preview_of_mp3_is_whole_frames_of_the_original() {
    for original in [sample!("cbr.mp3"), sample!("vbr.mp3"), sample!("vbr-without-table.mp3"), sample!("mpeg2.mp3")] {
        let preview = previewed(original, 500, 1000);
        assert_eq!((preview.media_type, preview.extension), ("audio/mpeg", "mp3"));
        let sound = probed(&preview.bytes).unwrap();
        assert_eq!((sound.container, sound.duration), (Container::Mp3, preview.duration));
        assert!(sound.duration.abs_diff(Duration::from_secs(1)) < Duration::from_millis(80), "{:?}", sound.duration);
        // The table, then frames as they are in the original, and nothing else.
        let source = Source::new(std::io::Cursor::new(preview.bytes.clone()), preview.bytes.len() as u64);
        let (first, offset) = find(&source).unwrap().unwrap();
        let mut frames = Frames::new(source, offset, first);
        let mut length = 0;
        while let Some(header) = frames.advance().unwrap() {
            let frame = frames.bytes().unwrap();
            assert!(length == 0 || original.windows(frame.len()).any(|window| window == frame), "a new frame");
            length += header.bytes;
        }
        assert_eq!((offset, length), (0, preview.bytes.len()));
    }
}

#[test]
fn a_preview_of_other_formats_is_flac_with_the_same_samples() {
    for original in [sample!("aac.m4a"), sample!("vorbis.ogg"), sample!("flac.flac"), sample!("vorbis.mka")] {
        let preview = previewed(original, 240, 500);
        assert_eq!((preview.media_type, preview.extension), ("audio/flac", "flac"));
        let sound = probed(&preview.bytes).unwrap();
        assert_eq!((sound.container, sound.codec, sound.duration), (Container::Flac, Codec::Flac, preview.duration));
        assert!(sound.duration.abs_diff(Duration::from_millis(500)) < Duration::from_millis(2), "{:?}", sound.duration);
        let mut whole = decoder(original);
        whole.seek(Duration::from_millis(240)).unwrap();
        let expected = samples_of(&mut whole);
        let samples = samples_of(&mut decoder(&preview.bytes));
        // The ends of a file have no neighbours to be filtered with.
        let worst = (200..7_600).map(|at| (samples[at] - expected[at]).abs()).fold(0.0, f32::max);
        assert!(worst < 0.02, "{worst}");
    }
}

#[test]
fn many_channels_and_high_rates_become_what_players_have() {
    let sound = probed(&previewed(&wav(96_000, 6, 96_000), 0, 500).bytes).unwrap();
    assert_eq!((sound.channels, sound.sample_rate), (1, 48_000));
    let sound = probed(&previewed(&wav(44_100, 2, 44_100), 0, 500).bytes).unwrap();
    assert_eq!((sound.channels, sound.sample_rate), (2, 44_100));
}

#[test]
fn a_preview_never_ends_after_its_sound() {
    for original in [sample!("cbr.mp3"), sample!("aac.m4a")] {
        let whole = probed(original).unwrap().duration;
        let late = previewed(original, 60_000, 1000);
        assert!(late.duration.abs_diff(Duration::from_secs(1)) < Duration::from_millis(60), "{:?}", late.duration);
        let all = previewed(original, 60_000, 60_000);
        assert!(all.duration.abs_diff(whole) < Duration::from_millis(120), "{:?} of {whole:?}", all.duration);
    }
}

#[test]
fn the_sound_of_a_video_has_a_preview() {
    assert_eq!(previewed(sample!("video.mp4"), 500, 500).extension, "flac");
}
