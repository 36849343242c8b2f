//! `sightline dlq` lists dead letters and sends them again. It talks to Kafka, or to the running `up`, which holds the embedded log.

use std::time::Duration;

use anyhow::{Context, bail};
use bus::Bus;
use bus::{KafkaArgs, TopicArgs};
use clap::{Args, Subcommand, ValueEnum};
use contracts::TopicRole;
use platform::{error_line, one_line, root_cause};
use serde::de::DeserializeOwned;

use super::{Letter, Redriven};
use crate::out;
use crate::topics::kafka;

/// Lists dead letters, or sends them again
#[derive(Debug, Args)]
pub struct Dlq {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List dead letters that were not redriven yet, oldest first
    // Without it, the usage of an error names options that are set in the environment as if they were required.
    #[command(override_usage = "sightline dlq list [OPTIONS] <frames|results|uploads|tasks>")]
    List {
        /// Topic of the originals
        #[arg(value_enum, value_name = "frames|results|uploads|tasks")]
        of: Kind,
        /// Maximum number of dead letters
        #[arg(long, default_value_t = 100, value_name = "NUMBER",
            value_parser = settings::count::<usize>(1..=1_000_000))]
        limit: usize,
        /// Print JSON, one object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        bus: BusArgs,
    },
    /// Send dead letters to their original topic again, after their cause was fixed
    #[command(override_usage = "sightline dlq redrive [OPTIONS] <frames|results|uploads|tasks>")]
    Redrive {
        /// Topic of the originals
        #[arg(value_enum, value_name = "frames|results|uploads|tasks")]
        of: Kind,
        /// Only those with this cause; the others are marked as redriven without being sent
        #[arg(long, value_name = "CODE")]
        cause: Option<String>,
        #[command(flatten)]
        bus: BusArgs,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Frames that cannot be processed
    Frames,
    /// Results that cannot be read
    Results,
    /// Uploads that cannot be read
    Uploads,
    /// Tasks of audio that cannot be read
    Tasks,
}

/// Where the dead letters are: in Kafka, or in the embedded log of a running `up`.
#[derive(Debug, Args)]
struct BusArgs {
    #[command(flatten)]
    kafka: KafkaArgs,

    #[command(flatten)]
    topics: TopicArgs,

    /// Operator's port of the running `sightline up`; not used with Kafka
    #[arg(long, env = "SIGHTLINE_ADMIN_ADDR", default_value = "127.0.0.1:9600", value_name = "ADDRESS")]
    admin_addr: String,
}

impl Kind {
    const fn role(self) -> TopicRole {
        match self {
            Self::Frames => TopicRole::FramesDlq,
            Self::Results => TopicRole::ResultsDlq,
            Self::Uploads => TopicRole::FacesUploadsDlq,
            Self::Tasks => TopicRole::MediaTasksDlq,
        }
    }
}

impl Dlq {
    /// Runs the command and prints the result.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::List { of, limit, json, bus } => {
                let letters: Vec<Letter> = match bus.kafka().await? {
                    Some(kafka) => super::list(&kafka, of.role(), limit).await?,
                    None => bus.ask(reqwest::Method::GET, &format!("dlq/{}?limit={limit}", of.role())).await?,
                };
                print(&letters, json)
            }
            Action::Redrive { of, cause, bus } => {
                let cause_query = cause.as_ref().map(|cause| format!("?cause={cause}")).unwrap_or_default();
                let done: Redriven = match bus.kafka().await? {
                    Some(kafka) => super::redrive(&kafka, of.role(), cause.as_deref()).await?,
                    None => {
                        let path = format!("dlq/{}/redrive{cause_query}", of.role());
                        bus.ask(reqwest::Method::POST, &path).await?
                    }
                };
                let Redriven { sent, left_out, unreadable } = done;
                out::line(format_args!("sent again: {sent}, left out: {left_out}, unreadable: {unreadable}"))
            }
        }
    }
}

impl BusArgs {
    async fn kafka(&self) -> anyhow::Result<Option<impl Bus + use<>>> {
        if self.kafka.kafka_brokers.is_none() {
            return Ok(None);
        }
        kafka(&self.kafka, &self.topics.load()?).await.map(Some)
    }

    async fn ask<T: DeserializeOwned>(&self, method: reqwest::Method, path: &str) -> anyhow::Result<T> {
        let url = format!("http://{}/{path}", self.admin_addr);
        let request = reqwest::Client::new().request(method, &url).timeout(Duration::from_secs(300));
        let response = request.send().await.map_err(|error| {
            let (address, cause) = (&self.admin_addr, root_cause(&error));
            anyhow::anyhow!(
                "SIGHTLINE_ADMIN_ADDR: {address} cannot be reached: {cause}; start `sightline up`, or set SIGHTLINE_KAFKA_BROKERS"
            )
        })?;
        if !response.status().is_success() {
            bail!("{}", one_line(&response.text().await.unwrap_or_default()));
        }
        response
            .json()
            .await
            .with_context(|| format!("{} is not the operator's port of a `sightline up`", self.admin_addr))
    }
}

fn print(letters: &[Letter], json: bool) -> anyhow::Result<()> {
    for letter in letters {
        if json {
            out::line(serde_json::to_string(letter)?)?;
            continue;
        }
        let id = letter.id.as_deref().unwrap_or("-");
        let Letter { at, cause, origin, message, .. } = letter;
        out::line(one_line(&format_args!("{at}  {cause}  {id}  {origin}  {message}")))?;
    }
    if letters.is_empty() {
        error_line("no dead letters are waiting");
    }
    Ok(())
}
