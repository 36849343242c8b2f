//! Ends `up` when its data folder is lost. It would otherwise write into deleted files, and all of it would be gone at its end.

use std::time::Duration;

use store::FilesInUse;
use tokio_util::sync::CancellationToken;

/// Time between two checks. Changes that clients request are checked one by one, by ingest-api.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between the first failed check and the end, so that clients and orchestrators can read the reason.
const LINGER: Duration = Duration::from_secs(2);

/// Checks the files until `stop`.
///
/// # Errors
/// When a file is no longer at its path.
pub async fn watch(files: FilesInUse, stop: CancellationToken) -> anyhow::Result<()> {
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        if let Err(lost) = check(&files) {
            tracing::error!("{lost:#}; stopping in {} s", LINGER.as_secs());
            stop.run_until_cancelled(tokio::time::sleep(LINGER)).await;
            return Err(lost);
        }
    }
    Ok(())
}

/// # Errors
/// When a file is no longer at its path. The message says what to do.
pub fn check(files: &FilesInUse) -> anyhow::Result<()> {
    files.check().map_err(|lost| {
        anyhow::anyhow!(
            "{lost}; what was stored since then is lost: put the data folder back (SIGHTLINE_DATA_DIR; mount its file system, or \
             restore a backup) and start again, or start again with an empty one"
        )
    })
}
