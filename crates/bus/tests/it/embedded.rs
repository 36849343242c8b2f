//! The contract suite on the embedded log, from memory and from disk, and the guarantees of the embedded log alone: retention that
//! waits for groups, a limit on the disk, a folder that one process uses at a time.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bus::embedded::{BusSync, EmbeddedBus, Options};
use bus::{Bus, BusError, ConsumerOptions, ReaderItem, Start};
use contracts::{TopicRole, Topics};
use tempfile::TempDir;

use crate::suite::{self, GROUP, TIMEOUT, TestLog, TestMember, message, number, numbered, numbers, read, send};

const FOLDER: &str = "SIGHTLINE_TEST_EMBEDDED_FOLDER";

/// A log in a new folder.
struct TestFolder {
    folder: TempDir,
    options: Options,
}

impl TestFolder {
    fn new(options: Options) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), options }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("bus")
    }
}

#[async_trait]
impl TestLog for TestFolder {
    async fn open_with_queue(&self, bytes: usize) -> Arc<dyn Bus> {
        let options = Options { max_queue_bytes: bytes, ..self.options };
        Arc::new(EmbeddedBus::open(&self.path(), &topics(), options).unwrap())
    }

    fn writing_process(&self) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "embedded::writing_process", "--nocapture"]).env(FOLDER, self.path());
        command
    }
}

fn topics() -> Topics {
    Topics::parse(contracts::topics::DEFAULT)
        .unwrap()
        .map(|topic| topic.partitions = if topic.role == TopicRole::Alerts { 1 } else { 3 })
}

#[tokio::test]
async fn without_audio_no_topic_of_it_is_on_the_disk() {
    let folder = TestFolder::new(Options::default());
    let has_tasks = || folder.path().join("sightline.media.tasks.topic").exists();
    let bus = folder.open().await;
    assert!(!has_tasks());
    let refused = bus.producer().send(TopicRole::MediaTasks, message("a", 1)).err().unwrap().to_string();
    assert!(refused.contains("SIGHTLINE_AUDIO"), "{refused}");
    assert!(bus.ranges(TopicRole::MediaTasks).await.is_err());
    bus.close().await.unwrap();

    let with = EmbeddedBus::open(&folder.path(), &topics().with_audio(true), folder.options).unwrap();
    send(&with, TopicRole::MediaTasks, [message("a", 1)]).await;
    assert!(has_tasks());
    with.close().await.unwrap();
    // Off again: the folder stays as it is, and the log opens without it.
    let bus = folder.open().await;
    assert_eq!(bus.topic(TopicRole::MediaTasks), "media_tasks");
    bus.close().await.unwrap();
}

/// Started by another test as a process, and killed.
#[tokio::test]
async fn writing_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let options = Options { segment_bytes: 1 << 20, ..Options::default() };
    suite::write_until_killed(Arc::new(EmbeddedBus::open(Path::new(&folder), &topics(), options).unwrap())).await;
}

mod from_memory {
    use super::{Future, Options, TestFolder};

    async fn runner<F: Future<Output = ()>>(scenario: impl FnOnce(TestFolder) -> F) {
        scenario(TestFolder::new(Options::default())).await;
    }

    contract_suite!(runner, []);
}

mod from_disk {
    use super::{BusSync, Future, Options, TestFolder};

    /// Keeps nothing in memory, puts a few messages into a segment, and waits for the disk at every commit.
    async fn runner<F: Future<Output = ()>>(scenario: impl FnOnce(TestFolder) -> F) {
        let options = Options { memory_bytes: 0, segment_bytes: 300_000, sync: BusSync::Full, ..Options::default() };
        scenario(TestFolder::new(options)).await;
    }

    contract_suite!(runner, []);
}

/// A log with a retention of 200 ms and a few messages in a segment.
fn short_lived(folder: &TestFolder) -> EmbeddedBus {
    let topics = topics().map(|topic| topic.retention = Duration::from_millis(200));
    EmbeddedBus::open(&folder.path(), &topics, Options { segment_bytes: 100_000, ..folder.options }).unwrap()
}

