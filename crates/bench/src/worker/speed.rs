//! CPU time per frame of the worker, compared with the sum of its parts and with a Python loop; and the gain of a second process.

use std::collections::BTreeMap;

use super::super::report::{Goal, Report};
use super::super::stats::Spread;
use super::Setup;
use super::cluster::{Cluster, Start};
use super::images;
use super::measured::{Cost, MeasuredChild, STAGES, WorkDone, ratio};
use super::peer::Peer;

const KAFKA: &str = "worker on Kafka";
const KAFKA_BARE: &str = "worker on Kafka, no images kept";
const EMBEDDED: &str = "worker on the embedded log";
const LOG: &str = "embedded log alone";
const PARTS: &str = "parts";
const PYTHON: &str = "Python loop";

/// CPU time of every variant by round.
#[derive(Default)]
struct Rounds {
    costs: BTreeMap<&'static str, Vec<Cost>>,
    parts: WorkDone,
}

/// The variants.
struct Variants {
    embedded: MeasuredChild,
    log: MeasuredChild,
    parts: MeasuredChild,
    kafka: Option<(Cluster, Cluster)>,
    python: Option<Peer>,
}

/// Measures the worker, its parts and the Python loop alternately.
pub async fn compare(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, frames) = setup.run_length.pick((9, setup.whole(180)), (3, setup.whole(60)));
    report.setting("rounds", rounds);
    report.setting("frames_in_a_round", frames);
    let mut variants = Variants::start(setup, report).await?;
    let mut all = Rounds::default();
    for _ in 0..rounds {
        variants.round(frames, &mut all).await?;
    }
    if let Some((usual, bare)) = variants.kafka {
        usual.end().await?;
        bare.end().await?;
    }
    report.setting("sessions_threads_and_loops", all.parts.threads);
    all.write(report);
    Ok(())
}

