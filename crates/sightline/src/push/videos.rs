//! Sends videos and live cameras through the camera program. It gets its task on standard input, so that the list of processes shows
//! neither the token nor the password of a camera, and prints the progress and a line for each source itself.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use clap::Args;
use contracts::StreamName;
use jiff::Timestamp;
use platform::shutdown::Interrupted;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::Push;
use crate::camera_program;

/// Longest name of a stream.
const LONGEST_NAME: usize = 64;
/// Exit status after a signal.
const INTERRUPTED: i32 = 130;

/// Options for videos and live cameras.
#[derive(Debug, Args)]
#[command(next_help_heading = "Videos and live cameras")]
pub struct VideoArgs {
    /// Leave out this many seconds at the beginning of a video
    #[arg(long, value_name = "SECONDS")]
    start: Option<f64>,

    /// Send this many seconds
    #[arg(long, value_name = "SECONDS")]
    duration: Option<f64>,

    /// Largest size of the images, such as 1280x720; the proportions are kept
    #[arg(long, value_name = "SIZE")]
    resize: Option<String>,

    /// When the recording began [default: what the video says, or when its file was written]
    #[arg(long, value_name = "TIME")]
    captured_at: Option<Timestamp>,

    /// Skip frames in which nothing moves [default: on for live cameras, off for videos]
    #[arg(long, value_name = "on|off", value_parser = settings::on_off())]
    motion_gate: Option<bool>,

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
        let sources = sources.iter().map(|path| self.source(path)).collect::<anyhow::Result<Vec<_>>>()?;
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
            Some(0) => Ok(()),
            Some(INTERRUPTED) => Err(Interrupted("the lines above say what was sent".to_owned()).into()),
            Some(_) => bail!("not everything was sent; the lines above say why"),
            None => bail!("the camera program ended: {status}"),
        }
    }

    fn source(&self, path: &Path) -> anyhow::Result<Value> {
        let text = path.to_str().with_context(|| format!("{}: the name is not valid UTF-8", path.display()))?;
        let VideoArgs { start, duration, resize, captured_at, motion_gate, tls_verify, tls_ca_file } = &self.video;
        let stream = match &self.stream {
            Some(stream) => stream.clone(),
            None => stream_of(text)?,
        };
        Ok(json!({
            "stream": stream, "url": text, "fps": self.fps, "detectors": self.detectors, "start": start, "duration": duration,
            "resize": resize, "captured_at": captured_at, "motion_gate": motion_gate, "when_slow": "wait",
            "tls_verify": tls_verify, "tls_ca_file": tls_ca_file,
        }))
    }
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
