//! The people of a folder: each folder in it is a person, and the images in that are enrolled.
//!
//! The first bytes of a file decide whether it is an image, and links are followed, as `push` does. A folder within the folder of a person
//! is not searched: where the folders are one level too high, the images of many people would go to one subject. A folder is one person,
//! by its own name rather than by that of a link to it. Two spellings of a name that look the same (composed, and decomposed as macOS
//! writes it) are one person too.

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use unicode_normalization::UnicodeNormalization;

use crate::sending::image_file::{is_side_file, may_be, media_type};

/// How a folder must look.
const LAYOUT: &str = "it needs a folder for each person, named as the person, with the person's images in it, such as \
     ann/1.jpg and ben/1.jpg";

/// A person with at least one image.
#[derive(Debug)]
pub struct Person {
    /// Name of the folder, composed (NFC).
    pub name: String,
    /// Paths of the images, sorted.
    pub images: Vec<PathBuf>,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub struct People {
    /// Sorted by name.
    pub people: Vec<Person>,
    /// Number of folders of people who cannot be enrolled.
    pub without: usize,
    /// A line about everything that is not enrolled.
    pub notes: Vec<String>,
    visited: HashSet<(u64, u64)>,
}

/// Checks that a folder may have people in it.
///
/// # Errors
/// When it is no folder, or has no folder in it. The text explains the layout.
pub fn check_layout(folder: &Path) -> anyhow::Result<()> {
    let name = folder.display();
    let metadata = std::fs::metadata(folder).with_context(|| format!("{name} cannot be read"))?;
    ensure!(metadata.is_dir(), "{name} is not a folder; {LAYOUT}");
    let entries = entries(folder).with_context(|| format!("{name} cannot be read"))?;
    if entries.iter().any(|path| path.is_dir() && !is_side_file(path) && !is_hidden(path)) {
        return Ok(());
    }
    bail!("{name} has no folder in it; {LAYOUT}");
}

impl People {
    /// Finds the people of a folder.
    ///
    /// # Errors
    /// When the folder cannot be read. What cannot be read in it is in the notes.
    pub fn find(folder: &Path) -> anyhow::Result<Self> {
        let mut found = Self::default();
        let entries = entries(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        let entries = entries.iter().filter(|path| !is_side_file(path));
        let (links, real): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_symlink());
        for path in real.into_iter().chain(links) {
            match std::fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() && is_hidden(path) => {
                    found.note(folder, path, "skipped: it is hidden, because its name begins with a dot");
                }
                Ok(metadata) if metadata.is_dir() => found.add_person(path, &metadata),
                Ok(_) => found.note(folder, path, "skipped: it is in no folder of a person"),
                Err(error) => found.note(folder, path, &format!("skipped: it cannot be read: {error}")),
            }
        }
        found.people.sort_by(|one, other| one.name.cmp(&other.name));
        found.people.dedup_by(|same, person| {
            let is_same = same.name == person.name;
            if is_same {
                person.images.append(&mut same.images);
            }
            is_same
        });
        Ok(found)
    }

    fn add_person(&mut self, folder: &Path, metadata: &Metadata) {
        let parent = folder.parent().unwrap_or(folder);
        if !self.visited.insert((metadata.dev(), metadata.ino())) {
            self.note(parent, folder, "skipped: it is a link to the folder of another person");
            return;
        }
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
            self.note(parent, folder, "the name is not valid UTF-8");
            self.without += 1;
            return;
        };
        match self.images(parent, folder) {
            Ok(images) if images.is_empty() => {
                self.note(parent, folder, "there is no JPEG, PNG or WebP image in it");
                self.without += 1;
            }
            Ok(images) => self.people.push(Person { name: name.nfc().collect(), images }),
            Err(error) => {
                self.note(parent, folder, &format!("it cannot be read: {error}"));
                self.without += 1;
            }
        }
    }

    /// The images in the folder of a person.
    fn images(&mut self, parent: &Path, folder: &Path) -> std::io::Result<Vec<PathBuf>> {
        let mut images = Vec::new();
        for path in entries(folder)?.into_iter().filter(|path| !is_side_file(path)) {
            match std::fs::metadata(&path) {
                // Anything but a plain file, such as a pipe, could block when it is opened. A file that cannot be read fails when it is sent.
                Ok(metadata) if metadata.is_file() && may_be(&path, is_image) != Some(false) => images.push(path),
                Ok(metadata) if metadata.is_dir() => {
                    self.note(parent, &path, "skipped: it is a folder within the folder of a person");
                }
                Ok(_) => self.note(parent, &path, "skipped: it is no JPEG, PNG or WebP image"),
                Err(error) => self.note(parent, &path, &format!("skipped: it cannot be read: {error}")),
            }
        }
        Ok(images)
    }

    /// Notes what is not enrolled, by its path below `parent`.
    fn note(&mut self, parent: &Path, path: &Path, reason: &str) {
        let path = path.strip_prefix(parent).unwrap_or(path);
        self.notes.push(format!("{}: {reason}", path.display()));
    }
}

fn is_image(magic: &[u8]) -> bool {
    media_type(magic).is_some()
}

