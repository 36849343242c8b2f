//! Settings: flags with environment fallbacks, so `--help` is the reference. Their names begin with `SIGHTLINE_`, except where a
//! setting has the name of another system's, such as `DETECTIONS_PER_SECOND`.
//!
//! The crate that owns a concern declares its settings once, as a `clap` struct: name, default, unit, meaning and range. A
//! program flattens the structs that it needs and reads them with [`parse`] or [`parse_and_check`].
//!
//! A value comes from the first of: the flag, the environment variable, the file that `<variable>_FILE` names (for mounted
//! secrets), a `.env` file in the working directory, the default. An unknown `SIGHTLINE_` variable stops the start, because
//! it is probably misspelt. All errors are reported together.
//!
//! A renamed setting keeps its old name: `#[arg(alias = "old-name")]` makes `--old-name` and `SIGHTLINE_OLD_NAME` valid too.

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod dotenv;
mod errors;
mod in_effect;
mod keys;
mod secret;
mod sources;
mod values;

pub use address::{address, address_or_off};
pub use errors::{Check, SettingErrors};
pub use in_effect::{InEffect, in_effect};
pub use keys::{KNOWN, keys_of};
pub use secret::{Secret, check_token, secret_url};
pub use sources::{Source, parse, parse_and_check};
pub use values::{bytes, bytes_of, count, days, duration, duration_of, milliseconds, minutes, on_off, seconds};

/// Beginning of every variable's name.
pub const PREFIX: &str = "SIGHTLINE_";

/// The value of a setting that has no default.
///
/// # Errors
/// When it is not set. The message names the setting and shows an example.
pub fn required<'a, T: ?Sized>(value: Option<&'a T>, key: &str, example: &str) -> anyhow::Result<&'a T> {
    value.ok_or_else(|| anyhow::anyhow!("{key} is not set; set it, for example to {example}"))
}
