//! A full disk: new frames are refused with a clear error, nothing is damaged, and everything continues by itself when there is
//! space again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use contracts::FrameId;
use contracts::api::Problem;
use uuid::Uuid;

use crate::delivery::{Subscriber, TestClient, assert_nothing_lost, small_photo};
use crate::processes::{TIMEOUT, TestServer, wait_until_ready};
use crate::small_disk::SmallDisk;

/// Sends frames until one is refused; returns the accepted ones and the refusal.
async fn until_refused(client: &TestClient, image: &Bytes) -> (Vec<FrameId>, reqwest::Response) {
    let (mut taken, deadline) = (Vec::new(), Instant::now() + TIMEOUT);
    while Instant::now() < deadline {
        let request = client.http.post(format!("{}/v1/frames", client.url)).bearer_auth(&client.token);
        let request = request.header("content-type", "image/png").header("idempotency-key", Uuid::now_v7().to_string());
        let response = request.body(image.clone()).send().await.unwrap();
        if response.status() != 202 {
            return (taken, response);
        }
        taken.push(response.json::<contracts::api::FrameAccepted>().await.unwrap().frame_id);
    }
    panic!("a full disk accepted {} frames", taken.len());
}

fn every_database(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => found.extend(every_database(&path)),
            Some("sqlite" | "db" | "segment") => found.push(path),
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_frames_and_damages_nothing() {
    let name = "a_full_disk_refuses_frames_and_damages_nothing";
    let Some(image) = small_photo(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(name, &folder.path().join("data")) else { return };
    let mut up = TestServer::start_in(folder, &[]).await;
    let client = TestClient::new(&up.url, &up.token);
    let subscriber = Subscriber::start(&client, "/v1/alerts", 3, 5).await;
    let mut acknowledged = BTreeSet::new();
    for _ in 0..10 {
        acknowledged.insert(client.send(&image).await);
    }
    for frame in &acknowledged {
        client.results(*frame).await;
    }

    disk.fill();
    let (taken, refusal) = until_refused(&client, &image).await;
    acknowledged.extend(taken);
    assert_eq!(refusal.status(), 503);
    assert_eq!(refusal.headers()["content-type"], "application/problem+json");
    let wait: u32 = refusal.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=600).contains(&wait), "try again after {wait} s");
    let problem: Problem = refusal.json().await.unwrap();
    assert_eq!(problem.code, "disk_full", "{problem:?}");

    // Clients keep retrying; every frame is accepted when there is space, without intervention.
    let late = Arc::new(Mutex::new(BTreeSet::new()));
    let attempts = (0..4).map(|_| {
        let (client, image, late) = (client.clone(), image.clone(), late.clone());
        tokio::spawn(async move {
            for _ in 0..5 {
                let frame = client.send(&image).await;
                late.lock().unwrap().insert(frame);
            }
        })
    });
    let attempts: Vec<_> = attempts.collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    up.process.assert_running();
    disk.make_room();
    for client in attempts {
        client.await.unwrap();
    }
    acknowledged.extend(late.lock().unwrap().iter().copied());
    assert_nothing_lost(&client, &acknowledged, subscriber).await;

    // The same with a kill on the full disk: the databases are intact, and a restart continues.
    disk.fill();
    acknowledged.extend(until_refused(&client, &image).await.0);
    up.process.kill();
    disk.make_room();
    // Checks a copy, because opening a SQLite database recovers and changes it.
    let copy = up.data.path().join("copy");
    assert!(Command::new("cp").arg("-a").arg(up.data.path().join("data")).arg(&copy).status().unwrap().success());
    let databases = every_database(&copy);
    assert!(databases.len() > 3, "{databases:?}");
    for file in databases {
        let database = rusqlite::Connection::open(&file).unwrap();
        let check: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok", "{}", file.display());
    }
    up.process.restart();
    wait_until_ready(&mut up.process, &up.url).await;
    acknowledged.insert(client.send(&image).await);
    for frame in &acknowledged {
        let view = client.results(*frame).await;
        assert_eq!((view.results.len(), view.detections.len()), (1, 1), "{view:?}");
    }
    assert!(up.process.stop(), "{}", up.process.output());
}
