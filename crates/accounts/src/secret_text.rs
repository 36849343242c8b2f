//! Passwords and tokens in memory. They print as `***`. Their memory is overwritten when they are
//! dropped, except for copies by a library or of a moved buffer.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use store::relational::TokenHash;
use zeroize::Zeroizing;

/// A password or token in plain text. Prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text. It must not be logged.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A prefix and 256 random bits. The prefix identifies the kind of token for secret scanners and for this program.
    pub(crate) fn random(prefix: &str) -> Self {
        Self::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random::<32>())))
    }

    /// The hash under which a random token is stored. Not for passwords: those can be guessed.
    pub(crate) fn hash(&self) -> TokenHash {
        hash(self.expose())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The hash under which a random token is stored.
pub(crate) fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}

/// Random bytes from the operating system. Panics when the operating system returns none, because then no secret can be created.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system returns random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_text_prints_as_stars() {
        let credential = SecretText::random("sl_");
        assert_eq!(format!("{credential:?} {:?}", credential.hash()), "*** ***");
        assert!(credential.expose().starts_with("sl_") && credential.expose().len() == 46);
        assert_ne!(credential, SecretText::random("sl_"));
    }
}
