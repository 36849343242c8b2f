//! The process of a service: what every program has around its work.
//!
//! In: the settings that every program has, the checks of its dependencies, and its work. Out: the log, the metrics, the traces and the
//! operator's ports, as long as the work runs.
//!
//! Guarantees: a signal stops the work, after the delay of the port for clients, which is not ready meanwhile. Work that has not ended
//! when the time of the settings is over is an error. A failure of the work or of a port ends both. The last spans are sent.

use tokio_util::sync::CancellationToken;

use crate::config::{HttpArgs, OperatorArgs};
use crate::http::{Listener, OperatorPorts, listen};
use crate::traces::{TraceExporter, Traces};
use crate::{Health, shutdown, telemetry};

/// The process of a service, before its work begins.
pub struct Process {
    operator: OperatorArgs,
    traces: TraceExporter,
}

impl Process {
    /// Starts the log, the metrics and the export of traces.
    ///
    /// # Errors
    /// When a setting is invalid, or a log was started before.
    pub fn start(operator: OperatorArgs) -> anyhow::Result<Self> {
        telemetry::init(&operator.log, operator.log_format)?;
        telemetry::start_metrics();
        let traces = TraceExporter::start(&operator.traces)?;
        Ok(Self { operator, traces })
    }

    /// Starts the spans of a service.
    pub fn traces(&self, service: &'static str) -> Traces {
        self.traces.service(service)
    }

    /// Opens the port for clients, and runs `work` with it until a signal.
    ///
    /// # Errors
    /// That of the work; when a port cannot be opened or fails; or when the work does not end in time.
    pub async fn serve(
        self,
        clients: &HttpArgs,
        health: Health,
        work: impl AsyncFnOnce(Listener, CancellationToken) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut listener = listen(clients).await?;
        let stop = listener.leave(shutdown::on_signal()?);
        let health = health.until(listener.leaving());
        self.run_until(stop.clone(), &health, Box::pin(work(listener, stop))).await
    }

    /// Runs `work`, which has no port for clients, until a signal.
    ///
    /// # Errors
    /// As those of [`Self::serve`].
    pub async fn run(
        self,
        health: &Health,
        work: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let stop = shutdown::on_signal()?;
        self.run_until(stop.clone(), health, Box::pin(work(stop))).await
    }

    async fn run_until(
        self,
        stop: CancellationToken,
        health: &Health,
        work: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let ports = OperatorPorts::open(&self.operator, health, axum::Router::new()).await?;
        let running = async { tokio::try_join!(work, ports.serve(stop.clone())).map(drop) };
        let ended = shutdown::within(self.operator.stop_grace, stop.clone(), Box::pin(running)).await;
        self.traces.close().await;
        ended
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Settings {
        #[command(flatten)]
        operator: OperatorArgs,
    }

    /// A process without ports. The log is that of the tests.
    fn process(flags: &[&str]) -> Process {
        let Settings { operator } = Settings::parse_from([&["program", "--admin-addr", "off"], flags].concat());
        let traces = TraceExporter::start(&operator.traces).unwrap();
        Process { operator, traces }
    }

    #[tokio::test]
    async fn a_failure_of_the_work_ends_the_process() {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let ended = process(&[]).run_until(stop, &health, async { anyhow::bail!("the log refuses") }).await;
        assert_eq!(ended.unwrap_err().to_string(), "the log refuses");
    }

    #[tokio::test]
    async fn work_that_does_not_end_in_time_is_an_error() {
        let (stop, health) = (CancellationToken::new(), Health::default());
        stop.cancel();
        let ended = process(&["--stop-grace-seconds", "0"]).run_until(stop, &health, std::future::pending()).await;
        assert!(ended.unwrap_err().to_string().contains("did not finish within"));
    }

    #[tokio::test]
    async fn a_process_ends_when_its_work_has_ended_after_the_stop() {
        let (stop, health) = (CancellationToken::new(), Health::default());
        let work = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                Ok(())
            }
        };
        stop.cancel();
        process(&[]).run_until(stop, &health, work).await.unwrap();
    }
}
