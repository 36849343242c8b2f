//! The address of a source, with its credentials. It is shown nowhere with them.

use std::path::PathBuf;

use anyhow::{bail, ensure};
use url::{Host, Url};

use crate::redact::{add_secret, named_secrets, redact};

/// Ports of RTSP, without and with TLS.
const RTSP_PORT: u16 = 554;
const RTSPS_PORT: u16 = 322;

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
pub struct LiveUrl {
    url: Url,
    tls: Tls,
}

/// How the certificate of a camera is checked.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Whether it is checked at all.
    pub verify: bool,
    /// The authorities to trust instead of the system's, PEM.
    pub ca_file: Option<PathBuf>,
}

impl LiveUrl {
    /// The address of a camera; its credentials are removed from messages from now on.
    ///
    /// # Errors
    /// When it is not valid. No credential is shown.
    pub fn new(text: &str, user: Option<&str>, password: Option<&str>, tls: Tls) -> anyhow::Result<Self> {
        // The parser's error would show the address.
        let Ok(mut url) = Url::parse(text) else { bail!("url: it is not a valid address") };
        if !["rtsp", "rtsps", "http", "https"].contains(&url.scheme()) {
            let scheme = url.scheme();
            bail!("url: {scheme}: is not supported; use rtsp:, rtsps:, http: or https:, or the path of a file");
        }
        ensure!(url.has_host(), "url: the host is missing");
        // Else a part of a password would be looked up as a host.
        let after_host = &url[url::Position::BeforePath..];
        ensure!(
            !after_host.contains('@'),
            "url: an @ behind the host must be written as %40; in a password also @, /, ? and # as %40, %2F, %3F and %23, or use user and password"
        );
        // Both fail only without a host.
        if let Some(user) = user {
            let _ = url.set_username(user);
        }
        if let Some(password) = password {
            let _ = url.set_password(Some(password));
            add_secret(password);
        }
        for secret in secrets(&url) {
            add_secret(secret);
            add_secret(&decoded(secret));
        }
        Ok(Self { url, tls })
    }

    /// Whether the camera speaks RTSP.
    pub fn is_rtsp(&self) -> bool {
        self.url.scheme().starts_with("rtsp")
    }

    /// What every address on the same RTSP server begins with, in each spelling; nothing for another protocol.
    pub fn rtsp_origins(&self) -> Vec<String> {
        let Some(host) = self.url.host_str().filter(|_| self.is_rtsp()) else { return Vec::new() };
        let scheme = self.url.scheme();
        let default = if scheme == "rtsps" { RTSPS_PORT } else { RTSP_PORT };
        let port = self.url.port().unwrap_or(default);
        let user_info = &self.url[url::Position::BeforeUsername..url::Position::BeforeHost];
        let spelled = [Some(format!("{host}:{port}")), (port == default).then(|| host.to_owned())];
        let with_user = |host: String| [format!("{scheme}://{host}"), format!("{scheme}://{user_info}{host}")];
        spelled.into_iter().flatten().flat_map(with_user).collect()
    }

    /// How its certificate is checked.
    pub const fn tls(&self) -> &Tls {
        &self.tls
    }

    /// Host and port of a camera whose certificate FFmpeg would not check.
    pub fn to_tunnel(&self) -> Option<(String, u16)> {
        let host = match self.url.host().filter(|_| self.url.scheme() == "rtsps" && self.tls.verify)? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(address) => address.to_string(),
            Host::Ipv6(address) => address.to_string(),
        };
        Some((host, self.url.port().unwrap_or(RTSPS_PORT)))
    }

    /// The same camera through a port of this machine, without TLS.
    #[must_use]
    pub fn through(&self, port: u16) -> Self {
        let mut here = self.clone();
        // None fails for an address with a host.
        let _ = here.url.set_scheme("rtsp");
        let _ = here.url.set_host(Some("127.0.0.1"));
        let _ = here.url.set_port(Some(port));
        here
    }
}

impl std::fmt::Debug for LiveUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&redact(self.url.as_str()))
    }
}

impl Address {
    /// Whether it has no end.
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Whether it speaks RTSP.
    pub fn is_rtsp(&self) -> bool {
        matches!(self, Self::Live(live) if live.is_rtsp())
    }

    /// Whether there are a user name and a password for it, or one of them.
    pub fn has_credentials(&self) -> bool {
        matches!(self, Self::Live(live) if !live.url.username().is_empty() || live.url.password().is_some())
    }

    /// As FFmpeg opens it, with the credentials.
    pub fn for_ffmpeg(&self) -> String {
        match self {
            // Without the protocol, FFmpeg would take `a:b.mp4` for an address.
            Self::File(path) => format!("file:{}", path.display()),
            Self::Live(live) => live.url.to_string(),
        }
    }
}

/// Whether an address has a user name or a password before its host.
pub fn has_user_info(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// Whether an address has a password or a token.
pub fn has_secret(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| secrets(&url).next().is_some())
}

/// The password, and passwords and tokens in the path or the query, as in `rtsp://host/user=admin&password=word`.
fn secrets(url: &Url) -> impl Iterator<Item = &str> {
    let after_host = &url[url::Position::BeforePath..];
    let values = named_secrets(after_host).into_iter().map(|range| &after_host[range]);
    url.password().into_iter().chain(values)
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
