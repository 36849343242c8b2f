//! Messages in, acknowledgements out. Many messages wait for theirs at once: librdkafka sends them in batches, keeps each key's
//! order through retries (idempotence), and rings when it has answers; a task on the event loop then resolves the futures. A
//! thread that waits for answers would wake the event loop for each of them.

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
use super::native::Bell;
use crate::meters::Meters;
use crate::seam::{Acknowledged, BusError, Position, Producer};

/// The producer of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaProducer {
    native: Arc<BaseProducer<Deliveries>>,
    topics: Topics,
    lanes: Arc<[Lane]>,
    closed: AtomicBool,
    stop: CancellationToken,
}

/// What is counted for one topic.
struct Lane {
    meters: Meters,
    messages: AtomicUsize,
    bytes: AtomicUsize,
}

impl Lane {
    fn taken(&self, bytes: usize) {
        let messages = self.messages.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.meters.queued(messages, bytes);
    }

    fn left(&self, bytes: usize) {
        let messages = self.messages.fetch_sub(1, Ordering::Relaxed) - 1;
        let bytes = self.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        self.meters.queued(messages, bytes);
    }
}

/// What waits for one message's acknowledgement.
struct Waiting {
    role: TopicRole,
    bytes: usize,
    answer: oneshot::Sender<Result<Position, BusError>>,
}

struct Deliveries {
    topics: Topics,
    lanes: Arc<[Lane]>,
}

impl Deliveries {
    fn refusal(&self, waiting: &Waiting, error: &KafkaError) -> BusError {
        let topic = self.topics.get(waiting.role);
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                BusError::TooLarge { topic: topic.name.clone(), size: waiting.bytes, limit: topic.max_message_bytes }
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

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Waiting>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Box<Waiting>) {
        let lane = &self.lanes[waiting.role as usize];
        lane.left(waiting.bytes);
        let answer = match result {
            Ok(message) => {
                lane.meters.produced(1, waiting.bytes);
                Ok(Position { partition: message.partition(), offset: message.offset() })
            }
            Err((error, _)) => {
                let refusal = self.refusal(&waiting, error);
                tracing::warn!(topic = waiting.role.as_str(), error = %refusal, "a message was not taken");
                Err(refusal)
            }
        };
        // The sender may have dropped its future: it was sent all the same.
        drop(waiting.answer.send(answer));
    }
}

/// Takes answers from librdkafka.
struct Answers {
    bell: Bell,
    rung: pipe::Receiver,
    native: Arc<BaseProducer<Deliveries>>,
}

impl Answers {
    fn of(native: Arc<BaseProducer<Deliveries>>) -> io::Result<Self> {
        let (rope, rung) = pipe::pipe()?;
        Ok(Self { bell: Bell::hang(native.client(), rope.into_nonblocking_fd()?), rung, native })
    }

    /// Takes them until `stop`.
    async fn take(self, stop: CancellationToken) {
        loop {
            // The bell rings only at a queue that was empty, and what came before it hung had none.
            loop {
                self.native.poll(Duration::ZERO);
                if self.bell.is_quiet() {
                    break;
                }
            }
            match stop.run_until_cancelled(self.rung()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    // A pipe of our own does not fail; if it did, answers would come late instead of never.
                    tracing::error!(%error, "the Kafka producer's bell cannot be heard");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                None => break,
            }
        }
        // The last one to let go of the producer waits for it to end.
        drop(tokio::task::spawn_blocking(move || drop(self)));
    }

    async fn rung(&self) -> io::Result<()> {
        loop {
            self.rung.readable().await?;
            match self.rung.try_read(&mut [0; 64]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl KafkaProducer {
    /// Makes the producer and the task that takes answers; to be called on the event loop.
    pub fn start(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let lanes: Arc<[Lane]> = TopicRole::ALL
            .into_iter()
            .map(|role| Lane { meters: Meters::of(role), messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
            .collect();
        let deliveries = Deliveries { topics: topics.clone(), lanes: lanes.clone() };
        let native: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config.producer(topics)?, deliveries)
                .map_err(|error| bus_error("make a Kafka producer", &error))?;
        let (native, stop) = (Arc::new(native), CancellationToken::new());
        let answers = Answers::of(native.clone())
            .map_err(|error| BusError::Fatal(format!("make a pipe for the Kafka producer: {error}")))?;
        tokio::spawn(answers.take(stop.clone()));
        Ok(Self { native, topics: topics.clone(), lanes, closed: AtomicBool::new(false), stop })
    }

    /// Sends what is queued, waiting as long as a message may wait, and takes no more. Blocks.
    pub fn close(&self) -> Result<(), BusError> {
        self.closed.store(true, Ordering::SeqCst);
        let flushed = self.native.flush(DELIVERY_TIMEOUT);
        self.stop.cancel();
        flushed.map_err(|error| bus_error("send what is queued for Kafka", &error))
    }

    fn refusal(&self, doing: &str, error: &KafkaError) -> BusError {
        match (error.rdkafka_error_code(), self.native.client().fatal_error()) {
            (Some(RDKafkaErrorCode::Fatal), Some((code, reason))) => {
                BusError::Fatal(format!("{doing}: the Kafka producer stopped for good ({code}): {reason}; restart"))
            }
            _ => bus_error(doing, error),
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
        let mut record = BaseRecord::with_opaque_to(&topic.name, Box::new(Waiting { role, bytes, answer }))
            .payload(message.value.as_ref())
            .headers(headers);
        record.key = message.key.as_deref();
        let lane = &self.lanes[role as usize];
        lane.taken(bytes);
        if let Err((error, _)) = self.native.send(record) {
            lane.left(bytes);
            return Err(self.refusal(&format!("send to topic {}", topic.name), &error));
        }
        Ok(Box::pin(async move { acknowledged.await.unwrap_or(Err(BusError::Closed)) }))
    }
}
