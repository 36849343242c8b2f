//! The end of a process: a signal asks, the work in hand is finished, a deadline holds.

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A token that is cancelled on SIGINT or SIGTERM. A second signal ends the process at once.
///
/// # Errors
/// When the signals cannot be watched.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        for asked_before in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked_before {
                tracing::warn!("second signal: ending at once");
                std::process::exit(130);
            }
            tracing::info!("stopping: finishing the work in hand");
            asked.cancel();
        }
    });
    Ok(stop)
}

/// The end of a `main`: success, or one line on standard error that says what is wrong, and failure.
pub fn exit(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for `work`; after `stop` is cancelled, at most `grace` longer.
///
/// # Errors
/// The work's own, or that it did not end in time.
pub async fn within(
    grace: Duration,
    stop: CancellationToken,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        result = work => result,
        () = deadline => anyhow::bail!("the work in hand did not end within {grace:?} of the stop; it will be done again"),
    }
}
