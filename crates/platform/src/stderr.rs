//! Lines for people on standard error.
//!
//! `eprintln!` panics when nobody reads standard error any more, as after `sightline up 2>&1 | head`. A service must outlive the reader
//! of its output, so such a line is dropped instead.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;

/// Prints a line by calling its argument.
type Around = fn(&mut dyn FnMut());

static AROUND: OnceLock<Around> = OnceLock::new();

/// From now on, `around` prints the lines of this process, for a program whose terminal shows a progress bar: it erases the bar before a
/// line and draws it again after it. Only the first call counts.
pub fn print_lines_within(around: Around) {
    // Fails if it is set already.
    let _ = AROUND.set(around);
}

/// Prints a line, or drops it when standard error is closed.
pub fn error_line(text: impl Display) {
    drop(writeln!(Lines, "{text}"));
}

/// Standard error, for whole lines.
pub struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let mut written = Ok(());
        let mut print = || written = std::io::stderr().write_all(bytes);
        match AROUND.get() {
            Some(around) => around(&mut print),
            None => print(),
        }
        written
    }

    fn write_fmt(&mut self, text: std::fmt::Arguments<'_>) -> std::io::Result<()> {
        // At once: the bar would be drawn between its parts.
        self.write_all(text.to_string().as_bytes())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
