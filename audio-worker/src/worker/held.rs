//! Keeps what a worker has taken, while it works on it.

use std::pin::pin;

use media::RENEWAL;
use store::relational::{PipelineRecord, WindowRecord};
use tokio::time::sleep;

use super::steps::Steps;

/// How work on something that is held ends.
pub(super) enum Held<R, T> {
    /// With a result; the record is as it was renewed last.
    Done(R, T),
    /// Somebody else has it now.
    Lost,
    /// The service stops.
    GivenUp(R),
}

impl Steps {
    /// Does work on a step, and renews the step meanwhile. The work is dropped when the step is lost.
    pub(super) async fn hold_step<T>(
        &self,
        mut record: PipelineRecord,
        work: impl Future<Output = T>,
    ) -> Held<PipelineRecord, T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Held::Done(record, done),
                () = self.given_up() => return Held::GivenUp(record),
                () = sleep(RENEWAL) => {}
            }
            match self.pipelines.renew_step(&record).await {
                Ok(Some(renewed)) => record = renewed,
                Ok(None) => return Held::Lost,
                Err(error) => tracing::warn!(%error, book.id = %record.book, "a step is not renewed; trying again"),
            }
        }
    }

    /// The same of a window.
    pub(super) async fn hold_window<T>(&self, window: &WindowRecord, work: impl Future<Output = T>) -> Held<(), T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Held::Done((), done),
                () = self.given_up() => return Held::GivenUp(()),
                () = sleep(RENEWAL) => {}
            }
            match self.pipelines.renew_window(window).await {
                Ok(true) => {}
                Ok(false) => return Held::Lost,
                Err(error) => tracing::warn!(%error, book.id = %window.book, "a window is not renewed; trying again"),
            }
        }
    }
}
