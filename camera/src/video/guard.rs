//! What a source may make FFmpeg do while it is read, beside the limits of time in [`Watch`].
//!
//! FFmpeg follows a redirect of RTSP to any host, and takes the user name and the password along; no option of it forbids that. It asks
//! this guard before it sends anything, so the guard stops it when its address is another one than the operator named. Of HTTP, FFmpeg
//! takes credentials to no other host.

use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ffmpeg_next::Error;
use platform::one_line;

use super::{Failure, Watch};
use crate::redact::redact;
use crate::source::Address;

/// Most addresses that a source makes FFmpeg open without a frame. Each variant of a playlist has one and its parts more, and the largest
/// lists of variants have some dozens.
const MOST_OPENED: u32 = 250;
/// Most parts of a playlist that are refused without a frame between. At the end of a live list one may be missing.
const MOST_REFUSED: u32 = 8;
/// The same with a password that is not accepted, because cameras lock accounts.
const MOST_UNAUTHORIZED: u32 = 2;
/// Longest address that is shown, in characters.
const SHOWN: usize = 200;

/// The guard of one connection.
pub struct Guard {
    watch: Arc<Watch>,
    has_credentials: bool,
    /// Of RTSP, what each address begins with.
    origins: Vec<String>,
    has_begun: AtomicBool,
    opened: AtomicU32,
    /// How many parts were refused since the last frame, and how the last one was.
    refused: Mutex<(u32, Option<Failure>)>,
    /// Why FFmpeg was stopped.
    failure: OnceLock<Failure>,
}

impl Guard {
    /// A guard of a connection to this address.
    pub fn new(address: &Address, watch: Arc<Watch>) -> Self {
        let origins = match address {
            Address::Live(live) => live.rtsp_origins(),
            Address::File(_) => Vec::new(),
        };
        let (has_begun, opened) = (AtomicBool::new(false), AtomicU32::new(0));
        let has_credentials = address.has_credentials();
        Self { watch, has_credentials, origins, has_begun, opened, refused: Mutex::default(), failure: OnceLock::new() }
    }

