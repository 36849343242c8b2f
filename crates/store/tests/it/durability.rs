//! Durability under `kill -9`: a child process stores results, prints the acknowledged ids, and is killed.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use store::{ResultStore, SqliteDocuments, TenantScope};
use tempfile::TempDir;

use crate::fixture::{IndexedBuilder, face, result};

const FILE: &str = "SIGHTLINE_TEST_DURABILITY_FILE";

/// The child process of the next test. Does nothing if it runs as a test.
#[tokio::test]
async fn child_process_that_is_killed() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let store = SqliteDocuments::open(path).unwrap();
    loop {
        let batch: Vec<_> =
            (0..20).map(|_| result("2026-01-02T03:04:05Z", vec![face(0.5); 3]).with_alert("r")).collect();
        store.put(&batch).await.unwrap();
        for put in batch {
            println!("acknowledged {}", put.frame_id());
        }
    }
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("documents.db");
    let mut acknowledged = Vec::new();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "durability::child_process_that_is_killed", "--nocapture"])
            .env(FILE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids = lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("acknowledged ")?.1.to_owned()));
        acknowledged.extend(ids.take(100));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(acknowledged.len(), 300);

    let store = SqliteDocuments::open(&path).unwrap();
    for id in acknowledged {
        let [read] = store.frame(&TenantScope::All, id.parse().unwrap()).await.unwrap().try_into().unwrap();
        let contracts::Outcome::Ok { detections, .. } = read.result.data.outcome else { panic!("{id} is a failure") };
        assert_eq!(detections.len(), 3, "{id}");
    }
}
