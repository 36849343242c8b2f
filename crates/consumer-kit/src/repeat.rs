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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn it_waits_first_and_goes_on_after_failures() {
        let (stop, calls, begun) = (CancellationToken::new(), Mutex::new(Vec::new()), std::time::Instant::now());
        let work = || {
            let mut calls = calls.lock().unwrap();
            calls.push(begun.elapsed());
            let failed = calls.len() == 1;
            if calls.len() == 3 {
                stop.cancel();
            }
            async move { if failed { Err("away") } else { Ok(()) } }
        };
        repeat(PERIOD, &stop, "nothing is lost", work).await;
        let calls = calls.into_inner().unwrap();
        assert!(calls.len() == 3 && calls[0] >= PERIOD && calls[2] >= PERIOD * 3, "{calls:?}");
    }

    #[tokio::test]
    async fn a_stop_does_not_interrupt_the_work() {
        let (stop, finished) = (CancellationToken::new(), Mutex::new(0));
        let work = || async {
            stop.cancel();
            tokio::time::sleep(PERIOD).await;
            *finished.lock().unwrap() += 1;
            Ok::<(), &str>(())
        };
        repeat(PERIOD, &stop, "nothing is lost", work).await;
        assert_eq!(*finished.lock().unwrap(), 1);
    }
}
