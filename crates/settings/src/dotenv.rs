//! The `.env` file: the nearest one, in the working directory or above it.

use std::cell::Cell;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::SettingErrors;

/// The variables of the `.env` file. Empty if there is none that can be opened.
pub(crate) fn of_working_directory(errors: &mut SettingErrors) -> Vec<(String, String)> {
    let Some(path) = nearest() else { return Vec::new() };
    let Ok(content) = std::fs::read(&path) else { return Vec::new() };
    entries(&path, &content, errors)
}

fn nearest() -> Option<PathBuf> {
    let folder = std::env::current_dir().ok()?;
    folder.ancestors().map(|folder| folder.join(".env")).find(|path| path.is_file())
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
    fn bytes_that_are_no_text_are_an_error() {
        let mut errors = SettingErrors::default();
        entries(Path::new(".env"), b"SIGHTLINE_SERVER=\xff\n", &mut errors);
        assert_eq!(errors.iter().collect::<Vec<_>>(), [".env: the file is not UTF-8 text"]);
    }
}
