//! Looks at the memory of every program, and at what the worker has finished, once a second.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::plant::Plant;

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Of each program: seconds and MB.
    pub memory: Vec<Vec<(f64, f64)>>,
    /// Seconds, and frames finished so far.
    pub done: Vec<(f64, f64)>,
}

impl Seen {
    /// Frames finished a second between two moments.
    pub fn per_second(&self, from: f64, to: f64) -> f64 {
        let within: Vec<&(f64, f64)> = self.done.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
        match (within.first(), within.last()) {
            (Some((begin, few)), Some((end, many))) if end > begin => (many - few) / (end - begin),
            _ => 0.0,
        }
    }
}

/// Looks until `stop`.
pub async fn watch(plant: &Plant, begun: Instant, mut stop: oneshot::Receiver<()>) -> anyhow::Result<Seen> {
    let mut seen = Seen { memory: vec![Vec::new(); plant.programs.len()], done: Vec::new() };
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(seen),
            _ = ticks.tick() => {}
        }
        let now = begun.elapsed().as_secs_f64();
        for (program, memory) in plant.programs.iter().zip(&mut seen.memory) {
            memory.push((now, program.meter()?.resident()? as f64 / 1e6));
        }
        seen.done.push((now, plant.done().await?));
    }
}
