//! The detector `vehicle` on a real photograph: class and colour reach lists, filters, counts and alerts.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::api::FrameAccepted;
use serde_json::{Value, json};

use crate::delivery::TestClient;
use crate::nothing_lost::TestNamespace;
use crate::processes::{TIMEOUT, TestServer, path_from_env};

const BOXES: &str = "yolox_nano_416_batch.onnx";
const COLOURS: &str = "vehicle_attributes_0039.onnx";

/// A photograph with a black and a white car, and the folder of models; prints what is missing.
fn files(test: &str, models: &[&str]) -> Option<(PathBuf, PathBuf)> {
    let samples = path_from_env(test, "SIGHTLINE_SAMPLES_DIR")?;
    let folder = path_from_env(test, "SIGHTLINE_MODELS_DIR")?;
    if let Some(missing) = models.iter().find(|file| !folder.join(file).exists()) {
        println!("skipped: {test}: SIGHTLINE_MODELS_DIR has no {missing}");
        return None;
    }
    Some((samples.join("vehicles/highway_1.jpg"), folder))
}

fn detecting(detectors: &str) -> (&'static str, String) {
    ("SIGHTLINE_DETECTORS", detectors.to_owned())
}

/// Sends the photograph until an alert is raised, since a new rule is active after a moment. Returns how often it was sent.
async fn send_until_alerted(client: &TestClient, photograph: &Bytes) -> u64 {
    let deadline = Instant::now() + TIMEOUT;
    for sent in 1.. {
        let request =
            client.http.post(format!("{}/v1/frames?detectors=vehicle", client.url)).bearer_auth(&client.token);
        let request = request.header("content-type", "image/jpeg").body(photograph.clone());
        let accepted: FrameAccepted = request.send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
        assert_eq!(client.results(accepted.frame_id).await.results.len(), 1);
        tokio::time::sleep(Duration::from_millis(500)).await;
        if client.json("/v1/alerts/history").await["items"].get(0).is_some() {
            return sent;
        }
        assert!(Instant::now() < deadline, "no alert is raised");
    }
    unreachable!()
}

async fn colours_reach_lists_counts_and_alerts(up: &TestServer, photograph: &Bytes) {
    let client = TestClient::new(&up.url, &up.token);
    let rule = json!({"name": "white cars", "condition": r#"attributes.colour == "white" && category == "car""#});
    let request = client.http.post(format!("{}/v1/rules", up.url)).bearer_auth(&up.token).json(&rule);
    request.send().await.unwrap().error_for_status().unwrap();

    let sent = send_until_alerted(&client, photograph).await;

    let mut counts = client.json("/v1/stats?group_by=attributes.colour").await;
    counts["items"].as_array_mut().unwrap().sort_by_key(|item| item["key"].to_string());
    assert_eq!(counts["items"], json!([{"key": "black", "count": sent}, {"key": "white", "count": sent}]));
    let categories = json!({"items": [{"key": "car", "count": 2 * sent}], "more": false});
    assert_eq!(client.json("/v1/stats?group_by=category").await, categories);
    let white = client.json("/v1/detections?attributes.colour=white&category=car").await;
    assert_eq!(white["items"].as_array().unwrap().len() as u64, sent, "{white}");
    let none = client.json("/v1/detections?attributes.colour=red").await;
    assert_eq!(none["items"], json!([]));
    let alert = &client.json("/v1/alerts/history").await["items"][0];
    for detection in [alert, &white["items"][0]] {
        let part = |name: &str| detection[name].clone();
        assert_eq!((part("label"), part("category")), (json!("car"), json!("car")), "{detection}");
        assert_eq!((part("make"), part("attributes")), (Value::Null, json!({"colour": "white"})), "{detection}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colours_of_vehicles_reach_lists_counts_and_alerts() {
    let test = "colours_of_vehicles_reach_lists_counts_and_alerts";
    let Some((photograph, _)) = files(test, &[BOXES, COLOURS]) else { return };
    let mut up = TestServer::start(&[detecting("vehicle")]).await;
    let ready: Value = reqwest::get(format!("{}/readyz", up.url)).await.unwrap().json().await.unwrap();
    assert_eq!(ready["checks"]["crop models"], "ok", "{ready}");
    let output = up.command(&["push", photograph.to_str().unwrap(), "--detectors", "vehicle", "--stream", "other"]);
    assert!(output.contains("highway_1.jpg: 2 cars "), "{output}");
    up.process.stop();

    let mut up = TestServer::start(&[detecting("vehicle")]).await;
    colours_reach_lists_counts_and_alerts(&up, &std::fs::read(photograph).unwrap().into()).await;
    assert!(up.process.stop(), "{}", up.process.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn colours_of_vehicles_are_the_same_on_servers() {
    let test = "colours_of_vehicles_are_the_same_on_servers";
    let Some((photograph, _)) = files(test, &[BOXES, COLOURS]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let namespace = TestNamespace::create(folder.path());
    let servers =
        ["SIGHTLINE_KAFKA_BROKERS", "SIGHTLINE_TOPICS_FILE", "SIGHTLINE_MONGODB_URI", "SIGHTLINE_MONGODB_DATABASE"];
    let mut settings = namespace.settings(&servers);
    settings.push(detecting("vehicle"));
    let mut up = TestServer::start(&settings).await;
    colours_reach_lists_counts_and_alerts(&up, &std::fs::read(photograph).unwrap().into()).await;
    assert!(up.process.stop(), "{}", up.process.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vehicles_without_the_colour_model_are_found_and_it_is_said_once() {
    let test = "vehicles_without_the_colour_model_are_found_and_it_is_said_once";
    let Some((photograph, models)) = files(test, &[BOXES]) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(models.join(BOXES), folder.path().join(BOXES)).unwrap();
    let models = ("SIGHTLINE_MODELS_DIR", folder.path().to_str().unwrap().to_owned());
    let mut up = TestServer::start(&[detecting("vehicle"), models.clone()]).await;

    let without = "the detector vehicle works without vehicle_attributes_0039 (vehicle_attributes_0039.onnx)";
    let ready: Value = reqwest::get(format!("{}/readyz", up.url)).await.unwrap().json().await.unwrap();
    assert!(ready["checks"]["crop models"].as_str().unwrap().starts_with(&format!("degraded: {without}")), "{ready}");
    let output = up.command(&["push", photograph.to_str().unwrap()]);
    assert!(output.contains("highway_1.jpg: 2 cars "), "{output}");
    let client = TestClient::new(&up.url, &up.token);
    // `push` has the results before they are stored.
    let deadline = Instant::now() + TIMEOUT;
    while client.json("/v1/detections?category=car").await["items"].as_array().unwrap().len() != 2 {
        assert!(Instant::now() < deadline, "the cars are not stored");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.json("/v1/stats?group_by=attributes.colour").await, json!({"items": [], "more": false}));
    assert!(up.process.stop(), "{}", up.process.output());
    let log = up.process.output();
    assert_eq!(log.lines().filter(|line| line.contains(without)).count(), 1, "{log}");

    let listed = up.command_of(&["models", "list"]).env(models.0, models.1).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("detector vehicle: yolox_nano, without vehicle_attributes_0039"), "{listed}");
}
