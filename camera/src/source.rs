//! What a source is: its address, and how its frames are chosen and sent.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contracts::{DetectorName, StreamName};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use settings::Secret;
use url::Url;

use crate::redact::{add_secret, redact};

/// Values of `fps`. The least is a frame in about a day.
const LEAST_FPS: f64 = 0.000_01;
const MOST_FPS: f64 = 1000.0;
/// Values of `stall_seconds`.
const STALL: std::ops::RangeInclusive<u64> = 2..=3600;
const STALL_DEFAULT: Duration = Duration::from_secs(10);
/// Shortest and longest side of `resize`.
const SIDE: std::ops::RangeInclusive<u32> = 16..=16_384;

/// A list of sources: the content of `cameras.yaml`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cameras {
    /// The sources.
    pub cameras: Vec<SourceConfig>,
}

/// A source with its settings.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
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
    /// Most frames a second, by time; all when not set.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Largest size of the images, such as `1280x720`; the proportions are kept.
    #[serde(default)]
    pub resize: Option<Size>,
    /// Detectors to run; the server's choice when empty.
    #[serde(default)]
    pub detectors: Vec<DetectorName>,
    /// Whether frames in which nothing moves are passed over. For live sources by default.
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
    #[serde(default)]
    pub captured_at: Option<Timestamp>,
}

/// What happens to frames when the server is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenSlow {
    /// All are kept: the source is read no faster than the server accepts its frames.
    Wait,
    /// The oldest are dropped and counted: the newest are the ones that matter.
    Drop,
}

/// Largest width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u32, pub u32);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']);
        let side = |text: &str| text.trim().parse().ok().filter(|side| SIDE.contains(side));
        let size = sides.and_then(|(width, height)| Some(Self(side(width)?, side(height)?)));
        let (least, most) = (SIDE.start(), SIDE.end());
        size.ok_or_else(|| format!("{text:?} is not a size such as 1280x720, with sides from {least} to {most}"))
    }
}

impl From<Size> for String {
    fn from(Size(width, height): Size) -> Self {
        format!("{width}x{height}")
    }
}

/// A text of a configuration that must not be shown. It is written out only for the process of its source.
#[derive(Debug, Clone)]
pub struct SecretText(Secret);

impl SecretText {
    /// The text itself.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl From<Secret> for SecretText {
    fn from(secret: Secret) -> Self {
        Self(secret)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

/// Where the frames come from.
#[derive(Debug, Clone)]
pub enum Address {
    /// A recording.
    File(PathBuf),
    /// A camera.
    Live(LiveUrl),
}

/// The address of a camera, with its credentials. Prints without them.
#[derive(Clone)]
pub struct LiveUrl(Url);

impl LiveUrl {
    /// Whether the camera speaks RTSP.
    pub fn is_rtsp(&self) -> bool {
        self.0.scheme().starts_with("rtsp")
    }
}

impl std::fmt::Debug for LiveUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redact(self.0.as_str()))
    }
}

impl Address {
    /// Whether it has no end.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// As FFmpeg opens it, with the credentials.
    pub fn for_ffmpeg(&self) -> String {
        match self {
            // Without the protocol, FFmpeg would take `a:b.mp4` for an address.
            Self::File(path) => format!("file:{}", path.display()),
            Self::Live(url) => url.0.to_string(),
        }
    }
}

impl Cameras {
    /// Reads and checks a list of sources.
    ///
    /// # Errors
    /// When it is not valid. The message names the source and shows no credential.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let cameras: Self =
            serde_yaml_ng::from_str(text).map_err(|error| anyhow::anyhow!(redact(&error.to_string())))?;
        ensure!(!cameras.cameras.is_empty(), "there is no camera in it");
        for (index, source) in cameras.cameras.iter().enumerate() {
            let name = &source.stream;
            source.check().with_context(|| format!("camera {name}"))?;
            let is_double = cameras.cameras[..index].iter().any(|other| other.stream == *name);
            ensure!(!is_double, "camera {name}: two cameras have this stream; give each its own");
        }
        Ok(cameras)
    }
}

impl SourceConfig {
    /// # Errors
    /// When a value is impossible.
    pub fn check(&self) -> anyhow::Result<()> {
        let fps = self.fps.is_none_or(|fps| (LEAST_FPS..=MOST_FPS).contains(&fps));
        ensure!(fps, "fps: it must be a number from {LEAST_FPS} to {MOST_FPS}");
        let (least, most) = (STALL.start(), STALL.end());
        ensure!(
            self.stall_seconds.is_none_or(|stall| STALL.contains(&stall)),
            "stall_seconds: it must be from {least} to {most}"
        );
        for (name, value) in [("start", self.start), ("duration", self.duration)] {
            let is_time = value.is_none_or(|seconds| seconds.is_finite() && (0.0..1e9).contains(&seconds));
            ensure!(is_time, "{name}: it must be a number of seconds");
        }
        ensure!(
            self.password.is_none() || self.password_file.is_none(),
            "password and password_file: set only one of them"
        );
        let address = self.address()?;
        if address.is_live() {
            ensure!(self.start.is_none(), "start: a live source has no beginning; remove it");
            ensure!(self.captured_at.is_none(), "captured_at: a live source has the time of now; remove it");
        }
        Ok(())
    }

