//! Voice activity detection, on a recording and on silence.
//!
//! Needs `SIGHTLINE_SAMPLES_DIR` and `SIGHTLINE_MODELS_DIR`. Without them, or without the model file, a test prints that it is skipped.

#![expect(clippy::unwrap_used, reason = "a failed expectation is how a test fails")]

use std::path::PathBuf;

use onnx::{SessionOptions, VoiceDetector};

/// The detector; prints what is missing.
fn detector(test: &str) -> Option<VoiceDetector> {
    let models = folder(test, "SIGHTLINE_MODELS_DIR")?;
    let file = models.join("silero_vad_16k_op15.onnx");
    if !file.exists() {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {}", file.display());
        return None;
    }
    let dylib = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH").map(PathBuf::from);
    Some(VoiceDetector::open(&file, &SessionOptions { dylib, ..SessionOptions::cpu(models) }).unwrap())
}

fn folder(test: &str, variable: &str) -> Option<PathBuf> {
    let value = std::env::var_os(variable);
    if value.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    value.map(PathBuf::from)
}

/// The share of steps in which somebody speaks.
fn share(detector: &mut VoiceDetector, samples: &[f32]) -> f64 {
    detector.reset();
    let (steps, _) = samples.as_chunks::<{ VoiceDetector::STEP }>();
    let heard = steps.iter().filter(|step| detector.probability(step).unwrap() >= 0.5).count();
    heard as f64 / steps.len() as f64
}

#[test]
fn speech_is_heard_and_silence_is_not() {
    let test = "speech_is_heard_and_silence_is_not";
    let (Some(mut detector), Some(samples)) = (detector(test), folder(test, "SIGHTLINE_SAMPLES_DIR")) else { return };
    let file = std::fs::read(samples.join("audio/jfk.wav")).unwrap();
    let data = file.windows(4).position(|window| window == b"data").unwrap() + 8;
    let (samples, _) = file[data..].as_chunks::<2>();
    let speech: Vec<f32> = samples.iter().map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0).collect();

    let first = share(&mut detector, &speech);
    assert!((0.6..0.8).contains(&first), "{first}");
    assert!(share(&mut detector, &[0.0; 16_000]) == 0.0);
    assert!(share(&mut detector, &speech) == first, "what was heard before is forgotten");
}
