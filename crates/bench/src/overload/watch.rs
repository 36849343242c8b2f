//! Samples the memory of every process, and the worker's finished frames, once a second.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::limited_services::LimitedServices;

/// The samples.
#[derive(Debug, Default)]
pub struct MemorySamples {
    /// For each process: seconds and MB.
    pub memory: Vec<Vec<(f64, f64)>>,
    /// Seconds and finished frames.
    pub done: Vec<(f64, f64)>,
}

impl MemorySamples {
    /// Frames finished per second between two times in seconds.
    pub fn per_second(&self, from: f64, to: f64) -> f64 {
        let within: Vec<&(f64, f64)> = self.done.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
        match (within.first(), within.last()) {
            (Some((begin, few)), Some((end, many))) if end > begin => (many - few) / (end - begin),
            _ => 0.0,
        }
    }
}

/// Samples until `stop`.
pub async fn watch(
    services: &LimitedServices,
    started: Instant,
    mut stop: oneshot::Receiver<()>,
) -> anyhow::Result<MemorySamples> {
    let mut seen = MemorySamples { memory: vec![Vec::new(); services.programs.len()], done: Vec::new() };
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = &mut stop => return Ok(seen),
            _ = ticks.tick() => {}
        }
        let now = started.elapsed().as_secs_f64();
        for (program, memory) in services.programs.iter().zip(&mut seen.memory) {
            memory.push((now, program.meter()?.resident()? as f64 / 1e6));
        }
        seen.done.push((now, services.done().await?));
    }
}
