//! Nothing that was acknowledged is lost or repeated when processes are killed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contracts::FrameId;
use tokio::task::JoinSet;

use crate::delivery::{Subscriber, TestClient, assert_nothing_lost, small_photo, wait_for_a_frame};
use crate::processes::{Process, TestServer, free_port, program, wait_until_ready};

/// Sends this many frames from several clients; counts them as they are acknowledged.
fn send_frames(
    client: &TestClient,
    image: &bytes::Bytes,
    frames: usize,
    sent: &Arc<AtomicUsize>,
) -> JoinSet<Vec<FrameId>> {
    const CLIENTS: usize = 8;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, image, sent) = (client.clone(), image.clone(), sent.clone());
        clients.spawn(async move {
            let mut acknowledged = Vec::new();
            for _ in (number..frames).step_by(CLIENTS) {
                acknowledged.push(client.send(&image).await);
                sent.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        });
    }
    clients
}

async fn wait_until_sent(sent: &AtomicUsize, wanted: usize) {
    while sent.load(Ordering::Relaxed) < wanted {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn all_acknowledged(clients: JoinSet<Vec<FrameId>>, frames: usize) -> BTreeSet<FrameId> {
    let acknowledged: BTreeSet<FrameId> = clients.join_all().await.into_iter().flatten().collect();
    assert_eq!(acknowledged.len(), frames);
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_everything_is_killed_at_once() {
    const FRAMES: usize = 240;
    let Some(image) = small_photo("nothing_is_lost_when_everything_is_killed_at_once") else { return };
    let mut up = TestServer::start(&[]).await;
    let client = TestClient::new(&up.url, &up.token);
    let subscriber = Subscriber::start(&client, "/v1/alerts", 5, 20).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let clients = send_frames(&client, &image, FRAMES, &sent);
    for kill in 1..=3 {
        wait_until_sent(&sent, kill * FRAMES / 4).await;
        // Each kill finds the worker at work. Fewer kills than make a frame fail: nothing tells them from crashes of a decoder.
        wait_for_a_frame(&up.admin).await;
        up.process.kill_and_restart();
    }
    let acknowledged = all_acknowledged(clients, FRAMES).await;
    let cuts = subscriber.cuts.clone();
    assert_nothing_lost(&client, &acknowledged, subscriber).await;
    assert_eq!(*cuts.lock().unwrap(), 5);
    assert!(up.process.stop(), "{}", up.process.output());
}

/// The four services on real servers, each in a process of its own.
pub struct TestServices {
    ingest: Process,
    worker: Process,
    indexer: Process,
    alerts: Process,
    pub url: String,
    _folder: tempfile::TempDir,
}

/// Topics, a database and a token for this run alone.
pub struct TestNamespace {
    settings: Vec<(&'static str, String)>,
    pub token: String,
    pub topics: contracts::Topics,
}

impl TestNamespace {
    /// Creates the default topics with `sightline topics apply`. Panics if no servers are set.
    pub fn create(folder: &std::path::Path) -> Self {
        Self::with_topics(folder, contracts::topics::DEFAULT)
    }

    /// The same with the topics of a topics file.
    pub fn with_topics(folder: &std::path::Path, topics: &str) -> Self {
        let set =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `make test-real`"));
        let run = uuid::Uuid::now_v7().simple().to_string();
        let file = folder.join("topics.yaml");
        let prefixed = topics.replace("name: sightline", &format!("name: t{run}"));
        std::fs::write(&file, prefixed.replace("partitions: 12", "partitions: 4")).unwrap();
        let token = format!("token-{run}");
        let settings = vec![
            ("SIGHTLINE_KAFKA_BROKERS", set("SIGHTLINE_TEST_KAFKA_BROKERS")),
            ("SIGHTLINE_MONGODB_URI", set("SIGHTLINE_TEST_MONGODB_URI")),
            ("SIGHTLINE_DATABASE_URL", set("SIGHTLINE_TEST_DATABASE_URL")),
            ("SIGHTLINE_REDIS_URL", set("SIGHTLINE_TEST_REDIS_URL")),
            ("SIGHTLINE_MONGODB_DATABASE", format!("t{}", &run[16..])),
            ("SIGHTLINE_TOPICS_FILE", file.to_str().unwrap().to_owned()),
            ("SIGHTLINE_BLOB_URL", format!("file://{}", folder.join("blobs").to_str().unwrap())),
            ("SIGHTLINE_ADMIN_TOKEN", token.clone()),
            ("SIGHTLINE_WORKER_STATE_DIR", folder.join("worker").to_str().unwrap().to_owned()),
            ("SIGHTLINE_RULE_FACE_SEEN", "on".to_owned()),
            ("SIGHTLINE_RULE_SUSPICIOUS_VEHICLE", "on".to_owned()),
        ];
        let log = folder.join("topics.log");
        let mut apply = Process::start(&program("sightline"), &["topics", "apply"], &settings, &log);
        assert!(apply.wait_success(), "{}", apply.output());
        // All runs share the accounts.
        let mut migrate = Process::start(&program("sightline"), &["migrate"], &settings, &folder.join("migrate.log"));
        assert!(migrate.wait_success(), "{}", migrate.output());
        let topics = contracts::Topics::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        Self { settings, token, topics }
    }

    pub fn brokers(&self) -> &str {
        &self.settings[0].1
    }

    /// The settings with these names.
    pub fn settings(&self, names: &[&str]) -> Vec<(&'static str, String)> {
        self.settings.iter().filter(|(name, _)| names.contains(name)).cloned().collect()
    }
}

impl TestServices {
    pub async fn start() -> (Self, TestNamespace) {
        let folder = tempfile::tempdir().unwrap();
        let namespace = TestNamespace::create(folder.path());
        (Self::start_in(folder, &namespace, &[]).await, namespace)
    }

    /// Starts them in a namespace, with further settings for all.
    pub async fn start_in(
        folder: tempfile::TempDir,
        namespace: &TestNamespace,
        further: &[(&'static str, String)],
    ) -> Self {
        let (port, alerts_port) = (free_port(), free_port());
        let start = |name: &str, own: &[(&'static str, String)]| {
            let mut settings = namespace.settings.clone();
            settings.push(("SIGHTLINE_ADMIN_ADDR", format!("127.0.0.1:{}", free_port())));
            settings.extend(further.iter().chain(own).cloned());
            Process::start(&program(name), &[], &settings, &folder.path().join(format!("{name}.log")))
        };
        let alerts = start("alert-stream", &[("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{alerts_port}"))]);
        let ingest = start(
            "ingest-api",
            &[
                ("SIGHTLINE_HTTP_ADDR", format!("127.0.0.1:{port}")),
                ("SIGHTLINE_ALERT_STREAM_URL", format!("http://127.0.0.1:{alerts_port}")),
            ],
        );
        let (worker, indexer) = (start("detector-worker", &[]), start("indexer", &[]));
        let url = format!("http://127.0.0.1:{port}");
        let mut services = Self { ingest, worker, indexer, alerts, url, _folder: folder };
        wait_until_ready(&mut services.alerts, &format!("http://127.0.0.1:{alerts_port}")).await;
        wait_until_ready(&mut services.ingest, &services.url).await;
        services
    }

    /// Stops all of them; fails the test if one fails.
    pub fn stop(&mut self) {
        for service in [&mut self.ingest, &mut self.worker, &mut self.indexer, &mut self.alerts] {
            assert!(service.stop(), "{}", service.output());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn nothing_is_lost_when_services_are_killed_one_by_one() {
    const FRAMES: usize = 1000;
    let Some(image) = small_photo("nothing_is_lost_when_services_are_killed_one_by_one") else { return };
    let (mut services, namespace) = TestServices::start().await;
    let client = TestClient::new(&services.url, &namespace.token);
    let subscriber = Subscriber::start(&client, "/v1/alerts", 5, 100).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let clients = send_frames(&client, &image, FRAMES, &sent);
    for kill in 1..=9 {
        wait_until_sent(&sent, kill * FRAMES / 10).await;
        match kill % 3 {
            0 => services.worker.kill_and_restart(),
            1 => services.indexer.kill_and_restart(),
            _ => services.ingest.kill_and_restart(),
        }
    }
    let acknowledged = all_acknowledged(clients, FRAMES).await;
    let cuts = subscriber.cuts.clone();
    assert_nothing_lost(&client, &acknowledged, subscriber).await;
    assert_eq!(*cuts.lock().unwrap(), 5);
    services.stop();
}
