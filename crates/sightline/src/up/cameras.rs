//! `up --cameras`: the camera program beside the services, as a process of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use platform::Health;
use platform::http::{ForClients, Listener};
use platform::retry::Backoff;
use settings::Secret;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::{Dependencies, Up};
use crate::camera_program;

/// Pauses before the program is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Exit status of a program whose settings are not valid.
const INVALID: i32 = 2;

/// The camera program with its settings.
pub struct CameraProgram {
    program: PathBuf,
    cameras: PathBuf,
    port: ForClients,
    token: Secret,
    identity: Option<(PathBuf, PathBuf)>,
}

impl Up {
    /// The camera program, if there is a list of cameras.
    ///
    /// # Errors
    /// When the program is missing.
    pub(super) fn camera_program(
        &self,
        public: &Listener,
        dependencies: &Dependencies,
    ) -> anyhow::Result<Option<CameraProgram>> {
        let Some(cameras) = self.cameras.clone() else { return Ok(None) };
        let beside =
            |name: &str| self.http.tls_cert.as_ref().map(|cert| cert.with_file_name(name)).filter(|file| file.exists());
        let identity = beside("client.pem").zip(beside("client.key")).filter(|_| self.http.tls_client_ca.is_some());
        let (program, port) = (camera_program::find().context("SIGHTLINE_CAMERAS")?, public.for_clients()?);
        let token = dependencies.camera_token.clone();
        Ok(Some(CameraProgram { program, cameras, port, token, identity }))
    }
}

impl CameraProgram {
    /// Runs it when the services are ready, and again when it ends, until `stop`.
    ///
    /// # Errors
    /// When its settings are not valid, or its libraries are missing.
    pub async fn run(self, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
        let ready = async {
            while !health.is_ready().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        if stop.run_until_cancelled(ready).await.is_none() {
            return Ok(());
        }
        loop {
            let status = self.run_once(&stop).await?;
            if stop.is_cancelled() || status.success() {
                return Ok(());
            }
            camera_program::check_libraries(status)?;
            if status.code() == Some(INVALID) {
                bail!("the list of cameras is not valid; the lines above say why");
            }
            let pause = backoff.pause();
            tracing::warn!("the camera program ended: {status}; starting it again in {} s", pause.as_secs_f32().ceil());
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return Ok(());
            }
        }
    }

    async fn run_once(&self, stop: &CancellationToken) -> anyhow::Result<ExitStatus> {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(platform::child_environment());
        command.arg("--config").arg(&self.cameras).args(["--server", &self.port.url, "--admin-addr", "off"]);
        command.args(["--probe-addr", "off", "--until-stdin-ends"]);
        // Ctrl-C in a terminal goes to its process group; `up` passes the stop on itself.
        command.stdin(Stdio::piped()).process_group(0);
        // The environment of a process is visible to its user only, its arguments to everybody.
        command.env("SIGHTLINE_TOKEN", self.token.expose()).kill_on_drop(true);
        if let Some(authority) = &self.port.authority {
            command.arg("--cacert").arg(authority);
        }
        if let Some((cert, key)) = &self.identity {
            command.arg("--cert").arg(cert).arg("--key").arg(key);
        }
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", self.program.display()))?;
        // Its end tells the program that this one has ended. `wait` would close it.
        let _input = child.stdin.take();
        if let Some(status) = stop.run_until_cancelled(child.wait()).await {
            return Ok(status?);
        }
        if let Some(process) = child.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?)) {
            // It has ended already if this fails.
            let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
        }
        Ok(child.wait().await?)
    }
}
