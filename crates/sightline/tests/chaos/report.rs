//! The report of a run: its size, the faults by kind, the verdict, and the recovery times.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::plan::Program;
use crate::run::{Recovery, Size};
use crate::sent_frames::{Alerts, Verification};

/// Goal for the first result after a restart.
const RESTART_GOAL: Duration = Duration::from_secs(5);

/// A report, displayed as Markdown.
pub struct Report {
    pub size: Size,
    pub recoveries: Vec<Recovery>,
    pub verification: Verification,
    /// How often each service ended by itself and was started again.
    pub ended: BTreeMap<Program, u32>,
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { seed, frames, faults, rate } = self.size;
        writeln!(f, "# A fault run\n")?;
        writeln!(
            f,
            "`scripts/chaos --seed {seed} --frames {frames} --faults {faults} --rate {rate}`, on {}.\n",
            machine()
        )?;
        self.overview(f)?;
        self.documents(f)?;
        self.restarts(f)?;
        self.by_kind(f)
    }
}

impl Report {
    fn overview(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = if self.is_clean() { "nothing was lost or repeated" } else { "**the guarantee was broken**" };
        let ended: Vec<String> = self
            .ended
            .iter()
            .filter(|(_, times)| **times > 0)
            .map(|(program, times)| format!("{} {times} times", program.name()))
            .collect();
        let ended = if ended.is_empty() { "none".to_owned() } else { ended.join(", ") };
        writeln!(
            f,
            "In {:.0} s {} frames were acknowledged and {} faults happened: {clean}. Services that ended by themselves and \
             were started again: {ended}.\n",
            self.took.as_secs_f64(),
            self.verification.acknowledged,
            self.recoveries.len()
        )
    }

    fn is_clean(&self) -> bool {
        let Verification { documents, alerts, .. } = &self.verification;
        documents.are_clean() && alerts.iter().all(Alerts::are_clean) && self.verification.dead_letters() == 0
    }

    fn documents(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verification { acknowledged, documents, alerts, topics } = &self.verification;
        writeln!(f, "## What clients see\n")?;
        writeln!(f, "| documents | |\n|---|---:|")?;
        writeln!(f, "| frames acknowledged | {acknowledged} |")?;
        writeln!(f, "| results | {} |", documents.results)?;
        writeln!(f, "| detections (one in each image) | {} |", documents.detections)?;
        writeln!(f, "| acknowledged and lost | {} |", documents.missing)?;
        writeln!(f, "| twice | {} |", documents.duplicates)?;
        writeln!(f, "| never acknowledged | {} |", documents.unknown)?;
        writeln!(f, "| not what was in the image | {} |\n", documents.wrong.len())?;
        writeln!(
            f,
            "| subscriber | alerts due | disconnects by the test | other disconnects | lost | twice | not due |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|---:|")?;
        for Alerts { name, expected, own_disconnects, other_disconnects, missing, repeated, unknown } in alerts {
            let (missing, repeated, unknown) = (missing.len(), repeated.len(), unknown.len());
            writeln!(
                f,
                "| {name} | {expected} | {own_disconnects} | {other_disconnects} | {missing} | {repeated} | {unknown} |"
            )?;
        }
        writeln!(f, "\nThe log may contain duplicate records; consumers drop them by their ids.\n")?;
        writeln!(f, "| topic | records | duplicates |\n|---|---:|---:|")?;
        for topic in topics {
            writeln!(f, "| {} | {} | {} |", topic.role.as_str(), topic.records, topic.records - topic.distinct)?;
        }
        writeln!(f)
    }

    fn restarts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restarts: Vec<&Recovery> = self.recoveries.iter().filter(|recovery| recovery.fault.is_restart()).collect();
        let soon = restarts.iter().filter(|recovery| recovery.first <= RESTART_GOAL).count();
        writeln!(f, "## First result after a restart\n")?;
        writeln!(
            f,
            "{soon} of {} restarts had their first result within {} s.\n",
            restarts.len(),
            RESTART_GOAL.as_secs()
        )?;
        writeln!(
            f,
            "Measured from the start of the new process (for Kafka and MongoDB: from the moment when they were ready) until the results \
             of a frame that was sent at that moment could be read: the first of four such frames, and the last.\n"
        )?;
        table(f, restarts.into_iter())
    }

    fn by_kind(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n## First result after other faults\n")?;
        writeln!(f, "Measured from the end of the fault. For half-open, which has no end: from its beginning.\n")?;
        table(f, self.recoveries.iter().filter(|recovery| !recovery.fault.is_restart()))
    }
}

fn table<'a>(f: &mut fmt::Formatter<'_>, recoveries: impl Iterator<Item = &'a Recovery>) -> fmt::Result {
    let mut kinds: BTreeMap<(&str, String), Vec<&Recovery>> = BTreeMap::new();
    for recovery in recoveries {
        kinds.entry(recovery.fault.kind()).or_default().push(recovery);
    }
    writeln!(f, "| fault | of | times | first: median | first: max | last: median | last: max |")?;
    writeln!(f, "|---|---|---:|---:|---:|---:|---:|")?;
    for ((kind, whom), recoveries) in kinds {
        let seconds = |of: fn(&Recovery) -> Duration| {
            let mut all: Vec<Duration> = recoveries.iter().map(|recovery| of(recovery)).collect();
            all.sort_unstable();
            format!("{:.1} s | {:.1} s", all[all.len() / 2].as_secs_f64(), all[all.len() - 1].as_secs_f64())
        };
        let (first, last) = (seconds(|recovery| recovery.first), seconds(|recovery| recovery.last));
        writeln!(f, "| {kind} | {whom} | {} | {first} | {last} |", recoveries.len())?;
    }
    Ok(())
}

/// Processor, cores, memory and load.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?.split_once(':')?.1.trim().to_owned();
        Some(line)
    };
    let processor = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "an unnamed processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let gigabytes = memory.split(' ').next().and_then(|kilobytes| kilobytes.parse::<u64>().ok()).unwrap_or(0) >> 20;
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!("{processor}, {cores} cores, {gigabytes} GiB, load {} at the end", load.join(" "))
}
