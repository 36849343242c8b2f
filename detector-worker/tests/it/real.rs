//! Real photographs and a real model, from the frames topic to the results topic.

use std::path::PathBuf;

use bytes::Bytes;
use contracts::{FailureCode, FrameContent, Outcome};

use crate::harness::{TestWorker, frame, inbox, settings};

/// The folder of an environment variable; prints what is skipped when it is not set.
fn folder(test: &str, variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: {test}: {variable} is not set");
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn photographs_have_their_faces_and_damaged_ones_fail() {
    let test = "photographs_have_their_faces_and_damaged_ones_fail";
    let (Some(models), Some(samples)) = (folder(test, "SIGHTLINE_MODELS_DIR"), folder(test, "SIGHTLINE_SAMPLES_DIR"))
    else {
        return;
    };
    let mut flags = vec!["--models-dir".to_owned(), models.display().to_string()];
    if let Some(library) = std::env::var_os("SIGHTLINE_ORT_DYLIB_PATH") {
        flags.extend(["--ort-dylib-path".to_owned(), PathBuf::from(library).display().to_string()]);
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let setup = TestWorker::new();
    let photographs =
        [("faces/solvay_1927_29faces.jpg", 29), ("faces/obama_biden_2faces.jpg", 2), ("faces/astronaut_1face.png", 1)];
    for (photograph, _) in photographs {
        let bytes = std::fs::read(samples.join(photograph)).unwrap();
        let damaged = Bytes::from(bytes).slice(..20_000);
        setup.send(&frame("damaged", damaged)).await;
        let mut whole = frame("whole", Bytes::new());
        let key = inbox(&whole);
        setup.blobs.put(&key, std::fs::read(samples.join(photograph)).unwrap().into()).await.unwrap();
        whole.content = FrameContent::Blob(key);
        setup.send(&whole).await;
    }
    let settings = settings(setup.folder.path(), &flags);
    let detectors = detector_worker::detectors(&settings.config, &settings.common).unwrap();
    let worker = setup.start(detectors, &flags);
    worker.caught_up().await;
    worker.stop().await;
    let mut faces = Vec::new();
    for result in setup.results().await {
        match &result.data.outcome {
            Outcome::Ok { detections, image, .. } => {
                faces.push(detections.len());
                assert!(image.is_some() && detections.iter().all(|face| face.landmarks.len() == 5));
            }
            Outcome::Failed { code, .. } => assert_eq!(*code, FailureCode::Undecodable),
        }
    }
    assert_eq!(faces, photographs.map(|(_, faces)| faces));
    assert_eq!(setup.dead_letters().await.len(), photographs.len());
}
