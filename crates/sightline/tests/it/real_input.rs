//! Real photographs through a real model, from `push` to an alert.

use std::process::Stdio;

use crate::processes::{Process, TestServer, path_from_env, program};

/// `sightline push` with photographs whose faces were counted by eye, and their alerts.
#[tokio::test]
async fn photographs_give_their_faces_and_one_alert_each() {
    let test = "photographs_give_their_faces_and_one_alert_each";
    let Some(samples) = path_from_env(test, "SIGHTLINE_SAMPLES_DIR") else { return };
    let up = TestServer::start(&[]).await;
    let settings = [
        ("SIGHTLINE_DATA_DIR", up.data.path().join("data").to_str().unwrap().to_owned()),
        ("SIGHTLINE_SERVER", up.url.clone()),
    ];
    let log = up.data.path().join("watch.log");
    let mut watch = Process::start(&program("sightline"), &["watch", "--count", "3"], &settings, &log);
    crate::delivery::wait_for_subscribers(&up.admin, 1).await;

    let push = |name: &str| up.command(&["push", samples.join(name).to_str().unwrap()]);
    for (photograph, faces) in [
        ("faces/solvay_1927_29faces.jpg", "29 faces"),
        ("faces/obama_biden_2faces.jpg", "2 faces"),
        ("faces/astronaut_1face.png", "1 face"),
    ] {
        let output = push(photograph);
        assert!(output.contains(&format!("{photograph}: {faces} ")), "{output}");
    }
    let highways = push("vehicles");
    assert_eq!(highways.lines().count(), 5, "{highways}");
    assert!(highways.lines().all(|line| line.contains(": nothing ")), "{highways}");

    assert!(watch.wait_success(), "{}", watch.output());
    let alerts = watch.output();
    let matches: Vec<u64> = alerts
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["matches"].as_u64().unwrap())
        .collect();
    assert_eq!(matches, [29, 2, 1], "{alerts}");
}

#[tokio::test]
async fn a_broken_photograph_becomes_a_dead_letter_and_can_be_redriven() {
    let test = "a_broken_photograph_becomes_a_dead_letter_and_can_be_redriven";
    let Some(photo) = path_from_env(test, "SIGHTLINE_TEST_PHOTO") else { return };
    let up = TestServer::start(&[]).await;
    let mut bytes = std::fs::read(photo).unwrap();
    bytes.truncate(bytes.len() / 2);
    let broken = up.data.path().join("broken.png");
    std::fs::write(&broken, bytes).unwrap();

    let (success, output, _) = up.outcome(&["push", broken.to_str().unwrap()]);
    assert!(!success, "a script must see that an image failed");
    assert!(output.contains("face failed"), "{output}");
    let listed = up.command(&["dlq", "list", "frames"]);
    assert_eq!(listed.lines().count(), 1, "{listed}");
    assert!(listed.contains("undecodable") && listed.contains("sightline.frames/"), "{listed}");

    let frame = listed.split("  ").nth(2).unwrap();
    let logged = up.process.output();
    assert!(logged.lines().any(|line| line.contains("dead-lettered") && line.contains(frame)), "{frame}: {logged}");

    let sent = up.command(&["dlq", "redrive", "frames"]);
    assert_eq!(sent.trim(), "sent again: 1, left out: 0, unreadable: 0");
    // The image is still broken, so it becomes a new dead letter; the old one is marked as redriven.
    let deadline = std::time::Instant::now() + crate::processes::TIMEOUT;
    while up.command(&["dlq", "list", "frames"]).lines().count() != 1 {
        assert!(std::time::Instant::now() < deadline, "the frame did not become a dead letter again");
    }
}

#[tokio::test]
async fn readyz_names_the_model_and_a_closed_pipe_is_ignored() {
    let test = "readyz_names_the_model_and_a_closed_pipe_is_ignored";
    let Some(photo) = path_from_env(test, "SIGHTLINE_TEST_PHOTO") else { return };
    let up = TestServer::start(&[]).await;
    let ready: serde_json::Value = reqwest::get(format!("{}/readyz", up.url)).await.unwrap().json().await.unwrap();
    assert_eq!(ready["checks"]["model loaded"], "ok", "{ready}");

    let photo = photo.to_str().unwrap();
    for arguments in [&["push", photo, photo][..], &["models", "list"]] {
        let mut child = up.command_of(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // As `head` does after its last line.
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {} {stderr}", output.status);
    }
}
