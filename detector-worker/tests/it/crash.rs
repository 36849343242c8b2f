//! A frame that crashes the process in native code is found, and other frames do not fail.
//!
//! The worker that crashes is this test binary, started again with a variable that names its folder.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contracts::{FailureCode, Outcome, TopicRole};
use detector_worker::Deps;
use tokio_util::sync::CancellationToken;
use vision::inference::DetectorSpec;

use crate::harness::{Settings, TestWorker, detection, detections, fake, frame, open, png, settings, until};

/// Variable with the child's folder; set in the child only.
const FOLDER: &str = "SIGHTLINE_TEST_CRASH_FOLDER";
/// Width of an image that crashes the process.
const POISON: u32 = 13;
/// Width of an image whose detection lasts while the file `hang` is in the folder.
const ENDLESS: u32 = 17;

fn crashing_detector(folder: &Path) -> DetectorSpec {
    let hang = folder.join("hang");
    fake("face", move |image| {
        match image.pixels.width() {
            POISON => std::process::abort(),
            ENDLESS => {
                while hang.exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        Ok(vec![detection("face", image)].into())
    })
}

/// Not a test: the worker that the tests below start and that crashes.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let (bus, blobs) = open(folder);
    let Settings { config, common } = settings(&folder.join("state"), &["--inference-threads", "4"]);
    let stop = CancellationToken::new();
    let deps = Deps::new(bus.clone(), blobs);
    let work = detector_worker::run_with(vec![crashing_detector(folder)], None, config, common, deps, stop.clone());
    let running = tokio::spawn(work);
    let group = contracts::groups::detector_worker(&["face".parse().unwrap()]);
    until("every frame is consumed", async || {
        bus.oldest_unconsumed(TopicRole::Frames, &group).await.unwrap().is_none()
    })
    .await;
    stop.cancel();
    running.await.unwrap().unwrap();
    bus.close().await.unwrap();
}

/// A started worker. It is killed when a test fails, because one with an endless image would never end.
struct ChildProcess(Child);

impl Drop for ChildProcess {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Its errors are shown, because an end for another reason than the crash must be told apart.
fn start_child(folder: &Path) -> ChildProcess {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "crash::child", "--nocapture"]).env(FOLDER, folder);
    ChildProcess(child.stdout(Stdio::null()).spawn().unwrap())
}

/// Publishes images of these widths, each in its own stream, and closes the bus.
async fn prepare(widths: &[u32]) -> tempfile::TempDir {
    let setup = TestWorker::new();
    for (number, width) in widths.iter().enumerate() {
        setup.send(&frame(&format!("gate-{number}"), png(*width, 10))).await;
    }
    setup.bus.close().await.unwrap();
    setup.folder
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
async fn a_frame_fails_after_five_crashes() {
    let folder = prepare(&[10, POISON, 20, 30, 40]).await;
    let mut crashes = 0;
    while !start_child(folder.path()).0.wait().unwrap().success() {
        crashes += 1;
        assert!(crashes <= 5, "the frame never fails");
    }
    let setup = TestWorker::in_folder(folder);
    assert_eq!(crashes, 5);
    let mut results = setup.results().await;
    results.sort_by_key(|result| result.data.frame_id);
    results.dedup_by_key(|result| result.data.frame_id);
    assert_eq!(outcomes(&results), (4, vec![FailureCode::Crashed]));
    let letters = setup.dead_letters().await;
    assert_eq!((letters.len(), letters[0].cause.code.as_str()), (1, "crashed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_by_an_operator_dead_letter_no_frame() {
    let folder = prepare(&[ENDLESS, ENDLESS, 10, ENDLESS]).await;
    let crash_log = folder.path().join("state").join("sightline.detector-worker.face.0");
    std::fs::write(folder.path().join("hang"), "").unwrap();
    for word in ["inside", "inside-alone"] {
        let mut child = start_child(folder.path());
        until("frames are in native code", async || {
            let text = std::fs::read_to_string(&crash_log).unwrap_or_default();
            text.lines().any(|line| line.trim_end().ends_with(&format!(" {word}")))
        })
        .await;
        child.0.kill().unwrap();
        child.0.wait().unwrap();
    }
    std::fs::remove_file(folder.path().join("hang")).unwrap();
    assert!(start_child(folder.path()).0.wait().unwrap().success());
    let setup = TestWorker::in_folder(folder);
    let mut results = setup.results().await;
    results.sort_by_key(|result| result.data.frame_id);
    results.dedup_by_key(|result| result.data.frame_id);
    assert_eq!(results.len(), 4);
    assert!(results.iter().all(|result| detections(result).len() == 1));
    assert!(setup.dead_letters().await.is_empty());
}
