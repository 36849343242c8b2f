//! What `up` prints: the implementation of each dependency and, when everything is ready, three commands to try.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use platform::Health;
use platform::http::Listener;
use tokio_util::sync::CancellationToken;

use super::client_commands::ClientCommands;
use super::{Dependencies, Listeners, Up};
use crate::out;

/// The text printed at the start and when everything is ready.
pub struct StartupMessage {
    /// Address for clients on this machine.
    url: String,
    /// Whether other machines reach the port too, under all addresses of this one.
    all_addresses: bool,
    admin: Option<SocketAddr>,
    /// Address for gRPC, unless it is off.
    grpc: Option<String>,
    runs_on: Vec<(&'static str, String)>,
    commands: ClientCommands,
}

impl Up {
    pub(super) fn startup_message(
        &self,
        listeners: &Listeners,
        admin: Option<SocketAddr>,
        dependencies: &Dependencies,
        face_models: Option<String>,
    ) -> anyhow::Result<StartupMessage> {
        let mut runs_on = vec![
            ("log", dependencies.bus.describe()),
            ("documents", dependencies.documents.describe()),
            ("images", dependencies.blobs.describe()),
            ("media", dependencies.media.describe()),
            (
                "accounts",
                format!(
                    "{}; limits and sessions {}",
                    dependencies.accounts_service.describe_database(),
                    dependencies.limits
                ),
            ),
            ("detectors", self.detectors()?),
        ];
        runs_on.extend(face_models.map(|models| ("faces", models)));
        runs_on.extend(self.topics.audio.then(|| ("audio", self.audio_providers())));
        let public = &listeners.public;
        let (port, grpc) = (public.for_clients()?, listeners.grpc.as_ref().map(Listener::for_clients).transpose()?);
        Ok(StartupMessage {
            url: port.url.clone(),
            all_addresses: public.local_addr()?.ip().is_unspecified(),
            admin,
            grpc: grpc.map(|port| port.url),
            runs_on,
            commands: self.client_commands(port, dependencies.token_file.as_deref())?,
        })
    }
}

impl Up {
    /// Where speech becomes text.
    fn audio_providers(&self) -> String {
        match &self.audio.providers.providers_file {
            Some(file) => format!("by the providers of {}", file.display()),
            None => format!("{} in this process", self.audio.speech.speech_model),
        }
    }

    /// Each detector with its model and execution provider. Fails if a model is missing, before the services start.
    fn detectors(&self) -> anyhow::Result<String> {
        let models = &self.worker.models;
        let (registry, folder) = (models.registry()?, models.dir());
        let provider = models.onnx.execution_provider.to_possible_value();
        let provider = provider.as_ref().map_or("?", PossibleValue::get_name);
        let mut parts = Vec::new();
        for detector in &self.frames.detectors {
            let model = registry.chosen(detector, &folder)?;
            let place = model.weights().map_or("elsewhere", |weights| &weights.file);
            let without = registry.missing_crop_models(detector, &folder);
            let without: String = without.iter().map(|model| format!(", without {}", model.described())).collect();
            parts.push(format!("{detector}: {} ({place}) on {provider}{without}", model.name));
        }
        Ok(parts.join(", "))
    }
}

impl StartupMessage {
    /// Prints the dependencies; then waits until every health check passes and prints the commands to try.
    pub async fn when_ready(self, health: Health, stop: CancellationToken) -> anyhow::Result<()> {
        for (concern, backend) in &self.runs_on {
            show(format_args!("{concern:>10}  {backend}"));
        }
        let ready = async {
            while !health.is_ready().await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = ready => self.print(),
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    fn print(&self) {
        let url = &self.url;
        let everywhere = if self.all_addresses { ", and on the other addresses of this machine" } else { "" };
        show(format_args!("{:>10}  {url}{everywhere}  (documentation: {url}/docs)", "API"));
        if let Some(grpc) = &self.grpc {
            show(format_args!("{:>10}  {grpc}  (the shop)", "gRPC"));
        }
        if let Some(admin) = self.admin {
            show(format_args!("{:>10}  http://{admin}  (health, metrics)", "operator"));
        }
        show("\nready; try, in another terminal:");
        for line in self.commands.lines() {
            show(format_args!("  {line}"));
        }
    }
}

/// Prints a line. The services run on when nobody reads standard output any more, as after `sightline up | head`.
fn show(line: impl Display) {
    drop(out::line(line));
}