async fn earliest(bus: &EmbeddedBus, role: TopicRole) -> i64 {
    bus.ranges(role).await.unwrap().iter().map(|range| range.earliest).sum()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within the time limit: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_topic_over_its_size_drops_consumed_messages_alone() {
    let folder = TestFolder::new(Options::default());
    let limited = |topic: &mut contracts::Topic| topic.retention_bytes = Some(400_000);
    let bus = EmbeddedBus::open(&folder.path(), &topics().map(limited), folder.options).unwrap();
    let mut member = TestMember::of(&bus).await;
    // Each group is more than a segment.
    for group in 0..6 {
        send(&bus, TopicRole::Frames, (0..10).map(|number| numbered("k", group * 10 + number, 50_000))).await;
    }
    let taken = member.take(60).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(earliest(&bus, TopicRole::Frames).await, 0, "a message that was not consumed is dropped");
    member.finish(&taken);
    until("the topic is small again", async || earliest(&bus, TopicRole::Frames).await > 30).await;
    assert!(earliest(&bus, TopicRole::Frames).await < 60, "the newest messages are kept");
}

#[tokio::test]
async fn retention_drops_consumed_messages_and_reports_a_gap() {
    let folder = TestFolder::new(Options::default());
    let bus = short_lived(&folder);
    let mut reader = bus.reader(TopicRole::Frames, Start::Earliest).await.unwrap();
    let mut member = TestMember::of(&bus).await;
    let sent = send(&bus, TopicRole::Frames, (0..20).map(|number| numbered("k", number, 50_000))).await;
    let taken = member.take(20).await;
    member.finish(&taken);
    until("everything dropped", async || earliest(&bus, TopicRole::Frames).await == 20).await;
    let files = fs::read_dir(folder.path().join("sightline.frames.topic")).unwrap().count();
    assert!(files < 10, "{files} files are left");

    send(&bus, TopicRole::Frames, [message("k", 20)]).await;
    let partition = sent[0].partition;
    match tokio::time::timeout(TIMEOUT, reader.next()).await.unwrap().unwrap() {
        ReaderItem::Gap { partition: at, from: 0, to: 20 } if at == partition => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(number(&read(&mut *reader, 1).await[0]), 20);
    // Offsets continue, even after the log was opened again.
    drop(member);
    bus.close().await.unwrap();
    let bus = short_lived(&folder);
    let next = send(&bus, TopicRole::Frames, [message("k", 21)]).await;
    assert_eq!(next[0].offset, 21);
}

#[tokio::test]
async fn retention_waits_for_the_slowest_group() {
    let folder = TestFolder::new(Options::default());
    let bus = short_lived(&folder);
    // One by one: messages that are sent at once go into one segment.
    for number in 0..20 {
        send(&bus, TopicRole::Frames, [numbered("k", number, 50_000)]).await;
    }
    // No group has consumed frames yet. Alerts have no group, so they are dropped.
    send(&bus, TopicRole::Alerts, (0..20).map(|number| numbered("k", number, 50_000))).await;
    until("old alerts are dropped", async || earliest(&bus, TopicRole::Alerts).await == 20).await;
    assert_eq!(earliest(&bus, TopicRole::Frames).await, 0);

    // Retention waits for the slower of two groups, even while it has no member, and after the log was opened again.
    let mut slow = TestMember::with(&bus, "slow", ConsumerOptions::default()).await;
    let taken = slow.take(20).await;
    slow.finish(&taken[..11]);
    drop(slow);
    let mut quick = TestMember::of(&bus).await;
    let taken = quick.take(20).await;
    quick.finish(&taken);
    quick.consumer.close().await.unwrap();
    bus.close().await.unwrap();
    let bus = short_lived(&folder);
    send(&bus, TopicRole::Alerts, [message("k", 20)]).await;
    until("the whole segments of the eleven messages are dropped", async || {
        earliest(&bus, TopicRole::Frames).await >= 8
    })
    .await;
    until("old alerts are dropped again", async || earliest(&bus, TopicRole::Alerts).await == 21).await;
    assert!(earliest(&bus, TopicRole::Frames).await <= 11);
    let mut slow = TestMember::with(&bus, "slow", ConsumerOptions::default()).await;
    assert_eq!(numbers(&slow.take(9).await), (11..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn retention_does_not_wait_for_a_deleted_group() {
    let folder = TestFolder::new(Options::default());
    let bus = short_lived(&folder);
    drop(TestMember::with(&bus, "gone", ConsumerOptions::default()).await);
    let mut member = TestMember::of(&bus).await;
    send(&bus, TopicRole::Frames, (0..10).map(|number| numbered("k", number, 50_000))).await;
    let taken = member.take(10).await;
    member.finish(&taken);
    until("commit", async || bus.oldest_unconsumed(TopicRole::Frames, GROUP).await.unwrap().is_none()).await;
    assert_eq!(earliest(&bus, TopicRole::Frames).await, 0);
    assert_eq!(
        bus.replace_groups(TopicRole::Frames, "successor").await.unwrap(),
        ["gone"],
        "a group with a member is kept"
    );
    assert_eq!(bus.replace_groups(TopicRole::Frames, GROUP).await.unwrap(), ["successor"]);
    until("everything dropped", async || earliest(&bus, TopicRole::Frames).await == 10).await;
}

#[tokio::test]
async fn a_new_group_continues_where_the_one_that_it_replaces_stood() {
    let folder = TestFolder::new(Options::default());
    let open = || EmbeddedBus::open(&folder.path(), &topics(), folder.options).unwrap();
    let bus = open();
    let mut member = TestMember::of(&bus).await;
    send(&bus, TopicRole::Frames, (0..10).map(|number| numbered("k", number, 100))).await;
    let taken = member.take(4).await;
    member.finish(&taken);
    drop(member);
    // What is finished is stored.
    bus.close().await.unwrap();
    let bus = open();
    assert_eq!(bus.replace_groups(TopicRole::Frames, "successor").await.unwrap(), [GROUP]);
    let mut successor = TestMember::with(&bus, "successor", ConsumerOptions::default()).await;
    assert_eq!(numbers(&successor.take(6).await), (4..10).collect::<Vec<_>>());
    // One that exists keeps its place.
    drop(successor);
    drop(TestMember::of(&bus).await);
    assert_eq!(bus.replace_groups(TopicRole::Frames, "successor").await.unwrap(), [GROUP]);
    let mut successor = TestMember::with(&bus, "successor", ConsumerOptions::default()).await;
    assert_eq!(numbers(&successor.take(6).await), (4..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_refuses_frames_until_there_is_room() {
    let folder = TestFolder::new(Options { disk_limit: 16 << 20, ..Options::default() });
    let bus = EmbeddedBus::open(&folder.path(), &topics(), folder.options).unwrap();
    let mut member = TestMember::of(&bus).await;
    let mut taken = 0;
    let refused = loop {
        match bus.producer().send(TopicRole::Frames, numbered("k", taken, 100_000)).unwrap().await {
            Ok(_) => taken += 1,
            Err(refused) => break refused,
        }
        assert!(taken < 1000, "the limit has no effect");
    };
    assert!(matches!(refused, BusError::DiskFull(_)) && refused.is_transient(), "{refused:?}");
    // Results of accepted frames are still accepted, so that these frames can be finished.
    send(&bus, TopicRole::Results, (0..5).map(|number| numbered("k", number, 100_000))).await;

    // Every accepted frame can be read. When all are consumed, new frames are accepted, long before retention ends.
    let in_flight = member.take(taken).await;
    assert_eq!(numbers(&in_flight), (0..taken).collect::<Vec<_>>());
    member.finish(&in_flight);
    until("frames are accepted again", async || {
        bus.producer().send(TopicRole::Frames, numbered("k", taken, 100_000)).unwrap().await.is_ok()
    })
    .await;
    assert_eq!(numbers(&member.take(1).await), [taken]);
}

#[tokio::test]
async fn a_group_has_one_member() {
    let folder = TestFolder::new(Options::default());
    let bus = folder.open().await;
    let member = TestMember::of(&*bus).await;
    let refused = bus.consumer(TopicRole::Frames, GROUP, ConsumerOptions::default()).await.err().unwrap();
    assert!(matches!(&refused, BusError::Fatal(text) if text.contains(GROUP)), "{refused:?}");
    drop(member);
    drop(TestMember::of(&*bus).await);
}

#[tokio::test]
async fn a_folder_belongs_to_one_process_until_it_is_closed() {
    let folder = TestFolder::new(Options::default());
    let bus = folder.open().await;
    let refused = EmbeddedBus::open(&folder.path(), &topics(), folder.options).err().unwrap().to_string();
    assert!(refused.contains("SIGHTLINE_DATA_DIR"), "{refused}");
    assert!(refused.contains(&format!("pid {}", std::process::id())), "{refused}");
    // Closing unlocks the folder while handles are still held; so does dropping.
    bus.close().await.unwrap();
    drop(EmbeddedBus::open(&folder.path(), &topics(), folder.options).unwrap());
    EmbeddedBus::open(&folder.path(), &topics(), folder.options).unwrap();
}

#[tokio::test]
async fn a_changed_number_of_partitions_is_refused() {
    let folder = TestFolder::new(Options::default());
    folder.open().await.close().await.unwrap();
    let changed = topics().map(|topic| topic.partitions += i32::from(topic.role == TopicRole::Replies));
    let refused = EmbeddedBus::open(&folder.path(), &changed, folder.options).err().unwrap().to_string();
    assert!(refused.contains("sightline.replies has 3 partitions") && refused.contains("topics.yaml"), "{refused}");
}

#[tokio::test]
async fn a_folder_of_an_older_version_gets_the_topics_it_lacks() {
    let folder = TestFolder::new(Options::default());
    let bus = folder.open().await;
    send(&*bus, TopicRole::Alerts, [message("k", 0)]).await;
    let mut member = TestMember::of(&*bus).await;
    send(&*bus, TopicRole::Frames, (1..4).map(|number| message("k", number))).await;
    let taken = member.take(3).await;
    member.finish(&taken[..1]);
    drop(member);
    bus.close().await.unwrap();
    // The folder, as a version without this role wrote it.
    fs::remove_dir_all(folder.path().join("sightline.replies.topic")).unwrap();

    let bus = folder.open().await;
    bus.check().await.unwrap();
    assert_eq!(send(&*bus, TopicRole::Replies, [message("k", 4)]).await[0].offset, 0);
    assert_eq!(numbers(&read(&mut *bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap(), 1).await), [0]);
    assert_eq!(numbers(&TestMember::of(&*bus).await.take(2).await), [2, 3]);
}

#[tokio::test]
async fn a_damaged_file_is_named_and_kept() {
    let folder = TestFolder::new(Options::default());
    let bus = folder.open().await;
    send(&*bus, TopicRole::Alerts, [message("k", 0)]).await;
    bus.close().await.unwrap();
    let path = folder.path().join("sightline.alerts.topic/000000000001.db");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, b"not a database, and longer than the header of one ".repeat(20)).unwrap();
    let refused = EmbeddedBus::open(&folder.path(), &topics(), folder.options).err().unwrap();
    assert!(matches!(&refused, BusError::Fatal(text) if text.contains("000000000001.db")), "{refused:?}");

    fs::write(&path, whole).unwrap();
    let bus = folder.open().await;
    assert_eq!(read(&mut *bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap(), 1).await.len(), 1);
}

#[tokio::test]
async fn a_torn_end_is_cut_and_the_rest_is_kept() {
    let folder = TestFolder::new(Options::default());
    let bus = folder.open().await;
    send(&*bus, TopicRole::Alerts, (0..10).map(|number| message("k", number))).await;
    // The folder after a power failure: the WAL of the open segment ends in bytes of an unfinished write.
    let copy = TestFolder::new(Options::default());
    let topic = copy.path().join("sightline.alerts.topic");
    fs::create_dir_all(&topic).unwrap();
    for entry in fs::read_dir(folder.path().join("sightline.alerts.topic")).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|extension| extension != "db-shm") {
            fs::copy(&from, topic.join(from.file_name().unwrap())).unwrap();
        }
    }
    let mut torn = OpenOptions::new().write(true).open(topic.join("000000000001.db-wal")).unwrap();
    torn.seek(SeekFrom::End(0)).unwrap();
    torn.write_all(&[0xa5; 50_000]).unwrap();

    let bus = copy.open().await;
    let mut reader = bus.reader(TopicRole::Alerts, Start::Earliest).await.unwrap();
    assert_eq!(numbers(&read(&mut *reader, 10).await), (0..10).collect::<Vec<_>>());
    assert_eq!(send(&*bus, TopicRole::Alerts, [message("k", 10)]).await[0].offset, 10);
    assert_eq!(numbers(&read(&mut *reader, 1).await), [10]);
}

#[tokio::test]
async fn an_unusable_folder_is_named_with_its_setting() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = EmbeddedBus::open(&file.path().join("bus"), &topics(), Options::default()).err().unwrap().to_string();
    assert!(refused.contains("SIGHTLINE_DATA_DIR"), "{refused}");
}
