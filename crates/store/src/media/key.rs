//! Keys of media objects. Only this module parses and builds them.

use std::fmt;
use std::str::FromStr;

use contracts::{AssetKind, BookId};
use uuid::Uuid;

/// Key of an object: `<book id>/<kind>/<random UUID>`. The random part makes it unguessable, so it is never shown; links have other names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaKey {
    book: BookId,
    kind: AssetKind,
    random: Uuid,
}

/// The text is not a key of a media object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a media key must be <book id>/<kind>/<UUID>, with a kind of master, preview or cover")]
pub struct MediaKeyError;

impl MediaKey {
    /// A new key for a file of a book.
    pub fn new(book: BookId, kind: AssetKind) -> Self {
        Self { book, kind, random: Uuid::new_v4() }
    }

    /// The book.
    pub const fn book(&self) -> BookId {
        self.book
    }

    /// What the object is for the book.
    pub const fn kind(&self) -> AssetKind {
        self.kind
    }
}

impl fmt::Display for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.book, self.kind.as_str(), self.random)
    }
}

/// Without the random part, for logs.
impl fmt::Debug for MediaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/…", self.book, self.kind.as_str())
    }
}

impl FromStr for MediaKey {
    type Err = MediaKeyError;

    fn from_str(text: &str) -> Result<Self, MediaKeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [book, kind, random] = parts.as_slice() else { return Err(MediaKeyError) };
        let book = book.parse().map_err(|_| MediaKeyError)?;
        let kind = kind.parse().map_err(|_| MediaKeyError)?;
        let random = Uuid::try_parse(random).map_err(|_| MediaKeyError)?;
        let key = Self { book, kind, random };
        // A UUID has several forms. One object has one key.
        if key.to_string() == text { Ok(key) } else { Err(MediaKeyError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_its_secret_is_not_in_a_log() {
        let key = MediaKey::new(BookId::now(), AssetKind::Preview);
        let text = key.to_string();
        assert_eq!(text.parse::<MediaKey>(), Ok(key));
        let random = text.rsplit('/').next().unwrap_or_default();
        assert!(random.len() == 36 && !format!("{key:?}").contains(random));
        assert_ne!(MediaKey::new(key.book(), key.kind()), key);
    }

    #[test]
    fn other_texts_are_no_keys() {
        let key = MediaKey::new(BookId::now(), AssetKind::Master).to_string();
        let upper = key.to_uppercase();
        for wrong in ["", "a/b/c", "../../x", upper.as_str(), &format!("{key}/x"), &key.replace("master", "secret")] {
            assert_eq!(wrong.parse::<MediaKey>(), Err(MediaKeyError), "{wrong}");
        }
    }
}
