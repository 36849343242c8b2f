//! The file of a provider's key. It is read again for each call, so that a new key takes effect without a restart. The key itself is in
//! no message and no log.

use std::path::{Path, PathBuf};

use reqwest::header::HeaderValue;
use settings::Secret;

/// Largest file of a key, in bytes.
const MAX_KEY: u64 = 16 << 10;

/// A file with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The key in this file. Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The key. Blocking.
    ///
    /// # Errors
    /// When there is none that can be sent. The message names the file and not the key.
    pub fn read(&self) -> Result<Secret, String> {
        let path = self.0.display();
        let facts = std::fs::metadata(&self.0).map_err(|error| format!("{path} cannot be read: {error}"))?;
        // A pipe would be waited for.
        if !facts.is_file() || facts.len() > MAX_KEY {
            return Err(format!("{path} must be a file of at most {MAX_KEY} bytes with the key alone"));
        }
        let text = std::fs::read_to_string(&self.0).map_err(|error| format!("{path} cannot be read: {error}"))?;
        let Ok(key) = text.parse::<Secret>();
        if key.expose().is_empty() {
            return Err(format!("{path} is empty; write the key into it"));
        }
        settings::check_token(key.expose()).map_err(|_| {
            format!("{path} has a blank, a line end or another character that no request can carry inside the key")
        })?;
        Ok(key)
    }

    /// The key and its header.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn header(&self) -> Result<(Secret, HeaderValue), String> {
        let file = self.clone();
        let key = tokio::task::spawn_blocking(move || file.read()).await.map_err(|error| error.to_string())??;
        let mut header = HeaderValue::try_from(format!("Bearer {}", key.expose()))
            .map_err(|_| format!("{} has a key that no request can carry", self.0.display()))?;
        header.set_sensitive(true);
        Ok((key, header))
    }
}
