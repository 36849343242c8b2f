//! Utilisation and memory of a GPU, sampled with `nvidia-smi`.

use std::process::Stdio;

use anyhow::Context;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

/// Samples one GPU.
pub struct Watch {
    process: Child,
}

/// Samples at intervals of 0.2 s.
#[derive(Debug, Default, PartialEq)]
pub struct Seen {
    /// Mean utilisation in percent.
    pub busy: f64,
    /// Peak memory in MiB.
    pub memory: f64,
    /// Number of samples.
    pub looks: usize,
}

impl Watch {
    /// Starts to sample the GPU with this index, from 0.
    pub fn gpu(device: i32) -> anyhow::Result<Self> {
        let mut command = Command::new("nvidia-smi");
        command.args(["--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits", "--loop-ms=200"]);
        command.arg(format!("--id={device}"));
        Self::start(command).context("nvidia-smi cannot be started; it comes with the GPU's driver")
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        Ok(Self { process })
    }

    /// The samples so far.
    pub async fn end(mut self) -> anyhow::Result<Seen> {
        let mut output = self.process.stdout.take().context("the output of nvidia-smi")?;
        self.process.kill().await.context("nvidia-smi cannot be ended")?;
        let mut text = String::new();
        output.read_to_string(&mut text).await.context("nvidia-smi")?;
        Ok(Seen::of(&text))
    }
}

impl Seen {
    /// Parses lines of two numbers; other lines are skipped, because some GPUs report only one.
    fn of(text: &str) -> Self {
        let pair = |line: &str| {
            let (busy, memory) = line.split_once(',')?;
            Some((busy.trim().parse::<f64>().ok()?, memory.trim().parse::<f64>().ok()?))
        };
        let looks: Vec<(f64, f64)> = text.lines().filter_map(pair).collect();
        if looks.is_empty() {
            return Self::default();
        }
        let busy = looks.iter().map(|(busy, _)| busy).sum::<f64>() / looks.len() as f64;
        Self { busy, memory: looks.iter().map(|(_, memory)| *memory).fold(0.0, f64::max), looks: looks.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_nvidia_smi_become_a_mean_and_a_maximum() {
        let seen = Seen::of("91, 1520\n 89, 1980\n[N/A], 5\n\n90, 1700\n");
        assert_eq!(seen, Seen { busy: 90.0, memory: 1980.0, looks: 3 });
        assert_eq!(Seen::of("No devices were found\n"), Seen::default());
    }

    #[tokio::test]
    async fn what_a_program_printed_before_its_end_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let ready = place.path().join("ready");
        let script = format!("echo '80, 100'; echo '60, 300'; : > {}; exec sleep 600", ready.display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        let watch = Watch::start(command).unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(120), async {
            while !ready.exists() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(watch.end().await.unwrap(), Seen { busy: 70.0, memory: 300.0, looks: 2 });
    }
}
