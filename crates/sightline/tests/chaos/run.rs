//! A run: frames flow, faults come one after the other, and after each it is measured how soon results come again.
//!
//! `SIGHTLINE_TEST_CHAOS_SEED`, `…_FRAMES`, `…_FAULTS` and `…_RATE` (frames a second while faults come) set its size;
//! `…_REPORT` names a file for its report, `…_FOLDER` one for everything that was logged.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;

use crate::books::{Books, STREAMS};
use crate::ledger::{Target, small_photo};
use crate::plan::{Fault, faults};
use crate::processes::given;
use crate::report::Report;
use crate::site::Site;
use crate::subscriber::Subscriber;

/// Frames that are sent the moment a fault ends, to see when their results come.
const PROBES: usize = 4;

/// How big a run is.
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

/// How soon all was well after a fault.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    pub fault: Fault,
    /// From the end of the fault (of a kill: the new start; of a server: when it was ready) until the first frame sent
    /// after it could be read with what was seen in it.
    pub first: Duration,
    /// And until the last of [`PROBES`] could.
    pub last: Duration,
}

async fn recovery(fault: Fault, ended: Instant, books: &Books, target: &Target) -> Recovery {
    let probe = || async {
        let frame = books.send(None, false).await;
        target.results(frame).await;
        ended.elapsed()
    };
    let after = join_all((0..PROBES).map(|_| probe())).await;
    Recovery { fault, first: after.iter().copied().min().unwrap(), last: after.iter().copied().max().unwrap() }
}

async fn subscribers(site: &Site, rng: &mut Rng) -> Vec<Subscriber> {
    let at = |url: &str| Target::new(url, &site.token);
    vec![
        Subscriber::start("at alert-stream", at(&site.alerts_url), None, rng.fork()).await,
        Subscriber::start("at alert-stream, one stream", at(&site.alerts_url), Some(STREAMS[1]), rng.fork()).await,
        Subscriber::start("through ingest-api", at(&site.url), None, rng.fork()).await,
        Subscriber::start("through ingest-api, one stream", at(&site.url), Some(STREAMS[2]), rng.fork()).await,
    ]
}

/// The same photograph with noise in it, so that it is too large for a message.
fn large_photo(path: PathBuf, rng: &mut Rng) -> bytes::Bytes {
    let mut photo = image::open(path).unwrap().resize(960, 960, image::imageops::FilterType::Triangle).to_rgb8();
    photo.iter_mut().for_each(|value| *value ^= rng.u8(0..4));
    let mut png = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    assert!(png.len() > 1 << 20, "{} bytes are not large", png.len());
    png.into()
}

async fn suffer_all(planned: &[Fault], site: &Site, books: &Books, target: &Target, rng: &mut Rng) -> Vec<Recovery> {
    let mut recoveries = Vec::new();
    for (number, fault) in (1..).zip(planned) {
        let ended = site.suffer(*fault).await;
        let recovery = recovery(*fault, ended, books, target).await;
        println!(
            "fault {number}/{}, {} frames: {fault}; first result after {:.2} s, {PROBES} after {:.2} s",
            planned.len(),
            books.acknowledged(),
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
async fn nothing_is_lost_and_nothing_comes_twice_whatever_fails() {
    let size = Size {
        seed: setting("SEED", 1),
        frames: setting("FRAMES", 1200),
        faults: setting("FAULTS", 10),
        rate: setting("RATE", 25.0),
    };
    let name = "nothing_is_lost_and_nothing_comes_twice_whatever_fails";
    let (Some(small), Some(photo)) = (small_photo(name), given(name, "SIGHTLINE_TEST_PHOTO")) else { return };
    let mut rng = Rng::with_seed(size.seed);
    let large = large_photo(photo, &mut rng);
    let own = tempfile::tempdir().unwrap();
    let folder = std::env::var_os("SIGHTLINE_TEST_CHAOS_FOLDER").map_or(own.path().to_owned(), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();

    let site = Site::start(&folder, size.seed).await;
    let target = Target::new(&site.url, &site.token);
    let subscribers = subscribers(&site, &mut rng).await;
    let books = Books::new(target.clone(), small, large, size.frames);
    let began = Instant::now();
    let clients = books.start_clients(size.rate, &mut rng);
    let recoveries = suffer_all(&faults(size.seed, size.faults), &site, &books, &target, &mut rng).await;
    books.be_calm();
    clients.join_all().await;
    let verdict = books.judge(&site, &subscribers).await;
    let took = began.elapsed();
    drop(subscribers);
    let ended = site.stop().await;
    let report = Report { size, recoveries, verdict, ended, took };
    println!("{report}");
    if let Some(file) = std::env::var_os("SIGHTLINE_TEST_CHAOS_REPORT") {
        std::fs::write(file, report.to_string()).unwrap();
    }
    report.verdict.assert_clean();
}
