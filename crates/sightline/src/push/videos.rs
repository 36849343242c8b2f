//! Sends videos and live cameras through the camera program. It gets its task on standard input, so that the list of processes shows
//! neither the token nor the password of a camera, and prints the progress and a line for each source itself.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use contracts::StreamName;
use jiff::Timestamp;
use platform::shutdown::Interrupted;
use platform::{error_line, one_line};
use serde_json::{Value, json};
use settings::Secret;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Push, values};
use crate::{camera_program, out};

/// Longest name of a stream.
const LONGEST_NAME: usize = 64;
/// Exit status after a signal.
const INTERRUPTED: i32 = 130;
/// Time limit for a password that comes through a pipe, and the pause between two looks.
const PASSWORD_LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// Most bytes of a password.
const LONGEST_PASSWORD: usize = 4096;

/// Options for videos and live cameras.
#[derive(Debug, Args)]
#[command(next_help_heading = "Videos and live cameras")]
pub struct VideoArgs {
    /// Leave out this many seconds at the beginning of a video
    #[arg(long, value_name = "SECONDS", value_parser = values::start, allow_negative_numbers = true)]
    start: Option<f64>,

    /// Send this many seconds
    #[arg(long, value_name = "SECONDS", value_parser = values::duration, allow_negative_numbers = true)]
    duration: Option<f64>,

    /// Largest size of the images, such as 1280x720; the proportions are kept
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    resize: Option<String>,

    /// When the recording began [default: what the video says, or when its file was written]
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    captured_at: Option<Timestamp>,

    /// Skip frames in which nothing moves [default: on for live cameras, off for videos]
    #[arg(long, value_name = "on|off", value_parser = settings::on_off())]
    motion_gate: Option<bool>,

    /// User name for the live cameras
    #[arg(long, value_name = "NAME")]
    user: Option<String>,

    /// File with the password for the live cameras, or - for standard input. The list of processes shows a password in an address
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Check the certificate of a live camera [default: on]
    #[arg(long, value_name = "on|off", value_parser = settings::on_off())]
    tls_verify: Option<bool>,

    /// Certificate authorities to trust for live cameras instead of the system's, PEM
    #[arg(long, value_name = "FILE")]
    tls_ca_file: Option<PathBuf>,
}

/// Whether an argument is the address of a live camera.
pub fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains("://"))
}

impl Push {
    /// Sends these sources one after the other.
    ///
    /// # Errors
    /// When the camera program is missing, or a source failed; it has said why.
    pub(super) async fn send_videos(&self, sources: &[PathBuf]) -> anyhow::Result<()> {
        let program = camera_program::find()?;
        let password = self.video.password()?;
        let (named, unnamed): (Vec<_>, Vec<_>) = sources.iter().partition(|path| path.to_str().is_some());
        for path in &unnamed {
            error_line(one_line(&format_args!("{}: the name is not valid UTF-8", path.display())));
        }
        let unnamed = unnamed.len();
        ensure!(!named.is_empty(), "nothing was sent; the lines above say why");
        let sources = named.into_iter().map(|path| self.source(path, password.as_ref()));
        let sources = sources.collect::<anyhow::Result<Vec<_>>>()?;
        if self.stream.is_none() {
            warn_of_shared_streams(&sources);
        }
        let server = self.client.for_camera()?;
        let task = json!({"server": server, "sources": sources, "json": self.json, "patience_seconds": self.wait});
        let stop = platform::shutdown::on_signal()?;
        let mut command = Command::new(&program);
        command.arg("push").stdin(Stdio::piped()).kill_on_drop(true);
        command.env_clear().envs(platform::child_environment());
        if std::env::var_os("SIGHTLINE_LOG").is_none() {
            command.env("SIGHTLINE_LOG", "warn");
        }
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", program.display()))?;
        let mut input = child.stdin.take().context("the camera program has no standard input")?;
        // Fails if the program cannot start; its exit status says why.
        let _ = input.write_all(format!("{task}\n").as_bytes()).await;
        let ended = stop.run_until_cancelled(child.wait()).await;
        // The end of its standard input stops it.
        drop(input);
        let status = match ended {
            Some(status) => status?,
            None => child.wait().await?,
        };
        camera_program::check_libraries(status)?;
        match status.code() {
            Some(0) if unnamed > 0 => bail!("not everything was sent; the lines above say why"),
            Some(0) if self.json => Ok(()),
            Some(0) => where_to_look(server["url"].as_str().unwrap_or_default(), &sources),
            Some(INTERRUPTED) => Err(Interrupted("the lines above say what was sent".to_owned()).into()),
            Some(_) => bail!("not everything was sent; the lines above say why"),
            None => bail!("the camera program ended: {status}"),
        }
    }