    /// The address with its credentials, which are removed from messages from now on.
    ///
    /// # Errors
    /// When the address is not valid, or the file of the password cannot be read. No credential is shown.
    pub fn address(&self) -> anyhow::Result<Address> {
        let text = self.url.expose();
        let Some((scheme, _)) = text.split_once("://") else { return Ok(Address::File(text.into())) };
        // The parser's error would show the address.
        let Ok(mut url) = Url::parse(text) else { bail!("url: it is not a valid address") };
        if !["rtsp", "rtsps", "http", "https"].contains(&url.scheme()) {
            bail!("url: {scheme}: is not supported; use rtsp:, rtsps:, http: or https:, or the path of a file");
        }
        ensure!(url.has_host(), "url: the host is missing");
        let password = self.password_text()?;
        if let Some(user) = &self.user {
            // It fails only without a host.
            let _ = url.set_username(user);
        }
        if let Some(password) = &password {
            let _ = url.set_password(Some(password));
            add_secret(password);
        }
        if let Some(password) = url.password() {
            add_secret(password);
            add_secret(&decoded(password));
        }
        for value in secret_values(&url) {
            add_secret(value);
            add_secret(&decoded(value));
        }
        Ok(Address::Live(LiveUrl(url)))
    }

    fn password_text(&self) -> anyhow::Result<Option<String>> {
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path);
            let text = text.with_context(|| format!("password_file: {} cannot be read", path.display()))?;
            return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
        }
        Ok(self.password.as_ref().map(|password| password.expose().to_owned()))
    }

    /// Longest time without a frame.
    pub fn stall(&self) -> Duration {
        self.stall_seconds.map_or(STALL_DEFAULT, Duration::from_secs)
    }
}

/// Passwords and tokens in the path or the query, as in `rtsp://host/user=admin&password=word`.
fn secret_values(url: &Url) -> impl Iterator<Item = &str> {
    let after_host = &url[url::Position::BeforePath..];
    let parts = after_host.split(['/', '?', '&', ';', '#']);
    parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        let name = name.to_ascii_lowercase();
        ["pass", "pwd", "token", "key", "secret", "auth", "sig"].iter().any(|word| name.contains(word)).then_some(value)
    })
}

/// A part of an address without its percent signs.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| *first == b'%') {
            Some(byte) => {
                plain.push(byte);
                rest = &tail[2..];
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(text: &str) -> anyhow::Result<SourceConfig> {
        let text = format!("cameras: [{{stream: gate, {text}}}]");
        Ok(Cameras::parse(&text)?.cameras.remove(0))
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
            ("url: 'rtsp://b/', fps: 0", "fps: it must be"),
            ("url: 'rtsp://b/', resize: 12", "not a size such as 1280x720"),
            ("url: 'rtsp://b/', resize: 12x99999", "not a size such as 1280x720"),
            ("url: 'rtsp://b/', start: 3", "start: a live source"),
            ("url: 'rtsp://b/', start: .nan", "start: it must"),
            ("url: 'rtsp://b/', password: a, password_file: b", "set only one"),
            ("url: 'rtsp://a:hidden@b/', speed: 3", "unknown field `speed`"),
            ("url: 'rtsp://b/', password_file: /nowhere/word", "/nowhere/word cannot be read"),
        ] {
            let error = format!("{:#}", camera(text).unwrap_err());
            assert!(error.contains(expected) && !error.contains("hidden"), "{text}: {error}");
        }
        let double = "cameras: [{stream: a, url: x.mp4}, {stream: a, url: y.mp4}]";
        assert!(Cameras::parse(double).unwrap_err().to_string().contains("camera a: two cameras"));
        assert!(Cameras::parse("cameras: []").unwrap_err().to_string().contains("no camera"));
    }

    #[test]
    fn the_document_for_a_process_says_the_same() {
        let gate =
            camera(r#"url: "http://10.0.0.5/1", password: lamp, fps: 5, resize: 640x360, when_slow: wait"#).unwrap();
        let again: SourceConfig = serde_json::from_str(&serde_json::to_string(&gate).unwrap()).unwrap();
        assert_eq!(again.address().unwrap().for_ffmpeg(), gate.address().unwrap().for_ffmpeg());
        assert_eq!((again.fps, again.resize, again.when_slow), (Some(5.0), Some(Size(640, 360)), Some(WhenSlow::Wait)));
    }
}
