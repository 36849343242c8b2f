//! A run: frames flow, faults follow one another, and after each one the time to the first result is measured.
//!
//! `SIGHTLINE_TEST_CHAOS_SEED`, `…_FRAMES`, `…_FAULTS` and `…_RATE` (frames a second while faults come) set its size;
//! `…_REPORT` names a file for its report, `…_FOLDER` one for everything that was logged.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;

use crate::delivery::{TestClient, small_photo};
use crate::deployment::TestDeployment;
use crate::plan::{Fault, faults};
use crate::processes::path_from_env;
use crate::report::Report;
use crate::sent_frames::{STREAMS, SentFrames};
use crate::subscriber::Subscriber;

/// Frames that are sent at the end of a fault, to measure the time to their results.
const PROBES: usize = 4;

/// Size of a run.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub seed: u64,
    pub frames: usize,
    pub faults: usize,
    pub rate: f64,
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let name = format!("SIGHTLINE_TEST_CHAOS_{name}");
    match std::env::var(&name) {
        Ok(value) => value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}, not a number")),
        Err(_) => default,
    }
}

/// Recovery after a fault.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    pub fault: Fault,
    /// Time from the end of the fault (the restart of a killed service, or the readiness of a killed server) until the first
    /// results of the [`PROBES`] frames sent after it can be read.
    pub first: Duration,
    /// The same for the last results.
    pub last: Duration,
}

async fn recovery(fault: Fault, ended: Instant, sent: &SentFrames, client: &TestClient) -> Recovery {
    let probe = || async {
        let frame = sent.send(None, false).await;
        client.results(frame).await;
        ended.elapsed()
    };
    let after = join_all((0..PROBES).map(|_| probe())).await;
    Recovery { fault, first: after.iter().copied().min().unwrap(), last: after.iter().copied().max().unwrap() }
}

async fn subscribers(deployment: &TestDeployment, rng: &mut Rng) -> Vec<Subscriber> {
    let at = |url: &str| TestClient::new(url, &deployment.token);
    vec![
        Subscriber::start("at alert-stream", at(&deployment.alerts_url), None, rng.fork()).await,
        Subscriber::start("at alert-stream, one stream", at(&deployment.alerts_url), Some(STREAMS[1]), rng.fork())
            .await,
        Subscriber::start("through ingest-api", at(&deployment.url), None, rng.fork()).await,
        Subscriber::start("through ingest-api, one stream", at(&deployment.url), Some(STREAMS[2]), rng.fork()).await,
    ]
}

/// The photograph with noise, so that it is too large for a message.
fn large_photo(path: PathBuf, rng: &mut Rng) -> bytes::Bytes {
    let mut photo = image::open(path).unwrap().resize(960, 960, image::imageops::FilterType::Triangle).to_rgb8();
    photo.iter_mut().for_each(|value| *value ^= rng.u8(0..4));
    let mut png = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    assert!(png.len() > 1 << 20, "{} bytes are not large", png.len());
    png.into()
}

async fn inject_all(
    planned: &[Fault],
    deployment: &TestDeployment,
    sent: &SentFrames,
    client: &TestClient,
    rng: &mut Rng,
) -> Vec<Recovery> {
    let mut recoveries = Vec::new();
    for (number, fault) in (1..).zip(planned) {
        let ended = deployment.inject(*fault).await;
        let recovery = recovery(*fault, ended, sent, client).await;
        println!(
            "fault {number}/{}, {} frames: {fault}; first result after {:.2} s, {PROBES} after {:.2} s",
            planned.len(),
            sent.acknowledged(),
            recovery.first.as_secs_f64(),
            recovery.last.as_secs_f64()
        );
        recoveries.push(recovery);
        tokio::time::sleep(Duration::from_millis(rng.u64(0..800))).await;
    }
    recoveries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn nothing_is_lost_or_repeated_under_any_fault() {
    let size = Size {
        seed: setting("SEED", 1),
        frames: setting("FRAMES", 1200),
        faults: setting("FAULTS", 10),
        rate: setting("RATE", 25.0),
    };
    let name = "nothing_is_lost_or_repeated_under_any_fault";
    let (Some(small), Some(photo)) = (small_photo(name), path_from_env(name, "SIGHTLINE_TEST_PHOTO")) else { return };
    let mut rng = Rng::with_seed(size.seed);
    let large = large_photo(photo, &mut rng);
    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("SIGHTLINE_TEST_CHAOS_FOLDER").map_or(own.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();

    let deployment = TestDeployment::start(&folder, size.seed).await;
    let client = TestClient::new(&deployment.url, &deployment.token);
    let subscribers = subscribers(&deployment, &mut rng).await;
    let sent = SentFrames::new(client.clone(), small, large, size.frames);
    let started = Instant::now();
    let clients = sent.start_clients(size.rate, &mut rng);
    let recoveries = inject_all(&faults(size.seed, size.faults), &deployment, &sent, &client, &mut rng).await;
    sent.end_faults();
    clients.join_all().await;
    let verification = sent.verify(&deployment, &subscribers).await;
    let took = started.elapsed();
    drop(subscribers);
    let ended = deployment.stop().await;
    let report = Report { size, recoveries, verification, ended, took };
    println!("{report}");
    if let Some(file) = std::env::var_os("SIGHTLINE_TEST_CHAOS_REPORT") {
        std::fs::write(file, report.to_string()).unwrap();
    }
    report.verification.assert_clean();
}
