//! The server as a program: `audio-worker serve`, and `sightline books serve`.

use clap::Args;
use models::FolderArgs;
use onnx::OnnxArgs;
use platform::config::{HttpArgs, OperatorArgs};
use platform::{Health, Process};
use settings::{Check, SettingErrors};

use super::{ServeArgs, Service, run};
use crate::speech::args::SpeechArgs;
use crate::speech::engine::Engine;
use crate::speech::file::Tools;

/// Everything that the server needs.
#[derive(Debug, Clone, Args)]
pub struct ServeProgram {
    #[command(flatten)]
    server: ServeArgs,
    #[command(flatten)]
    speech: SpeechArgs,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    runtime: OnnxArgs,
    #[command(flatten)]
    http: HttpArgs,
    #[command(flatten)]
    operator: OperatorArgs,
}

impl Check for ServeProgram {
    fn check(&self, errors: &mut SettingErrors) {
        self.http.check(errors);
        self.operator.check(errors);
    }
}

impl ServeProgram {
    /// Serves until a signal.
    ///
    /// # Errors
    /// When the processor or a model is missing, or a port cannot be opened or fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { server, speech, folder, runtime, http, operator } = self;
        let process = Process::start(operator)?;
        let tools = Tools { folder: folder.clone(), runtime: runtime.clone() };
        let engine = tokio::task::spawn_blocking(move || Engine::new(&speech, &folder, &runtime)).await??;
        let health = health(&engine);
        let (service, traces) = (Service::new(&server, engine, tools), process.traces("speech"));
        let shown = health.clone();
        let serving = process
            .serve(&http, health, async |listener, stop| run(&service, &shown, listener.traced(traces), stop).await);
        serving.await
    }
}

/// The server is ready as soon as it answers; a note names the models.
pub fn health(engine: &Engine) -> Health {
    let models = engine.models().iter().map(|model| &*model.name).collect::<Vec<_>>().join(", ");
    Health::default().with_note("speech models", move || std::future::ready(models.clone()))
}
