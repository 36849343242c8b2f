//! A log that writes down in which order results were acknowledged and frames finished, and that fails when told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bus::{
    Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Finisher, Incoming, Position, Producer, Range, Reader,
    Start,
};
use contracts::{Message, TopicRole};
use futures::FutureExt;

use crate::rig::unavailable;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    Delivered(Position),
    /// A message with this `ce_subject`, or `ce_id` where it has none, is on the log.
    Acknowledged(TopicRole, String),
    Finished(Position),
}

/// How sending goes wrong.
#[derive(Default)]
pub struct Trouble {
    /// Every so many sends find the queue full.
    pub full_every: usize,
    /// Every so many sends are taken and then fail.
    pub lost_every: usize,
    /// Acknowledgements come this much later.
    pub slow: Duration,
    /// So many times the group cannot be joined.
    pub unjoinable: usize,
}

#[derive(Clone)]
pub struct RecordingBus {
    inner: Arc<dyn Bus>,
    happened: Arc<Mutex<Vec<Happened>>>,
    trouble: Arc<Trouble>,
    sends: Arc<AtomicUsize>,
    joins: Arc<AtomicUsize>,
}

impl RecordingBus {
    pub fn new(inner: Arc<dyn Bus>, trouble: Trouble) -> Self {
        Self {
            inner,
            happened: Arc::default(),
            trouble: Arc::new(trouble),
            sends: Arc::default(),
            joins: Arc::default(),
        }
    }

    /// Everything that happened until now, in order.
    pub fn so_far(&self) -> Vec<Happened> {
        self.happened.lock().unwrap().clone()
    }

    fn note(&self, happened: Happened) {
        self.happened.lock().unwrap().push(happened);
    }

    fn goes_wrong(every: usize, number: usize) -> bool {
        every > 0 && number % every == every - 1
    }
}

impl Producer for RecordingBus {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let number = self.sends.fetch_add(1, Ordering::Relaxed);
        if Self::goes_wrong(self.trouble.full_every, number) {
            return Err(BusError::QueueFull);
        }
        if Self::goes_wrong(self.trouble.lost_every, number) {
            return Ok(async { Err(unavailable()) }.boxed());
        }
        let headers = &message.headers;
        let subject = headers.text("ce_subject").or(headers.text("ce_id")).unwrap_or_default().to_owned();
        let sent = self.inner.producer().send(role, message)?;
        let log = self.clone();
        let acknowledged = async move {
            let position = sent.await?;
            tokio::time::sleep(log.trouble.slow).await;
            log.note(Happened::Acknowledged(role, subject));
            Ok(position)
        };
        Ok(acknowledged.boxed())
    }
}

struct RecordingConsumer {
    inner: Box<dyn Consumer>,
    log: RecordingBus,
}

#[async_trait]
impl Consumer for RecordingConsumer {
    async fn next(&mut self) -> Result<Incoming, BusError> {
        let incoming = self.inner.next().await?;
        if let Incoming::Delivery(delivery) = &incoming {
            self.log.note(Happened::Delivered(delivery.position));
        }
        Ok(incoming)
    }

    fn finisher(&self) -> Arc<dyn Finisher> {
        Arc::new(RecordingFinisher { inner: self.inner.finisher(), log: self.log.clone() })
    }

    async fn close(self: Box<Self>) -> Result<(), BusError> {
        self.inner.close().await
    }
}

struct RecordingFinisher {
    inner: Arc<dyn Finisher>,
    log: RecordingBus,
}

impl Finisher for RecordingFinisher {
    fn finished(&self, position: Position) {
        self.log.note(Happened::Finished(position));
        self.inner.finished(position);
    }
}

#[async_trait]
impl Bus for RecordingBus {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn topic(&self, role: TopicRole) -> &str {
        self.inner.topic(role)
    }

    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(self.clone())
    }

    async fn consumer(
        &self,
        role: TopicRole,
        group: &str,
        options: ConsumerOptions,
    ) -> Result<Box<dyn Consumer>, BusError> {
        if self.joins.fetch_add(1, Ordering::Relaxed) < self.trouble.unjoinable {
            return Err(BusError::DiskFull("no room".to_owned()));
        }
        let inner = self.inner.consumer(role, group, options).await?;
        Ok(Box::new(RecordingConsumer { inner, log: self.clone() }))
    }

    async fn reader(&self, role: TopicRole, start: Start) -> Result<Box<dyn Reader>, BusError> {
        self.inner.reader(role, start).await
    }

    async fn ranges(&self, role: TopicRole) -> Result<Vec<Range>, BusError> {
        self.inner.ranges(role).await
    }

    async fn incarnation(&self, role: TopicRole) -> Result<String, BusError> {
        self.inner.incarnation(role).await
    }

    async fn progress(&self, role: TopicRole, group: &str) -> Result<bus::Progress, BusError> {
        self.inner.progress(role, group).await
    }

    async fn oldest_unconsumed(&self, role: TopicRole, group: &str) -> Result<Option<SystemTime>, BusError> {
        self.inner.oldest_unconsumed(role, group).await
    }

    async fn check(&self) -> Result<(), BusError> {
        self.inner.check().await
    }

    async fn close(&self) -> Result<(), BusError> {
        self.inner.close().await
    }
}
