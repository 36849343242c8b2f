//! The memory of `sightline up` stays constant.

use std::process::Command;

use serde_json::Value;

#[test]
fn memory_does_not_grow_over_images_of_every_size_and_format() {
    const PASSES: f64 = 12.0;
    // If the photograph is available, so is the model.
    if std::env::var_os("SIGHTLINE_TEST_PHOTO").is_none() {
        let test = "memory_does_not_grow_over_images_of_every_size_and_format";
        println!("skipped: {test}: SIGHTLINE_TEST_PHOTO is not set");
        return;
    }
    let mut bench = Command::new(env!("CARGO_BIN_EXE_sightline-bench"));
    let output = bench.args(["soak", "--json", "--soak-passes", &PASSES.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figure = |name: &str| {
        let figures = report["figures"].as_array().unwrap();
        figures.iter().find(|figure| figure["name"] == name).unwrap()["value"].as_f64().unwrap()
    };
    assert_eq!(figure("images sent and answered"), PASSES * report["settings"]["images"].as_f64().unwrap());
    // A pass decodes 300 MB of pixels, and memory goes up and down by as much; even the lowest values of quarters differ by 270 MB. The
    // six passes between the quarters decode 2 GB: if a third of it is kept, as when the images of one format are, the test fails.
    let samples = report["series"][0]["points"].as_array().unwrap();
    let quarter = |number: usize| {
        let samples = &samples[samples.len() * number / 4..samples.len() * (number + 1) / 4];
        samples.iter().map(|sample| sample[1].as_f64().unwrap()).fold(f64::INFINITY, f64::min)
    };
    let (second, last) = (quarter(1), quarter(3));
    assert!(last < second + 500.0, "from {second} to {last} MB: {samples:?}");
}
