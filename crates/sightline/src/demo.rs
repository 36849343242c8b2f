//! `sightline demo`: traffic to try the system with.
//!
//! `demo vehicles` sends the reference producer's messages, bare JSON of vehicles, to the results topic of Kafka; without Kafka it
//! sends the same vehicles to a running `sightline up`. While the destination is away it waits with growing pauses. A signal ends it.

mod destination;
mod vehicles;

use std::time::Duration;

use bus::{KafkaArgs, TopicArgs};
use clap::{Args, Subcommand};
use platform::retry::Backoff;
use platform::{error_line, shutdown};
use settings::{Check, SettingErrors};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::client::ClientArgs;
use crate::out;
use crate::reported::Reported;
use destination::Destination;
use vehicles::DemoVehicle;

/// Sends traffic to try the system with
#[derive(Debug, Args)]
pub struct Demo {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Send real vehicles, one after the other in random order, until interrupted: to the results topic of Kafka if its brokers are
    /// set, else to the server
    Vehicles(Box<Vehicles>),
}

#[derive(Debug, Args)]
struct Vehicles {
    /// Vehicles per second
    // The name of the reference producer's variable, so that its compose files work unchanged.
    #[arg(long, env = "DETECTIONS_PER_SECOND", default_value = "3", value_name = "NUMBER",
        value_parser = settings::count::<u32>(1..=1_000))]
    rate: u32,

    /// End after this many vehicles
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,

    #[command(flatten)]
    kafka: KafkaArgs,

    #[command(flatten)]
    topics: TopicArgs,

    #[command(flatten)]
    client: ClientArgs,
}

impl Check for Demo {
    fn check(&self, errors: &mut SettingErrors) {
        let Action::Vehicles(vehicles) = &self.action;
        vehicles.kafka.check(errors);
        vehicles.topics.check(errors);
    }
}

/// Pauses while the destination does not accept a vehicle.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Time limit for the destination to accept the vehicles in progress after a signal.
const GRACE: Duration = Duration::from_secs(5);

/// Why a vehicle was not accepted.
enum SendError {
    /// A retry may succeed.
    Transient(String),
    /// A retry cannot succeed.
    Permanent(anyhow::Error),
}

impl Demo {
    /// Sends until interrupted.
    pub async fn run(self) -> anyhow::Result<()> {
        let Action::Vehicles(vehicles) = self.action;
        let stop = shutdown::on_signal()?;
        let sent = vehicles.send_all(&stop).await?;
        out::line(format_args!("sent {}", out::counted(usize::try_from(sent)?, "vehicle", "vehicles")))
    }
}

impl Vehicles {
    /// Sends until `stop`, or until `--count` vehicles were accepted; returns their number.
    async fn send_all(&self, stop: &CancellationToken) -> anyhow::Result<u64> {
        let vehicles = vehicles::all()?;
        let mut retries = Retries::new(stop);
        let Some(destination) = retries.until_accepted(async || self.connect().await).await? else { return Ok(0) };
        error_line(format_args!("sending {} vehicles per second to {}", self.rate, destination.describe()));
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.rate);
        // Those that were late while the destination was away are not made up for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sent = 0;
        while self.count.is_none_or(|count| sent < count) && stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let vehicle = &vehicles[fastrand::usize(..vehicles.len())];
            match retries.until_accepted(async || destination.send(vehicle).await).await? {
                Some(()) => sent += 1,
                None => break,
            }
        }
        // A vehicle that the destination does not accept in time is lost, as with every producer that is stopped.
        drop(tokio::time::timeout(GRACE, destination.close()).await);
        Ok(sent)
    }

    async fn connect(&self) -> Result<Destination, SendError> {
        if self.kafka.kafka_brokers.is_none() {
            return Ok(Destination::Server(self.client.client().map_err(SendError::Permanent)?));
        }
        Destination::kafka(&self.kafka, &self.topics).await
    }
}

/// Repeats what fails, with growing pauses, until it succeeds or a signal arrives.
struct Retries<'a> {
    stop: &'a CancellationToken,
    backoff: Backoff,
    reported: Reported,
}

impl<'a> Retries<'a> {
    fn new(stop: &'a CancellationToken) -> Self {
        Self { stop, backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE), reported: Reported::default() }
    }

    /// The value of the first success; `None` after a signal.
    async fn until_accepted<T>(
        &mut self,
        attempt: impl AsyncFn() -> Result<T, SendError>,
    ) -> anyhow::Result<Option<T>> {
        loop {
            match self.stop.run_until_cancelled(attempt()).await {
                None => return Ok(None),
                Some(Ok(value)) => {
                    self.backoff.reset();
                    self.reported.connected().into_iter().for_each(error_line);
                    return Ok(Some(value));
                }
                Some(Err(SendError::Permanent(error))) => return Err(error),
                Some(Err(SendError::Transient(reason))) => {
                    self.reported.failed(reason).into_iter().for_each(error_line);
                    let pause = tokio::time::sleep(self.backoff.pause());
                    if self.stop.run_until_cancelled(pause).await.is_none() {
                        return Ok(None);
                    }
                }
            }
        }
    }
}
