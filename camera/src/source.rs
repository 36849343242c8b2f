//! What a source is: its address, and how its frames are chosen and sent.

mod address;
mod checks;
mod list;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use contracts::{DetectorName, StreamName};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::redact::redact;

pub use address::{Address, LiveUrl, Tls};
pub use checks::read_file;
pub use values::{SecretText, Size, WhenSlow};

/// Value of `stall_seconds` when it is not set.
const STALL_DEFAULT: Duration = Duration::from_secs(10);

/// A list of sources: the content of `cameras.yaml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a map with the list `cameras`")]
pub struct Cameras {
    /// The sources.
    pub cameras: Vec<SourceConfig>,
}

/// A source with its settings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, expecting = "a map with at least `stream` and `url`")]
pub struct SourceConfig {
    /// Stream of its frames.
    pub stream: StreamName,
    /// Path of a video file, or the address of a live source: `rtsp:`, `rtsps:`, `http:` or `https:`.
    pub url: SecretText,
    /// User name for the camera.
    #[serde(default)]
    pub user: Option<String>,
    /// Password for the camera.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// File with the password, instead of `password`.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Whether the certificate of an `https:` or `rtsps:` address is checked. By default it is.
    #[serde(default)]
    pub tls_verify: Option<bool>,
    /// Certificate authorities that are trusted for it instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca_file: Option<PathBuf>,
    /// Most frames a second, by time; all when not set.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Largest size of the images, such as `1280x720`; the proportions are kept.
    #[serde(default)]
    pub resize: Option<Size>,
    /// Detectors to run; the server's choice when empty.
    #[serde(default)]
    pub detectors: Vec<DetectorName>,
    /// Whether frames in which nothing moves are skipped. For live sources by default.
    #[serde(default)]
    pub motion_gate: Option<bool>,
    /// What happens when the server is too slow. For live sources `drop` by default.
    #[serde(default)]
    pub when_slow: Option<WhenSlow>,
    /// Longest time without a frame of a live source, in seconds.
    #[serde(default)]
    pub stall_seconds: Option<u64>,
    /// Seconds of a file to leave out at its beginning.
    #[serde(default)]
    pub start: Option<f64>,
    /// Seconds to send.
    #[serde(default)]
    pub duration: Option<f64>,
    /// When a file was recorded, instead of what it says itself.
    #[serde(default, deserialize_with = "values::moment")]
    pub captured_at: Option<Timestamp>,
}

impl Cameras {
    /// Reads and checks a list of sources, also the files that it names.
    ///
    /// # Errors
    /// All that is wrong with it. The messages name the sources and show no credential.
    pub fn read_with_files(text: &str) -> Result<Self, Vec<String>> {
        Self::checked(text, |source| source.mistakes().into_iter().chain(source.file_mistake()).collect())
    }

    /// Reads and checks a list of sources, but not the recordings that it names: one that was removed stops no camera.
    ///
    /// # Errors
    /// As [`Self::read_with_files`].
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        Self::checked(text, SourceConfig::mistakes)
    }

    fn checked(text: &str, check: impl Fn(&SourceConfig) -> Vec<String>) -> Result<Self, Vec<String>> {
        if text.trim().is_empty() {
            return Err(vec!["the file is empty; write a list `cameras`, each with `stream` and `url`".to_owned()]);
        }
        let (cameras, mut mistakes) = list::read(text);
        if cameras.is_empty() && mistakes.is_empty() {
            mistakes.push("cameras: the list is empty; write at least one, with `stream` and `url`".to_owned());
        }
        for (index, source) in cameras.iter().enumerate() {
            let name = &source.stream;
            mistakes.extend(check(source).into_iter().map(|mistake| format!("camera {name}: {mistake}")));
            if cameras[..index].iter().any(|other| other.stream == *name) {
                mistakes.push(format!("camera {name}: two cameras have this stream; give each its own"));
            }
        }
        if mistakes.is_empty() { Ok(Self { cameras }) } else { Err(mistakes) }
    }
}

impl SourceConfig {
    /// The address for a message, without credentials. Without a scheme it is a file, or an address whose scheme was forgotten.
    pub fn shown(&self) -> String {
        let text = self.url.expose();
        match text.rsplit_once('@') {
            Some((before, host)) if !text.contains("://") && before.contains(':') => redact(&format!("***@{host}")),
            _ => redact(text),
        }
    }

    /// # Errors
    /// When a value is impossible.
    pub fn check(&self) -> anyhow::Result<()> {
        let mistakes = self.mistakes();
        ensure!(mistakes.is_empty(), "{}", mistakes.join("; "));
        Ok(())
    }

