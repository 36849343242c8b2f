//! A log of which a test changes some calls: every other call goes to the log behind it.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bus::{Bus, BusError, Consumer, ConsumerOptions, Producer, Progress, Range, Reader, Start};
use contracts::TopicRole;

/// The calls that a test may change. Those that it leaves out are passed on.
#[async_trait]
pub trait BusChange: Send + Sync {
    /// The log behind it.
    fn inner(&self) -> &dyn Bus;

    /// As [`Bus::producer`].
    fn producer(&self) -> Arc<dyn Producer> {
        self.inner().producer()
    }

    /// As [`Bus::consumer`].
    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        self.inner().consumer(role, group, options).await
    }
}

/// The log with its changes.
pub struct ChangedBus<C>(pub C);

#[async_trait]
impl<C: BusChange> Bus for ChangedBus<C> {
    fn describe(&self) -> String {
        self.0.inner().describe()
    }

    fn topic(&self, role: TopicRole) -> &str {
        self.0.inner().topic(role)
    }

    fn producer(&self) -> Arc<dyn Producer> {
        self.0.producer()
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        self.0.consumer(role, group, options).await
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.0.inner().reader(role, start).await
    }

    async fn reader_of(&self, role: TopicRole, ranges: &[Range]) -> Result<Box<dyn Reader>, BusError> {
        self.0.inner().reader_of(role, ranges).await
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        self.0.inner().ranges(role).await
    }

    async fn topic_id(&self, role: TopicRole) -> Result<String, BusError> {
        self.0.inner().topic_id(role).await
    }

    async fn unconsumed(&self, role: TopicRole, group: &str) -> Result<Vec<Range>, BusError> {
        self.0.inner().unconsumed(role, group).await
    }

    async fn progress(&self, role: TopicRole, group: &str) -> Result<Progress, BusError> {
        self.0.inner().progress(role, group).await
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        self.0.inner().oldest_unconsumed(role, group).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.0.inner().check().await
    }

    async fn close(&self) -> Result<(), BusError> {
        self.0.inner().close().await
    }
}
