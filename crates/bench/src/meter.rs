//! Processor time and memory of a process, from `/proc`.

use std::time::Duration;

use anyhow::Context;

/// A process to measure.
#[derive(Debug, Clone, Copy)]
pub struct Meter {
    pid: u32,
}

impl Meter {
    /// The process with this id.
    pub const fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Processor time so far, user and system, of all threads including ended ones; resolution 10 ms.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The name in brackets may contain spaces, so fields are counted after it.
        let (_, fields) = stat.rsplit_once(") ").context("/proc/…/stat has another form here")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u64 = fields
            .get(11..13)
            .context("/proc/…/stat is short")?
            .iter()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        // The kernel reports hundredths of a second here.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Resident memory in bytes.
    pub fn resident(self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// Peak resident memory in bytes.
    pub fn peak(self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(self, name: &str) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let line = status.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024)
    }

    fn read(self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read; the benches need Linux"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_and_memory_are_measured() {
        let meter = Meter::of(std::process::id());
        let (before, started) = (meter.cpu().unwrap(), Instant::now());
        // Repeats until the kernel has updated its counters.
        while meter.cpu().unwrap() < before + Duration::from_millis(50) {
            assert!(started.elapsed() < Duration::from_secs(120), "no processor time was counted");
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
        let resident = meter.resident().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let with_block = meter.resident().unwrap();
        assert!(with_block > resident + (48 << 20), "{} bytes were not seen", block.len());
        // Read second, because other tests of this process allocate meanwhile.
        assert!(meter.peak().unwrap() >= with_block);
    }
}
