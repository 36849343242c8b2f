//! Many sign-ins at once: how they slow frames, and whether response times reveal which addresses have an account.
//!
//! `sightline up` runs in a child process with the default cost of password hashing and the default throttles. A
//! client posts frames on a fixed schedule in three alternating situations: alone; during a flood of sign-ins from
//! many addresses to many accounts, which are not throttled, so that each one costs a hash; and during the same
//! flood from one address, which is throttled. After the flood, sign-ins to existing and to unknown accounts are
//! timed one at a time in random order.

mod accounts;
mod flood;
mod frames;
mod mailbox;
mod timing_leak;

use std::time::Duration;

use clap::Args;

use super::RunLength;
use super::engine::Engine;
use super::latency::services::Services;
use super::report::{Goal, Report};
use super::stats::{Spread, Times};
use flood::{Flood, Origin, Outcome};
use mailbox::Mailbox;

pub use flood::SignInsChild;

/// Frames per second of the ordinary client.
const FRAMES: u32 = 60;
/// Time from the start of a flood until frames are measured: by then the hashing queue is full.
const RAMP_UP: Duration = Duration::from_secs(2);

/// Size of the bench.
#[derive(Debug, Args)]
pub struct SignInsBench {
    /// Sign-ins per second of the flood
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    sign_ins: u32,
}

impl SignInsBench {
    /// Alternates rounds without and with a flood, then times single sign-ins.
    pub async fn run(&self, run_length: RunLength) -> anyhow::Result<Report> {
        let (rounds, length) = run_length.pick((6, Duration::from_secs(20)), (2, Duration::from_secs(8)));
        let accounts = run_length.pick(500, 170);
        let mut report = Report::new("sign-ins");
        report.setting("sign_ins_per_second", self.sign_ins);
        report.setting("frames_per_second", FRAMES);
        report.setting("image_bytes", frames::PHOTO.len());
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn", length.as_secs());
        report.setting("accounts", accounts);
        report.setting("rounds_of_each_account", timing_leak::ROUNDS);
        let (engine, mailbox) = (Engine::start(Duration::ZERO).await?, Mailbox::open().await?);
        let settings = vec![
            // The flood sets the client address of each attempt in `X-Forwarded-For`.
            ("SIGHTLINE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("SIGHTLINE_SMTP_URL", mailbox.url.clone()),
        ];
        let services = Services::embedded_with(Some(&engine), settings).await?;
        accounts::register(&services, accounts).await?;
        let mut flood = Flood::start(&services, self.sign_ins, accounts)?;
        Turns::take(&services, &mut flood, rounds, length).await?.write(&mut report);
        flood.end().await?;
        timing_leak::sign_in(&mut report, &services, accounts).await?;
        timing_leak::reset(&mut report, &services, &mailbox, accounts).await?;
        services.end().await?;
        Ok(report)
    }
}

/// Results of the turns.
#[derive(Default)]
struct Turns {
    alone: Vec<Times>,
    many: Vec<Times>,
    one: Vec<Times>,
    from_many: Outcome,
    from_one: Outcome,
}

impl Turns {
    async fn take(services: &Services, flood: &mut Flood, rounds: usize, length: Duration) -> anyhow::Result<Self> {
        // Warm-up: connections, caches and first writes are not measured.
        frames::send(services, FRAMES, length / 4).await?;
        let mut turns = Self::default();
        for _ in 0..rounds {
            turns.alone.push(frames::send(services, FRAMES, length).await?);
            turns.many.push(beside(services, flood, Origin::Many, length, &mut turns.from_many).await?);
            turns.one.push(beside(services, flood, Origin::One, length, &mut turns.from_one).await?);
        }
        Ok(turns)
    }

    fn write(self, report: &mut Report) {
        let Self { alone, many, one, from_many, from_one } = self;
        for (name, beside) in [("a flood", &many), ("a flood from one address", &one)] {
            let moved = ratio(beside, &alone, 0.99);
            let figure = format!("frames' p99 beside {name}, to that without");
            report.with_goal(figure, moved.median, "×", Goal::AtMost(1.2));
            report.note(format!("p99 beside {name}: over the rounds {:.2} to {:.2}", moved.min, moved.max));
            report.figure(
                format!("frames' p50 beside {name}, to that without"),
                ratio(beside, &alone, 0.5).median,
                "×",
            );
        }
        for (name, times) in [("alone", &alone), ("beside a flood", &many), ("beside a flood from one address", &one)] {
            report.figure(format!("frames {name}, p50"), middle(times, 0.5), "ms");
            report.figure(format!("frames {name}, p99"), middle(times, 0.99), "ms");
        }
        from_many.report(report, "flood");
        from_one.report(report, "flood from one address");
    }
}

/// Measures frames during a flood, until all of its sign-ins are answered.
async fn beside(
    services: &Services,
    flood: &mut Flood,
    origin: Origin,
    length: Duration,
    all: &mut Outcome,
) -> anyhow::Result<Times> {
    flood.send(origin, RAMP_UP + length).await?;
    tokio::time::sleep(RAMP_UP).await;
    let times = frames::send(services, FRAMES, length).await?;
    all.and(flood.outcome().await?);
    Ok(times)
}

/// The ratio of a percentile with and without the flood, over the rounds.
fn ratio(beside: &[Times], alone: &[Times], share: f64) -> Spread {
    let ratios: Vec<f64> = beside.iter().zip(alone).map(|(beside, alone)| beside.ms(share) / alone.ms(share)).collect();
    Spread::of(&ratios)
}

fn middle(rounds: &[Times], share: f64) -> f64 {
    let times: Vec<f64> = rounds.iter().map(|times| times.ms(share)).collect();
    Spread::of(&times).median
}
