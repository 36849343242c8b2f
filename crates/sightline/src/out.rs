//! What commands print, line by line. A reader may leave when it has seen enough (`sightline watch | head -1`): then there is
//! nobody left to work for, which is no failure.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// Whoever read standard output has left.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub struct ReaderLeft;

/// Prints a line at once.
///
/// # Errors
/// [`ReaderLeft`], or why standard output takes nothing.
pub fn line(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderLeft.into()),
        printed => Ok(printed?),
    }
}

/// The end of a command, for which a reader that left is an end like any other.
pub fn ended(done: anyhow::Result<()>) -> anyhow::Result<()> {
    match done {
        Err(error) if error.is::<ReaderLeft>() => Ok(()),
        done => done,
    }
}
