//! Sessions and threads, batches, the worker's rate as a share of the network's, and memory.

use super::super::report::{Goal, Report};
use super::super::stats::Spread;
use super::gpu::Watch;
use super::measured::MeasuredChild;
use super::{Setup, images};
use detector_worker::runtime::ExecutionProvider;

/// Rate of the network alone in images/s, and the batch size with the highest rate.
pub struct Best {
    batch: usize,
    per_second: f64,
}

/// Compares numbers of sessions and threads on decoded images.
pub async fn sessions(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism()?.get();
    let images = setup.images.display().to_string();
    let (rounds, frames) = setup.run_length.pick((5, setup.whole(180)), (1, setup.whole(60)));
    let ways = [(1, 1), (cores, 1), (1, cores), (cores, cores)];
    let mut contenders = Vec::new();
    for (sessions, threads) in ways {
        let settings =
            [("SIGHTLINE_INFERENCE_THREADS", sessions.to_string()), ("SIGHTLINE_SESSION_THREADS", threads.to_string())];
        contenders.push((
            MeasuredChild::ready(setup.child(&["worker-parts", &images], &settings)?).await?,
            Vec::new(),
            Vec::new(),
        ));
    }
    for _ in 0..rounds {
        for (contender, rates, costs) in &mut contenders {
            let (spent, _) = contender.go(frames).await?;
            rates.push(spent.per_second());
            costs.push(spent.per_cpu_second());
        }
    }
    for ((sessions, threads), (_, rates, costs)) in ways.into_iter().zip(&contenders) {
        let way = format!("{sessions} session(s) of {threads} thread(s), decoded images");
        report.figure(&way, Spread::of(rates).median, "images/s");
        report.figure(way, Spread::of(costs).median, "images/CPU-s");
    }
    Ok(())
}

/// Measures batches of images of one size: the duration of a call and the rate of the network alone.
pub async fn batches(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<Best> {
    let folder = setup.path("uniform");
    images::uniform(&setup.images, &folder)?;
    let folder = folder.display().to_string();
    let calls = setup.run_length.pick(150, 20);
    let mut best = Best { batch: 1, per_second: 0.0 };
    let (mut latency, mut throughput) = (Vec::new(), Vec::new());
    for &batch in &setup.bench.batch {
        anyhow::ensure!(batch > 0, "--batch: sizes are 1 or more");
        let settings = [("SIGHTLINE_BATCH_SIZE", batch.to_string()), ("SIGHTLINE_INFERENCE_THREADS", "1".to_owned())];
        let mut contender = MeasuredChild::ready(setup.child(&["worker-parts", &folder], &settings)?).await?;
        let (spent, done) = contender.go(batch * calls).await?;
        let at = |share: f64| done.calls[((share * done.calls.len() as f64) as usize).min(done.calls.len() - 1)] * 1e3;
        let alone = spent.frames as f64 / done.stages.get("run").copied().unwrap_or(f64::INFINITY);
        report.figure(format!("batch of {batch}, 640x480, a call, p50"), at(0.5), "ms");
        report.figure(format!("batch of {batch}, 640x480, a call, p99"), at(0.99), "ms");
        report.figure(format!("batch of {batch}, 640x480, session.run alone"), alone, "images/s");
        latency.push((batch as f64, at(0.5)));
        throughput.push((batch as f64, alone));
        if alone > best.per_second {
            best = Best { batch, per_second: alone };
        }
    }
    report.series("a call, p50", "batch size", "ms", latency);
    report.series("session.run alone", "batch size", "images/s", throughput);
    Ok(best)
}

/// Measures the whole worker on images of one size, as a share of the rate of its sessions alone.
pub async fn share(setup: &Setup<'_>, best: Best, report: &mut Report) -> anyhow::Result<()> {
    let on_gpu = setup.bench.models.execution_provider != ExecutionProvider::Cpu;
    let folder = setup.path("uniform").display().to_string();
    let log = setup.path("share").display().to_string();
    // One session on both contenders, so that both compare with the throughput of one session.
    let settings = [
        ("SIGHTLINE_WORKER_STATE_DIR", setup.path("share-state").display().to_string()),
        ("SIGHTLINE_INFERENCE_THREADS", "1".to_owned()),
        ("SIGHTLINE_BATCH_SIZE", best.batch.to_string()),
    ];
    let mut worker = MeasuredChild::ready(setup.child(&["worker-flow", &folder, &log], &settings)?).await?;
    let seconds = setup.run_length.pick(30.0, 5.0);
    let frames = ((best.per_second * seconds) as usize).clamp(50, 50_000);
    worker.go(frames / 5).await?;
    let watch = if on_gpu { Some(Watch::gpu(setup.bench.models.gpu_device)?) } else { None };
    let (spent, _) = worker.go(frames).await?;
    let name = format!("worker on the embedded log, batches of {}, 640x480, one session", best.batch);
    report.figure(&name, spent.per_second(), "frames/s");
    let share = spent.per_second() / best.per_second;
    let Some(watch) = watch else {
        report.figure(format!("{name} ÷ session.run alone"), share, "");
        return Ok(());
    };
    let seen = watch.end().await?;
    report.promised(format!("{name} ÷ session.run alone"), share, "", Goal::AtLeast(0.9));
    report.promised("GPU busy meanwhile", seen.busy, "%", Goal::AtLeast(85.0));
    report.figure("GPU memory taken, most", seen.memory, "MiB");
    Ok(())
}

/// Measures memory over images of many sizes.
pub async fn memory(setup: &Setup<'_>, report: &mut Report) -> anyhow::Result<()> {
    const MIB: f64 = (1 << 20) as f64;
    let on_gpu = setup.bench.models.execution_provider != ExecutionProvider::Cpu;
    let (sizes, passes) = setup.run_length.pick((200, 10), (40, 3));
    let folder = setup.path("mixed");
    images::mixed(&setup.images, &folder, sizes)?;
    let (folder, log) = (folder.display().to_string(), setup.path("memory").display().to_string());
    let state = ("SIGHTLINE_WORKER_STATE_DIR", setup.path("memory-state").display().to_string());
    // The child has processed every size once when it prints `ready`.
    let mut worker = MeasuredChild::ready(setup.child(&["worker-flow", &folder, &log], &[state])?).await?;
    let mut resident = vec![(0.0, worker.resident()? as f64 / MIB)];
    let watch = if on_gpu { Some(Watch::gpu(setup.bench.models.gpu_device)?) } else { None };
    for pass in 1..=passes {
        worker.go(sizes).await?;
        resident.push((f64::from(pass) * sizes as f64, worker.resident()? as f64 / MIB));
    }
    let name = format!("memory over {sizes} sizes from 64 to 2048 pixels");
    report.figure(format!("{name}, after each was seen once"), resident[0].1, "MiB");
    report.figure(format!("{name}, {passes} times later"), resident[resident.len() - 1].1, "MiB");
    report.series(name.clone(), "frames", "MiB", resident);
    if let Some(watch) = watch {
        report.figure(format!("{name}, on the GPU, most"), watch.end().await?.memory, "MiB");
    }
    Ok(())
}
