//! The files of books that were opened last: what they are, and readers that wait for the next window. To find out what a file is, or to go to
//! a window, some files are read from their start, and a book has hundreds of windows.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sound::{Decoder, Sound};
use store::MediaKey;

use crate::object::Object;
use crate::speech::recording::{self, Reader, RecordingError};

/// Files that are remembered: more than the books that are transcribed at the same time.
const FILES: usize = 64;

/// Readers that wait. Each has some MiB of its file.
const READERS: usize = 4;

/// The files that were opened last. Clones share them.
#[derive(Clone, Default)]
pub struct Sounds(Arc<Mutex<Opened>>);

/// Both with the last one at the end.
#[derive(Default)]
struct Opened {
    facts: Vec<(MediaKey, Sound)>,
    readers: Vec<(Object, Reader)>,
}

impl Sounds {
    /// What a file is. Blocking, unless it is known. A key is that of one file for ever.
    ///
    /// # Errors
    /// A refusal, or the failure of the store.
    pub fn of(&self, object: &Object) -> Result<Sound, RecordingError> {
        if let Some(sound) = self.known(&object.key) {
            return Ok(sound);
        }
        let sound = recording::probe(object.source(), object.bytes)?;
        self.keep(object.key, sound.clone());
        Ok(sound)
    }

    /// The samples of a window, from its first one to its end. Blocking.
    ///
    /// # Errors
    /// A refusal, or the failure of the store.
    pub fn read(&self, object: Object, window: (u64, u64)) -> Result<Vec<f32>, RecordingError> {
        let (object, mut reader) = match self.reader_before(&object, window.0) {
            Some(waiting) => waiting,
            None => {
                let sound = self.of(&object)?;
                let decoder = Decoder::open(object.source(), object.bytes, &sound)?;
                (object, Reader::new(decoder))
            }
        };
        let samples = reader.read(window)?;
        self.keep_open(object, reader);
        Ok(samples)
    }

    /// The reader of a file that is the nearest before a sample.
    fn reader_before(&self, object: &Object, sample: u64) -> Option<(Object, Reader)> {
        let mut opened = self.opened();
        let of_file = |(open, reader): &(Object, Reader)| {
            (open.key == object.key && reader.position() <= sample).then(|| reader.position())
        };
        let positions = opened.readers.iter().enumerate();
        let (_, place) = positions.filter_map(|(place, waiting)| Some((of_file(waiting)?, place))).max()?;
        let (open, reader) = opened.readers.remove(place);
        open.read_like(object);
        Some((open, reader))
    }

    fn keep_open(&self, object: Object, reader: Reader) {
        let mut opened = self.opened();
        if opened.readers.len() >= READERS {
            opened.readers.remove(0);
        }
        opened.readers.push((object, reader));
    }

    fn known(&self, key: &MediaKey) -> Option<Sound> {
        self.opened().facts.iter().find(|(known, _)| known == key).map(|(_, sound)| sound.clone())
    }

    fn keep(&self, key: MediaKey, sound: Sound) {
        let mut opened = self.opened();
        opened.facts.retain(|(known, _)| *known != key);
        if opened.facts.len() >= FILES {
            opened.facts.remove(0);
        }
        opened.facts.push((key, sound));
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use contracts::{AssetKind, BookId};
    use sound::{Codec, Container};
    use store::media_folder;
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// A WAV file of four seconds, whose samples are all different in a row.
    fn wav() -> Vec<u8> {
        let samples = (0..64_000_u32).flat_map(|n| ((n % 65_521) as u16 as i16).to_le_bytes());
        let mut wav = b"RIFF".to_vec();
        wav.extend((36 + 128_000_u32).to_le_bytes());
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        wav.extend(16_000_u32.to_le_bytes());
        wav.extend(32_000_u32.to_le_bytes());
        wav.extend(b"\x02\0\x10\0data");
        wav.extend(128_000_u32.to_le_bytes());
        wav.extend(samples);
        wav
    }

    #[test]
    fn the_files_that_were_opened_last_are_known() {
        let sound = Sound {
            container: Container::Wav,
            codec: Codec::Pcm,
            channels: 1,
            sample_rate: 16_000,
            duration: Duration::from_secs(1),
            title: None,
            artist: None,
        };
        let sounds = Sounds::default();
        let keys: Vec<MediaKey> = (0..=FILES).map(|_| MediaKey::new(BookId::now(), AssetKind::Master)).collect();
        for key in &keys {
            sounds.keep(*key, sound.clone());
            sounds.keep(*key, sound.clone());
        }
        assert_eq!(sounds.known(&keys[0]), None);
        assert!(keys[1..].iter().all(|key| sounds.known(key).as_ref() == Some(&sound)));
    }

    #[tokio::test]
    async fn a_reader_goes_on_with_the_windows_after_it_and_reads_what_a_new_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("book.wav");
        std::fs::write(&file, wav()).unwrap();
        let expected = recording::all_samples(&file).unwrap();
        assert_eq!(expected.len(), 64_000);
        let media = media_folder(folder.path().join("media")).unwrap();
        let key = MediaKey::new(BookId::now(), AssetKind::Master);
        media.put(&key, "audio/wav", Bytes::from(wav())).await.unwrap();
        let sounds = Sounds::default();
        // A window, and how many readers wait after it. None goes back.
        for (start, end, readers) in [
            (0, 20_000, 1),
            (20_000, 33_000, 1),
            (50_000, 64_000, 1),
            (3, 9_000, 2),
            (48_000, 48_100, 2),
            (32_000, 32_100, 3),
            (16_000, 16_100, 4),
            (0, 100, READERS),
        ] {
            let cancelled = CancellationToken::new();
            let _cancel = cancelled.clone().drop_guard();
            let object = Object::new(Arc::clone(&media), key, 128_044, cancelled);
            let reading = sounds.clone();
            let reading = tokio::task::spawn_blocking(move || reading.read(object, (start as u64, end as u64)));
            let samples = reading.await.unwrap().unwrap();
            assert!(samples == expected[start..end], "{start}..{end}");
            assert_eq!(sounds.opened().readers.len(), readers, "{start}..{end}");
        }
        // One that is cancelled is neither read nor kept.
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let object = Object::new(media, MediaKey::new(BookId::now(), AssetKind::Master), 128_044, cancelled);
        let reading = tokio::task::spawn_blocking(move || sounds.read(object, (0, 100)));
        assert!(reading.await.unwrap().is_err());
    }
}
