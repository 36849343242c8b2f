//! `up --cameras`: the camera program beside the services, as a process of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use platform::http::{ForClients, Listener};
use platform::retry::Backoff;
use platform::{Health, one_line};
use settings::Secret;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Dependencies, Up};
use crate::camera_program;

/// Pauses before the program is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Time that the cameras have after a stop, before the services stop as well.
const LAST_STATES: Duration = Duration::from_secs(5);
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

/// Starts the cameras, if there are any; returns the token that stops the services.
pub fn start(
    cameras: Option<CameraProgram>,
    parts: &mut JoinSet<anyhow::Result<()>>,
    health: &Health,
    stop: &CancellationToken,
    grace: Duration,
) -> CancellationToken {
    let Some(cameras) = cameras else { return stop.clone() };
    let services = CancellationToken::new();
    parts.spawn(cameras.run_before(services.clone(), health.clone(), stop.clone(), grace));
    services
}

impl Up {
    /// Has the camera program read the list of cameras, if there is one: otherwise a mistake in it would end everything after the start.
    ///
    /// # Errors
    /// When the program is missing, or the list is not valid.
    pub(super) async fn check_cameras(&self) -> anyhow::Result<()> {
        let Some(cameras) = &self.cameras else { return Ok(()) };
        let program = camera_program::find().context("SIGHTLINE_CAMERAS")?;
        let mut command = Command::new(&program);
        command.env_clear().envs(platform::child_environment()).arg("--config").arg(cameras);
        command.args(["check", "--list-only"]);
        let output = command.stdin(Stdio::null()).output().await;
        let output = output.with_context(|| format!("{} cannot be started", program.display()))?;
        camera_program::check_libraries(output.status)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let mistakes = said.trim().lines().map(|line| one_line(&line.strip_prefix("error: ").unwrap_or(line)));
        ensure!(output.status.success(), "SIGHTLINE_CAMERAS: {}", mistakes.collect::<Vec<_>>().join("; "));
        Ok(())
    }

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
    /// Runs it until `stop`, and then stops the services: the cameras report their last states to them. That takes at most half of
    /// `grace`, so that the services have the rest.
    async fn run_before(
        self,
        services: CancellationToken,
        health: Health,
        stop: CancellationToken,
        grace: Duration,
    ) -> anyhow::Result<()> {
        // Also after a panic.
        let services = services.drop_guard();
        let running = self.run(health, stop.clone());
        tokio::pin!(running);
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST_STATES.min(grace / 2)).await;
        };
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = late => {
                drop(services);
                return running.await;
            }
        };
        if ended.is_ok() {
            stop.cancelled().await;
        }
        ended
    }

    /// Runs it when the services are ready, and again when it ends, until `stop`. Fails when its settings are not valid, or its libraries
    /// are missing.
    async fn run(self, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
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
