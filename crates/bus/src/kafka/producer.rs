//! Messages in, acknowledgements out. Many messages wait for theirs at once: librdkafka sends them in batches, keeps each key's
//! order through retries (idempotence), and answers on a thread of ours, which resolves the futures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use contracts::{Message, Role, Topics};
use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::oneshot;

use super::config::{DELIVERY_TIMEOUT, KafkaConfig};
use super::context::{bus_error, log};
use crate::meters::Meters;
use crate::seam::{Acknowledged, BusError, Position, Producer};

/// How long one look at the answers takes; also how soon the thread sees that it shall stop.
const POLL: Duration = Duration::from_millis(100);

/// The producer of a [`KafkaBus`](super::KafkaBus).
pub struct KafkaProducer {
    native: Arc<BaseProducer<Deliveries>>,
    topics: Topics,
    lanes: Arc<[Lane]>,
    closed: AtomicBool,
    stop: Arc<AtomicBool>,
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
    role: Role,
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

impl KafkaProducer {
    /// Makes the producer and the thread that takes answers.
    pub fn start(config: &KafkaConfig, topics: &Topics) -> Result<Self, BusError> {
        let lanes: Arc<[Lane]> = Role::ALL
            .into_iter()
            .map(|role| Lane { meters: Meters::of(role), messages: AtomicUsize::new(0), bytes: AtomicUsize::new(0) })
            .collect();
        let deliveries = Deliveries { topics: topics.clone(), lanes: lanes.clone() };
        let native: BaseProducer<Deliveries, NoCustomPartitioner> =
            BaseProducer::from_config_and_context(&config.producer(topics)?, deliveries)
                .map_err(|error| bus_error("make a Kafka producer", &error))?;
        let (native, stop) = (Arc::new(native), Arc::new(AtomicBool::new(false)));
        let (polled, seen) = (native.clone(), stop.clone());
        std::thread::Builder::new()
            .name("kafka-producer".to_owned())
            .spawn(move || {
                while !seen.load(Ordering::Relaxed) {
                    polled.poll(POLL);
                }
            })
            .map_err(|error| BusError::Fatal(format!("start the thread of the Kafka producer: {error}")))?;
        Ok(Self { native, topics: topics.clone(), lanes, closed: AtomicBool::new(false), stop })
    }

    /// Sends what is queued, waiting as long as a message may wait, and takes no more. Blocks.
    pub fn close(&self) -> Result<(), BusError> {
        self.closed.store(true, Ordering::SeqCst);
        let flushed = self.native.flush(DELIVERY_TIMEOUT);
        self.stop.store(true, Ordering::Relaxed);
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
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Producer for KafkaProducer {
    fn send(&self, role: Role, message: Message) -> Result<Acknowledged, BusError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BusError::Closed);
        }
        let topic = self.topics.get(role);
        let bytes = message.weight();
        if bytes > topic.max_message_bytes {
            return Err(BusError::TooLarge { topic: topic.name.clone(), size: bytes, limit: topic.max_message_bytes });
        }
        let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_ref()) })
        });
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
