//! An image in a file: its type by its first bytes, and its content.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::io::AsyncReadExt;

/// Largest file that is read, in bytes. Above all useful limits of a server (`SIGHTLINE_MAX_FRAME_BYTES`, 8 MiB by default).
const MAX_FILE: u64 = 256 << 20;

/// Bytes that are enough to recognise a type: three packets of MPEG-TS with times.
const MAGIC: usize = 3 * 192;

/// Names of files and folders that operating systems create next to images, in lower case.
const SIDE_FILES: [&str; 9] = [
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    ".ds_store",
    ".thumbnails",
    ".trashes",
    ".spotlight-v100",
    "@eadir",
    "__macosx",
];

/// Whether an operating system created a file or a folder next to images, by its name.
pub fn is_side_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    // `._photo.jpg` is where macOS keeps attributes of `photo.jpg`.
    name.starts_with("._") || SIDE_FILES.contains(&name.as_str())
}

/// Whether the first bytes of a file are of this kind. `None` for a file that cannot be read: sending it reports the error.
pub fn may_be(path: &Path, is_kind: impl Fn(&[u8]) -> bool) -> Option<bool> {
    let mut magic = Vec::with_capacity(MAGIC);
    File::open(path).and_then(|file| file.take(MAGIC as u64).read_to_end(&mut magic)).ok()?;
    Some(is_kind(&magic))
}

/// The content of a file.
///
/// # Errors
/// If it is not a regular file, because a pipe or device may have no end; if it is too large, or cannot be read.
pub async fn read(path: &Path) -> anyhow::Result<Bytes> {
    let unreadable = "the file cannot be read";
    // Before it is opened, because opening a pipe waits for its writer.
    let metadata = tokio::fs::metadata(path).await.context(unreadable)?;
    if !metadata.is_file() {
        bail!("it is not a regular file");
    }
    let too_large = || anyhow::anyhow!("it is larger than {} MiB", MAX_FILE >> 20);
    if metadata.len() > MAX_FILE {
        return Err(too_large());
    }
    let file = tokio::fs::File::open(path).await.context(unreadable)?;
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).await.context(unreadable)?;
    if content.len() as u64 > MAX_FILE {
        return Err(too_large());
    }
    Ok(content.into())
}

/// The media type by the first bytes of a file: JPEG, PNG or WebP.
pub fn media_type(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn devices_and_too_large_files_are_not_read() {
        let device = read(Path::new("/dev/zero")).await.unwrap_err().to_string();
        assert!(device.contains("not a regular file"), "{device}");
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE * 10).unwrap();
        let large = read(file.path()).await.unwrap_err().to_string();
        assert!(large.contains("larger than 256 MiB"), "{large}");
        file.as_file().set_len(5).unwrap();
        assert_eq!(read(file.path()).await.unwrap().len(), 5);
    }
}
