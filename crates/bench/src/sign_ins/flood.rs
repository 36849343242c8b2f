//! A flood of sign-ins from a child process, on a schedule that does not wait for responses.
//!
//! A third has the right password, a third a wrong one, and a third names an unknown account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::JoinSet;

use super::accounts;
use crate::child::ChildProcess;
use crate::latency::services::Services;
use crate::report::{Goal, Report};
use crate::stats::Times;

/// Time limit of a response.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Expected statuses and their names in the report.
const ANSWERS: [(u16, &str); 4] =
    [(200, "signed in (200)"), (400, "refused (400)"), (503, "busy (503)"), (429, "throttled (429)")];

/// Client addresses of the sign-ins.
#[derive(Debug, Clone, Copy)]
pub enum Origin {
    /// Every sign-in from another address.
    Many,
    /// All from one address.
    One,
}

/// Response times in milliseconds, by status.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outcome {
    times: BTreeMap<u16, Vec<f64>>,
    /// Number of wrong responses, and the last one.
    wrong: u32,
    shown: Option<String>,
}

impl Outcome {
    /// Adds another outcome.
    pub fn and(&mut self, other: Self) {
        for (status, times) in other.times {
            self.times.entry(status).or_default().extend(times);
        }
        self.wrong += other.wrong;
        self.shown = other.shown.or(self.shown.take());
    }

    /// Adds figures to a report.
    pub fn report(self, report: &mut Report, name: &str) {
        let all: usize = self.times.values().map(Vec::len).sum();
        report.figure(format!("{name}: sign-ins"), all as f64, "");
        for (status, meaning) in ANSWERS {
            let Some(times) = self.times.get(&status) else { continue };
            let share = times.len() as f64 / all as f64;
            let times: Times = times.iter().map(|ms| Duration::from_secs_f64(ms / 1e3)).collect();
            report.figure(format!("{name}: {meaning}"), share, "of all");
            report.figure(format!("{name}: {meaning}, p99"), times.ms(0.99), "ms");
        }
        report.with_goal(format!("{name}: answered in another way"), f64::from(self.wrong), "", Goal::AtMost(0.0));
        if let Some(shown) = self.shown {
            report.note(format!("{name}: wrong: {shown}"));
        }
    }

    fn add(&mut self, response: anyhow::Result<(u16, Duration)>) {
        match response {
            Ok((status, time)) => self.times.entry(status).or_default().push(time.as_secs_f64() * 1e3),
            Err(error) => {
                self.wrong += 1;
                self.shown = Some(format!("{error:#}"));
            }
        }
    }
}

/// The child process.
pub struct Flood(ChildProcess);

impl Flood {
    /// Starts it without sending anything.
    pub fn start(services: &Services, per_second: u32, accounts: usize) -> anyhow::Result<Self> {
        let (per_second, accounts) = (per_second.to_string(), accounts.to_string());
        let arguments = ["sign-ins", "--url", &services.url, "--per-second", &per_second, "--accounts", &accounts];
        Ok(Self(ChildProcess::bench(&arguments, &[])?))
    }

    /// Sends sign-ins for `length`.
    pub async fn send(&mut self, origin: Origin, length: Duration) -> anyhow::Result<()> {
        self.0.send_line(&format!("{origin:?} {}", length.as_secs_f64())).await
    }

    /// The outcome, once every sign-in is answered.
    pub async fn outcome(&mut self) -> anyhow::Result<Outcome> {
        let line = self.0.read_line().await?;
        serde_json::from_str(&line).with_context(|| format!("unexpected reply of the flood: {line:?}"))
    }

    /// Kills the process.
    pub async fn end(self) -> anyhow::Result<()> {
        self.0.kill().await
    }
}

/// Arguments of the child process.
#[derive(Debug, Args)]
pub struct SignInsChild {
    /// Address of the service
    #[arg(long)]
    url: String,

    /// Number of connections
    #[arg(long)]
    per_second: u32,

    /// Number of existing accounts
    #[arg(long)]
    accounts: usize,
}

impl SignInsChild {
    /// Runs one schedule per line of standard input, until it ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        let client = Arc::new(SignInClient { http, arguments: self });
        let mut number = 0;
        let mut orders = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = orders.next_line().await? {
            let (origin, seconds) = line.split_once(' ').context("two words are expected")?;
            let origin = match origin {
                "Many" => Origin::Many,
                "One" => Origin::One,
                other => bail!("unknown origin {other}"),
            };
            let outcome = client.flood(origin, Duration::from_secs_f64(seconds.parse()?), &mut number).await?;
            println!("{}", serde_json::to_string(&outcome)?);
        }
        Ok(())
    }
}

struct SignInClient {
    http: reqwest::Client,
    arguments: SignInsChild,
}

impl SignInClient {
    async fn flood(self: &Arc<Self>, origin: Origin, length: Duration, number: &mut usize) -> anyhow::Result<Outcome> {
        let (started, pause) = (Instant::now(), Duration::from_secs(1) / self.arguments.per_second);
        let (mut outcome, mut in_flight, mut sent) = (Outcome::default(), JoinSet::new(), 0);
        while started.elapsed() < length {
            let (client, next) = (Arc::clone(self), *number);
            in_flight.spawn(async move { client.sign_in(origin, next).await });
            (*number, sent) = (*number + 1, sent + 1);
            while let Some(response) = in_flight.try_join_next() {
                outcome.add(response?);
            }
            tokio::time::sleep_until((started + pause * sent).into()).await;
        }
        while let Some(response) = in_flight.join_next().await {
            outcome.add(response?);
        }
        Ok(outcome)
    }

    async fn sign_in(&self, origin: Origin, number: usize) -> anyhow::Result<(u16, Duration)> {
        let account = number / 3 % self.arguments.accounts;
        let (name, password) = match number % 3 {
            0 => (accounts::name(account), accounts::password(account)),
            1 => (accounts::name(account), "not the password".to_owned()),
            _ => (accounts::unknown_name(number), "not the password".to_owned()),
        };
        let address = match origin {
            Origin::Many => accounts::address(number),
            Origin::One => "192.0.2.1".to_owned(),
        };
        let form = [("grant_type", "password"), ("username", &name), ("password", &password)];
        let request = self.http.post(format!("{}/v1/token", self.arguments.url)).header("x-forwarded-for", address);
        let started = Instant::now();
        let response = request.form(&form).send().await?;
        let (status, comes_back) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
        let body = response.text().await?;
        let time = started.elapsed();
        let right = number.is_multiple_of(3);
        match status {
            200 => ensure!(right, "a wrong password was accepted"),
            400 => ensure!(!right && body.contains("invalid_grant"), "400: {body}"),
            429 | 503 => ensure!(comes_back, "{status} without Retry-After"),
            _ => bail!("{status}: {body}"),
        }
        Ok((status, time))
    }
}
