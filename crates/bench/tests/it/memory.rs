//! The memory of `sightline up` stays constant.

use std::process::Command;

use serde_json::Value;

#[test]
fn memory_does_not_grow_over_images_of_every_size_and_format() {
    const PASSES: f64 = 4.0;
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
    // A pass decodes 300 MB of pixels; the memory that the allocator keeps varies by less than 250 MB.
    let (second, last) = (figure("memory in the second quarter"), figure("memory in the last quarter"));
    assert!(last < second + 250.0, "from {second} to {last} MB");
}
