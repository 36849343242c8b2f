//! Fetches the models of detectors: at set-up and on `sightline models pull`, never while a service runs.

use std::path::Path;

use contracts::DetectorName;
use models::{Pulled, pull};

use super::{Model, OpenError, Registry};

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The models whose files are now in the folder.
    pub models: Vec<Pulled>,
    /// The crop models that no source delivers, each with its detector and the remedy. The detectors work without them.
    pub without: Vec<String>,
}

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// There is no such model, no source delivers it, its licence needs a setting, or the folder cannot be written.
    #[error(transparent)]
    Model(#[from] models::PullError),
    /// No such detector.
    #[error(transparent)]
    UnknownDetector(OpenError),
}

impl Registry {
    /// Fetches the models named in `names`. When there are none, fetches for each of `detectors` the first of its models that
    /// a source delivers, and its crop models.
    ///
    /// A model whose file is in the folder with the right hash is not fetched; a detector with one such model needs no other.
    ///
    /// # Errors
    /// A name is unknown, a licence needs a setting, the folder is not writable, or no source delivers the right file. A crop model
    /// of a detector that no source delivers is no error.
    pub async fn pull(
        &self,
        models_dir: &Path,
        detectors: &[DetectorName],
        names: &[String],
        allow_noncommercial: bool,
    ) -> Result<Pull, PullError> {
        pull::create_folder(models_dir)?;
        let mut pull = Pull { models: Vec::new(), without: Vec::new() };
        for detector in detectors.iter().filter(|_| names.is_empty()) {
            let models = self.models_of(detector).map_err(PullError::UnknownDetector)?;
            let requested = format!("the detector `{detector}`");
            pull.models.extend(pull::first(models_dir, &requested, &models, allow_noncommercial).await?);
            for model in self.crop_models_of(detector) {
                pull_crop_model(models_dir, detector, model, allow_noncommercial, &mut pull).await?;
            }
        }
        for name in names {
            let pulled = pull::named(models_dir, name, self.model(name), allow_noncommercial).await?;
            pull.models.extend(pulled);
        }
        Ok(pull)
    }
}

async fn pull_crop_model(
    models_dir: &Path,
    detector: &DetectorName,
    model: &Model,
    allow_noncommercial: bool,
    pull: &mut Pull,
) -> Result<(), PullError> {
    let failed = match pull::first(models_dir, &format!("`{}`", model.name), &[model], allow_noncommercial).await {
        Ok(pulled) => {
            pull.models.extend(pulled);
            return Ok(());
        }
        Err(models::PullError::AllFailed { failed, .. }) => failed,
        Err(models::PullError::NoSource { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let Some(weights) = model.weights() else { return Ok(()) };
    pull.without.push(format!(
        "the detector `{detector}` works without `{}` until {} (sha256 {}) is in {}{}",
        model.name,
        weights.file,
        weights.sha256,
        models_dir.display(),
        failed.iter().map(|failure| format!("; {failure}")).collect::<String>(),
    ));
    Ok(())
}
