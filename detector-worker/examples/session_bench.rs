//! Compares ways to spend the cores on inference, on files of yours:
//! `cargo run --release -p detector-worker --example session_bench -- MODELS_DIR SECONDS FILE...`
//!
//! Each way runs detectors over the pictures for so many seconds and prints pictures per second and per second of CPU
//! time: first decoding each picture anew, as `tests/reference/loop.py` does in Python, then with decoded pictures alone.
//! The figures behind `docs/decisions/inference-threads.md` come from here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use detector_worker::media::{self, DecodeLimits};
use detector_worker::model::Picture;
use detector_worker::registry::Registry;
use detector_worker::runtime::RuntimeOptions;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let models_dir = arguments.next().context("name the models folder")?;
    let seconds = arguments.next().context("say for how many seconds")?.parse()?;
    let pictures = arguments.map(|path| picture(&path)).collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(!pictures.is_empty(), "name at least one picture");
    let cores = std::thread::available_parallelism()?.get();
    println!("{:<34} {:>10} {:>16}", "", "pictures/s", "pictures/CPU-s");
    for (decodes, workers, session_threads) in
        [(true, 1, 1), (false, 1, 1), (false, cores, 1), (false, 1, cores), (false, cores, cores)]
    {
        let options = RuntimeOptions { session_threads, ..RuntimeOptions::cpu(&models_dir) };
        let (rate, per_cpu) = measure(&options, workers, decodes, Duration::from_secs(seconds), &pictures)?;
        let decoding = if decodes { "decode, " } else { "" };
        let way = format!("{decoding}{workers} session(s) of {session_threads} thread(s)");
        println!("{way:<34} {rate:>10.1} {per_cpu:>16.1}");
    }
    Ok(())
}

fn picture(path: &str) -> anyhow::Result<Arc<Picture>> {
    let encoded = std::fs::read(path).with_context(|| path.to_owned())?;
    decoded(encoded.into()).with_context(|| path.to_owned())
}

fn decoded(encoded: Bytes) -> anyhow::Result<Arc<Picture>> {
    let media_type = media::probe(&encoded)?.format.media_type();
    let image = media::decode(&encoded, &DecodeLimits::default())?;
    Ok(Arc::new(Picture { image, encoded, media_type }))
}

fn measure(
    options: &RuntimeOptions,
    workers: usize,
    decodes: bool,
    length: Duration,
    pictures: &[Arc<Picture>],
) -> anyhow::Result<(f64, f64)> {
    let registry = Registry::built_in()?;
    let face = "face".parse()?;
    let done = AtomicUsize::new(0);
    let (start, cpu) = (Instant::now(), cpu_time()?);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                let (registry, done, face) = (&registry, &done, &face);
                scope.spawn(move || -> anyhow::Result<()> {
                    let mut detector = registry.open(face, options)?;
                    for picture in pictures.iter().cycle().skip(worker) {
                        if start.elapsed() > length {
                            break;
                        }
                        let picture = if decodes { decoded(picture.encoded.clone())? } else { picture.clone() };
                        detector.detect(&[picture]).remove(0)?;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("a worker panicked")))
    })?;
    let done = done.load(Ordering::Relaxed) as f64;
    Ok((done / start.elapsed().as_secs_f64(), done / (cpu_time()? - cpu).as_secs_f64()))
}

/// CPU time of this process so far, from the kernel's own count of 1/100 seconds.
fn cpu_time() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields
        .get(11..13)
        .context("/proc/self/stat is short")?
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}
