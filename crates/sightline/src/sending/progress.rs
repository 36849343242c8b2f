//! How far a command is, on a terminal.

use std::fmt;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar that counts so many bytes. Hidden where nobody sees it.
pub fn byte_progress(bytes: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:20} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar that counts so many `items`, such as `frames`. Hidden if there is one, and where nobody sees it.
pub fn progress(count: usize, items: &str) -> ProgressBar {
    if count < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!("{{bar:20}} {{pos}}/{{len}} {items}, {{rate}}, {{eta}} left"));
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    // The library's own rate has four decimals.
    let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
        // A text has room for it.
        let _ = write!(text, "{:.1}/s", state.per_sec());
    };
    ProgressBar::new(count as u64).with_style(style.with_key("rate", rate))
}
