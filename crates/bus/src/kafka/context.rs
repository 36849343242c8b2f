//! librdkafka's log lines go to `tracing`, its errors become [`BusError`]s.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use crate::seam::BusError;

/// Logs librdkafka's lines and remembers its last error, which says why a cluster cannot be reached.
#[derive(Debug, Default)]
pub struct Context {
    last_error: Mutex<Option<String>>,
}

impl Context {
    /// librdkafka's last error.
    pub fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // "All brokers are down" is less specific than the error before it.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Context {}

/// Logs a line of librdkafka. Its errors are logged as warnings: librdkafka retries by itself, and a failed call returns the final error.
pub fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(target: "librdkafka", facility, "{line}"),
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// An error of librdkafka as a [`BusError`]. `action` says what failed.
pub fn bus_error(action: &str, error: &KafkaError) -> BusError {
    match error {
        // The message omits the value, which may be a secret.
        KafkaError::ClientConfig(_, reason, key, _) => {
            return BusError::Fatal(format!("{action}: Kafka property {key}: {reason}"));
        }
        KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId) => {
            return of_code(action, RDKafkaErrorCode::FencedInstanceId);
        }
        KafkaError::MessageConsumptionFatal(code) => return BusError::Fatal(format!("{action}: {code}")),
        KafkaError::AdminOp(code) => return of_code(action, *code),
        _ => {}
    }
    match error.rdkafka_error_code() {
        Some(code) => of_code(action, code),
        None => BusError::Fatal(format!("{action}: {error}")),
    }
}

/// An error code of librdkafka or a broker as a [`BusError`].
pub fn of_code(action: &str, code: RDKafkaErrorCode) -> BusError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::QueueFull => BusError::QueueFull,
        Code::PurgeQueue | Code::PurgeInflight => BusError::Closed,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            BusError::Fatal(format!("{action}: the topic does not exist; run `sightline topics apply`"))
        }
        Code::FencedInstanceId => BusError::Fatal(format!(
            "{action}: another process has the same name in the group and took its place; give each a SIGHTLINE_KAFKA_INSTANCE \
             of its own"
        )),
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::Fatal
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature => BusError::Fatal(format!("{action}: {code}")),
        _ => BusError::Unavailable(format!("{action}: {code}")),
    }
}
