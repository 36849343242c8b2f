//! Finds the images and videos that paths name.
//!
//! In a folder, the first bytes of a file decide whether it is an image; the ending of its name does not matter. Side files
//! of operating systems are skipped. Links to folders are followed, and every folder is visited once, so circular links end.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::out::counted;
use crate::sending::image_file::{is_side_file, may_be, media_type};

/// The images of all paths, in the order in which they are sent, and what was skipped.
#[derive(Debug, Default)]
pub struct Images {
    /// Paths of images.
    pub files: Vec<PathBuf>,
    /// Paths of videos.
    pub videos: Vec<PathBuf>,
    /// Other files in the folders.
    pub skipped: Skipped,
    visited: HashSet<(u64, u64)>,
}

/// Files and folders that are not sent, by reason.
#[derive(Debug, Default)]
pub struct Skipped(BTreeMap<Reason, (usize, PathBuf)>);

/// Why a file or folder is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    NoImage,
    SideFile,
    BrokenLink,
    VisitedBefore,
}

impl Images {
    /// Named files are sent unchecked, as a video or as an image; folders are searched, sorted by name.
    ///
    /// # Errors
    /// When a path or a folder cannot be read, or a named folder has neither an image nor a video.
    pub fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut images = Self::default();
        for path in paths {
            let metadata = std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
            if !metadata.is_dir() {
                // Opening a pipe waits for its writer, so only its name counts.
                let is_video = metadata.is_file() && may_be(path, is_video) == Some(true);
                let list = if is_video || may_be_video_by_name(path) { &mut images.videos } else { &mut images.files };
                list.push(path.clone());
                continue;
            }
            let before = images.count();
            images.search(path, &metadata)?;
            if images.count() == before {
                bail!("{} has no JPEG, PNG or WebP image and no video in it; {}", path.display(), images.skipped);
            }
        }
        Ok(images)
    }

    fn search(&mut self, folder: &Path, metadata: &Metadata) -> anyhow::Result<()> {
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            self.skipped.add(Reason::VisitedBefore, folder);
            return Ok(());
        }
        let unreadable = || format!("{} cannot be read", folder.display());
        let entries = std::fs::read_dir(folder).with_context(unreadable)?;
        let mut paths =
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(unreadable)?;
        paths.sort();
        for path in paths {
            self.consider(path)?;
        }
        Ok(())
    }

    fn consider(&mut self, path: PathBuf) -> anyhow::Result<()> {
        if is_side_file(&path) {
            self.skipped.add(Reason::SideFile, &path);
            return Ok(());
        }
        // Follows links.
        let Ok(metadata) = std::fs::metadata(&path) else {
            self.skipped.add(Reason::BrokenLink, &path);
            return Ok(());
        };
        if metadata.is_dir() {
            return self.search(&path, &metadata);
        }
        // Anything but a plain file, such as a pipe, could block when it is opened.
        if metadata.is_file() && may_be(&path, is_video) == Some(true) {
            self.videos.push(path);
        } else if metadata.is_file() && may_be(&path, |magic| media_type(magic).is_some()) != Some(false) {
            self.files.push(path);
        } else {
            self.skipped.add(Reason::NoImage, &path);
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.files.len() + self.videos.len()
    }
}

impl Skipped {
    /// Whether nothing was skipped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, reason: Reason, path: &Path) {
        let (count, named) = self.0.entry(reason).or_insert_with(|| (0, path.to_owned()));
        *count += 1;
        // A file that its owner takes for an image is a surprise, the others are not.
        if reason == Reason::NoImage && has_image_ending(path) && !has_image_ending(named) {
            path.clone_into(named);
        }
    }
}

/// One part for each reason, with a path of each: the first one, and among files the first with the ending of an image.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("it is empty");
        }
        f.write_str("skipped ")?;
        for (number, (reason, (count, first))) in self.0.iter().enumerate() {
            let what = match reason {
                Reason::NoImage => counted(
                    *count,
                    "file that is neither a JPEG, PNG or WebP image nor a video",
                    "files that are neither JPEG, PNG or WebP images nor videos",
                ),
                Reason::SideFile => counted(*count, "side file", "side files"),
                Reason::BrokenLink => counted(*count, "broken link", "broken links"),
                Reason::VisitedBefore => {
                    counted(*count, "link to a folder that was sent already", "links to folders that were sent already")
                }
            };
            let comma = if number == 0 { "" } else { ", " };
            let more = if *count > 1 { ", …" } else { "" };
            write!(f, "{comma}{what} ({}{more})", first.display())?;
        }
        Ok(())
    }
}

/// Endings of names that people know as those of images, in lower case.
const IMAGE_ENDINGS: [&str; 14] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "heic", "heif", "avif", "gif", "bmp", "tif", "tiff", "jxl"];

fn has_image_ending(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    IMAGE_ENDINGS.contains(&ending.as_str())
}

/// Brands of still images in the container of MP4.
const IMAGE_BRANDS: [&[u8]; 7] = [b"heic", b"heix", b"heim", b"mif1", b"msf1", b"avif", b"avis"];

/// Whether the first bytes are those of a video file: MP4 and QuickTime, Matroska, AVI, FLV, MPEG, MPEG-TS, ASF, Ogg.
fn is_video(magic: &[u8]) -> bool {
    match magic {
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => !IMAGE_BRANDS.contains(&brand),
        [_, _, _, _, b'm', b'o', b'o', b'v', ..] | [_, _, _, _, b'm', b'd', b'a', b't', ..] => true,
        [0x1a, 0x45, 0xdf, 0xa3, ..] | [b'F', b'L', b'V', 1, ..] | [0, 0, 1, 0xba | 0xb3, ..] => true,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => true,
        [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, ..] | [b'O', b'g', b'g', b'S', ..] => true,
        _ => is_transport_stream(magic),
    }
}

