//! A bus that records the order of acknowledgements and finished frames, and fails as configured.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bus::{Acknowledged, Bus, BusError, Consumer, ConsumerOptions, Finisher, Incoming, Position, Producer};
use contracts::{Message, TopicRole};
use futures::FutureExt;
use testing::{BusChange, ChangedBus};

use crate::harness::unavailable;

/// An event on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    Delivered(Position),
    /// The message with this `ce_subject`, or `ce_id` if it has none, is acknowledged.
    Acknowledged(TopicRole, String),
    Finished(Position),
}

/// The faults of the bus. Zero means none.
#[derive(Default)]
pub struct Faults {
    /// One in this many sends finds the queue full.
    pub full_every: usize,
    /// One in this many sends is accepted and never acknowledged.
    pub lost_every: usize,
    /// Delay of acknowledgements.
    pub slow: Duration,
    /// Number of failed attempts to join the consumer group.
    pub failed_joins: usize,
}

#[derive(Clone)]
pub struct RecordingBus {
    inner: Arc<dyn Bus>,
    events: Arc<Mutex<Vec<BusEvent>>>,
    faults: Arc<Faults>,
    sends: Arc<AtomicUsize>,
    joins: Arc<AtomicUsize>,
}

impl RecordingBus {
    pub fn new(inner: Arc<dyn Bus>, faults: Faults) -> Self {
        Self { inner, events: Arc::default(), faults: Arc::new(faults), sends: Arc::default(), joins: Arc::default() }
    }

    /// The log that a worker gets.
    pub fn bus(&self) -> Arc<dyn Bus> {
        Arc::new(ChangedBus(self.clone()))
    }

    /// All events up to now, in their order.
    pub fn recorded(&self) -> Vec<BusEvent> {
        self.events.lock().unwrap().clone()
    }

    fn record(&self, event: BusEvent) {
        self.events.lock().unwrap().push(event);
    }

    fn fails(every: usize, number: usize) -> bool {
        every > 0 && number % every == every - 1
    }
}

impl Producer for RecordingBus {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        let number = self.sends.fetch_add(1, Ordering::Relaxed);
        if Self::fails(self.faults.full_every, number) {
            return Err(BusError::QueueFull);
        }
        if Self::fails(self.faults.lost_every, number) {
            return Ok(async { Err(unavailable()) }.boxed());
        }
        let headers = &message.headers;
        let subject = headers.text("ce_subject").or(headers.text("ce_id")).unwrap_or_default().to_owned();
        let sent = self.inner.producer().send(role, message)?;
        let log = self.clone();
        let acknowledged = async move {
            let position = sent.await?;
            tokio::time::sleep(log.faults.slow).await;
            log.record(BusEvent::Acknowledged(role, subject));
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
            self.log.record(BusEvent::Delivered(delivery.position));
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
        self.log.record(BusEvent::Finished(position));
        self.inner.finished(position);
    }
}

#[async_trait]
impl BusChange for RecordingBus {
    fn inner(&self) -> &dyn Bus {
        &*self.inner
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
        if self.joins.fetch_add(1, Ordering::Relaxed) < self.faults.failed_joins {
            return Err(BusError::DiskFull("no room".to_owned()));
        }
        let inner = self.inner.consumer(role, group, options).await?;
        Ok(Box::new(RecordingConsumer { inner, log: self.clone() }))
    }
}
