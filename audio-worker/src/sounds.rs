//! What the files of books are, of those that were opened last: to find that out, some are read to their end, and each of a book's hundreds of
//! windows needs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sound::Sound;
use store::MediaKey;

use crate::object::Object;
use crate::speech::recording::{self, RecordingError};

/// Files that are remembered: more than the books that are transcribed at the same time.
const KEPT: usize = 64;

/// The facts of files, those that were opened last at the end. Clones share them.
#[derive(Clone, Default)]
pub struct Sounds(Arc<Mutex<Vec<(MediaKey, Sound)>>>);

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

    fn known(&self, key: &MediaKey) -> Option<Sound> {
        self.kept().iter().find(|(known, _)| known == key).map(|(_, sound)| sound.clone())
    }

    fn keep(&self, key: MediaKey, sound: Sound) {
        let mut kept = self.kept();
        kept.retain(|(known, _)| *known != key);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((key, sound));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(MediaKey, Sound)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use contracts::{AssetKind, BookId};
    use sound::{Codec, Container};

    use super::*;

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
        let keys: Vec<MediaKey> = (0..=KEPT).map(|_| MediaKey::new(BookId::now(), AssetKind::Master)).collect();
        for key in &keys {
            sounds.keep(*key, sound.clone());
            sounds.keep(*key, sound.clone());
        }
        assert_eq!(sounds.known(&keys[0]), None);
        assert!(keys[1..].iter().all(|key| sounds.known(key).as_ref() == Some(&sound)));
    }
}
