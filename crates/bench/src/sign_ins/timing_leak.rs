//! Whether response times distinguish existing accounts from unknown ones.
//!
//! Equal numbers of existing and unknown accounts are tried a few times each, one request at a time in random order, so that
//! other load and after-effects of the previous request affect both kinds equally. Every request has another client address, so
//! that no throttle applies.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::RequestBuilder;
use serde_json::json;

use super::accounts;
use super::mailbox::Mailbox;
use crate::latency::services::Services;
use crate::report::{Goal, Report};
use crate::stats::{Spread, area_under_the_curve};

/// Requests per account; the limit of mails per account allows no more. With 1,500 responses of each kind, chance alone fails
/// the goal in one run in a million; with 500, in one run in 160.
pub const ROUNDS: usize = 3;
/// Goal for the area under the curve; 0.5 means that the kinds cannot be distinguished.
const ALIKE: Goal = Goal::Within(0.45, 0.55);
/// Pause after a response, so that the server's work after it does not affect the next request.
const PAUSE: Duration = Duration::from_millis(5);
/// Time limit for a mail.
const MAIL: Duration = Duration::from_secs(30);
/// First client address; the flood used lower ones.
const ADDRESSES: usize = 0x00ff_0000;

/// Times sign-ins with a wrong password.
pub async fn sign_in(report: &mut Report, services: &Services, many: usize) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut rounds = Vec::new();
    for (round, order) in orders(many).into_iter().enumerate() {
        let mut seen = ResponseTimes::default();
        for (place, account) in order.into_iter().enumerate() {
            let form = [("grant_type", "password"), ("username", &account.name), ("password", "not the password")];
            let request = http.post(format!("{}/v1/token", services.url)).form(&form);
            seen.note(&account, time_request(from(request, round, place), 400).await?);
            tokio::time::sleep(PAUSE).await;
        }
        rounds.push(seen);
    }
    report_rounds(report, "sign-in", &rounds);
    Ok(())
}

/// Times requests for a password reset mail.
pub async fn reset(report: &mut Report, services: &Services, mailbox: &Mailbox, many: usize) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut rounds = Vec::new();
    for (round, order) in orders(many).into_iter().enumerate() {
        let mut seen = ResponseTimes::default();
        for (place, account) in order.into_iter().enumerate() {
            let email = json!({"email": accounts::email(&account.name)});
            let request = http.post(format!("{}/v1/password/forgot", services.url)).json(&email);
            seen.note(&account, time_request(from(request, round, place), 202).await?);
            let mails = round * many + seen.known.len();
            tokio::time::timeout(MAIL, mailbox.after(mails)).await.context("a mail was not sent")??;
            tokio::time::sleep(PAUSE).await;
        }
        rounds.push(seen);
    }
    ensure!(mailbox.mails() == ROUNDS * many, "{} mails for {ROUNDS} requests of {many} accounts", mailbox.mails());
    report_rounds(report, "reset", &rounds);
    Ok(())
}

struct Account {
    name: String,
    exists: bool,
}

/// The order of accounts in each round.
fn orders(many: usize) -> Vec<Vec<Account>> {
    let known = |number| Account { name: accounts::name(number), exists: true };
    let unknown = |number| Account { name: accounts::unknown_name(number), exists: false };
    let order = |_| {
        let mut order: Vec<Account> = (0..many).map(known).chain((0..many).map(unknown)).collect();
        fastrand::shuffle(&mut order);
        order
    };
    (0..ROUNDS).map(order).collect()
}

fn from(request: RequestBuilder, round: usize, place: usize) -> RequestBuilder {
    request.header("x-forwarded-for", accounts::address(ADDRESSES + (round << 12) + place))
}

async fn time_request(request: RequestBuilder, expected: u16) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let response = request.send().await.context("a request could not be sent")?;
    let status = response.status();
    let body = response.bytes().await.context("a response was cut off")?;
    let time = started.elapsed();
    ensure!(status == expected, "a request was answered by {status}: {}", String::from_utf8_lossy(&body));
    Ok(time)
}

/// Response times of one round.
#[derive(Default)]
struct ResponseTimes {
    known: Vec<Duration>,
    unknown: Vec<Duration>,
}

impl ResponseTimes {
    fn note(&mut self, account: &Account, time: Duration) {
        let times = if account.exists { &mut self.known } else { &mut self.unknown };
        times.push(time);
    }
}

fn report_rounds(report: &mut Report, name: &str, rounds: &[ResponseTimes]) {
    let all = |of: fn(&ResponseTimes) -> &Vec<Duration>| rounds.iter().flat_map(of).copied().collect::<Vec<Duration>>();
    let (known, unknown) = (all(|seen| &seen.known), all(|seen| &seen.unknown));
    let area = area_under_the_curve(&known, &unknown);
    report.with_goal(format!("{name}: known accounts answered later than unknown ones"), area, "of pairs", ALIKE);
    let each: Vec<f64> = rounds.iter().map(|seen| area_under_the_curve(&seen.known, &seen.unknown)).collect();
    let Spread { min, max, .. } = Spread::of(&each);
    let (many, in_look) = (known.len(), rounds.first().map_or(0, |seen| seen.known.len()));
    report.note(format!("{name}: {many} answers of each kind; of {in_look} each, {min:.3} to {max:.3}"));
    for (kind, times) in [("known", known), ("unknown", unknown)] {
        let times: crate::stats::Times = times.into_iter().collect();
        report.figure(format!("{name}: {kind}, p50"), times.ms(0.5), "ms");
    }
}
