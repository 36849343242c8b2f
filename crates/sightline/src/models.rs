//! `sightline models`: lists and downloads models. Nothing is downloaded while a service runs.

use clap::{ArgAction, Args, Subcommand};
use contracts::DetectorName;
use platform::error_line;
use vision::ModelArgs;

use crate::out;

/// What the audio pipeline needs without any other service. Models for further languages are fetched by their names.
const AUDIO_MODELS: [&str; 3] = ["whisper-tiny.en", "silero-vad", "minilm-l6-v2"];

/// Lists models, or downloads them
#[derive(Debug, Args)]
pub struct Models {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every model with its task, its licence and whether it is installed
    List {
        #[command(flatten)]
        place: ModelArgs,
    },
    /// Download models into the models folder, each checked against its hash
    Pull {
        /// Names of models [default: for each detector, the first of its models that can be downloaded]
        #[arg(value_name = "MODEL")]
        names: Vec<String>,
        /// Detectors whose models are fetched when no model is named
        #[arg(long, env = "SIGHTLINE_DETECTORS", default_value = "face", value_delimiter = ',', value_name = "NAMES")]
        detectors: Vec<DetectorName>,
        /// Whether the models of the audio pipeline are fetched too when no model is named, some 100 MB
        #[arg(long, env = "SIGHTLINE_AUDIO", default_value = "off", action = ArgAction::Set,
            value_parser = settings::on_off(), value_name = "ON_OFF")]
        audio: bool,
        #[command(flatten)]
        place: ModelArgs,
    },
}

impl Models {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::List { place } => list(&place),
            Action::Pull { names, detectors, audio, place } => {
                pull(&names, &detectors, &place).await?;
                if names.is_empty() && audio {
                    pull_for_audio(&place).await?;
                }
                Ok(())
            }
        }
    }
}

async fn pull_for_audio(place: &ModelArgs) -> anyhow::Result<()> {
    out::line("SIGHTLINE_AUDIO is on: the models for speech and texts are fetched too, some 100 MB the first time")?;
    pull(&AUDIO_MODELS.map(str::to_owned), &[], place).await
}

fn list(place: &ModelArgs) -> anyhow::Result<()> {
    let (registry, folder) = (place.registry()?, place.dir());
    out::line(format_args!("{:<24} {:<10} {:<12} {:<10} file", "model", "task", "licence", "state"))?;
    for model in &registry.models {
        let (state, file) = match model.weights() {
            None => ("elsewhere", String::new()),
            Some(weights) if weights.verified(&folder).is_ok() => ("installed", weights.file.clone()),
            Some(weights) if weights.is_in(&folder) => ("damaged", weights.file.clone()),
            Some(weights) => ("missing", weights.file.clone()),
        };
        out::line(format_args!("{:<24} {:<10} {:<12} {state:<10} {file}", model.name, model.task, model.licence))?;
    }
    out::line("")?;
    for detector in registry.detectors.keys() {
        let model = registry.chosen(detector, &folder).map_or("none of its models is installed", |model| &model.name);
        let without = registry.missing_crop_models(detector, &folder);
        let without: String = without.iter().map(|model| format!(", without {}", model.name)).collect();
        out::line(format_args!("detector {detector}: {model}{without}"))?;
    }
    out::line(format_args!("\nfolder: {}", folder.display()))
}

async fn pull(names: &[String], detectors: &[DetectorName], place: &ModelArgs) -> anyhow::Result<()> {
    let pull = place.registry()?.pull(&place.dir(), detectors, names, place.folder.allow_noncommercial).await?;
    for model in pull.models {
        for failure in &model.failed {
            error_line(format_args!("could not download {failure}; the next source is tried"));
        }
        let source = model.source.map_or_else(|| "already installed".to_owned(), |source| format!("from {source}"));
        out::line(format_args!("{}: {source}, at {}", model.model, model.path.display()))?;
    }
    for missing in pull.without {
        error_line(missing);
    }
    Ok(())
}
