//! The facts of good files.

use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::mpeg::header::Header;
use crate::mpeg::info::write;
use crate::samples::{id3, probed, sample, silent_mp3, wav};
use crate::sound::duration_of;
use crate::{Codec, Container, Limits, Ranged, Sound, probe};

/// Container, codec, channels, rate; and whether the duration is that in seconds, within the tolerance in milliseconds.
fn assert_sound(bytes: &[u8], facts: (Container, Codec, u16, u32), seconds: f64, tolerance: u64) -> Sound {
    let sound = probed(bytes).unwrap();
    assert_eq!((sound.container, sound.codec, sound.channels, sound.sample_rate), facts);
    let difference = sound.duration.abs_diff(Duration::from_secs_f64(seconds));
    assert!(difference <= Duration::from_millis(tolerance), "{:?} instead of {seconds} s", sound.duration);
    sound
}

#[test]
fn mp3_of_every_kind_has_its_exact_duration() {
    let mp3 = |channels, rate| (Container::Mp3, Codec::Mp3, channels, rate);
    let tagged = assert_sound(sample!("cbr.mp3"), mp3(2, 44_100), 5.0, 1);
    assert_eq!(tagged.title.as_deref(), Some("Sense and Sensibility"));
    assert_eq!(tagged.artist.as_deref(), Some("Jane Austen"));
    assert_sound(sample!("vbr.mp3"), mp3(1, 44_100), 5.0, 1);
    // Without a table, the samples that the encoder added are not known: at most three frames.
    assert_sound(sample!("vbr-without-table.mp3"), mp3(1, 44_100), 5.05, 50);
    assert_sound(sample!("mpeg2.mp3"), mp3(1, 16_000), 2.0, 1);
    assert_sound(sample!("mpeg25.mp3"), mp3(1, 8_000), 2.0, 1);
}

#[test]
fn other_containers_have_their_duration() {
    let sound = assert_sound(sample!("aac.m4a"), (Container::Mp4, Codec::Aac, 1, 44_100), 2.0, 50);
    assert_eq!(sound.title.as_deref(), Some("Sense and Sensibility"));
    assert_sound(sample!("faststart.mp4"), (Container::Mp4, Codec::Aac, 1, 44_100), 2.0, 50);
    assert_sound(sample!("fragments.mp4"), (Container::Mp4, Codec::Aac, 1, 44_100), 2.0, 50);
    assert_sound(sample!("alac.m4a"), (Container::Mp4, Codec::Alac, 1, 44_100), 0.5, 1);
    assert_sound(sample!("adts.aac"), (Container::Aac, Codec::Aac, 1, 44_100), 2.0, 60);
    let sound = assert_sound(sample!("vorbis.ogg"), (Container::Ogg, Codec::Vorbis, 1, 44_100), 2.0, 1);
    assert_eq!(sound.artist.as_deref(), Some("Jane Austen"));
    assert_sound(sample!("vorbis.mka"), (Container::Matroska, Codec::Vorbis, 1, 44_100), 2.0, 50);
    let sound = assert_sound(sample!("flac.flac"), (Container::Flac, Codec::Flac, 2, 22_050), 1.0, 0);
    assert_eq!(sound.title.as_deref(), Some("Sense and Sensibility"));
    assert_sound(sample!("surround.flac"), (Container::Flac, Codec::Flac, 6, 48_000), 0.5, 0);
    assert_sound(sample!("adpcm.wav"), (Container::Wav, Codec::Adpcm, 1, 8_000), 1.0, 130);
}

#[test]
fn the_sound_of_a_video_is_taken() {
    assert_sound(sample!("video.mp4"), (Container::Mp4, Codec::Aac, 1, 44_100), 2.0, 50);
}

#[test]
fn wav_of_every_rate_and_length_is_accepted() {
    for (rate, channels, samples) in [(8_000, 1, 800), (44_100, 2, 44_100), (96_000, 1, 9_600), (48_000, 6, 4_800)] {
        let seconds = f64::from(samples) / f64::from(rate);
        assert_sound(&wav(rate, channels, samples), (Container::Wav, Codec::Pcm, channels, rate), seconds, 0);
    }
}

#[test]
fn a_wav_from_a_pipe_has_the_duration_of_its_bytes() {
    let mut bytes = wav(8_000, 1, 8_000);
    for at in [4, 40] {
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
    }
    assert_sound(&bytes, (Container::Wav, Codec::Pcm, 1, 8_000), 1.0, 0);
}

