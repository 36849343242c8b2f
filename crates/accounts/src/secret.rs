//! Secrets: texts that print as `***` and are wiped from memory, and random tokens that are known by their hashes.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use store::relational::TokenHash;
use zeroize::Zeroizing;

/// A password or token in the clear.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself; what it is passed to must not log it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A new random token of 256 bits behind a prefix, by which secret scanners know it and we know its kind.
    pub(crate) fn random(prefix: &str) -> Self {
        Self::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random::<32>())))
    }

    /// The hash that a random token is stored and found by. Not for passwords: those can be guessed.
    pub(crate) fn hash(&self) -> TokenHash {
        hash(self.expose())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The hash that a random token is stored and found by.
pub(crate) fn hash(token: &str) -> TokenHash {
    TokenHash(Sha256::digest(token).into())
}

/// Random bytes from the operating system. One that has none can keep no secret: nothing may go on there.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::random("sl_");
        assert_eq!(format!("{secret:?} {:?}", secret.hash()), "*** ***");
        assert!(secret.expose().starts_with("sl_") && secret.expose().len() == 46);
        assert_ne!(secret, Secret::random("sl_"));
    }
}
