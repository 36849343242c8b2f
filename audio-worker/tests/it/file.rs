//! Files without a service: refusals, and runs that were interrupted.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use audio_worker::speech::SpeechOptions;
use audio_worker::speech::file::{self, FileJob, Progress, Report};
use contracts::TranscriptFormat;
use tokio::sync::mpsc::unbounded_channel;

use crate::models::{Setup, setup};
use crate::sounds::{silence, wav};

/// The files of a folder and the folders in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Transcribes until so many windows are done, as if the process was killed then.
async fn interrupt_after(setup: &Setup, file: &Path, windows: usize) {
    let (sender, mut reports) = unbounded_channel();
    let report: Report = Arc::new(move |progress| {
        let _ = sender.send(progress);
    });
    let job = setup.job(file);
    let running = file::transcribe(&setup.engine, &setup.tools, &job, &report);
    let enough = async {
        while let Some(progress) = reports.recv().await {
            if matches!(progress, Progress::Windows { done, .. } if done >= windows) {
                return;
            }
        }
    };
    tokio::select! {
        _ = running => {}
        () = enough => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_file_goes_on_where_it_was() {
    let Some(setup) = setup("an_interrupted_file_goes_on_where_it_was") else { return };
    let jfk = setup.jfk();
    // Different sounds, so that each window has a key of its own.
    let parts = (6..10).flat_map(|seconds| [jfk[..seconds * 16_000].to_vec(), silence(4)]);
    let recording = setup.write("parts.wav", &wav(&parts.flatten().collect::<Vec<_>>()));
    let undisturbed = setup.transcribe(&recording).await.unwrap().render(TranscriptFormat::Json);
    let checkpoints = setup.folder.path().join("checkpoints");
    assert!(files(&checkpoints).is_empty(), "they are removed when the transcript is written");

    interrupt_after(&setup, &recording, 2).await;
    let kept = files(&checkpoints);
    assert!(kept.len() >= 3, "the plan and two windows: {kept:?}");
    // The words of the windows that were done are taken from there.
    for path in kept.iter().filter(|path| !path.ends_with("plan-v1.json")) {
        let words = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, words.replace("fellow", "FELLOW")).unwrap();
    }
    let resumed = setup.transcribe(&recording).await.unwrap().render(TranscriptFormat::Json);
    assert!(resumed.contains("FELLOW"), "{resumed}");
    assert_eq!(resumed.replace("FELLOW", "fellow"), undisturbed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_recording_is_refused_by_name() {
    let Some(setup) = setup("what_is_no_recording_is_refused_by_name") else { return };
    let text = setup.write("book.mp3", "It was the best of times. ".repeat(1_000).as_bytes());
    let refused = setup.transcribe(&text).await.unwrap_err();
    assert!(format!("{refused:#}").contains("book.mp3"), "{refused:#}");
    assert!(setup.transcribe(Path::new("/nowhere/book.mp3")).await.is_err());
    assert!(setup.transcribe(setup.folder.path()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_language_is_refused_before_the_work() {
    let Some(setup) = setup("an_unknown_language_is_refused_before_the_work") else { return };
    let recording = setup.write("jfk.wav", &wav(&setup.jfk()));
    let options = SpeechOptions { language: Some("klingon".to_owned()), ..SpeechOptions::default() };
    let job = FileJob { options, ..setup.job(&recording) };
    let (sender, mut reports) = unbounded_channel();
    let report: Report = Arc::new(move |progress| {
        let _ = sender.send(progress);
    });
    let refused = file::transcribe(&setup.engine, &setup.tools, &job, &report).await.unwrap_err();
    assert!(format!("{refused:#}").contains("klingon"), "{refused:#}");
    drop(report);
    assert_eq!(reports.recv().await, None, "nothing was listened to");
}