/// MPEG-TS has no magic number, but a byte at the beginning of each packet; recordings of camcorders have a time before each.
fn is_transport_stream(magic: &[u8]) -> bool {
    let packets = |first: usize, length: usize| (0..3).all(|n| magic.get(first + n * length) == Some(&0x47));
    packets(0, 188) || packets(4, 192)
}

/// Endings of names that people know as those of videos, in lower case.
const VIDEO_ENDINGS: [&str; 21] = [
    "mp4", "m4v", "mov", "mkv", "webm", "avi", "ts", "mts", "m2ts", "mpg", "mpeg", "flv", "wmv", "asf", "3gp", "3g2",
    "ogv", "mjpeg", "mjpg", "h264", "h265",
];

fn may_be_video_by_name(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    VIDEO_ENDINGS.contains(&ending.as_str())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0rest";
    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
    const WEBP: &[u8] = b"RIFF\x10\0\0\0WEBPVP8 ";

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    fn names(images: &Images, folder: &Path) -> Vec<String> {
        let relative = |path: &PathBuf| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        images.files.iter().map(relative).collect()
    }

    #[test]
    fn the_bytes_of_a_file_decide_and_not_its_name() {
        let folder = folder(&[
            ("saved.jfif", JPEG),
            ("snapshot", PNG),
            ("scan.JPE", JPEG),
            ("b/photo.txt", WEBP),
            ("notes.jpg", b"no image"),
            ("empty.png", b""),
        ]);
        let images = Images::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names(&images, folder.path()), ["b/photo.txt", "saved.jfif", "scan.JPE", "snapshot"]);
        let skipped = images.skipped.to_string();
        assert!(
            skipped.starts_with("skipped 2 files that are neither JPEG, PNG or WebP images nor videos ("),
            "{skipped}"
        );
    }

    /// Packets of MPEG-TS, with so many bytes before each.
    fn transport_stream(before: usize) -> Vec<u8> {
        let packet = [vec![0; before], vec![0x47], vec![0; 187]].concat();
        packet.repeat(4)
    }

    #[test]
    fn videos_are_told_from_images() {
        let folder = folder(&[
            ("clip", b"\0\0\0\x20ftypisom"),
            ("a/old.dat", b"RIFF\x10\0\0\0AVI LIST"),
            ("dvb", &transport_stream(0)),
            ("camcorder", &transport_stream(4)),
            ("letters", &[b'G'; 188]),
            ("photo.heic", b"\0\0\0\x20ftypheic"),
            ("gate.jpg", JPEG),
            ("text.mp4", b"no video"),
        ]);
        let names = |files: &[PathBuf]| -> Vec<String> {
            files.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        let images = Images::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(
            (names(&images.files), names(&images.videos)),
            (vec!["gate.jpg".into()], ["old.dat", "camcorder", "clip", "dvb"].map(String::from).to_vec())
        );
        let named = ["clip", "gate.jpg", "text.mp4", "photo.heic"].map(|name| folder.path().join(name));
        let images = Images::find(&named).unwrap();
        assert_eq!(names(&images.files), ["gate.jpg", "photo.heic"]);
        assert_eq!(names(&images.videos), ["clip", "text.mp4"], "a named file is what its name says");
    }

    #[test]
    fn a_skipped_file_with_the_ending_of_an_image_is_named_first() {
        let folder = folder(&[("a.txt", b"text"), ("b.HEIC", b"heic"), ("c.jpg", b"heic"), ("gate.jpg", JPEG)]);
        let images = Images::find(&[folder.path().to_owned()]).unwrap();
        let skipped = images.skipped.to_string();
        assert!(skipped.starts_with("skipped 3 files") && skipped.ends_with("/b.HEIC, …)"), "{skipped}");
    }

    #[test]
    fn side_files_are_skipped_and_counted() {
        let folder = folder(&[
            ("gate.jpg", JPEG),
            ("._gate.jpg", JPEG),
            ("Thumbs.db", JPEG),
            (".DS_Store", b"store"),
            ("__MACOSX/gate.jpg", JPEG),
            ("@eaDir/gate.jpg", JPEG),
        ]);
        let images = Images::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!(names(&images, folder.path()), ["gate.jpg"]);
        assert!(images.skipped.to_string().starts_with("skipped 5 side files ("), "{}", images.skipped);
    }

    #[test]
    fn a_linked_folder_is_followed_once() {
        let folder = folder(&[("disk/a.jpg", JPEG), ("cameras/b.jpg", JPEG)]);
        let cameras = folder.path().join("cameras");
        symlink("../disk", cameras.join("gate")).unwrap();
        symlink("../disk", cameras.join("yard")).unwrap();
        symlink(".", cameras.join("circle")).unwrap();
        symlink("nowhere", cameras.join("dangling")).unwrap();
        let images = Images::find(std::slice::from_ref(&cameras)).unwrap();
        assert_eq!(names(&images, &cameras), ["b.jpg", "gate/a.jpg"]);
        let skipped = images.skipped.to_string();
        assert!(skipped.contains("1 broken link (") && skipped.contains("2 links to folders"), "{skipped}");
    }

    #[test]
    fn a_folder_without_images_is_an_error_that_names_it() {
        let folder = folder(&[("notes.txt", b"text")]);
        let error = Images::find(&[folder.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()) && error.contains("notes.txt"), "{error}");
    }
}