    fn source(&self, path: &Path, password: Option<&Secret>) -> anyhow::Result<Value> {
        let text = path.to_str().with_context(|| format!("{}: the name is not valid UTF-8", path.display()))?;
        let VideoArgs { start, duration, resize, captured_at, motion_gate, tls_verify, tls_ca_file, .. } = &self.video;
        let stream = match &self.stream {
            Some(stream) => stream.clone(),
            None => stream_of(text)?,
        };
        let mut source = json!({
            "stream": stream, "url": text, "fps": self.fps, "detectors": self.detectors, "start": start, "duration": duration,
            "resize": resize, "captured_at": captured_at, "motion_gate": motion_gate, "when_slow": "wait",
            "tls_verify": tls_verify, "tls_ca_file": tls_ca_file,
        });
        if is_url(path) {
            source["user"] = json!(self.video.user);
            source["password"] = json!(password.map(Secret::expose));
        }
        Ok(source)
    }
}

impl VideoArgs {
    /// Refuses options that nothing of what is sent can use, and half of the credentials.
    ///
    /// # Errors
    /// When there is such an option.
    pub(super) fn check(&self, has_video: bool, has_live: bool) -> anyhow::Result<()> {
        let of_videos = [("--start", self.start.is_some()), ("--captured-at", self.captured_at.is_some())];
        let of_live = [
            ("--user", self.user.is_some()),
            ("--password-file", self.password_file.is_some()),
            ("--tls-verify", self.tls_verify.is_some()),
            ("--tls-ca-file", self.tls_ca_file.is_some()),
        ];
        let of_both = [
            ("--duration", self.duration.is_some()),
            ("--resize", self.resize.is_some()),
            ("--motion-gate", self.motion_gate.is_some()),
        ];
        refuse(&of_videos, has_video, "videos")?;
        refuse(&of_live, has_live, "live cameras")?;
        refuse(&of_both, has_video || has_live, "videos and live cameras")?;
        ensure!(
            self.user.is_none() || self.password_file.is_some(),
            "--user: there is no password for it; add --password-file FILE, or - for standard input"
        );
        ensure!(
            self.user.is_some() || self.password_file.is_none(),
            "--password-file: there is no user name for it; add --user NAME"
        );
        Ok(())
    }

    /// The password, read once: a pipe has it only once.
    ///
    /// # Errors
    /// When it cannot be read, or is empty.
    fn password(&self) -> anyhow::Result<Option<Secret>> {
        let Some(path) = &self.password_file else { return Ok(None) };
        if path == Path::new("-") {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("--password-file: standard input cannot be read")?;
            return Ok(Some(first_line(&line, "on standard input")?));
        }
        let name = path.display();
        let read = || format!("--password-file: {name} cannot be read");
        let file = File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(path);
        let file = file.with_context(read)?;
        let kind = file.metadata().with_context(read)?.file_type();
        ensure!(kind.is_file() || kind.is_fifo(), "--password-file: {name} is neither a file nor a pipe");
        let text = read_within(file, PASSWORD_LIMIT).with_context(read)?;
        Ok(Some(first_line(&text, &format!("in {name}"))?))
    }
}

