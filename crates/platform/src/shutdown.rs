//! Graceful shutdown: it starts with a signal, lets work in progress finish, and ends at a deadline.

use std::process::ExitCode;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error_line;

/// Returns a token that SIGINT or SIGTERM cancels. A second signal ends the process at once with status 130.
///
/// # Errors
/// When a signal handler cannot be installed.
pub fn on_signal() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if second {
                tracing::warn!("second signal: ending at once");
                std::process::exit(130);
            }
            token.cancel();
            tracing::info!("stopping; work in progress finishes first");
        }
    });
    Ok(stop)
}

/// Returns a token that is cancelled `delay` after `announced`: what a service stops by, while its port turns clients away from
/// `announced` on.
pub fn after(delay: Duration, announced: &CancellationToken) -> CancellationToken {
    if delay.is_zero() {
        return announced.clone();
    }
    let (announced, stop) = (announced.clone(), CancellationToken::new());
    let token = stop.clone();
    tokio::spawn(async move {
        announced.cancelled().await;
        tokio::time::sleep(delay).await;
        token.cancel();
    });
    stop
}

/// Work that a signal ended, and what became of it.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; {0}")]
pub struct Interrupted(pub String);

/// The exit status of a `main`: 130 for [`Interrupted`], as shells have it. An error is printed to standard error as one line.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error_line(format_args!("error: {error:#}"));
            if error.is::<Interrupted>() { ExitCode::from(130) } else { ExitCode::FAILURE }
        }
    }
}

/// Waits for `work`, but at most `grace` after `stop`.
///
/// # Errors
/// That of `work`, or that it did not finish in time.
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
        () = deadline => anyhow::bail!("work in progress did not finish within {grace:?} after the stop; it will be repeated"),
    }
}
