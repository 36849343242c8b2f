//! The output of commands, line by line. The reader of a pipe may close it early (`sightline watch | head
//! -1`). The command then ends successfully.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// The reader of standard output closed it.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct OutputClosed;

/// Prints a line at once.
///
/// # Errors
/// [`OutputClosed`], or the error of writing to standard output.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        printed => Ok(printed?),
    }
}

/// Turns a closed output into success.
pub fn ended(done: anyhow::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(error) if error.is::<OutputClosed>() => Ok(()),
        done => done,
    }
}

/// `1 file`, `2 files`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A count of a detector's label: `1 face`, `2 faces`, `3 buses`.
pub fn counted_label(count: usize, label: &str) -> String {
    let many = match label {
        "person" => "people".to_owned(),
        _ if ["s", "x", "ch", "sh"].iter().any(|ending| label.ends_with(ending)) => format!("{label}es"),
        _ => format!("{label}s"),
    };
    counted(count, label, &many)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_any_other_number_plural() {
        let cases = [(1, "face", "1 face"), (2, "face", "2 faces"), (0, "car", "0 cars"), (3, "bus", "3 buses")];
        for (count, label, expected) in cases {
            assert_eq!(counted_label(count, label), expected);
        }
        assert_eq!(counted_label(2, "person"), "2 people");
    }
}
