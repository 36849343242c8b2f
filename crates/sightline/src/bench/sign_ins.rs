//! Many sign-ins at once: what senders of frames notice of them; and whether answers tell by their time who has an account.
//!
//! `sightline up` runs in a process of its own, with passwords hashed at the usual cost and sign-ins slowed down as usual. One
//! sender posts frames by a schedule that waits for nobody; in turns alone, beside a flood of sign-ins that another process
//! makes from ever new addresses on many accounts, which no throttle catches, so that all of them ask for hashing; and beside
//! the same flood from one address, which the throttle does catch. Then the flood is over, and accounts that there are and
//! accounts that there are not are asked about one at a time, in an order left to chance.

mod accounts;
mod flood;
mod frames;
mod mailbox;
mod telling;

use std::time::Duration;

use clap::Args;

use super::Pace;
use super::engine::Engine;
use super::latency::stack::Stack;
use super::report::{Goal, Report};
use super::stats::{Spread, Times};
use flood::{Flood, Origin, Outcome};
use mailbox::Mailbox;

pub use flood::Part;

/// Frames a second of the ordinary sender.
const FRAMES: u32 = 60;
/// How long a flood goes on before frames are looked at: by then as many sign-ins wait as may.
const RISE: Duration = Duration::from_secs(2);

/// How many.
#[derive(Debug, Args)]
pub struct SignInsBench {
    /// Sign-ins a second of the flood
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    sign_ins: u32,
}

impl SignInsBench {
    /// Rounds without and with a flood in turn, then the questions.
    pub async fn run(&self, pace: Pace) -> anyhow::Result<Report> {
        let (rounds, length) = pace.of((6, Duration::from_secs(20)), (2, Duration::from_secs(8)));
        let accounts = pace.of(500, 170);
        let mut report = Report::new("sign-ins");
        report.setting("sign_ins_per_second", self.sign_ins);
        report.setting("frames_per_second", FRAMES);
        report.setting("picture_bytes", frames::PHOTO.len());
        report.setting("rounds", rounds);
        report.setting("seconds_per_turn", length.as_secs());
        report.setting("accounts", accounts);
        report.setting("looks_at_each_account", telling::LOOKS);
        let (engine, mailbox) = (Engine::start(Duration::ZERO).await?, Mailbox::open().await?);
        let settings = vec![
            // The flood says of itself where each attempt comes from.
            ("SIGHTLINE_TRUSTED_PROXIES", "127.0.0.1".to_owned()),
            ("SIGHTLINE_SMTP_URL", mailbox.url.clone()),
        ];
        let stack = Stack::embedded_with(Some(&engine), settings).await?;
        accounts::register(&stack, accounts).await?;
        let mut flood = Flood::start(&stack, self.sign_ins, accounts)?;
        Turns::take(&stack, &mut flood, rounds, length).await?.tell(&mut report);
        flood.end().await?;
        telling::sign_in(&mut report, &stack, accounts).await?;
        telling::reset(&mut report, &stack, &mailbox, accounts).await?;
        stack.end().await?;
        Ok(report)
    }
}

/// What the turns gave.
#[derive(Default)]
struct Turns {
    alone: Vec<Times>,
    many: Vec<Times>,
    one: Vec<Times>,
    from_many: Outcome,
    from_one: Outcome,
}

impl Turns {
    async fn take(stack: &Stack, flood: &mut Flood, rounds: usize, length: Duration) -> anyhow::Result<Self> {
        // Connections, caches and the first writes of everything are not what is measured.
        frames::send(stack, FRAMES, length / 4).await?;
        let mut turns = Self::default();
        for _ in 0..rounds {
            turns.alone.push(frames::send(stack, FRAMES, length).await?);
            turns.many.push(beside(stack, flood, Origin::Many, length, &mut turns.from_many).await?);
            turns.one.push(beside(stack, flood, Origin::One, length, &mut turns.from_one).await?);
        }
        Ok(turns)
    }

    fn tell(self, report: &mut Report) {
        let Self { alone, many, one, from_many, from_one } = self;
        for (name, beside) in [("a flood", &many), ("a flood from one address", &one)] {
            let moved = ratio(beside, &alone, 0.99);
            let figure = format!("frames' p99 beside {name}, to that without");
            report.promised(figure, moved.median, "×", Goal::AtMost(1.2));
            report.note(format!("p99 beside {name}: over the rounds {:.2} to {:.2}", moved.least, moved.most));
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
        from_many.tell(report, "flood");
        from_one.tell(report, "flood from one address");
    }
}

/// Frames beside a flood, until all of its sign-ins are answered.
async fn beside(
    stack: &Stack,
    flood: &mut Flood,
    origin: Origin,
    length: Duration,
    all: &mut Outcome,
) -> anyhow::Result<Times> {
    flood.rise(origin, RISE + length).await?;
    tokio::time::sleep(RISE).await;
    let times = frames::send(stack, FRAMES, length).await?;
    all.and(flood.outcome().await?);
    Ok(times)
}

/// Of each round, how much longer this share of frames took.
fn ratio(beside: &[Times], alone: &[Times], share: f64) -> Spread {
    let ratios: Vec<f64> = beside.iter().zip(alone).map(|(beside, alone)| beside.ms(share) / alone.ms(share)).collect();
    Spread::of(&ratios)
}

fn middle(rounds: &[Times], share: f64) -> f64 {
    let times: Vec<f64> = rounds.iter().map(|times| times.ms(share)).collect();
    Spread::of(&times).median
}
