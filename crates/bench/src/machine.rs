//! The machine that the figures were measured on.

use std::fmt;

use serde::Serialize;

/// This machine and this program.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: f64,
    system: String,
    /// Load average over the minute before the run.
    load: f64,
    sightline: &'static str,
}

impl Machine {
    /// This machine as `/proc` describes it; unknown fields are empty.
    pub fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let first = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: (first(&field(&read("/proc/meminfo"), "MemTotal")) / f64::from(1 << 20) * 10.0).round() / 10.0,
            system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            load: first(&read("/proc/loadavg")),
            sightline: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cores, memory_gib, system, load, sightline } = self;
        write!(f, "{cpu}, {cores} cores, {memory_gib} GiB, {system}, load {load}, sightline {sightline}")
    }
}
