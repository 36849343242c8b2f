//! What a camera costs: CPU time for a second of a video, step by step, on one thread. Used by `scripts/camera-bench`.
//!
//! camera_cost FPS VIDEO…    FPS frames of each second go on after decoding

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use camera::{Address, Encoder, Frame, Gate, Input, Pace, Planar, Planes, Watch};
use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let fps = arguments.next().and_then(|fps| fps.parse().ok()).context("usage: camera_cost FPS VIDEO…")?;
    for path in arguments {
        measure(&path, fps).with_context(|| path.clone())?;
    }
    Ok(())
}

/// Seconds that this thread has run.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn measure(path: &str, fps: f64) -> anyhow::Result<()> {
    let watch = Arc::new(Watch::new(CancellationToken::new()));
    let mut input = Input::open(&Address::File(path.into()), &watch, Duration::MAX, 1)?;
    let (mut planar, mut planes, mut gate, mut encoder) =
        (Planar::default(), Planes::default(), Gate::default(), Encoder::new()?);
    let (mut pace, mut frame, mut end) = (Pace::new(Some(fps)), Frame::empty(), SignedDuration::ZERO);
    let (mut decoded, mut due, mut passed) = (0, 0, 0);
    let [mut decoding, mut copying, mut gating, mut encoding] = [0.0; 4];
    loop {
        let begun = cpu();
        let next = input.next(&mut frame)?;
        decoding += cpu() - begun;
        let Some(time) = next else { break };
        (decoded, end) = (decoded + 1, time);
        if !pace.is_due(time, SignedDuration::ZERO) {
            continue;
        }
        due += 1;
        let begun = cpu();
        planes.fill(planar.of(&frame, (frame.width(), frame.height()))?, input.rotation());
        copying += cpu() - begun;
        let begun = cpu();
        let passes = gate.passes(planes.luma(), planes.size(), time);
        gating += cpu() - begun;
        if passes {
            passed += 1;
            let begun = cpu();
            encoder.encode(&planes)?;
            encoding += cpu() - begun;
        }
    }
    let seconds = end.as_secs_f64().max(0.001);
    let each = |cpu: f64, count: i32| cpu * 1000.0 / f64::from(count.max(1));
    let share = (decoding + copying + gating + encoding) / seconds;
    println!(
        "{path}: {}x{}, {decoded} frames decoded ({:.2} ms each), {due} at {fps} a second (planes {:.2} ms, gate {:.2} ms), {passed} passed \
         (JPEG {:.2} ms); {:.1} % of a core, {:.0} cameras per core",
        planes.size().0,
        planes.size().1,
        each(decoding, decoded),
        each(copying, due),
        each(gating, due),
        each(encoding, passed),
        share * 100.0,
        1.0 / share,
    );
    Ok(())
}