    /// The address with its credentials, which are removed from messages from now on.
    ///
    /// # Errors
    /// When the address is not valid, or the file of the password cannot be read. No credential is shown.
    pub fn address(&self) -> anyhow::Result<Address> {
        let text = self.url.expose();
        if !text.contains("://") {
            return Ok(Address::File(text.into()));
        }
        let tls = Tls { verify: self.tls_verify.unwrap_or(true), ca_file: self.tls_ca_file.clone() };
        let password = self.password_text()?;
        LiveUrl::new(text, self.user.as_deref(), password.as_deref(), tls).map(Address::Live)
    }

    /// Whether these settings contain a password or a token.
    pub fn has_secret(&self) -> bool {
        self.password.is_some() || address::has_secret(self.url.expose())
    }

    fn password_text(&self) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.password_file {
            let text = read_file(path).and_then(|text| Ok(String::from_utf8(text)?));
            let text = text.with_context(|| format!("password_file: {} cannot be read", path.display()))?;
            let password = text.trim_end_matches(['\r', '\n']);
            ensure!(!password.is_empty(), "password_file: {} is empty", path.display());
            return Ok(Some(password.to_owned()));
        }
        ensure!(self.password.as_ref().is_none_or(|password| !password.expose().is_empty()), "password: it is empty");
        Ok(self.password.as_ref().map(|password| password.expose().to_owned()))
    }

    /// Longest time without a frame.
    pub fn stall(&self) -> Duration {
        self.stall_seconds.map_or(STALL_DEFAULT, Duration::from_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list without a look at the files of recordings.
    fn parse(text: &str) -> anyhow::Result<Cameras> {
        Cameras::read(text).map_err(|mistakes| anyhow::anyhow!(mistakes.join("\n")))
    }

    fn camera(text: &str) -> anyhow::Result<SourceConfig> {
        let text = format!("cameras: [{{stream: gate, {text}}}]");
        Ok(parse(&text)?.cameras.remove(0))
    }

    #[test]
    fn a_camera_has_an_address_with_its_credentials() {
        let gate = camera(r#"url: "rtsp://10.0.0.5/1", user: ann, password: "a/b@c:ö""#).unwrap();
        let address = gate.address().unwrap();
        assert_eq!(address.for_ffmpeg(), "rtsp://ann:a%2Fb%40c%3A%C3%B6@10.0.0.5/1");
        assert_eq!(redact("wrong: a/b@c:ö, a%2Fb%40c%3A%C3%B6"), "wrong: ***, ***");
        let printed = format!("{address:?} {gate:?}");
        assert!(!printed.contains("a/b") && !printed.contains("%2F"), "{printed}");
        assert!(matches!(camera("url: /videos/a.mp4").unwrap().address().unwrap(), Address::File(_)));
    }

    #[test]
    fn a_wrong_value_is_named_without_showing_a_password() {
        for (text, expected) in [
            ("url: 'ftp://a:hidden@b/c'", "ftp: is not supported"),
            ("url: 'rtsp://a:hidden@b:port/'", "not a valid address"),
            ("url: 'rtsp://ann:12/hidden@b/'", "an @ behind the host"),
            ("url: 'rtsp://b/', duration: 0", "duration: it must be more than 0"),
            ("url: 'rtsp://b/', fps: 0", "fps: it must be"),
            ("url: 'rtsp://b/', resize: 12", "not a size such as 1280x720"),
            ("url: 'rtsp://b/', resize: 12x99999", "not a size such as 1280x720"),
            ("url: 'rtsp://b/', start: 3", "start: a live source"),
            ("url: 'rtsp://b/', start: .nan", "start: it must"),
            ("url: 'rtsp://b/', user: ann, password: a, password_file: b", "set only one"),
            ("url: 'rtsp://b/', user: ann", "user: there is no password"),
            ("url: 'rtsp://b/', password: hidden", "password: there is no user"),
            ("url: 'rtsp://b/', user: '', password: hidden", "user: it is empty"),
            ("url: 'rtsp://b/', user: ann, password: ''", "password: it is empty"),
            (
                "url: 'rtsp://b/', user: ann, password_file: /dev/null",
                "password_file: /dev/null cannot be read: it is not a regular file",
            ),
            ("url: 'rtsp://eve:hidden@b/', user: ann, password: hidden", "the address has a user name or a password"),
            ("url: a.mp4, user: ann, password: hidden", "a video file has no user name"),
            ("url: 'rtsp://a:hidden@b/', speed: 3", "unknown field `speed`"),
            ("url: 'rtsp://b/', user: ann, password_file: /nowhere/word", "/nowhere/word cannot be read"),
            ("url: 'https://b/', tls_ca_file: /nowhere/ca.pem", "tls_ca_file: /nowhere/ca.pem cannot be read"),
            (
                "url: 'https://b/', tls_ca_file: /dev/null",
                "tls_ca_file: /dev/null cannot be read: it is not a regular file",
            ),
            ("url: 'https://b/', tls_verify: false, tls_ca_file: /dev/null", "tls_ca_file: it is of no use"),
        ] {
            let error = format!("{:#}", camera(text).unwrap_err());
            assert!(error.contains(expected) && !error.contains("hidden"), "{text}: {error}");
        }
        for name in [".", ".."] {
            let error = parse(&format!("cameras: [{{stream: {name}, url: x.mp4}}]")).unwrap_err();
            assert!(format!("{error:#}").contains("cannot be part of an address"), "{error:#}");
        }
        let double = "cameras: [{stream: a, url: x.mp4}, {stream: a, url: y.mp4}]";
        assert!(parse(double).unwrap_err().to_string().contains("camera a: two cameras"));
    }

    #[test]
    fn a_wrong_form_is_named_in_plain_words() {
        for (text, expected) in [
            ("", "the file is empty; write a list `cameras`"),
            ("\n \n", "the file is empty; write a list `cameras`"),
            ("cameras:", "cameras: the list is empty; write at least one"),
            ("cameras: []", "cameras: the list is empty; write at least one"),
            ("cameras: none", "cameras: invalid type: string \"none\", expected a list"),
            ("cameras: {stream: a}", "cameras: invalid type: map, expected a list"),
            ("camera: []", "unknown field `camera`, expected `cameras`"),
            ("- stream: a", "invalid type: list, expected a map with the list `cameras`"),
            ("cameras: [a]", "cameras[0]: invalid type: string \"a\", expected a map with at least `stream` and `url`"),
            ("cameras: [{stream: a}]", "cameras[0]: missing field `url`"),
            (
                "cameras: [{stream: a, url: x, fps: fast}]",
                "cameras[0].fps: invalid type: string \"fast\", expected a number",
            ),
            ("cameras: [{stream: a, url: x, detectors: face}]", "expected a list"),
            ("cameras: [{stream: a, url: x, tls_verify: 'no'}]", "expected true or false"),
            ("cameras: [{stream: a, url: x, stall_seconds: -1}]", "expected a whole number from 0"),
            (
                "cameras: [{stream: a, url: x, captured_at: monday}]",
                "captured_at: it must be a time such as 2026-01-02T03:04:05Z",
            ),
            ("cameras: [{stream: a, url: x, resize: 12}]", "resize: \"12\" is not a size such as 1280x720"),
            ("cameras: [{stream: a, url: x, password:hidden}]", "unknown field `password`, with a blank missing"),
            ("cameras: ['rtsp://h/user=admin&password=hidden&channel=1']", "password=***&channel=1"),
            ("cameras: [{stream: a, url: x, password: [hidden]}]", "invalid type: list, expected a string"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(expected) && !error.contains("hidden"), "{text}: {error}");
        }
    }

    #[test]
    fn all_mistakes_of_a_list_are_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        let text = format!(
            "cameras:\n- {{stream: a, url: 'rtsp://b/', fps: 0, start: 3}}\n- {{stream: b, url: 'rtsp://b/', fps: fast}}\n\
             - {{stream: c, url: 10.0.0.5/live}}\n- {{stream: d}}\n- {{stream: e, url: {path}}}\n- {{stream: e, url: /dev/null}}"
        );
        let mistakes = Cameras::read_with_files(&text).unwrap_err();
        let expected = [
            "cameras[1].fps: invalid type",
            "cameras[3]: missing field `url`",
            "camera a: fps: it must be",
            "camera a: start: a live source",
            "camera c: url: 10.0.0.5/live: there is no such file; the address of a camera begins with rtsp://",
            "is a folder",
            "camera e: url: /dev/null is not a regular file",
            "camera e: two cameras have this stream",
        ];
        assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
        for (mistake, expected) in mistakes.iter().zip(expected) {
            assert!(mistake.contains(expected), "{expected}: {mistakes:#?}");
        }
    }

    #[test]
    fn the_document_for_a_process_says_the_same() {
        let gate =
            camera(r#"url: "http://10.0.0.5/1", user: ann, password: lamp, fps: 5, resize: 640x360, when_slow: wait"#)
                .unwrap();
        let again: SourceConfig = serde_json::from_str(&serde_json::to_string(&gate).unwrap()).unwrap();
        assert_eq!(again.address().unwrap().for_ffmpeg(), gate.address().unwrap().for_ffmpeg());
        assert_eq!((again.fps, again.resize, again.when_slow), (Some(5.0), Some(Size(640, 360)), Some(WhenSlow::Wait)));
    }
}
