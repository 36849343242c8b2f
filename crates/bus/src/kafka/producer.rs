//! Messages in, acknowledgements out. librdkafka sends many messages in one batch, keeps the order of each key through retries
//! (idempotence), and notifies a file descriptor when it has acknowledgements. A task on the event loop then resolves the
//! futures. A thread that waited for acknowledgements would wake the event loop for each of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use contracts::{Message, TopicRole, Topics};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::config::{DELIVERY_TIMEOUT, KafkaConfig};
use super::context::{bus_error, log};
use super::native::QueueNotifier;
use crate::metrics::TopicMetrics;
use crate::seam::{Acknowledged, BusError, Position, Producer};

/// The producer of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaProducer {
    native: Arc<BaseProducer<AckContext>>,
    topics: Topics,
    queues: Arc<[TopicQueue]>,
    closed: AtomicBool,
    stop: CancellationToken,
}

/// Unacknowledged messages of one topic, for the metrics.
struct TopicQueue {
    metrics: TopicMetrics,
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl TopicQueue {
    fn added(&self, bytes: usize) {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.metrics.queued(messages, bytes);
    }

    fn removed(&self, bytes: usize) {
        let messages = self.messages.fetch_sub(1, Ordering::Relaxed) - 1;
        let bytes = self.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        self.metrics.queued(messages, bytes);
    }
}

/// An unacknowledged message.
struct PendingAck {
    role: TopicRole,
    bytes: usize,
    answer: oneshot::Sender<Result<Position, BusError>>,
}

struct AckContext {
    topics: Topics,
    queues: Arc<[TopicQueue]>,
}

impl AckContext {
    fn refusal(&self, pending: &PendingAck, error: &KafkaError) -> BusError {
        let topic = self.topics.get(pending.role);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                BusError::TooLarge { topic: topic.name.clone(), size: pending.bytes, limit: topic.max_message_bytes }
            }
            Some(RDKafkaErrorCode::MessageTimedOut) => BusError::Unavailable(format!(
                "topic {}: not acknowledged within {} s; are the brokers up?",
                topic.name,
                DELIVERY_TIMEOUT.as_secs()
            )),
            _ => bus_error(&format!("send to topic {}", topic.name), error),
        }
    }
}

impl ClientContext for AckContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for AckContext {
    type DeliveryOpaque = Box<PendingAck>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<PendingAck>) {
        let queue = &self.queues[pending.role as usize];
        queue.removed(pending.bytes);
        let answer = match result {
            Ok(message) => {
                queue.metrics.produced(1, pending.bytes);
                Ok(Position { partition: message.partition(), offset: message.offset() })
            }
            Err((error, _)) => {
                let refusal = self.refusal(&pending, error);
                tracing::warn!(topic = pending.role.as_str(), error = %refusal, "a message was not acknowledged");
                Err(refusal)
            }
        };
        // The caller may have dropped its future; the message is sent in any case.
        drop(pending.answer.send(answer));
    }
}

/// Polls librdkafka for acknowledgements.
struct AckPoller {
    notifier: QueueNotifier,
    readable: pipe::Receiver,
    native: Arc<BaseProducer<AckContext>>,
}

impl AckPoller {
    fn of(native: Arc<BaseProducer<AckContext>>) -> io::Result<Self> {
        let (fd, readable) = pipe::pipe()?;
        Ok(Self { notifier: QueueNotifier::new(native.client(), fd.into_nonblocking_fd()?), readable, native })
    }

    /// Polls until `stop`.
    async fn run(self, stop: CancellationToken) {
        loop {
            // The notifier writes only when an empty queue gets an event, so the queue must be emptied before each wait.
            loop {
                self.native.poll(Duration::ZERO);
                if self.notifier.is_empty() {
                    break;
                }
            }
            match stop.run_until_cancelled(self.wait_readable()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    // A pipe within a process does not fail. If it did, this poll would still deliver acknowledgements, only later.
                    tracing::error!(%error, "the notifications of the Kafka producer cannot be read");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                None => break,
            }
        }
        // Dropping the last reference waits for librdkafka's threads, which an async task must not.
        drop(tokio::task::spawn_blocking(move || drop(self)));
    }

    async fn wait_readable(&self) -> io::Result<()> {
        loop {
            self.readable.readable().await?;
            match self.readable.try_read(&mut [0; 64]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl KafkaProducer {
    /// Creates the producer and the task that polls for acknowledgements. Call it inside the async runtime.
    pub fn start(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let queues: Arc<[TopicQueue]> = TopicRole::ALL
            .into_iter()
            .map(|role| TopicQueue {
                metrics: TopicMetrics::of(role),
                messages: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
            })
            .collect();
        let context = AckContext { topics: topics.clone(), queues: queues.clone() };
        let native: BaseProducer<AckContext, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config.producer(topics)?, context)
                .map_err(|error| bus_error("create a Kafka producer", &error))?;
        let (native, stop) = (Arc::new(native), CancellationToken::new());
        let poller = AckPoller::of(native.clone())
            .map_err(|error| BusError::Fatal(format!("create a pipe for the Kafka producer: {error}")))?;
        tokio::spawn(poller.run(stop.clone()));
        Ok(Self { native, topics: topics.clone(), queues, closed: AtomicBool::new(false), stop })
    }

    /// Accepts no more messages and sends those that are queued. Blocks up to [`DELIVERY_TIMEOUT`].
    pub fn close(&self) -> Result<(), BusError> {
        self.closed.store(true, Ordering::SeqCst);
        let flushed = self.native.flush(DELIVERY_TIMEOUT);
        self.stop.cancel();
        flushed.map_err(|error| bus_error("send what is queued for Kafka", &error))
    }

    fn refusal(&self, action: &str, error: &KafkaError) -> BusError {
        match (error.rdkafka_error_code(), self.native.client().fatal_error()) {
            (Some(RDKafkaErrorCode::Fatal), Some((code, reason))) => {
                BusError::Fatal(format!("{action}: the Kafka producer stopped for good ({code}): {reason}; restart"))
            }
            _ => bus_error(action, error),
        }
    }
}

impl Drop for KafkaProducer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Producer for KafkaProducer {
    fn send(&self, role: TopicRole, message: Message) -> Result<Acknowledged, BusError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BusError::Closed);
        }
        let topic = self.topics.get(role);
        let bytes = message.weight();
        if bytes > topic.max_message_bytes {
            return Err(BusError::TooLarge { topic: topic.name.clone(), size: bytes, limit: topic.max_message_bytes });
        }
        let room = OwnedHeaders::new_with_capacity(message.headers.iter().count());
        let headers = message
            .headers
            .iter()
            .fold(room, |headers, (key, value)| headers.insert(Header { key, value: Some(value.as_ref()) }));
        let (answer, acknowledged) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(&topic.name, Box::new(PendingAck { role, bytes, answer }))
            .payload(message.value.as_ref())
            .headers(headers);
        record.key = message.key.as_deref();
        let queue = &self.queues[role as usize];
        queue.added(bytes);
        if let Err((error, _)) = self.native.send(record) {
            queue.removed(bytes);
            return Err(self.refusal(&format!("send to topic {}", topic.name), &error));
        }
        Ok(Box::pin(async move { acknowledged.await.unwrap_or(Err(BusError::Closed)) }))
    }
}