/// Programs keep previews of many people's images in hidden folders.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The paths in a folder, sorted by name.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0rest";

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        folder
    }

    /// Paths of the images below the folder, as they are sent.
    fn images(people: &People, folder: &Path) -> Vec<String> {
        let images = people.people.iter().flat_map(|person| &person.images);
        images.map(|path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn each_folder_is_a_person_with_the_images_in_it() {
        let folder = folder(&[
            ("ben/b.txt", JPEG),
            ("ben/a.png", JPEG),
            ("Ann Lee/1.jpg", JPEG),
            ("ann/._1.jpg", JPEG),
            ("ann/Thumbs.db", JPEG),
            ("ann/1.jpg", JPEG),
            ("@eaDir/1.jpg", JPEG),
        ]);
        let people = People::find(folder.path()).unwrap();
        let names: Vec<&str> = people.people.iter().map(|person| person.name.as_str()).collect();
        assert_eq!(names, ["Ann Lee", "ann", "ben"]);
        assert_eq!(images(&people, folder.path()), ["Ann Lee/1.jpg", "ann/1.jpg", "ben/a.png", "ben/b.txt"]);
        assert_eq!((people.without, people.notes), (0, vec![]));
    }

    #[test]
    fn what_is_not_enrolled_is_named_with_the_reason() {
        let folder = folder(&[
            ("ann/1.jpg", JPEG),
            ("ann/2.jpg", b"no image"),
            ("ann/2024/3.jpg", JPEG),
            ("ben/notes.txt", b"text"),
            ("group.jpg", JPEG),
            (".previews/1.jpg", JPEG),
        ]);
        let people = People::find(folder.path()).unwrap();
        let expected = [
            ".previews: skipped: it is hidden, because its name begins with a dot",
            "ann/2.jpg: skipped: it is no JPEG, PNG or WebP image",
            "ann/2024: skipped: it is a folder within the folder of a person",
            "ben/notes.txt: skipped: it is no JPEG, PNG or WebP image",
            "ben: there is no JPEG, PNG or WebP image in it",
            "group.jpg: skipped: it is in no folder of a person",
        ];
        assert_eq!(people.notes, expected);
        assert_eq!((images(&people, folder.path()), people.without), (vec!["ann/1.jpg".to_owned()], 1));
    }

    #[test]
    fn links_are_followed_and_no_person_is_enrolled_twice() {
        let folder = folder(&[("people/ann/1.jpg", JPEG), ("disk/ben/1.jpg", JPEG), ("disk/2.jpg", JPEG)]);
        let people = folder.path().join("people");
        symlink("../disk/ben", people.join("ben")).unwrap();
        symlink("ann", people.join("anna")).unwrap();
        symlink("../../disk/2.jpg", people.join("ann/2.jpg")).unwrap();
        symlink("nowhere", people.join("ann/3.jpg")).unwrap();
        symlink("nowhere", people.join("cid")).unwrap();
        let found = People::find(&people).unwrap();
        assert_eq!(images(&found, &people), ["ann/1.jpg", "ann/2.jpg", "ben/1.jpg"]);
        let starts = [
            "ann/3.jpg: skipped: it cannot be read: ",
            "anna: skipped: it is a link to the folder of another person",
            "cid: skipped: it cannot be read: ",
        ];
        assert_eq!((found.notes.len(), found.without), (starts.len(), 0), "{:?}", found.notes);
        assert!(found.notes.iter().zip(starts).all(|(note, start)| note.starts_with(start)), "{:?}", found.notes);
    }

    #[test]
    fn a_folder_has_its_own_name_and_not_that_of_a_link_to_it() {
        let folder = folder(&[("zoe/1.jpg", JPEG)]);
        symlink("zoe", folder.path().join("alias")).unwrap();
        let found = People::find(folder.path()).unwrap();
        assert_eq!(images(&found, folder.path()), ["zoe/1.jpg"]);
        assert_eq!(found.people[0].name, "zoe");
        assert_eq!(found.notes, ["alias: skipped: it is a link to the folder of another person"]);
    }

    #[test]
    fn two_spellings_of_a_name_are_one_person() {
        let (composed, decomposed) = ("\u{e9}clair", "e\u{301}clair");
        let [first, second] = [format!("{composed}/1.jpg"), format!("{decomposed}/2.jpg")];
        let folder = folder(&[(first.as_str(), JPEG), (second.as_str(), JPEG), ("zoe/1.jpg", JPEG)]);
        let found = People::find(folder.path()).unwrap();
        let people: Vec<_> = found.people.iter().map(|person| (person.name.as_str(), person.images.len())).collect();
        assert_eq!(people, [("zoe", 1), (composed, 2)]);
        assert_eq!((found.without, found.notes), (0, vec![]));
    }

    #[test]
    fn a_folder_without_folders_is_refused_with_the_layout() {
        let folder = folder(&[("1.jpg", JPEG), ("@eaDir/1.jpg", JPEG)]);
        for path in [folder.path().to_owned(), folder.path().join("1.jpg")] {
            let error = check_layout(&path).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && error.contains("ann/1.jpg and ben/1.jpg"), "{error}");
        }
        assert!(format!("{:#}", check_layout(&folder.path().join("nowhere")).unwrap_err()).contains("cannot be read"));
        std::fs::create_dir(folder.path().join("ann")).unwrap();
        check_layout(folder.path()).unwrap();
    }
}
