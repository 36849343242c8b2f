//! `sightline topics`, and topics files that an older version wrote.

use std::path::Path;
use std::process::Command;

use bus::kafka::{KafkaConfig, admin};
use contracts::{Topic, TopicRole, Topics};

use crate::processes::{TestServer, free_port};

/// The built-in topics file without the entry of a role, as written by a version that did not have the role.
fn without(role: TopicRole) -> String {
    let mut entries = contracts::topics::DEFAULT.split("  - role: ");
    let head = entries.next().unwrap().to_owned();
    let kept = entries.filter(|entry| !entry.starts_with(&format!("{role}\n")));
    kept.fold(head, |file, entry| format!("{file}  - role: {entry}"))
}

/// Runs `sightline topics ARGUMENTS` with a topics file of this text; returns success, standard output and standard error.
fn topics(folder: &Path, brokers: &str, file: &str, arguments: &[&str]) -> (bool, String, String) {
    let path = folder.join("topics.yaml");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sightline"));
    command.arg("topics").args(arguments).env_clear();
    let output = command.env("SIGHTLINE_KAFKA_BROKERS", brokers).env("SIGHTLINE_TOPICS_FILE", path).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_names_the_default_topic_of_a_missing_role() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("topics.yaml");
    std::fs::write(&path, without(TopicRole::Replies)).unwrap();
    let mut up = TestServer::start(&[("SIGHTLINE_TOPICS_FILE", path.to_str().unwrap().to_owned())]).await;
    assert!(up.process.stop(), "{}", up.process.output());
    let output = up.process.output();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains("topics file has no entry")).collect();
    assert_eq!(lines.len(), 1, "{output}");
    for part in ["WARN", "its default topic is used", "role=\"replies\"", "topic=\"sightline.replies\"", "partitions=1"]
    {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
}

#[test]
fn topics_check_names_the_default_topic_of_a_missing_role() {
    let folder = tempfile::tempdir().unwrap();
    let closed_port = format!("127.0.0.1:{}", free_port());
    let (success, printed, stderr) = topics(folder.path(), &closed_port, &without(TopicRole::FramesDlq), &["check"]);
    assert!(!success);
    let expected = "the topics file has no entry for role frames_dlq: its default topic sightline.frames.dlq is used\n";
    assert_eq!(printed, expected);
    assert!(stderr.starts_with("error: ") && stderr.contains(&closed_port), "{stderr}");
}

/// `2 partitions`.
fn partitions(topic: &Topic) -> String {
    if topic.partitions == 1 { "1 partition".to_owned() } else { format!("{} partitions", topic.partitions) }
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn topics_apply_and_check_print_a_line_for_each_difference() {
    let brokers =
        std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS names the brokers");
    let (folder, run) = (tempfile::tempdir().unwrap(), uuid::Uuid::now_v7().simple().to_string());
    let file = contracts::topics::DEFAULT.replace("name: sightline", &format!("name: t{run}"));
    let file = file.replace("partitions: 12", "partitions: 2");
    let run_with = |file: &str, action: &str| topics(folder.path(), &brokers, file, &[action]);
    let wanted = Topics::parse(&file).unwrap();
    let lines = |line: &dyn Fn(&Topic) -> String| wanted.iter().map(|topic| line(topic) + "\n").collect::<String>();

    let (success, printed, stderr) = run_with(&file, "check");
    assert!(!success);
    assert_eq!(printed, lines(&|topic| format!("topic {} is missing ({})", topic.name, partitions(topic))));
    let count = wanted.iter().count();
    let advice = format!("the cluster has {count} differences from the topics file; run `sightline topics apply`");
    assert!(stderr.contains(&advice), "{stderr}");

    let (success, printed, stderr) = run_with(&file, "apply");
    assert!(success, "{stderr}");
    assert_eq!(printed, lines(&|topic| format!("created {} ({})", topic.name, partitions(topic))));
    let matches = "the cluster matches the topics file\n".to_owned();
    assert_eq!(run_with(&file, "check"), (true, matches.clone(), String::new()));
    assert_eq!(run_with(&file, "apply"), (true, format!("nothing to do: {matches}"), String::new()));

    let (alerts, dlq) = (&wanted.get(TopicRole::Alerts).name, &wanted.get(TopicRole::FramesDlq).name);
    let changed =
        file.replacen("retention: 7d\n    retention_bytes: 1GiB", "retention: 8d\n    retention_bytes: 2GiB", 1);
    let entry = |partitions: u8| format!("name: {dlq}\n    partitions: {partitions}\n");
    let changed = changed.replace(&entry(1), &entry(2));
    let grown = format!(
        "topic {dlq} has 1 partition, topics.yaml says 2; keys would lose their order, so change topics.yaml, or create a \
         topic with another name\n"
    );
    let (success, printed, stderr) = run_with(&changed, "check");
    assert!(!success && stderr.contains("the cluster has 4 differences"), "{stderr}");
    let settings = [
        ("retention.ms", 604_800_000_u64, 691_200_000_u64),
        ("retention.bytes", 1 << 30, 2 << 30),
        ("segment.bytes", 1 << 28, 1 << 29),
    ];
    let differs = settings.map(|(name, is, wanted)| format!("topic {alerts}: {name} is {is}, should be {wanted}\n"));
    assert_eq!(printed, format!("{}{grown}", differs.concat()));
    let (success, printed, _) = run_with(&changed, "apply");
    assert!(success);
    let set = settings.map(|(name, _, wanted)| format!("set {name} of {alerts} to {wanted}\n"));
    assert_eq!(printed, format!("{}left: {grown}", set.concat()));
    // A file of an older version has no limit: one that is set stays.
    let older = changed
        .lines()
        .filter(|line| !line.contains("retention_bytes"))
        .fold(String::new(), |file, line| file + line + "\n");
    assert_eq!(run_with(&older, "check").1, grown);
    let (success, printed, stderr) = run_with(&changed, "check");
    assert!(!success && stderr.contains("the cluster has 1 difference from the topics file"), "{stderr}");
    assert_eq!(printed, grown);

    admin::delete(&KafkaConfig::new(brokers), &wanted).await.unwrap();
}