    /// Whether [`Self::interrupts`] needs the address that FFmpeg has been sent to.
    pub const fn checks_address(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Whether FFmpeg must stop. It asks while it waits and before it sends. `url` is where it has been sent to, if that is checked; it is
    /// empty after a redirect without an address, which FFmpeg follows to this machine.
    pub fn interrupts(&self, url: Option<&CStr>) -> bool {
        let is_late = self.watch.interrupts();
        if let Some(url) = url.map(CStr::to_string_lossy).filter(|url| !self.may_go_to(url)) {
            let shown: String = one_line(&redact(&url)).chars().take(SHOWN).collect();
            self.stop(Failure::Other(format!(
                "it redirects to another server, {shown:?}: if that is right, make it the url of the source"
            )));
        }
        is_late || self.failure.get().is_some()
    }

    /// FFmpeg opens an address; returns whether it may.
    pub fn opens(&self) -> bool {
        if self.opened.fetch_add(1, Ordering::Relaxed) >= MOST_OPENED {
            self.stop(Failure::Other(format!("its playlists name more than {MOST_OPENED} addresses before a frame")));
        }
        !self.watch.interrupts() && self.failure.get().is_none()
    }

    /// What became of an address that FFmpeg opened. The first one is that of the source, whose refusal ends the connection anyway.
    pub fn answered(&self, result: c_int) {
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        let Some(failure) =
            Some(Error::from(result)).filter(|_| result < 0 && !is_first).and_then(|error| self.refusal(error))
        else {
            return;
        };
        let most = if failure.is_about_access() { MOST_UNAUTHORIZED } else { MOST_REFUSED };
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused = (refused.0 + 1, Some(failure.clone()));
        if refused.0 >= most {
            self.stop(failure);
        }
    }

    /// A frame was decoded: the source does what it should.
    pub fn frame(&self) {
        self.opened.store(0, Ordering::Relaxed);
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = (0, None);
    }

    /// Why FFmpeg was stopped; else how the parts were refused since the last frame, because a stall or an end only follows from it.
    pub fn failure(&self) -> Option<Failure> {
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        self.failure.get().cloned().or_else(refused)
    }

    /// The first reason is the cause of all others.
    fn stop(&self, failure: Failure) {
        let _ = self.failure.set(failure);
    }

    /// A refusal of a part, if the error is one.
    fn refusal(&self, error: Error) -> Option<Failure> {
        match error {
            Error::HttpUnauthorized => Some(Failure::without_access(self.has_credentials)),
            Error::HttpBadRequest => Some(Failure::PartsRefused("400")),
            Error::HttpForbidden => Some(Failure::PartsRefused("403")),
            Error::HttpNotFound => Some(Failure::PartsRefused("404")),
            Error::HttpOther4xx => Some(Failure::PartsRefused("4xx")),
            Error::HttpServerError => Some(Failure::PartsRefused("5xx")),
            _ => None,
        }
    }

    /// Whether an address is on the server that the operator named. Compared as text, because FFmpeg and a parser could disagree about
    /// what the host of an address is: behind the origin, nothing can make it another one.
    fn may_go_to(&self, url: &str) -> bool {
        self.origins.iter().any(|origin| {
            let beginning = url.get(..origin.len()).filter(|text| text.eq_ignore_ascii_case(origin));
            beginning.is_some() && (url.len() == origin.len() || url[origin.len()..].starts_with(['/', '?', '#']))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::{LiveUrl, Tls};

    fn stopped_at(url: &str, now: &str) -> Option<Failure> {
        let live = LiveUrl::new(url, None, None, Tls { verify: true, ca_file: None }).unwrap();
        let live = if url.starts_with("rtsps") { live.through(7000) } else { live };
        let guard = Guard::new(&Address::Live(live), Arc::new(Watch::new(CancellationToken::new())));
        let now = CString::new(now).unwrap();
        assert_eq!(guard.interrupts(guard.checks_address().then_some(&*now)), guard.failure().is_some());
        guard.failure()
    }

    #[test]
    fn rtsp_goes_only_to_the_server_that_is_named() {
        let plain = "rtsp://ann:lamp@gate/live";
        for now in [plain, "rtsp://gate/other", "rtsp://gate:554", "RTSP://Gate?a@b", "rtsp://gate/@evil/"] {
            assert_eq!(stopped_at(plain, now), None, "{now}");
        }
        for now in [
            "rtsp://evil/live",
            "rtsp://gate.evil/live",
            "rtsp://gate:5540/live",
            "rtsp://gate@evil/live",
            "rtsp://gate:554@evil/",
            "rtsps://gate/live",
            "satip://gate/live",
            "rtsp:gate/live",
            "",
        ] {
            let Some(Failure::Other(told)) = stopped_at(plain, now) else { panic!("{now}") };
            assert!(told.contains("another server"), "{told}");
        }
        // Through a port of this machine, the camera is no other host than that port.
        assert_eq!(stopped_at("rtsps://gate/live", "rtsp://127.0.0.1:7000/live"), None);
        assert!(stopped_at("rtsps://gate/live", "rtsp://gate/live").is_some());
        assert_eq!(stopped_at("http://gate/live", "http://evil/live"), None, "no credentials go there");
    }

    #[test]
    fn the_first_address_and_a_frame_between_are_no_refused_parts() {
        let guard = Guard::new(&Address::File("a.ts".into()), Arc::new(Watch::new(CancellationToken::new())));
        let missing = i32::from(Error::HttpNotFound);
        guard.answered(missing);
        assert_eq!(guard.failure(), None);
        for _ in 0..MOST_REFUSED - 1 {
            assert!(guard.opens());
            guard.answered(missing);
        }
        assert!(guard.opens() && guard.failure() == Some(Failure::PartsRefused("404")));
        guard.frame();
        assert_eq!(guard.failure(), None);
        (0..MOST_REFUSED).for_each(|_| guard.answered(missing));
        assert!(!guard.opens());
    }
}
