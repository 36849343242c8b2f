//! The `.env` file: the nearest one, in the working directory or above it.
//!
//! It decides what a server allows, so it is never ignored: one that cannot be read is an error. One above the working directory, or in
//! a folder in which anybody may create files, such as `/tmp`, must belong to the user or to root; above the working directory, also to
//! the owner of that.

use std::cell::Cell;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::SettingErrors;

/// The variables of the `.env` file. Empty if there is none.
pub(crate) fn of_working_directory(errors: &mut SettingErrors) -> Vec<(String, String)> {
    // Without a working directory there is no file in it.
    let Ok(folder) = std::env::current_dir() else { return Vec::new() };
    of_folder(&folder, errors)
}

fn of_folder(folder: &Path, errors: &mut SettingErrors) -> Vec<(String, String)> {
    let Some(path) = nearest(folder) else { return Vec::new() };
    let content = check_owner(&path, folder)
        .and_then(|()| std::fs::read(&path).map_err(|error| format!("it cannot be read: {error}")));
    match content {
        Ok(content) => entries(&path, &content, errors),
        Err(reason) => {
            errors.add(format!("{}: {reason}", path.display()));
            Vec::new()
        }
    }
}

/// The nearest `.env`, unless it is a folder: a Python environment often has that name.
fn nearest(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(".env")).find(|path| path.symlink_metadata().is_ok() && !path.is_dir())
}

/// Refuses a file that another user may have left for this one to read, and one whose content would be waited for.
fn check_owner(path: &Path, folder: &Path) -> Result<(), String> {
    let unreadable = |error| format!("it cannot be read: {error}");
    let file = std::fs::metadata(path).map_err(unreadable)?;
    // `/dev/null`, with which containers hide a file.
    if !file.is_file() && !file.file_type().is_char_device() {
        return Err("it is not a file; remove it".to_owned());
    }
    let own = std::fs::metadata("/proc/self").map_or(0, |process| process.uid());
    let holder = std::fs::metadata(path.parent().unwrap_or(folder)).map_err(unreadable)?;
    let is_open_to_all = holder.mode() & 0o002 != 0;
    if path.parent() == Some(folder) && !is_open_to_all {
        return Ok(());
    }
    let mut trusted = vec![0, own];
    if !is_open_to_all {
        trusted.extend(std::fs::metadata(folder).map(|folder| folder.uid()).ok());
    }
    // A link of somebody else may name a file of this user.
    let link = path.symlink_metadata().map_err(unreadable)?;
    match [link.uid(), file.uid()].into_iter().find(|uid| !trusted.contains(uid)) {
        None => Ok(()),
        Some(uid) => {
            Err(format!("it belongs to another user ({uid}), who may not choose settings; start in another folder"))
        }
    }
}

/// The variables up to the first invalid line, after which the parser cannot continue. An error never shows the line, because it
/// may contain a secret.
fn entries(path: &Path, content: &[u8], errors: &mut SettingErrors) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let lines_read = Cell::new(0);
    for entry in dotenvy::from_read_iter(LineReader { rest: content, lines_read: &lines_read }) {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                errors.add(describe(path, lines_read.get(), &error));
                break;
            }
        }
    }
    entries
}

fn describe(path: &Path, lines_read: usize, error: &dotenvy::Error) -> String {
    let path = path.display();
    // A missing quote makes all further lines part of the entry.
    let dotenvy::Error::LineParse(entry, _) = error else { return format!("{path}: the file is not UTF-8 text") };
    let line = (lines_read + 1).saturating_sub(entry.lines().count().max(1));
    format!(
        "{path}, line {line}: it must be NAME=value; a value with blanks or special characters needs quotes at both ends"
    )
}

/// Gives one line a read, so that the lines that the parser has read can be counted.
struct LineReader<'a> {
    rest: &'a [u8],
    lines_read: &'a Cell<usize>,
}

impl Read for LineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let line_end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (piece, rest) = self.rest.split_at(line_end.min(buffer.len()));
        buffer[..piece.len()].copy_from_slice(piece);
        self.rest = rest;
        if piece.ends_with(b"\n") || (rest.is_empty() && !piece.is_empty()) {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(content: &str) -> (Vec<(String, String)>, String) {
        let mut errors = SettingErrors::default();
        let entries = entries(Path::new("/deploy/.env"), content.as_bytes(), &mut errors);
        (entries, errors.iter().collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn an_error_names_the_line_and_never_shows_it() {
        for (bad, rest) in [
            ("SIGHTLINE_ADMIN_TOKEN=\"sl_TOPSECRET", "\nSIGHTLINE_SERVER=x\n"),
            ("SIGHTLINE_ADMIN_TOKEN='sl_TOPSECRET", ""),
            ("SIGHTLINE ADMIN_TOKEN=sl_TOPSECRET", " # comment\n"),
            ("SIGHTLINE_ADMIN_TOKEN=sl_TOPSECRET with blanks", "\n"),
            ("sl_TOPSECRET", "\n"),
        ] {
            let (entries, errors) = errors_of(&format!("# settings\n\nSIGHTLINE_SERVER=a\n{bad}{rest}"));
            assert_eq!(entries, [("SIGHTLINE_SERVER".to_owned(), "a".to_owned())], "{bad}");
            assert!(errors.starts_with("/deploy/.env, line 4: "), "{bad}: {errors}");
            assert!(!errors.contains("TOPSECRET"), "{bad}: {errors}");
        }
    }

    #[test]
    fn the_nearest_file_is_read_and_one_that_cannot_be_read_is_an_error() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("work");
        std::fs::create_dir(&folder).unwrap();
        let read = || {
            let mut errors = SettingErrors::default();
            let entries = of_folder(&folder, &mut errors);
            (entries, errors.iter().collect::<Vec<_>>().join("\n"))
        };
        let server = |value: &str| (vec![("SIGHTLINE_SERVER".to_owned(), value.to_owned())], String::new());
        std::fs::write(above.path().join(".env"), "SIGHTLINE_SERVER=above").unwrap();
        std::fs::create_dir(folder.join(".env")).unwrap();
        assert_eq!(read(), server("above"), "a folder of that name does not count");
        // Needs root.
        if std::os::unix::fs::chown(above.path().join(".env"), Some(65_534), None).is_ok() {
            let (entries, error) = read();
            assert!(entries.is_empty() && error.contains("another user (65534)"), "{error}");
        }
        std::fs::remove_dir(folder.join(".env")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join(".env")).unwrap();
        let (entries, error) = read();
        assert!(entries.is_empty() && error.contains("work/.env: it cannot be read"), "{error}");
        std::fs::remove_file(folder.join(".env")).unwrap();
        std::fs::write(folder.join(".env"), "SIGHTLINE_SERVER=here").unwrap();
        assert_eq!(read(), server("here"));
        // Anybody may have put it there. Needs root.
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o1777)).unwrap();
        assert_eq!(read(), server("here"));
        if std::os::unix::fs::chown(folder.join(".env"), Some(65_534), None).is_ok() {
            let (entries, error) = read();
            assert!(entries.is_empty() && error.contains("another user (65534)"), "{error}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let mut errors = SettingErrors::default();
        entries(Path::new(".env"), b"SIGHTLINE_SERVER=\xff\n", &mut errors);
        assert_eq!(errors.iter().collect::<Vec<_>>(), [".env: the file is not UTF-8 text"]);
    }
}
