//! Measurements of sessions and threads, of batch sizes, of the worker's rate as a share of `session.run`, and of memory.

use super::super::report::{Goal, Report};
use super::super::stats::Spread;
use super::gpu::GpuSampler;
use super::measured::MeasuredChild;
use super::{Setup, images};
use vision::runtime::ExecutionProvider;

/// The batch size with the highest rate of `session.run` alone.
pub struct FastestBatch {
    batch: usize,
    /// Images per second.
    per_second: f64,
}

/// Compares numbers of sessions and threads on decoded images.
pub async fn sessions(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let images = setup.images.display().to_string();
    let (rounds, frames) = setup.run_length.pick((5, setup.whole(180)), (1, setup.whole(60)));
    let combinations = [(1, 1), (cores, 1), (1, cores), (cores, cores)];
    let mut variants = Vec::new();
    for (sessions, threads) in combinations {
        let settings =
            [("SIGHTLINE_INFERENCE_THREADS", sessions.to_string()), ("SIGHTLINE_SESSION_THREADS", threads.to_string())];
        variants.push((
            MeasuredChild::ready(setup.child(&["worker-stages", &images], &settings)?).await?,
            Vec::new(),
            Vec::new(),
        ));
    }
    for _ in 0..rounds {
        for (variant, rates, costs) in &mut variants {
            let (cost, _) = variant.go(frames).await?;
            rates.push(cost.per_second());
            costs.push(cost.per_cpu_second());
        }
    }
    for ((sessions, threads), (_, rates, costs)) in combinations.into_iter().zip(&variants) {
        let name = format!("{sessions} session(s) of {threads} thread(s), decoded images");
        report.figure(&name, Spread::of(rates).median, "images/s");
        report.figure(name, Spread::of(costs).median, "images/CPU-s");
    }
    Ok(())
}

/// Measures batches of images of one size: the duration of a call and the rate of `session.run` alone.
pub async fn batches(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<FastestBatch> {
    let folder = setup.path("uniform");
    images::uniform(&setup.images, &folder)?;
    let folder = folder.display().to_string();
    let calls = setup.run_length.pick(150, 20);
    let mut fastest = FastestBatch { batch: 1, per_second: 0.0 };
    let (mut latency, mut throughput) = (Vec::new(), Vec::new());
    for &batch in &setup.bench.batch {
        anyhow::ensure!(batch > 0, "--batch: sizes are 1 or more");
        let settings = [("SIGHTLINE_BATCH_SIZE", batch.to_string()), ("SIGHTLINE_INFERENCE_THREADS", "1".to_owned())];
        let mut variant = MeasuredChild::ready(setup.child(&["worker-stages", &folder], &settings)?).await?;
        let (cost, done) = variant.go(batch * calls).await?;
        let percentile_ms =
            |share: f64| done.calls[((share * done.calls.len() as f64) as usize).min(done.calls.len() - 1)] * 1e3;
        let per_second = cost.frames as f64 / done.seconds("run")?;
        report.figure(format!("batch of {batch}, 640x480, a call, p50"), percentile_ms(0.5), "ms");
        report.figure(format!("batch of {batch}, 640x480, a call, p99"), percentile_ms(0.99), "ms");
        report.figure(format!("batch of {batch}, 640x480, session.run alone"), per_second, "images/s");
        latency.push((batch as f64, percentile_ms(0.5)));
        throughput.push((batch as f64, per_second));
        if per_second > fastest.per_second {
            fastest = FastestBatch { batch, per_second };
        }
    }
    report.series("a call, p50", "batch size", "ms", latency);
    report.series("session.run alone", "batch size", "images/s", throughput);
    Ok(fastest)
}

/// Measures the whole worker on images of one size: its images per second divided by those of `session.run` alone.
pub async fn share(setup: &Setup<'_>, fastest: FastestBatch, report: &mut Report) -> anyhow::Result<()> {
    let on_gpu = setup.bench.models.onnx.execution_provider != ExecutionProvider::Cpu;
    let folder = setup.path("uniform").display().to_string();
    let log = setup.path("share").display().to_string();
    // One session, as in the measurement of `session.run`, so that the rates are comparable.
    let settings = [
        ("SIGHTLINE_WORKER_STATE_DIR", setup.path("share-state").display().to_string()),
        ("SIGHTLINE_INFERENCE_THREADS", "1".to_owned()),
        ("SIGHTLINE_BATCH_SIZE", fastest.batch.to_string()),
    ];
    let mut worker = MeasuredChild::ready(setup.child(&["worker-pipeline", &folder, &log], &settings)?).await?;
    let seconds = setup.run_length.pick(30.0, 5.0);
    let frames = ((fastest.per_second * seconds) as usize).clamp(50, 50_000);
    worker.go(frames / 5).await?;
    let sampler = if on_gpu { Some(GpuSampler::start(setup.bench.models.onnx.gpu_device)?) } else { None };
    let (cost, _) = worker.go(frames).await?;
    let name = format!("worker on the embedded log, batches of {}, 640x480, one session", fastest.batch);
    report.figure(&name, cost.per_second(), "frames/s");
    let share = cost.per_second() / fastest.per_second;
    let Some(sampler) = sampler else {
        report.figure(format!("{name} ÷ session.run alone"), share, "");
        return Ok(());
    };
    let samples = sampler.end().await?;
    report.with_goal(format!("{name} ÷ session.run alone"), share, "", Goal::AtLeast(0.9));
    report.with_goal("GPU busy meanwhile", samples.utilisation, "%", Goal::AtLeast(85.0));
    report.figure("GPU memory taken, most", samples.memory, "MiB");
    Ok(())
}

/// Measures memory over images of many sizes.
pub async fn memory(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    const MIB: f64 = (1 << 20) as f64;
    let on_gpu = setup.bench.models.onnx.execution_provider != ExecutionProvider::Cpu;
    let (sizes, passes) = setup.run_length.pick((200, 10), (40, 3));
    let folder = setup.path("mixed");
    images::mixed(&setup.images, &folder, sizes)?;
    let (folder, log) = (folder.display().to_string(), setup.path("memory").display().to_string());
    let state = ("SIGHTLINE_WORKER_STATE_DIR", setup.path("memory-state").display().to_string());
    // The child has processed every size once when it prints `ready`.
    let mut worker = MeasuredChild::ready(setup.child(&["worker-pipeline", &folder, &log], &[state])?).await?;
    let mut resident = vec![(0.0, worker.resident()? as f64 / MIB)];
    let sampler = if on_gpu { Some(GpuSampler::start(setup.bench.models.onnx.gpu_device)?) } else { None };
    for pass in 1..=passes {
        worker.go(sizes).await?;
        resident.push((f64::from(pass) * sizes as f64, worker.resident()? as f64 / MIB));
    }
    let name = format!("memory over {sizes} sizes from 64 to 2048 pixels");
    report.figure(format!("{name}, after each was seen once"), resident[0].1, "MiB");
    report.figure(format!("{name}, {passes} times later"), resident[resident.len() - 1].1, "MiB");
    report.series(name.clone(), "frames", "MiB", resident);
    if let Some(sampler) = sampler {
        report.figure(format!("{name}, on the GPU, most"), sampler.end().await?.memory, "MiB");
    }
    Ok(())
}
