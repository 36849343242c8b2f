//! Whether the time of an answer tells an account that there is from one that there is not.
//!
//! As many accounts of either kind are asked about, each a few times, one question at a time, in an order left to chance, so
//! that whatever else the machine does, and what is left of the question before, falls on both. Every question comes from
//! another address and none too often, so that no throttle answers.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::RequestBuilder;
use serde_json::json;

use super::accounts;
use super::mailbox::Mailbox;
use crate::bench::latency::stack::Stack;
use crate::bench::report::{Goal, Report};
use crate::bench::stats::{Spread, area_under_the_curve};

/// How often each account is asked about: no more mails go to one within minutes. Of 1,500 answers of either kind, chance alone
/// moves one run in a million out of what is promised; of 500, one in 160.
pub const LOOKS: usize = 3;
/// A half is what coins tell.
const ALIKE: Goal = Goal::Within(0.45, 0.55);
/// What is done about a question after it was answered must not fall on the next one.
const PAUSE: Duration = Duration::from_millis(5);
/// How long a mail may take.
const MAIL: Duration = Duration::from_secs(30);
/// Questions come from addresses that the flood did not use.
const ADDRESSES: usize = 0x00ff_0000;

/// Sign-ins, all with a wrong password.
pub async fn sign_in(report: &mut Report, stack: &Stack, many: usize) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut looks = Vec::new();
    for (look, order) in orders(many).into_iter().enumerate() {
        let mut seen = Seen::default();
        for (place, account) in order.into_iter().enumerate() {
            let form = [("grant_type", "password"), ("username", &account.name), ("password", "not the password")];
            let request = http.post(format!("{}/v1/token", stack.url)).form(&form);
            seen.note(&account, answered(from(request, look, place), 400).await?);
            tokio::time::sleep(PAUSE).await;
        }
        looks.push(seen);
    }
    told(report, "sign-in", &looks);
    Ok(())
}

/// Requests for a mail with which to set a new password.
pub async fn reset(report: &mut Report, stack: &Stack, mailbox: &Mailbox, many: usize) -> anyhow::Result<()> {
    let http = reqwest::Client::builder().no_proxy().build()?;
    let mut looks = Vec::new();
    for (look, order) in orders(many).into_iter().enumerate() {
        let mut seen = Seen::default();
        for (place, account) in order.into_iter().enumerate() {
            let email = json!({"email": accounts::email(&account.name)});
            let request = http.post(format!("{}/v1/password/forgot", stack.url)).json(&email);
            seen.note(&account, answered(from(request, look, place), 202).await?);
            let mails = look * many + seen.known.len();
            tokio::time::timeout(MAIL, mailbox.after(mails)).await.context("a mail was not sent")??;
            tokio::time::sleep(PAUSE).await;
        }
        looks.push(seen);
    }
    ensure!(mailbox.mails() == LOOKS * many, "{} mails for {LOOKS} requests of {many} accounts", mailbox.mails());
    told(report, "reset", &looks);
    Ok(())
}

struct Account {
    name: String,
    exists: bool,
}

/// Of every look, in which order who is asked about.
fn orders(many: usize) -> Vec<Vec<Account>> {
    let known = |number| Account { name: accounts::name(number), exists: true };
    let unknown = |number| Account { name: accounts::nobody(number), exists: false };
    let order = |_| {
        let mut order: Vec<Account> = (0..many).map(known).chain((0..many).map(unknown)).collect();
        fastrand::shuffle(&mut order);
        order
    };
    (0..LOOKS).map(order).collect()
}

fn from(request: RequestBuilder, look: usize, place: usize) -> RequestBuilder {
    request.header("x-forwarded-for", accounts::address(ADDRESSES + (look << 12) + place))
}

async fn answered(request: RequestBuilder, expected: u16) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let answer = request.send().await.context("a question found no server")?;
    let status = answer.status();
    let body = answer.bytes().await.context("an answer broke off")?;
    let time = begun.elapsed();
    ensure!(status == expected, "a question was answered by {status}: {}", String::from_utf8_lossy(&body));
    Ok(time)
}

/// How long answers took in one look.
#[derive(Default)]
struct Seen {
    known: Vec<Duration>,
    unknown: Vec<Duration>,
}

impl Seen {
    fn note(&mut self, account: &Account, time: Duration) {
        let times = if account.exists { &mut self.known } else { &mut self.unknown };
        times.push(time);
    }
}

fn told(report: &mut Report, name: &str, looks: &[Seen]) {
    let all = |of: fn(&Seen) -> &Vec<Duration>| looks.iter().flat_map(of).copied().collect::<Vec<Duration>>();
    let (known, unknown) = (all(|seen| &seen.known), all(|seen| &seen.unknown));
    let area = area_under_the_curve(&known, &unknown);
    report.promised(format!("{name}: known accounts answered later than unknown ones"), area, "of pairs", ALIKE);
    let each: Vec<f64> = looks.iter().map(|seen| area_under_the_curve(&seen.known, &seen.unknown)).collect();
    let Spread { least, most, .. } = Spread::of(&each);
    let (many, in_look) = (known.len(), looks.first().map_or(0, |seen| seen.known.len()));
    report.note(format!("{name}: {many} answers of each kind; of {in_look} each, {least:.3} to {most:.3}"));
    for (kind, times) in [("known", known), ("unknown", unknown)] {
        let times: crate::bench::stats::Times = times.into_iter().collect();
        report.figure(format!("{name}: {kind}, p50"), times.ms(0.5), "ms");
    }
}
