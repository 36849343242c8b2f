//! What can be wrong with the settings of a source.

use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, ensure};
use platform::sending::{FPS, SECONDS};
use settings::SettingErrors;

use super::{Address, SourceConfig, address};

/// Values of `stall_seconds`.
const STALL: std::ops::RangeInclusive<u64> = 2..=3600;

impl SourceConfig {
    /// All values that are impossible.
    pub(super) fn mistakes(&self) -> Vec<String> {
        let mut mistakes = SettingErrors::default();
        let fps = self.fps.is_none_or(|fps| FPS.contains(&fps));
        mistakes.ensure(fps, || format!("fps: it must be a number from {} to {}", FPS.start(), FPS.end()));
        let stall = self.stall_seconds.is_none_or(|stall| STALL.contains(&stall));
        mistakes.ensure(stall, || format!("stall_seconds: it must be from {} to {}", STALL.start(), STALL.end()));
        for (name, value) in [("start", self.start), ("duration", self.duration)] {
            let is_time = value.is_none_or(|seconds| seconds.is_finite() && SECONDS.contains(&seconds));
            mistakes.ensure(is_time, || format!("{name}: it must be a number of seconds, below a billion"));
        }
        let has_length = self.duration != Some(0.0);
        mistakes.ensure(has_length, || "duration: it must be more than 0 seconds".to_owned());
        let name = self.stream.as_str();
        let is_name = name != "." && name != "..";
        mistakes.ensure(is_name, || format!("stream: {name} cannot be part of an address; give it another name"));
        mistakes.collect(self.check_credentials());
        if let Some(address) = mistakes.collect(self.address())
            && address.is_live()
        {
            let (start, captured_at) = (self.start.is_none(), self.captured_at.is_none());
            mistakes.ensure(start, || "start: a live source has no beginning; remove it".to_owned());
            mistakes.ensure(captured_at, || "captured_at: a live source has the time of now; remove it".to_owned());
        }
        mistakes.collect(self.check_authorities());
        mistakes.iter().map(str::to_owned).collect()
    }

    /// What is wrong with the file of a recording, if it is one.
    pub(super) fn file_mistake(&self) -> Option<String> {
        let Ok(Address::File(path)) = self.address() else { return None };
        let shown = self.shown();
        match std::fs::metadata(&path) {
            Ok(file) if file.is_file() => None,
            Ok(file) if file.is_dir() => Some(format!("url: {shown} is a folder; name a video file")),
            Ok(_) => Some(format!("url: {shown} is not a regular file")),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(format!(
                "url: {shown}: there is no such file; the address of a camera begins with rtsp://, rtsps://, http:// or https://"
            )),
            Err(error) => Some(format!("url: {shown} cannot be read: {error}")),
        }
    }

    /// A half of them would be used as if it were the whole.
    fn check_credentials(&self) -> anyhow::Result<()> {
        ensure!(
            self.password.is_none() || self.password_file.is_none(),
            "password and password_file: set only one of them"
        );
        let (has_user, has_password) = (self.user.is_some(), self.password.is_some() || self.password_file.is_some());
        ensure!(!has_user || has_password, "user: there is no password for it; set password or password_file");
        ensure!(has_user || !has_password, "password: there is no user for it; set user");
        ensure!(self.user.as_deref() != Some(""), "user: it is empty");
        let text = self.url.expose();
        ensure!(!has_user || text.contains("://"), "user: a video file has no user name and password; remove them");
        let is_double = has_user && address::has_user_info(text);
        ensure!(
            !is_double,
            "user: the address has a user name or a password as well; remove them from one of the two places"
        );
        Ok(())
    }

    /// FFmpeg would trust nobody, and not say why.
    fn check_authorities(&self) -> anyhow::Result<()> {
        let Some(path) = &self.tls_ca_file else { return Ok(()) };
        ensure!(
            self.tls_verify != Some(false),
            "tls_ca_file: it is of no use with tls_verify: false; remove one of them"
        );
        let text = read_file(path).with_context(|| format!("tls_ca_file: {} cannot be read", path.display()))?;
        let has_certificate = String::from_utf8_lossy(&text).contains("-----BEGIN CERTIFICATE-----");
        ensure!(has_certificate, "tls_ca_file: {} contains no certificate in PEM form", path.display());
        Ok(())
    }
}

/// Reads a regular file: a pipe would be waited for, and can be read only once.
///
/// # Errors
/// When it cannot be read.
pub fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    ensure!(std::fs::metadata(path)?.is_file(), "it is not a regular file");
    Ok(std::fs::read(path)?)
}
