//! A data folder that is lost while `up` runs: nothing more is acknowledged, and `up` ends with one line that says what to do.

use std::path::Path;

use serde_json::{Value, json};

use crate::delivery::small_photo;
use crate::processes::{Process, TestServer};

/// The only error line of a program that has ended.
fn error_of(process: &mut Process) -> String {
    assert!(!process.wait_success(), "a lost folder is no success: {}", process.output());
    let output = process.output();
    let errors: Vec<&str> = output.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{output}");
    errors[0].to_owned()
}

async fn is_lost_after(test: &str, lose: impl FnOnce(&Path)) {
    let Some(image) = small_photo(test) else { return };
    let mut up = TestServer::start(&[]).await;
    let http = reqwest::Client::new();
    let frame = || {
        let request = http.post(format!("{}/v1/frames", up.url)).bearer_auth(&up.token);
        request.header("content-type", "image/png").body(image.clone()).send()
    };
    assert_eq!(frame().await.unwrap().status(), 202);
    let data = up.data.path().join("data");

    lose(&data);
    let refused = frame().await.unwrap();
    assert_eq!(refused.status(), 503);
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "data_folder_lost", "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("restore the folder"), "{problem}");
    let rule = json!({"name": "sure faces", "condition": "confidence > 0.8"});
    let rule = http.post(format!("{}/v1/rules", up.url)).bearer_auth(&up.token).json(&rule).send().await.unwrap();
    assert_eq!(rule.status(), 503);
    let ready = reqwest::get(format!("{}/readyz", up.url)).await.unwrap();
    assert_eq!(ready.status(), 503);
    let checks: Value = ready.json().await.unwrap();
    let reason = checks["checks"]["data folder"].as_str().unwrap();
    assert!(reason.contains("was deleted, moved or replaced"), "{checks}");

    let error = error_of(&mut up.process);
    let place = data.display().to_string();
    for part in [place.as_str(), "was deleted, moved or replaced", "put the data folder back", "SIGHTLINE_DATA_DIR"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_the_data_folder_is_deleted() {
    let test = "nothing_is_acknowledged_once_the_data_folder_is_deleted";
    // Until nothing is written into it any more.
    is_lost_after(test, |data| while data.exists() && std::fs::remove_dir_all(data).is_err() {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_the_data_folder_is_replaced() {
    let replace = |data: &Path| {
        std::fs::rename(data, data.with_file_name("old")).unwrap();
        std::fs::create_dir(data).unwrap();
    };
    is_lost_after("nothing_is_acknowledged_once_the_data_folder_is_replaced", replace).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_acknowledged_once_the_folder_of_a_topic_is_deleted() {
    let delete = |data: &Path| std::fs::remove_dir_all(data.join("log/sightline.frames.topic")).unwrap();
    is_lost_after("nothing_is_acknowledged_once_the_folder_of_a_topic_is_deleted", delete).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_up_names_the_process_before_the_port() {
    let up = TestServer::start(&[]).await;
    let address = up.url.trim_start_matches("http://");
    let mut second = up.command_of(&["up"]);
    for name in ["SIGHTLINE_ORT_DYLIB_PATH", "SIGHTLINE_MODELS_DIR"] {
        second.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let output = second.env("SIGHTLINE_HTTP_ADDR", address).env("SIGHTLINE_GRPC_ADDR", &up.grpc).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{error}");
    let (folder, holder) = (up.data.path().join("data/log"), format!("pid {}", up.process.id()));
    for part in [folder.to_str().unwrap(), "in use by another process", &holder, "SIGHTLINE_DATA_DIR"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!error.contains("SIGHTLINE_HTTP_ADDR"), "{error}");
}