impl Variants {
    async fn start(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<Self> {
        let images = setup.images.display().to_string();
        let folder = |name: &str| setup.path(name).display().to_string();
        let state = |name: &str| ("SIGHTLINE_WORKER_STATE_DIR", folder(name));
        let (embedded, log) = (folder("embedded"), folder("log"));
        let embedded = setup.child(&["worker-pipeline", &images, &embedded], &[state("embedded-state")])?;
        let log = setup.child(&["worker-pipeline", "--log-alone", &images, &log], &[])?;
        let parts = setup.child(&["worker-stages", "--decode", &images], &[])?;
        let kafka = match setup.kafka.brokers() {
            Err(error) => {
                report.note(format!("Not measured on Kafka: {error}."));
                None
            }
            Ok(_) => Some((
                Cluster::start(setup.on_kafka("kafka", &[])?, &[None]).await?,
                Cluster::start(setup.on_kafka("bare", &[("SIGHTLINE_KEEP_IMAGES", "false".to_owned())])?, &[None])
                    .await?,
            )),
        };
        let models = setup.path("models");
        let python = Peer::find(&setup.bench.reference, &models, &setup.model, images::paths(&setup.images)?);
        if let Err(error) = &python {
            report.note(format!("Not compared with the Python loop: {error:#}."));
        }
        let (embedded, log, parts) = (
            MeasuredChild::ready(embedded).await?,
            MeasuredChild::ready(log).await?,
            MeasuredChild::ready(parts).await?,
        );
        Ok(Self { embedded, log, parts, kafka, python: python.ok() })
    }

    async fn round(&mut self, frames: usize, all: &mut Rounds) -> anyhow::Result<()> {
        if let Some((usual, bare)) = &mut self.kafka {
            all.add(KAFKA, usual.go(frames).await?.0);
            all.add(KAFKA_BARE, bare.go(frames).await?.0);
        }
        let (cost, done) = self.parts.go(frames).await?;
        all.add(PARTS, cost);
        for (stage, seconds) in done.stages {
            *all.parts.stages.entry(stage).or_default() += seconds;
        }
        // Threads: the number of the worker's sessions, which is also the number of Python loops.
        all.parts.threads = done.threads;
        all.add(EMBEDDED, self.embedded.go(frames).await?.0);
        // More frames than elsewhere: they cost little, and CPU time has a resolution of 10 ms.
        all.add(LOG, self.log.go(10 * frames).await?.0);
        if let Some(python) = &self.python {
            all.add(PYTHON, python.go(frames, done.threads).await?);
        }
        Ok(())
    }
}

impl Setup<'_> {
    /// Settings of workers on Kafka, with state and topics in a folder of this name.
    fn on_kafka(&self, name: &str, more: &[(&'static str, String)]) -> anyhow::Result<Start<'_>> {
        let settings = [&self.settings[..], more].concat();
        let images = images::read(&self.images)?;
        Ok(Start { kafka: self.kafka, settings, detector: &self.detector, images, folder: self.path(name) })
    }
}

impl Rounds {
    fn add(&mut self, variant: &'static str, cost: Cost) {
        self.costs.entry(variant).or_default().push(cost);
    }

    fn of(&self, variant: &str, value: impl Fn(&Cost) -> f64) -> Vec<f64> {
        self.costs.get(variant).into_iter().flatten().map(value).collect()
    }

    fn ms(&self, variant: &str) -> f64 {
        Spread::of(&self.of(variant, Cost::ms)).median
    }

    fn write(&self, report: &mut Report) {
        for variant in [KAFKA, KAFKA_BARE, EMBEDDED, PARTS, PYTHON] {
            let rates = self.of(variant, Cost::per_cpu_second);
            if !rates.is_empty() {
                report.figure(format!("{variant}: frames"), Spread::of(&rates).median, "frames/CPU-s");
            }
        }
        let (on_kafka, worker) = if self.costs.contains_key(KAFKA) { (true, KAFKA) } else { (false, EMBEDDED) };
        self.ratios(report, on_kafka);
        self.stages(report, worker);
    }

    /// The goal applies to the worker, so the CPU time of the embedded log is subtracted.
    fn ratios(&self, report: &mut Report, on_kafka: bool) {
        let rate = Cost::per_cpu_second;
        let log = self.of(LOG, Cost::ms);
        let apart: Vec<f64> =
            self.of(EMBEDDED, Cost::ms).iter().zip(&log).map(|(all, log)| 1e3 / (all - log)).collect();
        for (under, goal) in [(PARTS, 0.95), (PYTHON, 1.1)] {
            let under_rates = self.of(under, rate);
            let mut add = |name: String, rates: &[f64], has_goal: bool| {
                if rates.is_empty() || under_rates.is_empty() {
                    return;
                }
                let Spread { min, median, max } = ratio(rates, &under_rates);
                let name = format!("{name} ÷ {under}");
                if has_goal {
                    report.with_goal(&name, median, "", Goal::AtLeast(goal));
                } else {
                    report.figure(&name, median, "");
                }
                report.figure(format!("{name}, least"), min, "");
                report.figure(format!("{name}, most"), max, "");
            };
            add(KAFKA.to_owned(), &self.of(KAFKA, rate), true);
            add(KAFKA_BARE.to_owned(), &self.of(KAFKA_BARE, rate), false);
            add(EMBEDDED.to_owned(), &self.of(EMBEDDED, rate), false);
            add(format!("{EMBEDDED}, the log apart"), &apart, !on_kafka);
        }
    }

    /// The cost of each part, and of the rest of the worker.
    fn stages(&self, report: &mut Report, worker: &str) {
        let (whole, alone) = (self.ms(worker), self.ms(PARTS));
        let clock: f64 = self.parts.stages.values().sum();
        let mut row = |name: &str, ms: f64| {
            report.figure(format!("a frame, {name}"), ms, "ms CPU");
            report.figure(format!("a frame, {name}, share"), 100.0 * ms / whole, "% of the worker");
        };
        for (stage, name) in STAGES {
            row(name, alone * self.parts.stages.get(stage).copied().unwrap_or_default() / clock);
        }
        row(&format!("rest of the {worker}"), whole - alone);
        if self.costs.contains_key(KAFKA_BARE) {
            row("of it, keeping images", whole - self.ms(KAFKA_BARE));
        }
        row("embedded log", self.ms(LOG));
    }
}

/// Compares one process (one session, one thread) with two.
pub async fn scale(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    if setup.kafka.brokers().is_err() || cores < 2 || !has_taskset() {
        report.note("Two processes against one: needs Kafka, two cores and the program taskset.");
        return Ok(());
    }
    let (rounds, frames) = setup.run_length.pick((7, setup.whole(360)), (2, setup.whole(90)));
    let threads = ["SIGHTLINE_INFERENCE_THREADS", "SIGHTLINE_DECODE_THREADS"].map(|name| (name, "1".to_owned()));
    let last = cores - 1;
    let mut one = Cluster::start(setup.on_kafka("one", &threads)?, &[Some(last)]).await?;
    let mut two = Cluster::start(setup.on_kafka("two", &threads)?, &[Some(last - 1), Some(last)]).await?;
    let (mut rates, mut costs) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        let ((alone, alone_rate), (both, both_rate)) = (one.go(frames).await?, two.go(2 * frames).await?);
        rates.0.push(alone_rate);
        rates.1.push(both_rate);
        costs.0.push(alone.per_cpu_second());
        costs.1.push(both.per_cpu_second());
    }
    one.end().await?;
    two.end().await?;
    let (scaling, cost) = (ratio(&rates.1, &rates.0), ratio(&costs.1, &costs.0));
    report.figure("one process, one session of one thread", Spread::of(&rates.0).median, "frames/s");
    report.figure("two processes", Spread::of(&rates.1).median, "frames/s");
    report.with_goal("two processes ÷ one", scaling.median, "", Goal::AtLeast(1.9));
    report.figure("two processes ÷ one, least", scaling.min, "");
    report.figure("two processes ÷ one, most", scaling.max, "");
    report.figure("two processes ÷ one, of what their CPU time would give on idle cores", 2.0 * cost.median, "");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    report.note(format!(
        "Two processes against one needs two idle cores beside those of Kafka and of this bench; here are {cores}, load {}.",
        load.split_whitespace().next().unwrap_or("unknown")
    ));
    Ok(())
}

fn has_taskset() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join("taskset").is_file())
}