#[test]
fn joined_mp3_files_last_as_long_as_both() {
    let joined = [sample!("vbr.mp3"), sample!("vbr.mp3")].concat();
    assert_sound(&joined, (Container::Mp3, Codec::Mp3, 1, 44_100), 10.0, 100);
}

#[test]
fn a_long_mp3_with_tags_is_counted_exactly() {
    let mut bytes = id3(&[(b"TIT2", b"\x03Emma")]);
    bytes.extend(silent_mp3(20_000));
    bytes.extend_from_slice(b"TAG");
    bytes.resize(bytes.len() + 125, 0);
    let seconds = 20_000.0 * 1152.0 / 44_100.0;
    let sound = assert_sound(&bytes, (Container::Mp3, Codec::Mp3, 2, 44_100), seconds, 1);
    assert_eq!(sound.title.as_deref(), Some("Emma"));
}

#[test]
fn a_table_that_fits_the_file_spares_reading_it() {
    let first = Header::parse([0xff, 0xfb, 0x90, 0x64]).unwrap();
    let sound = silent_mp3(20_000);
    for (claimed, read_whole) in [(20_000, false), (500, true)] {
        let bytes = [write(&first, claimed, sound.len() as u32, false), sound.clone()].concat();
        let fetched = Arc::new(AtomicU64::new(0));
        let (content, counter) = (bytes.clone(), Arc::clone(&fetched));
        let ranged = Ranged::new(bytes.len() as u64, move |range| {
            counter.fetch_add(range.end - range.start, Ordering::Relaxed);
            Ok(content[range.start as usize..range.end as usize].to_vec())
        });
        let found = probe(ranged, bytes.len() as u64, &Limits::default()).unwrap();
        assert_eq!(found.duration, duration_of(20_000 * 1152, 44_100));
        assert_eq!(fetched.load(Ordering::Relaxed) > bytes.len() as u64 / 2, read_whole, "{fetched:?} bytes were read");
    }
}

/// A WAV file of 20 hours whose samples are not stored.
struct Sparse {
    head: Vec<u8>,
    length: u64,
    at: u64,
    read: Arc<AtomicU64>,
}

impl Read for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.at)).unwrap();
        let count = buffer.len().min(left);
        for (place, byte) in buffer[..count].iter_mut().enumerate() {
            *byte = self.head.get(self.at as usize + place).copied().unwrap_or(0);
        }
        self.at += count as u64;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::InvalidInput.into()) };
        self.at = at;
        Ok(at)
    }
}

#[test]
fn a_long_file_with_an_index_is_probed_by_a_small_part() {
    let (rate, samples) = (16_000_u32, 16_000 * 3600 * 20_u32);
    let mut head = wav(rate, 1, 0);
    head[40..44].copy_from_slice(&(samples * 2).to_le_bytes());
    head[4..8].copy_from_slice(&(samples * 2 + 36).to_le_bytes());
    let length = head.len() as u64 + u64::from(samples) * 2;
    let read = Arc::new(AtomicU64::new(0));
    let sparse = Sparse { head, length, at: 0, read: Arc::clone(&read) };
    let sound = probe(sparse, length, &Limits::default()).unwrap();
    assert_eq!(sound.duration, Duration::from_secs(20 * 3600));
    assert!(read.load(Ordering::Relaxed) < 1 << 20, "{read:?} bytes were read");
}

#[test]
fn an_object_in_ranges_has_the_same_facts() {
    for bytes in [sample!("cbr.mp3"), sample!("aac.m4a"), sample!("flac.flac"), sample!("vorbis.ogg")] {
        let ranged =
            Ranged::new(bytes.len() as u64, move |range| Ok(bytes[range.start as usize..range.end as usize].to_vec()));
        let sound = probe(ranged, bytes.len() as u64, &Limits::default()).unwrap();
        assert_eq!(sound, probed(bytes).unwrap());
    }
}

#[test]
fn a_failing_source_is_no_refusal() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(512);
            let is_far = self.0.position() > 4000;
            if is_far { Err(io::Error::other("no network")) } else { self.0.read(&mut buffer[..most]) }
        }
    }
    impl Seek for Failing {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }
    for bytes in [sample!("cbr.mp3"), sample!("aac.m4a"), sample!("vorbis.ogg"), sample!("flac.flac")] {
        let error = probe(Failing(Cursor::new(bytes.to_vec())), bytes.len() as u64, &Limits::default()).unwrap_err();
        assert!(error.refusal().is_none(), "{error}");
    }
}
