//! A variant in a child process, which processes a number of frames on command, and the CPU time that it used.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::super::child::ChildProcess;
use super::super::stats::Spread;

/// CPU and wall time of a number of frames.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Number of frames.
    pub frames: usize,
    /// Processor time.
    pub cpu: Duration,
    /// Wall time.
    pub wall: Duration,
}

impl Cost {
    /// Frames per second of processor time.
    pub fn per_cpu_second(&self) -> f64 {
        self.frames as f64 / self.cpu.as_secs_f64()
    }

    /// Processor time per frame in milliseconds.
    pub fn ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.frames as f64
    }

    /// Frames per second of wall time.
    pub fn per_second(&self) -> f64 {
        self.frames as f64 / self.wall.as_secs_f64()
    }
}

/// Report of a child after each command.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct WorkDone {
    /// Wall time in seconds by part of the work, summed over all threads.
    pub stages: BTreeMap<String, f64>,
    /// Duration of each call in seconds, sorted.
    pub calls: Vec<f64>,
    /// Number of threads.
    pub threads: usize,
}

impl WorkDone {
    /// Seconds of a stage.
    ///
    /// # Errors
    /// When the child did not measure the stage: a rate of it would be infinite and meet every goal.
    pub fn seconds(&self, stage: &str) -> anyhow::Result<f64> {
        let seconds = self.stages.get(stage).copied().filter(|seconds| *seconds > 0.0);
        seconds.with_context(|| format!("the child did not measure the stage {stage:?}; it measured {:?}", self.stages))
    }
}

/// A child that prints `ready` once, and `done <report>` for each `go <frames>`.
pub struct MeasuredChild {
    child: ChildProcess,
}

impl MeasuredChild {
    /// Waits until the child is ready.
    pub async fn ready(mut child: ChildProcess) -> anyhow::Result<Self> {
        child.expect_line("ready").await?;
        Ok(Self { child })
    }

    /// Lets the child process this many frames.
    pub async fn go(&mut self, frames: usize) -> anyhow::Result<(Cost, WorkDone)> {
        let meter = self.child.meter()?;
        let (before, started) = (meter.cpu()?, Instant::now());
        self.child.send_line(&format!("go {frames}")).await?;
        let reply = self.child.read_line().await?;
        let (cpu, wall) = (meter.cpu()?.saturating_sub(before), started.elapsed());
        let done = reply.strip_prefix("done ").with_context(|| format!("unexpected reply of the child: {reply:?}"))?;
        Ok((Cost { frames, cpu, wall }, serde_json::from_str(done)?))
    }

    /// Resident memory in bytes.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.child.meter()?.resident()
    }
}

/// The child's side of [`MeasuredChild`]: prints `ready`, then runs `work` for each command.
pub async fn serve(mut work: impl AsyncFnMut(usize) -> anyhow::Result<WorkDone>) -> anyhow::Result<()> {
    use tokio::io::AsyncBufReadExt as _;

    println!("ready");
    let mut commands = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(command) = commands.next_line().await? {
        let frames = command.strip_prefix("go ").and_then(|frames| frames.parse().ok());
        let frames = frames.with_context(|| format!("unknown command {command:?}"))?;
        println!("done {}", serde_json::to_string(&work(frames).await?)?);
    }
    Ok(())
}

/// The stages of the work on a frame: the label of the worker's metric, and the name in a report.
pub const STAGES: [(&str, &str); 4] =
    [("decode", "decode"), ("prepare", "resize and spread"), ("run", "inference"), ("suppress", "read and suppress")];

/// Parses the seconds by stage from a page of metrics. 0 for a stage that the page lacks.
pub fn stages(metrics: &str) -> BTreeMap<String, f64> {
    let seconds = |stage: &str| {
        let line = format!("sightline_worker_stage_seconds_sum{{stage=\"{stage}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok()).unwrap_or_default()
    };
    STAGES.iter().map(|(stage, _)| ((*stage).to_owned(), seconds(stage))).collect()
}

/// Spread of the ratios `over[i] / under[i]`, one per round.
pub fn ratio(over: &[f64], under: &[f64]) -> Spread {
    let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_without_a_time_is_an_error() {
        let stages = BTreeMap::from([("run".to_owned(), 2.5), ("decode".to_owned(), 0.0)]);
        let done = WorkDone { stages, ..WorkDone::default() };
        assert_eq!(done.seconds("run").unwrap(), 2.5);
        for stage in ["decode", "prepare"] {
            assert!(done.seconds(stage).unwrap_err().to_string().contains(stage));
        }
    }

    #[test]
    fn the_stages_are_read_from_the_metrics_page_of_a_worker() {
        let page = "# TYPE sightline_worker_stage_seconds histogram\n\
                    sightline_worker_stage_seconds_bucket{stage=\"run\",le=\"0.001\"} 7\n\
                    sightline_worker_stage_seconds_sum{stage=\"run\"} 2.5\n\
                    sightline_worker_stage_seconds_count{stage=\"run\"} 100\n";
        let stages = stages(page);
        assert_eq!((stages["run"], stages["decode"]), (2.5, 0.0));
    }

    #[test]
    fn ratios_are_computed_per_round() {
        let ratio = ratio(&[1.0, 4.0, 9.0], &[1.0, 2.0, 10.0]);
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.9, 1.0, 2.0));
    }
}
