//! A frame that kills the process natively is found, and its neighbours are not blamed.
//!
//! The worker that dies is this very test binary, started again with a variable that says in which folder to work.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contracts::{FailureCode, Outcome, TopicRole};
use detector_worker::{Deps, inference::DetectorSpec};
use tokio_util::sync::CancellationToken;

use crate::rig::{Rig, Settings, detection, detections, fake, frame, open, png, settings, until};

/// Where the child works; set in the child alone.
const FOLDER: &str = "SIGHTLINE_TEST_CRASH_FOLDER";
/// A picture of this width ends the process.
const POISON: u32 = 13;
/// A picture of this width takes for ever, as long as the file `hang` is in the folder.
const ENDLESS: u32 = 17;

fn dangerous(folder: &Path) -> DetectorSpec {
    let hang = folder.join("hang");
    fake("face", move |picture| {
        match picture.image.width() {
            POISON => std::process::abort(),
            ENDLESS => {
                while hang.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        Ok(vec![detection("face", picture)])
    })
}

/// No test of its own: the worker that the tests below start and see dying.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (bus, blobs) = open(folder);
    let Settings { config, common } = settings(&folder.join("state"), &["--inference-threads", "4"]);
    let stop = CancellationToken::new();
    let deps = Deps::new(bus.clone(), blobs);
    let work = detector_worker::run_with(vec![dangerous(folder)], config, common, deps, stop.clone());
    let running = tokio::spawn(work);
    let group = contracts::groups::detector_worker(&["face".parse().unwrap()]);
    until("all is done", async || bus.oldest_unconsumed(TopicRole::Frames, &group).await.unwrap().is_none()).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    bus.close().await.unwrap();
}

fn start_child(folder: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "crash::child", "--nocapture"]).env(FOLDER, folder);
    child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Fills a log with pictures of these widths, in streams of their own, and closes it.
async fn prepare(widths: &[u32]) -> tempfile::TempDir {
    let rig = Rig::new();
    for (number, width) in widths.iter().enumerate() {
        rig.send(&frame(&format!("gate-{number}"), png(*width, 10))).await;
    }
    rig.bus.close().await.unwrap();
    rig.folder
}

fn outcomes(results: &[contracts::ResultEvent]) -> (usize, Vec<FailureCode>) {
    let failed = results.iter().filter_map(|result| match &result.data.outcome {
        Outcome::Failed { code, .. } => Some(*code),
        Outcome::Ok { .. } => None,
    });
    let failed: Vec<FailureCode> = failed.collect();
    (results.len() - failed.len(), failed)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_kills_the_process_is_given_up_after_three_deaths() {
    let folder = prepare(&[10, POISON, 20, 30, 40]).await;
    let mut deaths = 0;
    while !start_child(folder.path()).wait().unwrap().success() {
        deaths += 1;
        assert!(deaths <= 3, "the frame kills on");
    }
    let rig = Rig::in_folder(folder);
    assert_eq!(deaths, 3);
    let mut results = rig.results().await;
    results.sort_by_key(|result| result.data.frame_id);
    results.dedup_by_key(|result| result.data.frame_id);
    assert_eq!(outcomes(&results), (4, vec![FailureCode::Crashed]));
    let letters = rig.dead_letters().await;
    assert_eq!((letters.len(), letters[0].cause.code.as_str()), (1, "crashed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_kill_buries_nobody() {
    let folder = prepare(&[ENDLESS, ENDLESS, 10, ENDLESS]).await;
    let notes = folder.path().join("state").join("sightline.detector-worker.face.0");
    std::fs::write(folder.path().join("hang"), "").unwrap();
    for word in ["inside", "inside-alone"] {
        let mut child = start_child(folder.path());
        until("frames are in native code", async || {
            let text = std::fs::read_to_string(&notes).unwrap_or_default();
            text.lines().any(|line| line.trim_end().ends_with(&format!(" {word}")))
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    std::fs::remove_file(folder.path().join("hang")).unwrap();
    assert!(start_child(folder.path()).wait().unwrap().success());
    let rig = Rig::in_folder(folder);
    let mut results = rig.results().await;
    results.sort_by_key(|result| result.data.frame_id);
    results.dedup_by_key(|result| result.data.frame_id);
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|result| detections(result).len() == 1));
    assert!(rig.dead_letters().await.is_empty());
}
