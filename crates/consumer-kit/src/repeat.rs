//! Work that a service repeats for as long as it runs.

use std::fmt::Display;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Does `work` every `period`, until `stop`, which does not interrupt it. Of failures in a row only the first is logged, with their
/// `consequence`.
pub async fn repeat<E: Display, F: Future<Output = Result<(), E>>>(
    period: Duration,
    stop: &CancellationToken,
    consequence: &str,
    mut work: impl FnMut() -> F,
) {
    let mut failing = false;
    while stop.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
        let outcome = work().await;
        if let (Err(error), false) = (&outcome, failing) {
            tracing::warn!(%error, "{consequence}");
        }
        failing = outcome.is_err();
    }
}
