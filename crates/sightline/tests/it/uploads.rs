//! Photographs that verify users, in `sightline up`: by its route, and from the topic while it is killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::{Bus, EmbeddedBus, ReaderItem, Start};
use contracts::{
    Event, FaceUpload, FaceVerifiedEvent, Message, TenantId, TopicRole, Topics, UploadOutcome, UserId, groups,
};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::json;
use store::Relational;
use store::relational::{NewUser, Role, UploadPlace, UserLimit, UserWriteOutcome};
use uuid::Uuid;

use crate::faces::{TestUser, photographs};
use crate::processes::{TIMEOUT, TestServer};

/// An upload of a user of its own.
struct Sent {
    user: UserId,
    tenant: TenantId,
    path: String,
    place: UploadPlace,
    expected: UploadOutcome,
}

/// A server with a folder of uploads, which is stopped while a test prepares or checks its data.
struct TestUploads {
    up: TestServer,
    root: PathBuf,
}

/// A server with a folder of uploads, and further settings; and the folder.
pub async fn start_with_uploads(settings: &[(&str, String)]) -> (TestServer, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("uploads");
    std::fs::create_dir(&root).unwrap();
    let setting = ("SIGHTLINE_FACES_UPLOADS_DIR", root.to_str().unwrap().to_owned());
    let settings: Vec<_> = settings.iter().cloned().chain([setting]).collect();
    (TestServer::start_in(folder, &settings).await, root)
}

impl TestUploads {
    async fn start() -> Self {
        let (up, root) = start_with_uploads(&[]).await;
        Self { up, root }
    }

    fn data(&self) -> PathBuf {
        self.up.data.path().join("data")
    }

    async fn database(&self) -> Relational {
        Relational::sqlite(self.data().join("accounts.sqlite")).await.unwrap()
    }

    fn bus(&self) -> EmbeddedBus {
        let topics = Topics::parse(contracts::topics::DEFAULT).unwrap();
        EmbeddedBus::open(&self.data().join("log"), &topics, bus::embedded::Options::default()).unwrap()
    }

    /// Adds this many users, each with a file and its message; every fifth message is written twice, every third file is no image.
    async fn send(&self, image: &[u8], uploads: usize) -> Vec<Sent> {
        let (database, bus) = (self.database().await, self.bus());
        let topic_id = bus.topic_id(TopicRole::FacesUploads).await.unwrap();
        let mut all = Vec::new();
        for number in 0..uploads {
            let (username, path) = (format!("user-{number}"), format!("{number}.jpg"));
            let (user, tenant) = add_user(&database, &username).await;
            let (content, expected) = match number % 3 {
                2 => (&b"no image"[..], UploadOutcome::InvalidImage),
                _ => (image, UploadOutcome::Enrolled),
            };
            std::fs::write(self.root.join(&path), content).unwrap();
            let message = FaceUpload { username, path: path.clone(), user_id: None }.to_message();
            let position = send(&bus, message.clone()).await;
            if number % 5 == 0 {
                send(&bus, message).await;
            }
            let place =
                UploadPlace { topic_id: topic_id.clone(), partition: position.partition, offset: position.offset };
            all.push(Sent { user, tenant, path, place, expected });
        }
        bus.close().await.unwrap();
        database.close().await;
        all
    }

    fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(&self.root).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Waits until at most this many files are left.
    async fn wait_for_files(&mut self, left: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.files().len() > left {
            self.up.process.assert_running();
            assert!(Instant::now() < deadline, "{} files are left\n{}", self.files().len(), self.up.process.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every file that is gone has its outcome in the database.
    async fn assert_outcomes(&self, sent: &[Sent]) {
        let (database, files) = (self.database().await, self.files());
        for upload in sent.iter().filter(|upload| !files.contains(&upload.path)) {
            let stored = database.upload_outcome(&upload.place).await.unwrap();
            assert_eq!(stored.map(|stored| stored.outcome), Some(upload.expected), "{}", upload.path);
        }
        database.close().await;
    }

    /// Stops the server when it has finished all messages. Returns the outcomes that were sent.
    async fn stop_at_the_end(&mut self) -> Vec<FaceVerifiedEvent> {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(self.up.process.stop(), "{}", self.up.process.output());
            let bus = self.bus();
            let waiting = bus.progress(TopicRole::FacesUploads, groups::FACES).await.unwrap().waiting;
            let events = read(&bus).await;
            bus.close().await.unwrap();
            if waiting == 0 {
                return events;
            }
            self.up.process.restart();
        }
        panic!("messages are left\n{}", self.up.process.output());
    }
}

async fn add_user(database: &Relational, username: &str) -> (UserId, TenantId) {
    let (id, tenant) = (UserId::now(), Uuid::new_v4());
    let new = NewUser {
        id,
        tenant,
        username: Some(username.to_owned()),
        email: None,
        full_name: None,
        password: None,
        identity: None,
        role: Role::User,
        quota: UserLimit::Configured,
        rate_limit: UserLimit::Configured,
    };
    assert_eq!(database.add_user(&new, Timestamp::now()).await.unwrap(), UserWriteOutcome::Stored);
    (id, TenantId::from_uuid(tenant))
}

async fn send(bus: &EmbeddedBus, message: Message) -> bus::Position {
    bus.producer().send(TopicRole::FacesUploads, message).unwrap().await.unwrap()
}

/// All outcomes on the log.
async fn read(bus: &EmbeddedBus) -> Vec<FaceVerifiedEvent> {
    let ranges = bus.ranges(TopicRole::FacesVerified).await.unwrap();
    let count: i64 = ranges.iter().map(|range| range.end - range.earliest).sum();
    let mut reader = bus.reader(TopicRole::FacesVerified, Start::Earliest).await.unwrap();
    let mut events = Vec::new();
    for _ in 0..count {
        match tokio::time::timeout(TIMEOUT, reader.next()).await.unwrap().unwrap() {
            ReaderItem::Delivery(delivery) => events.push(FaceVerifiedEvent::from_message(&delivery.message).unwrap()),
            ReaderItem::Gap { from, to, .. } => panic!("{from}..{to} is gone"),
        }
    }
    events
}

/// A number from the environment, for a long run.
fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// `scripts/uploads-check` runs it with a thousand uploads and fifty kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_upload_has_one_outcome_when_everything_is_killed() {
    let Some(photographs) = photographs("each_upload_has_one_outcome_when_everything_is_killed") else { return };
    let (uploads, kills) = (number("SIGHTLINE_TEST_UPLOADS", 60), number("SIGHTLINE_TEST_UPLOAD_KILLS", 5));
    let image = std::fs::read(photographs.join("obama_b.jpg")).unwrap();
    let mut test = TestUploads::start().await;
    assert!(test.up.process.stop(), "{}", test.up.process.output());
    let sent = test.send(&image, uploads).await;
    let mut random = fastrand::Rng::with_seed(1);

    test.up.process.restart();
    for kill in 1..=kills {
        test.wait_for_files(uploads - kill * uploads / (kills + 1)).await;
        // Anywhere in the next upload.
        tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
        test.up.process.kill();
        test.assert_outcomes(&sent).await;
        test.up.process.restart();
    }
    test.wait_for_files(0).await;
    let events = test.stop_at_the_end().await;

    test.assert_outcomes(&sent).await;
    assert_eq!(test.files(), BTreeSet::new());
    let mut found: BTreeMap<UserId, BTreeSet<(Uuid, &str)>> = BTreeMap::new();
    for event in &events {
        // An event may be sent again with the same id.
        found.entry(event.data.user_id.unwrap()).or_default().insert((event.id, event.data.outcome.as_str()));
    }
    assert_eq!(found.len(), uploads);
    let database = test.database().await;
    for Sent { user, tenant, expected, .. } in &sent {
        let outcomes: Vec<&str> = found[user].iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(outcomes, [expected.as_str()]);
        let subjects = database.subjects(tenant, None, 9).await.unwrap().len();
        assert_eq!(subjects, usize::from(*expected == UploadOutcome::Enrolled));
        assert_eq!(database.verified_at(*user, tenant).await.unwrap().is_some(), expected.is_verified());
    }
    let repeats = events.len() - uploads;
    println!("{uploads} uploads, {kills} kills: one outcome each; {repeats} events were sent twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_photograph_verifies_its_user() {
    let Some(photographs) = photographs("a_photograph_verifies_its_user") else { return };
    let mut test = TestUploads::start().await;
    let ann = TestUser::add(&test.up, "ann").await;
    let me = async || ann.json(Method::GET, "/v1/users/me", json!({})).await.1;
    let before = me().await;
    assert_eq!((&before["verified"], before.get("photo")), (&json!(false), None));
    let send = async |name: &str| ann.image("/v1/users/me/photo", &photographs.join(Path::new(name))).await;
    let (status, accepted) = send("obama_a.jpg").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    testing::eventually("the user is verified", async || me().await["verified"] == true).await;
    let shown = me().await["photo"].clone();
    assert_eq!((&shown["id"], &shown["outcome"]), (&accepted["id"], &json!("enrolled")));
    let (status, accepted) = send("biden_a.jpg").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    testing::eventually("its outcome is shown", async || me().await["photo"]["id"] == accepted["id"]).await;
    let shown = me().await;
    assert_eq!(shown["photo"]["outcome"], "another_person", "{shown}");
    assert_eq!(shown["verified"], true, "another person on a later photograph changes nothing");
    test.wait_for_files(0).await;
    let events = test.stop_at_the_end().await;
    let outcomes: BTreeSet<&str> = events.iter().map(|event| event.data.outcome.as_str()).collect();
    assert_eq!(outcomes, ["another_person", "enrolled"].into());
}
