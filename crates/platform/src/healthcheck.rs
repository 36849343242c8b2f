//! The subcommand `healthcheck` of `sightline` and of `camera`: asks the probe port of the service in the same container, so that an
//! image needs no other client.
//!
//! The program prints one line: what the service answers, or on standard error why it is not ready. The exit status is 0 or 1.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;

use crate::http::reachable;
use crate::{one_line, root_cause};

/// Asks the service in this container whether it is ready; the exit status is 0 or 1
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// Address of the service's probe port
    #[arg(long, env = "SIGHTLINE_PROBE_ADDR", default_value = "127.0.0.1:9601", value_name = "ADDRESS",
        value_parser = settings::address_or_off())]
    probe_addr: String,

    /// Ask whether the process runs (/healthz), and not whether it is ready (/readyz)
    #[arg(long)]
    live: bool,

    /// Time limit of the answer; the service itself waits up to three seconds for a dependency
    #[arg(long, default_value = "4s", value_name = "DURATION", value_parser = settings::seconds(1..=60))]
    timeout: Duration,
}

/// The body of `/healthz` and `/readyz`.
#[derive(Debug, Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    checks: BTreeMap<String, String>,
}

impl Healthcheck {
    /// Asks, and returns the line of a service that is ready.
    ///
    /// # Errors
    /// When the service is not ready, or does not answer.
    pub async fn ask(self) -> anyhow::Result<String> {
        let url = self.url()?;
        // The port is on this machine, and a proxy in the environment is for others.
        let client = reqwest::Client::builder().no_proxy().timeout(self.timeout).build()?;
        let response = client.get(&url).send().await.map_err(|error| match error.is_timeout() {
            true => anyhow::anyhow!("{url} did not answer within {:?}", self.timeout),
            false => anyhow::anyhow!("{url} cannot be reached: {}", root_cause(&error)),
        })?;
        let is_success = response.status().is_success();
        let answer: Answer =
            response.json().await.with_context(|| format!("{url} is not the probe port of a service"))?;
        let text = answer.one_line();
        if is_success { Ok(text) } else { bail!("{text}") }
    }

    fn url(&self) -> anyhow::Result<String> {
        let path = if self.live { "healthz" } else { "readyz" };
        // A service listens on all addresses; the request goes to the loopback address.
        match (self.probe_addr.as_str(), self.probe_addr.parse::<SocketAddr>()) {
            ("off", _) => {
                bail!("SIGHTLINE_PROBE_ADDR is off; set it for the service and this command, such as 127.0.0.1:9601")
            }
            (_, Ok(listening)) => Ok(format!("http://{}/{path}", reachable(listening))),
            (name, Err(_)) => Ok(format!("http://{name}/{path}")),
        }
    }
}

impl Answer {
    /// The status, and each check that did not pass.
    fn one_line(&self) -> String {
        let faults = self.checks.iter().filter(|(_, result)| *result != "ok");
        let faults: Vec<String> = faults.map(|(name, result)| format!("{name}: {result}")).collect();
        let separator = if faults.is_empty() { "" } else { "; " };
        one_line(&format_args!("{}{separator}{}", self.status, faults.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_addresses_is_asked_on_the_loopback_address() {
        let url = |probe_addr: &str, live| {
            let check = Healthcheck { probe_addr: probe_addr.to_owned(), live, timeout: Duration::from_secs(1) };
            check.url().map_err(|error| error.to_string())
        };
        for (address, expected) in [
            ("0.0.0.0:9601", "http://127.0.0.1:9601/readyz"),
            ("[::]:9601", "http://[::1]:9601/readyz"),
            ("10.0.0.5:80", "http://10.0.0.5:80/readyz"),
            ("localhost:9601", "http://localhost:9601/readyz"),
        ] {
            assert_eq!(url(address, false).as_deref(), Ok(expected));
        }
        assert!(url("127.0.0.1:1", true).unwrap().ends_with("/healthz"));
        assert!(url("off", false).unwrap_err().contains("SIGHTLINE_PROBE_ADDR"));
    }

    #[test]
    fn the_line_names_what_did_not_pass() {
        let line = |text: &str| serde_json::from_str::<Answer>(text).unwrap().one_line();
        assert_eq!(line(r#"{"status":"ok"}"#), "ok");
        assert_eq!(line(r#"{"status":"ok","checks":{"bus":"ok"}}"#), "ok");
        let answer =
            r#"{"status":"not ready","checks":{"bus":"no\nbroker","documents":"ok","redis":"degraded: full"}}"#;
        assert_eq!(line(answer), "not ready; bus: no broker; redis: degraded: full");
    }
}
