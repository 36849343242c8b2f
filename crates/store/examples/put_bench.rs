//! How fast results go in: `cargo run --release -p store --example put_bench [batches] [results per batch]`.
//!
//! SQLite always; MongoDB, beside a bare unordered `insert_many` loop of the same documents on the same server, indexes and
//! write concern, where `SIGHTLINE_TEST_MONGODB_URI` names a replica set. Every result has three detections; every second
//! one an alert. Runs alternate, so that neither side always has the warmer server.

use std::error::Error;
use std::time::{Duration, Instant};

use contracts::alert::AlertData;
use contracts::result::ResultData;
use contracts::{
    AlertEvent, AlertId, BoundingBox, Detection, FrameId, Outcome, Point, ResultEvent, RuleId, TenantId, Vehicle,
};
use futures::TryStreamExt;
use jiff::Timestamp;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, WriteConcern};
use mongodb::{Client, Database};
use store::{Documents, Indexed, MongoDocuments, SqliteDocuments};
use uuid::Uuid;

const ROUNDS: usize = 5;
const DATABASE: &str = "sightline_put_bench";
const COLLECTIONS: [&str; 3] = ["results", "detections", "alerts"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (batches, size) = (number(40)?, number(250)?);
    sqlite(batches, size).await?;
    match std::env::var("SIGHTLINE_TEST_MONGODB_URI") {
        Ok(uri) => mongodb(&uri, batches, size).await,
        Err(_) => {
            println!("mongodb: skipped, SIGHTLINE_TEST_MONGODB_URI is not set");
            Ok(())
        }
    }
}

async fn sqlite(batches: usize, size: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::TempDir::new()?;
    let store = SqliteDocuments::open(folder.path().join("documents.db"))?;
    let all = work(batches, size);
    let took = put_all(&store, &all).await?;
    println!("sqlite             {:>8.0} documents/s", rate(&all, took));
    Ok(())
}

async fn mongodb(uri: &str, batches: usize, size: usize) -> Result<(), Box<dyn Error>> {
    let client = Client::with_uri_str(uri).await?;
    let (mut in_turn, mut side_by_side) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let all = work(batches, size);
        let (store, database) = fresh(uri, &client).await?;
        let ours = put_all(&store, &all).await?;
        let same = taken_out(&database, batches).await?;
        let (_, database) = fresh(uri, &client).await?;
        let bare = insert_all(&database, &same, false).await?;
        let (_, database) = fresh(uri, &client).await?;
        let joined = insert_all(&database, &same, true).await?;
        database.drop().await?;
        for (name, took) in [("mongodb", ours), ("bare, in turn", bare), ("bare, side by side", joined)] {
            println!("{name:<18} {:>8.0} documents/s", rate(&all, took));
        }
        in_turn.push(bare.as_secs_f64() / ours.as_secs_f64());
        side_by_side.push(joined.as_secs_f64() / ours.as_secs_f64());
    }
    client.shutdown().immediate(true).await;
    for (name, mut ratios) in [("in turn", in_turn), ("side by side", side_by_side)] {
        ratios.sort_by(f64::total_cmp);
        let (least, median, most) = (ratios[0], ratios[ROUNDS / 2], ratios[ROUNDS - 1]);
        println!("ours / bare {name}: median {median:.2}, from {least:.2} to {most:.2}");
    }
    Ok(())
}

/// Empty collections with their indexes; those of the run before are dropped, so that nobody writes over what was deleted.
async fn fresh(uri: &str, client: &Client) -> Result<(MongoDocuments, Database), Box<dyn Error>> {
    let database = client.database(DATABASE);
    database.drop().await?;
    Ok((MongoDocuments::connect(uri, Some(DATABASE)).await?, database))
}

async fn put_all(store: &dyn Documents, all: &[Vec<Indexed>]) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    for batch in all {
        store.put(batch).await?;
    }
    Ok(started.elapsed())
}

/// Reads the documents that were put, in the order and the batches in which they were.
async fn taken_out(database: &Database, batches: usize) -> Result<Vec<Vec<Vec<RawDocumentBuf>>>, Box<dyn Error>> {
    let mut taken = Vec::new();
    for name in COLLECTIONS {
        let found = database.collection::<RawDocumentBuf>(name).find(doc! {}).await?;
        let docs: Vec<RawDocumentBuf> = found.try_collect().await?;
        taken.push(docs.chunks(docs.len().div_ceil(batches)).map(<[_]>::to_vec).collect());
    }
    Ok(taken)
}

/// The bare loop, batch by batch: the three collections in turn, or side by side, which no store could do that must know
/// the outcome of the results first.
async fn insert_all(
    database: &Database,
    taken: &[Vec<Vec<RawDocumentBuf>>],
    side_by_side: bool,
) -> Result<Duration, Box<dyn Error>> {
    let durable = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let insert = async |place: usize, batch: usize| {
        let collection = database.collection::<RawDocumentBuf>(COLLECTIONS[place]);
        collection.insert_many(&taken[place][batch]).ordered(false).write_concern(durable.clone()).await
    };
    let started = Instant::now();
    for batch in 0..taken[0].len() {
        if side_by_side {
            tokio::try_join!(insert(0, batch), insert(1, batch), insert(2, batch))?;
        } else {
            for place in 0..COLLECTIONS.len() {
                insert(place, batch).await?;
            }
        }
    }
    Ok(started.elapsed())
}

fn rate(all: &[Vec<Indexed>], took: Duration) -> f64 {
    let documents: usize = all.iter().flatten().map(|indexed| 4 + indexed.alerts.len()).sum();
    documents as f64 / took.as_secs_f64()
}

fn work(batches: usize, size: usize) -> Vec<Vec<Indexed>> {
    (0..batches).map(|_| (0..size).map(|n| indexed(n % 2 == 0)).collect()).collect()
}

fn indexed(alerting: bool) -> Indexed {
    let (frame_id, now, tenant) = (FrameId::now(), Timestamp::now(), TenantId::admin());
    let stream = "gate-1".parse().ok();
    let face = Detection {
        label: "face".to_owned(),
        confidence: 0.875,
        bounds: Some(BoundingBox { x: 100.5, y: 200.25, width: 50.0, height: 60.0 }),
        landmarks: vec![Point { x: 110.0, y: 220.0 }; 5],
        vehicle: Vehicle::default(),
    };
    let detections = vec![face.clone(); 3];
    let data = ResultData {
        frame_id,
        stream,
        detector: detector(),
        model: "yunet".to_owned(),
        captured_at: now,
        processed_at: now,
        outcome: Outcome::Ok { width: 640, height: 480, detections, image: None },
    };
    let rule_id = RuleId::built_in("face seen");
    let alert = AlertData {
        id: AlertId::of(&rule_id, &frame_id),
        rule: "face seen".to_owned(),
        rule_id,
        frame_id,
        stream: data.stream.clone(),
        detector: detector(),
        detection_id: format!("{frame_id}-face-0"),
        label: face.label,
        confidence: face.confidence,
        bounds: face.bounds,
        vehicle: Vehicle::default(),
        matches: 3,
        captured_at: now,
        raised_at: now,
    };
    let alert = AlertEvent { tenant: tenant.clone(), traceparent: None, data: alert };
    let key = frame_id.to_string();
    Indexed {
        result: ResultEvent { id: Uuid::now_v7(), tenant, key, traceparent: None, reply_to: None, data },
        alerts: if alerting { vec![alert] } else { Vec::new() },
        indexed_at: now,
        expires_at: now + Duration::from_secs(86_400),
    }
}

fn detector() -> contracts::DetectorName {
    "face".parse().expect("a detector's name")
}
