//! The consumer: counts results by detector.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bus::{Bus, ConsumerOptions, Delivery};
use consumer_kit::{Group, HandleError, Handler};
use contracts::{DetectorName, Event, ResultEvent, TopicRole};
use metrics::counter;
use tokio_util::sync::CancellationToken;

use crate::Config;

/// Name of the consumer group. Members of one group share the partitions of the topic.
const GROUP: &str = "sightline.result-counter";

/// Number of results by detector. Cheap to clone; all clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Counts(Arc<Mutex<BTreeMap<DetectorName, u64>>>);

impl Counts {
    /// The counts so far, ordered by name.
    pub fn current(&self) -> BTreeMap<DetectorName, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts until `stop`.
///
/// # Errors
/// When the log refuses for good.
pub async fn consume(
    config: &Config,
    bus: Arc<dyn Bus>,
    counts: Counts,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let group = Group {
        role: TopicRole::Results,
        name: GROUP.to_owned(),
        options: ConsumerOptions { max_in_flight: config.counter_results, ..ConsumerOptions::default() },
        retries: counter!("sightline_counter_retries_total"),
    };
    consumer_kit::run(bus, group, counts, stop).await
}

#[async_trait]
impl Handler for Counts {
    async fn handle(&mut self, delivery: &Delivery) -> Result<(), HandleError> {
        let result = ResultEvent::from_message(&delivery.message)
            .map_err(|error| HandleError::permanent("undecodable", &error))?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(result.data.detector).or_default() += 1;
        Ok(())
    }
}
