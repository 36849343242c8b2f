//! Decides whether to retry after an error, and waits before the next attempt.

use std::borrow::Cow;
use std::time::Duration;

use bus::BusError;
use metrics::Counter;
use platform::retry::Backoff;
use tokio_util::sync::CancellationToken;

/// Why work was interrupted. Its offset was not committed, so its message is delivered again.
#[derive(Debug)]
pub enum Interrupted {
    /// The service stopped while the log or a store was unreachable.
    Stop,
    /// The log or a store refused for good.
    Failure(anyhow::Error),
}

impl Interrupted {
    /// A failure with this context.
    pub fn failure(error: impl Into<anyhow::Error>, context: impl Into<Cow<'static, str>>) -> Self {
        Self::Failure(error.into().context(context.into()))
    }

    /// The result of a service that was interrupted: success after a stop, the error after a failure.
    ///
    /// # Errors
    /// The failure.
    pub fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Stop => Ok(()),
            Self::Failure(error) => Err(error),
        }
    }

    /// The interruption as an error, for callers that treat a stop as an error.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Stop => anyhow::anyhow!("the service stopped before the log responded"),
            Self::Failure(error) => error,
        }
    }
}

/// The retries of one operation.
#[derive(Debug, Clone)]
pub struct Retry {
    operation: Cow<'static, str>,
    backoff: Backoff,
    retries: Counter,
    stop: CancellationToken,
}

impl Retry {
    /// Retries until `stop`. `operation` says what fails, as in "results cannot be read".
    pub fn new(operation: impl Into<Cow<'static, str>>, backoff: Backoff, stop: &CancellationToken) -> Self {
        Self { operation: operation.into(), backoff, retries: Counter::noop(), stop: stop.clone() }
    }

    /// Counts every retry.
    #[must_use]
    pub fn counted(mut self, retries: Counter) -> Self {
        self.retries = retries;
        self
    }

    /// Resets the pauses after a success.
    pub const fn reset(&mut self) {
        self.backoff.reset();
    }

    /// Logs a transient error and waits before the next attempt.
    ///
    /// # Errors
    /// [`Interrupted::Failure`] if the error is not transient, [`Interrupted::Stop`] if the service stops first.
    pub async fn wait_or_fail(&mut self, error: BusError) -> Result<(), Interrupted> {
        let pause = self.pause_or_fail(error)?;
        self.sleep(pause).await
    }

    /// Waits before the next attempt of an operation that does not use the bus. The caller logs its error.
    ///
    /// # Errors
    /// [`Interrupted::Stop`] if the service stops first.
    pub async fn wait(&mut self) -> Result<(), Interrupted> {
        self.retries.increment(1);
        let pause = self.backoff.pause();
        self.sleep(pause).await
    }

    /// The pause after a transient error, for callers that wait themselves.
    ///
    /// # Errors
    /// As [`wait_or_fail`](Self::wait_or_fail).
    pub(crate) fn pause_or_fail(&mut self, error: BusError) -> Result<Duration, Interrupted> {
        match error {
            // A full queue is backpressure and not an error.
            BusError::QueueFull => {}
            BusError::Closed if self.stop.is_cancelled() => return Err(Interrupted::Stop),
            error if error.is_transient() => tracing::warn!(%error, "{}; trying again", self.operation),
            error => return Err(Interrupted::failure(error, self.operation.clone())),
        }
        self.retries.increment(1);
        Ok(self.backoff.pause())
    }

    async fn sleep(&self, pause: Duration) -> Result<(), Interrupted> {
        match self.stop.run_until_cancelled(tokio::time::sleep(pause)).await {
            Some(()) => Ok(()),
            None => Err(Interrupted::Stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(stop: &CancellationToken) -> Retry {
        Retry::new("results cannot be read", crate::backoff::READ, stop)
    }

    #[test]
    fn pauses_grow_with_each_transient_error_until_a_reset() {
        let mut retry = retry(&CancellationToken::new());
        let unavailable = || BusError::Unavailable("unavailable".to_owned());
        let pauses: Vec<Duration> = (0..8).map(|_| retry.pause_or_fail(unavailable()).unwrap()).collect();
        assert!(pauses[0] <= Duration::from_millis(100) && pauses[7] >= Duration::from_millis(2_500), "{pauses:?}");
        retry.reset();
        assert!(retry.pause_or_fail(unavailable()).unwrap() <= Duration::from_millis(100));
    }

    #[tokio::test]
    async fn a_fatal_error_fails_at_once_with_the_operation_in_its_message() {
        let mut retry = retry(&CancellationToken::new());
        let Err(Interrupted::Failure(error)) = retry.wait_or_fail(BusError::Fatal("no such topic".to_owned())).await
        else {
            panic!("a fatal error must fail")
        };
        assert_eq!(format!("{error:#}"), "results cannot be read: no such topic");
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_and_hides_a_closed_bus() {
        let stop = CancellationToken::new();
        let mut retry = retry(&stop);
        assert!(matches!(retry.wait_or_fail(BusError::Closed).await, Err(Interrupted::Failure(_))));
        stop.cancel();
        assert!(matches!(retry.wait_or_fail(BusError::DiskFull(String::new())).await, Err(Interrupted::Stop)));
        assert!(matches!(retry.wait_or_fail(BusError::Closed).await, Err(Interrupted::Stop)));
    }
}
