//! The faults of a run: their kind, whom they hit and how long they last all follow from a seed.

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

/// What a network does to what goes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Connections are reset and new ones refused.
    Cut,
    /// Nothing comes through, nobody is told; afterwards what was sent arrives.
    Silence,
    /// The connections there are never carry anything again, and nobody is told; new ones work. So a machine in between
    /// that lost its memory, or a server that lost its power.
    Oblivion,
    /// Everything comes late.
    Delay(Duration),
    /// Of a hundred packets so many are lost, and come when they are sent again: 0.2 to 1.6 s later, and all behind them.
    Loss(u8),
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9, and a new start after a while.
    Kill(Program, Duration),
    /// All four services at once.
    KillAll(Duration),
    /// SIGSTOP, and SIGCONT after a while.
    Stop(Program, Duration),
    /// The network between two.
    Network(Link, Trouble, Duration),
}

impl Fault {
    /// What it is, without how long it lasts; whom it hits.
    pub fn kind(&self) -> (&'static str, String) {
        match self {
            Self::Kill(program, _) => ("kill -9", program.name().to_owned()),
            Self::KillAll(_) => ("kill -9", "all four services".to_owned()),
            Self::Stop(program, _) => ("SIGSTOP", program.name().to_owned()),
            Self::Network(Link { service, server }, trouble, _) => {
                let kind = match trouble {
                    Trouble::Cut => "cut",
                    Trouble::Silence => "silence",
                    Trouble::Oblivion => "oblivion",
                    Trouble::Delay(_) => "delay",
                    Trouble::Loss(_) => "loss",
                };
                (kind, format!("{} – {}", service.name(), server.name()))
            }
        }
    }

    /// Whether something starts anew after it.
    pub const fn is_restart(&self) -> bool {
        matches!(self, Self::Kill(..) | Self::KillAll(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, whom) = self.kind();
        match self {
            Self::Network(_, Trouble::Delay(delay), lasts) => write!(f, "{kind} of {delay:?} {whom} for {lasts:?}"),
            Self::Network(_, Trouble::Loss(percent), lasts) => write!(f, "{kind} of {percent} % {whom} for {lasts:?}"),
            Self::Network(_, Trouble::Oblivion, _) => write!(f, "{kind} {whom}"),
            Self::Kill(_, lasts) | Self::KillAll(lasts) | Self::Stop(_, lasts) | Self::Network(_, _, lasts) => {
                write!(f, "{kind} {whom} for {lasts:?}")
            }
        }
    }
}

/// Fewer faults than this are a short run: it is over soon, so nothing in it lasts long.
const LONG_RUN: usize = 40;

/// The faults of a run, in their order. Every other one is a kill until each program had one; then each other fault comes
/// once, and then it begins anew in another order.
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
    let troubles =
        [Trouble::Cut, Trouble::Silence, Trouble::Oblivion, Trouble::Delay(Duration::ZERO), Trouble::Loss(0)];
    let networks =
        Link::ALL.into_iter().flat_map(|link| troubles.map(|trouble| Fault::Network(link, trouble, Duration::ZERO)));
    stops.into_iter().chain(networks).collect()
}

/// The same fault with everything about it that is left to chance.
fn lasting(fault: Fault, longest: u64, rng: &mut Rng) -> Fault {
    let mut millis = |from: u64, to: u64| Duration::from_millis(rng.u64(from..=to));
    match fault {
        // A process needs no longer to be missed; what is on its way behind it has arrived by then.
        Fault::Kill(program, _) => Fault::Kill(program, millis(300, 1200)),
        Fault::KillAll(_) => Fault::KillAll(millis(300, 1200)),
        // Every fifth time longer than a group's members may be silent.
        Fault::Stop(program, _) if longest > 5000 && millis(1, 5).as_millis() == 5 => {
            Fault::Stop(program, millis(16_000, 20_000))
        }
        Fault::Stop(program, _) => Fault::Stop(program, millis(300, longest)),
        Fault::Network(link, trouble, _) => {
            let trouble = match trouble {
                Trouble::Delay(_) => Trouble::Delay(millis(20, 400)),
                Trouble::Loss(_) => Trouble::Loss(u8::try_from(millis(2, 20).as_millis()).unwrap()),
                other => other,
            };
            let lasts = if trouble == Trouble::Oblivion { Duration::ZERO } else { millis(500, longest) };
            Fault::Network(link, trouble, lasts)
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
