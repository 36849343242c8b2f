//! The faults of a run. Their kind, target and length follow from a seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// A program that a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    Ingest,
    Worker,
    Indexer,
    Alerts,
    Kafka,
    Mongodb,
}

impl Program {
    pub const SERVICES: [Self; 4] = [Self::Ingest, Self::Worker, Self::Indexer, Self::Alerts];
    pub const ALL: [Self; 6] = [Self::Ingest, Self::Worker, Self::Indexer, Self::Alerts, Self::Kafka, Self::Mongodb];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest-api",
            Self::Worker => "detector-worker",
            Self::Indexer => "indexer",
            Self::Alerts => "alert-stream",
            Self::Kafka => "kafka",
            Self::Mongodb => "mongodb",
        }
    }
}

/// The network between a service and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    pub service: Program,
    pub server: Program,
}

impl Link {
    pub const ALL: [Self; 6] = [
        Self { service: Program::Ingest, server: Program::Kafka },
        Self { service: Program::Worker, server: Program::Kafka },
        Self { service: Program::Indexer, server: Program::Kafka },
        Self { service: Program::Alerts, server: Program::Kafka },
        Self { service: Program::Ingest, server: Program::Mongodb },
        Self { service: Program::Indexer, server: Program::Mongodb },
    ];
}

/// A fault of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkFault {
    /// Connections are reset and new ones refused.
    Cut,
    /// Nothing is delivered and no connection is closed; afterwards everything is delivered.
    Stall,
    /// Existing connections stay open but no longer transfer data; new ones work. This happens when a router loses its state, or a
    /// server its power.
    HalfOpen,
    /// Everything is delayed.
    Delay(Duration),
    /// This percentage of packets is lost and retransmitted 0.2 to 1.6 s later, which delays everything after them.
    Loss(u8),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and a restart after a time.
    Kill(Program, Duration),
    /// All four services at once.
    KillAll(Duration),
    /// SIGSTOP, and SIGCONT after a time.
    Stop(Program, Duration),
    /// A fault of the network between a service and a server.
    Network(Link, NetworkFault, Duration),
}

impl Fault {
    /// The kind without its length, and the target.
    pub fn kind(&self) -> (&'static str, String) {
        match self {
            Self::Kill(program, _) => ("kill -9", program.name().to_owned()),
            Self::KillAll(_) => ("kill -9", "all four services".to_owned()),
            Self::Stop(program, _) => ("SIGSTOP", program.name().to_owned()),
            Self::Network(Link { service, server }, network_fault, _) => {
                let kind = match network_fault {
                    NetworkFault::Cut => "cut",
                    NetworkFault::Stall => "stall",
                    NetworkFault::HalfOpen => "half-open",
                    NetworkFault::Delay(_) => "delay",
                    NetworkFault::Loss(_) => "loss",
                };
                (kind, format!("{} – {}", service.name(), server.name()))
            }
        }
    }

    /// Whether a process restarts after it.
    pub const fn is_restart(&self) -> bool {
        matches!(self, Self::Kill(..) | Self::KillAll(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, target) = self.kind();
        match self {
            Self::Network(_, NetworkFault::Delay(delay), lasts) => {
                write!(f, "{kind} of {delay:?} {target} for {lasts:?}")
            }
            Self::Network(_, NetworkFault::Loss(percent), lasts) => {
                write!(f, "{kind} of {percent} % {target} for {lasts:?}")
            }
            Self::Network(_, NetworkFault::HalfOpen, _) => write!(f, "{kind} {target}"),
            Self::Kill(_, lasts) | Self::KillAll(lasts) | Self::Stop(_, lasts) | Self::Network(_, _, lasts) => {
                write!(f, "{kind} {target} for {lasts:?}")
            }
        }
    }
}

/// A run with fewer faults is a short run, whose faults are short too.
const LONG_RUN: usize = 40;

/// The faults of a run in order. They alternate between kills and other faults until every program was killed; then the rest of
/// the other faults follow; then the sequence repeats in another order.
pub fn faults(seed: u64, count: usize) -> Vec<Fault> {
    let mut rng = Rng::with_seed(seed);
    let mut faults = Vec::new();
    while faults.len() < count {
        let (mut kills, mut others) = (kills(), others());
        rng.shuffle(&mut kills);
        rng.shuffle(&mut others);
        while let Some(other) = others.pop() {
            faults.extend(kills.pop().into_iter().chain([other]));
        }
    }
    faults.truncate(count);
    let longest = if count < LONG_RUN { 1500 } else { 8000 };
    faults.into_iter().map(|fault| lasting(fault, longest, &mut rng)).collect()
}

fn kills() -> Vec<Fault> {
    let one = Program::ALL.map(|program| Fault::Kill(program, Duration::ZERO));
    one.into_iter().chain([Fault::KillAll(Duration::ZERO)]).collect()
}

fn others() -> Vec<Fault> {
    let stops = Program::ALL.map(|program| Fault::Stop(program, Duration::ZERO));
    let network_fault = [
        NetworkFault::Cut,
        NetworkFault::Stall,
        NetworkFault::HalfOpen,
        NetworkFault::Delay(Duration::ZERO),
        NetworkFault::Loss(0),
    ];
    let networks = Link::ALL
        .into_iter()
        .flat_map(|link| network_fault.map(|network_fault| Fault::Network(link, network_fault, Duration::ZERO)));
    stops.into_iter().chain(networks).collect()
}

/// The fault with random length and strength.
fn lasting(fault: Fault, longest: u64, rng: &mut Rng) -> Fault {
    let mut millis = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
    match fault {
        // Long enough for others to notice, and for messages in transit to arrive.
        Fault::Kill(program, _) => Fault::Kill(program, millis(300, 1200)),
        Fault::KillAll(_) => Fault::KillAll(millis(300, 1200)),
        // One of five is longer than the session timeout of a consumer group.
        Fault::Stop(program, _) if longest > 5000 && millis(1, 5).as_millis() == 5 => {
            Fault::Stop(program, millis(16_000, 20_000))
        }
        Fault::Stop(program, _) => Fault::Stop(program, millis(300, longest)),
        Fault::Network(link, network_fault, _) => {
            let network_fault = match network_fault {
                NetworkFault::Delay(_) => NetworkFault::Delay(millis(20, 400)),
                NetworkFault::Loss(_) => NetworkFault::Loss(u8::try_from(millis(2, 20).as_millis()).unwrap()),
                other => other,
            };
            let lasts = if network_fault == NetworkFault::HalfOpen { Duration::ZERO } else { millis(500, longest) };
            Fault::Network(link, network_fault, lasts)
        }
    }
}

#[test]
fn a_seed_always_gives_the_same_faults_and_another_one_others() {
    assert_eq!(faults(7, 110), faults(7, 110));
    assert_ne!(faults(7, 110), faults(8, 110));
    let long = faults(7, 110);
    for fault in kills().iter().chain(&others()) {
        assert!(long.iter().any(|planned| planned.kind() == fault.kind()), "{fault}");
    }
    let short: Vec<Fault> = faults(7, 12);
    assert_eq!(short.iter().filter(|fault| fault.is_restart()).count(), 6, "{short:?}");
}
