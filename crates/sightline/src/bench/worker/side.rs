//! A side of a comparison: something that works off a number of frames when it is told to, and what it used for them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::child::Child;
use super::super::stats::Spread;

/// What some frames cost.
#[derive(Debug, Clone, Copy)]
pub struct Spent {
    /// How many.
    pub frames: usize,
    /// Processor time.
    pub cpu: Duration,
    /// From the first to the last.
    pub wall: Duration,
}

impl Spent {
    /// Frames for each second of processor time.
    pub fn per_cpu_second(&self) -> f64 {
        self.frames as f64 / self.cpu.as_secs_f64()
    }

    /// Milliseconds of processor time for each frame.
    pub fn ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.frames as f64
    }

    /// Frames for each second.
    pub fn per_second(&self) -> f64 {
        self.frames as f64 / self.wall.as_secs_f64()
    }
}

/// What a child says when it is done.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Done {
    /// Seconds by part of the work, on the clock, of all threads together.
    pub stages: BTreeMap<String, f64>,
    /// Seconds that each call took, in the order of their length.
    pub calls: Vec<f64>,
    /// Threads that worked side by side.
    pub threads: usize,
}

/// A child that was told its work: it says `ready` once, and for each `go <frames>` it says `done <what>`.
pub struct Worked {
    child: Child,
}

impl Worked {
    /// Waits until the child is ready.
    pub async fn ready(mut child: Child) -> anyhow::Result<Self> {
        child.says("ready").await?;
        Ok(Self { child })
    }

    /// Has it work off so many frames.
    pub async fn go(&mut self, frames: usize) -> anyhow::Result<(Spent, Done)> {
        let meter = self.child.meter()?;
        let (before, begun) = (meter.cpu()?, Instant::now());
        self.child.tell(&format!("go {frames}")).await?;
        let said = self.child.line().await?;
        let (cpu, wall) = (meter.cpu()?.saturating_sub(before), begun.elapsed());
        let done = said.strip_prefix("done ").ok_or_else(|| anyhow::anyhow!("the part said {said:?}"))?;
        Ok((Spent { frames, cpu, wall }, serde_json::from_str(done)?))
    }

    /// Bytes in memory now.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.child.meter()?.resident()
    }
}

/// The child's end of [`Worked`]: says that it is ready, then does `work` for each order until there are no more.
pub async fn serve(mut work: impl AsyncFnMut(usize) -> anyhow::Result<Done>) -> anyhow::Result<()> {
    use tokio::io::AsyncBufReadExt as _;

    println!("ready");
    let mut orders = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(order) = orders.next_line().await? {
        let frames = order.strip_prefix("go ").and_then(|frames| frames.parse().ok());
        let frames = frames.ok_or_else(|| anyhow::anyhow!("{order:?} is no order"))?;
        println!("done {}", serde_json::to_string(&work(frames).await?)?);
    }
    Ok(())
}

/// The parts of the work on a frame as the worker's own meters name them, and how a report does.
pub const STAGES: [(&str, &str); 4] =
    [("decode", "decode"), ("prepare", "resize and spread"), ("run", "inference"), ("suppress", "read and suppress")];

/// Seconds by part of the work so far, of a page of metrics.
pub fn stages(metrics: &str) -> BTreeMap<String, f64> {
    let seconds = |stage: &str| {
        let line = format!("sightline_worker_stage_seconds_sum{{stage=\"{stage}\"}} ");
        metrics.lines().find_map(|found| found.strip_prefix(&line)?.parse::<f64>().ok()).unwrap_or_default()
    };
    STAGES.iter().map(|(stage, _)| ((*stage).to_owned(), seconds(stage))).collect()
}

/// Of rounds in which both were measured, one over the other.
pub fn ratio(over: &[f64], under: &[f64]) -> Spread {
    let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
    Spread::of(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_read_from_the_metrics_page_of_a_worker() {
        let page = "# TYPE sightline_worker_stage_seconds histogram\n\
                    sightline_worker_stage_seconds_bucket{stage=\"run\",le=\"0.001\"} 7\n\
                    sightline_worker_stage_seconds_sum{stage=\"run\"} 2.5\n\
                    sightline_worker_stage_seconds_count{stage=\"run\"} 100\n";
        let stages = stages(page);
        assert_eq!((stages["run"], stages["decode"]), (2.5, 0.0));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratio = ratio(&[1.0, 4.0, 9.0], &[1.0, 2.0, 10.0]);
        assert_eq!((ratio.least, ratio.median, ratio.most), (0.9, 1.0, 2.0));
    }
}
