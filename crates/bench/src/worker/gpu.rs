//! Utilisation and memory of a GPU, sampled with `nvidia-smi`.

use std::process::Stdio;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Samples one GPU.
pub struct GpuSampler {
    process: Child,
}

/// A summary of samples taken every 0.2 s.
#[derive(Debug, Default, PartialEq)]
pub struct GpuSamples {
    /// Mean utilisation in percent.
    pub utilisation: f64,
    /// Peak memory in MiB.
    pub memory: f64,
    /// Number of samples.
    pub samples: usize,
}

impl GpuSampler {
    /// Starts to sample the GPU with this index, from 0.
    pub fn start(device: i32) -> anyhow::Result<Self> {
        let mut command = Command::new("nvidia-smi");
        command.args(["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop-ms=200"]);
        command.arg(format!("--id={device}"));
        Self::spawn(command).context("nvidia-smi cannot be started; it comes with the GPU's driver")
    }

    fn spawn(mut command: Command) -> anyhow::Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        Ok(Self { process })
    }

    /// The samples so far.
    pub async fn end(mut self) -> anyhow::Result<GpuSamples> {
        let mut output = self.process.stdout.take().context("the output of nvidia-smi")?;
        self.process.kill().await.context("nvidia-smi cannot be ended")?;
        let mut text = String::new();
        output.read_to_string(&mut text).await.context("nvidia-smi")?;
        Ok(GpuSamples::of(&text))
    }
}

impl GpuSamples {
    /// Parses lines of two numbers; other lines are skipped, because some GPUs report only one.
    fn of(text: &str) -> Self {
        let pair = |line: &str| {
            let (utilisation, memory) = line.split_once(',')?;
            Some((utilisation.trim().parse::<f64>().ok()?, memory.trim().parse::<f64>().ok()?))
        };
        let samples: Vec<(f64, f64)> = text.lines().filter_map(pair).collect();
        if samples.is_empty() {
            return Self::default();
        }
        let utilisation = samples.iter().map(|(utilisation, _)| utilisation).sum::<f64>() / samples.len() as f64;
        Self {
            utilisation,
            memory: samples.iter().map(|(_, memory)| *memory).fold(0.0, f64::max),
            samples: samples.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nvidia_smi_become_a_mean_and_a_maximum() {
        let seen = GpuSamples::of("91, 1520\n 89, 1980\n[N/A], 5\n\n90, 1700\n");
        assert_eq!(seen, GpuSamples { utilisation: 90.0, memory: 1980.0, samples: 3 });
        assert_eq!(GpuSamples::of("No devices were found\n"), GpuSamples::default());
    }

    #[tokio::test]
    async fn samples_printed_before_the_end_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let script = format!("echo '80, 100'; echo '60, 300'; : > {}; exec sleep 600", ready.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let sampler = GpuSampler::spawn(command).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(120), async {
            while !ready.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(sampler.end().await.unwrap(), GpuSamples { utilisation: 70.0, memory: 300.0, samples: 2 });
    }
}