/// Reads a file or a pipe to its end, within this time: a pipe may have a writer that writes nothing, or none.
fn read_within(mut file: File, limit: Duration) -> anyhow::Result<String> {
    let (mut text, mut part, begun) = (Vec::new(), [0; 4096], Instant::now());
    loop {
        match file.read(&mut part) {
            // A pipe without a writer has an end, too, before the first has come.
            Ok(0) if !text.is_empty() || file.metadata()?.is_file() => break,
            Ok(length @ 1..) => text.extend_from_slice(&part[..length]),
            Ok(_) => std::thread::sleep(PAUSE),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
        ensure!(text.len() <= LONGEST_PASSWORD, "it is too long for a password");
        ensure!(begun.elapsed() < limit, "nothing was written to it for {} s", limit.as_secs());
    }
    Ok(String::from_utf8(text)?)
}

fn first_line(text: &str, place: &str) -> anyhow::Result<Secret> {
    // Further lines are the notes of a password manager.
    let password = text.lines().next().unwrap_or_default();
    ensure!(!password.is_empty(), "--password-file: there is no password {place}");
    Ok(password.parse()?)
}

/// Refuses the first of these options that is set, if nothing of what is sent is of their kind.
fn refuse(options: &[(&str, bool)], has_kind: bool, kind: &str) -> anyhow::Result<()> {
    match options.iter().find(|(_, is_set)| *is_set && !has_kind) {
        Some((name, _)) => bail!("{name} is for {kind}, and there is none"),
        None => Ok(()),
    }
}

/// The frames were acknowledged, and their results come a little later.
fn where_to_look(server: &str, sources: &[Value]) -> anyhow::Result<()> {
    let streams: BTreeSet<&str> = sources.iter().filter_map(|source| source["stream"].as_str()).collect();
    let server = server.trim_end_matches('/');
    for stream in streams {
        out::line(one_line(&format_args!("detections of stream {stream}: {server}/v1/detections?stream={stream}")))?;
    }
    Ok(())
}

/// Two videos of one name are probably not one recording.
fn warn_of_shared_streams(sources: &[Value]) {
    let name = |source: &Value| shown(source["url"].as_str().unwrap_or_default());
    for (index, source) in sources.iter().enumerate() {
        let first = sources[..index].iter().find(|other| other["stream"] == source["stream"]);
        let Some((other, own)) = first.and_then(name).zip(name(source)) else { continue };
        let stream = source["stream"].as_str().unwrap_or_default();
        error_line(one_line(&format_args!(
            "warning: {other} and {own} go into one stream, {stream}; give each its own with --stream, in a push of its own"
        )));
    }
}

/// A source without the credentials of its address. `None` for an address with an `@` behind the host, which may be part of a password; the
/// camera program refuses it.
fn shown(source: &str) -> Option<String> {
    let Some((_, address)) = source.split_once("://") else { return Some(source.to_owned()) };
    let (authority, rest) = address.split_at(address.find(['/', '?', '#']).unwrap_or(address.len()));
    let host = authority.rsplit('@').next().filter(|_| !rest.contains('@'))?;
    Some(format!("the camera at {host}"))
}

/// The name of a file without its ending, or the host of an address, in letters that a stream may have.
fn stream_of(text: &str) -> anyhow::Result<StreamName> {
    let name = match text.split_once("://") {
        Some((_, rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            authority.rsplit('@').next().unwrap_or_default()
        }
        None => Path::new(text).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(),
    };
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let name: String =
        name.chars().map(|letter| if allowed(letter) { letter } else { '-' }).take(LONGEST_NAME).collect();
    name.parse().context("give the stream a name with --stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_after_its_source() {
        for (text, expected) in [
            ("/videos/gate 1.mp4", "gate-1"),
            ("VID_2026.MOV", "VID_2026"),
            ("rtsp://ann:hidden@10.0.0.5:554/live?x=y", "10.0.0.5-554"),
            ("https://cams.example.org/a.m3u8", "cams.example.org"),
            ("Üben.mp4", "-ben"),
        ] {
            assert_eq!(stream_of(text).unwrap().as_str(), expected);
        }
        assert!(stream_of("http:///x").unwrap_err().to_string().contains("--stream"));
    }

    #[test]
    fn an_address_is_no_path() {
        assert!(is_url(Path::new("rtsp://gate/1")) && !is_url(Path::new("/a/b.mp4")) && !is_url(Path::new("a:b.mp4")));
    }
}
