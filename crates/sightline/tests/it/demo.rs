//! `sightline demo vehicles`: to a running server, and to Kafka.

use std::time::{Duration, Instant};

use bus::kafka::{KafkaConfig, admin};
use bus::{Bus, KafkaBus, ReaderItem, Start};
use contracts::{Topic, TopicRole, Topics};
use serde_json::Value;

use crate::delivery::TestClient;
use crate::processes::{Process, TIMEOUT, TestServer, free_port};

const SIGHTLINE: &str = env!("CARGO_BIN_EXE_sightline");

/// Waits until the output of a process has this text.
async fn wait_for(process: &mut Process, text: &str) {
    let deadline = Instant::now() + TIMEOUT;
    while !process.output().contains(text) {
        process.assert_running();
        assert!(Instant::now() < deadline, "there was never {text:?} in\n{}", process.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vehicles_reach_a_running_server_and_a_signal_ends_them() {
    let mut up = TestServer::start(&[]).await;
    let settings = [
        ("SIGHTLINE_SERVER", up.url.clone()),
        ("SIGHTLINE_DATA_DIR", up.data.path().join("data").to_str().unwrap().to_owned()),
        ("DETECTIONS_PER_SECOND", "50".to_owned()),
    ];
    let log = up.data.path().join("demo.log");
    let mut demo = Process::start(SIGHTLINE, &["demo", "vehicles"], &settings, &log);
    wait_for(&mut demo, "sending 50 vehicles per second to http").await;
    let client = TestClient::new(&up.url, &up.token);
    let deadline = Instant::now() + TIMEOUT;
    while client.json("/v1/stats?group_by=make").await["items"].as_array().unwrap().len() < 10 {
        demo.assert_running();
        assert!(Instant::now() < deadline, "vehicles of ten makes never arrived");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    up.process.kill();
    wait_for(&mut demo, "cannot be reached").await;
    up.process.restart();
    wait_for(&mut demo, "connected\n").await;
    assert!(demo.stop(), "{}", demo.output());
    let output = demo.output();
    assert!(output.lines().last().unwrap().starts_with("sent "), "{output}");
    assert_eq!(output.matches("cannot be reached").count(), 1, "{output}");

    let counted = [("DETECTIONS_PER_SECOND", "20".to_owned())];
    let settings = [&settings[..2], &counted].concat();
    let started = Instant::now();
    let mut demo = Process::start(SIGHTLINE, &["demo", "vehicles", "--count", "11"], &settings, &log);
    assert!(demo.wait_success() && demo.output().ends_with("sent 11 vehicles\n"), "{}", demo.output());
    assert!(started.elapsed() >= Duration::from_millis(500), "faster than the rate");
}

#[test]
fn a_wrong_rate_is_refused_with_its_name() {
    for (arguments, rate) in [(&["--rate", "0"][..], "3"), (&[], "many")] {
        let mut command = std::process::Command::new(SIGHTLINE);
        command.args(["demo", "vehicles"]).args(arguments).env_clear().env("DETECTIONS_PER_SECOND", rate);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success()
                && error.contains(if arguments.is_empty() { "DETECTIONS_PER_SECOND" } else { "--rate" }),
            "{error}"
        );
    }
}

#[tokio::test]
#[ignore = "needs kafka"]
async fn vehicles_on_kafka_are_bare_json_without_a_key() {
    let brokers =
        std::env::var("SIGHTLINE_TEST_KAFKA_BROKERS").expect("SIGHTLINE_TEST_KAFKA_BROKERS names the brokers");
    let folder = tempfile::tempdir().unwrap();
    let run = uuid::Uuid::now_v7().simple().to_string();
    // The reference systems' name of the topic, with a prefix for this run.
    let file = contracts::topics::DEFAULT
        .replace("name: sightline.results\n", "name: intellisite.detections\n")
        .replace("name: sightline.alerts\n", "name: intellisite.alerts\n");
    let topics = Topics::parse(&file).unwrap().prefixed(&format!("t{run}.")).map(|topic| topic.partitions = 1);
    let path = folder.path().join("topics.yaml");
    let listed: Vec<&Topic> = topics.iter().collect();
    std::fs::write(&path, serde_json::json!({"topics": listed}).to_string()).unwrap();
    let config = KafkaConfig::new(&brokers);
    admin::apply(&config, &topics, None).await.unwrap();

    let log = folder.path().join("demo.log");
    let away = format!("127.0.0.1:{}", free_port());
    let settings = |brokers: &str| {
        [("SIGHTLINE_KAFKA_BROKERS", brokers.to_owned()), ("SIGHTLINE_TOPICS_FILE", path.to_str().unwrap().to_owned())]
    };
    let mut demo = Process::start(SIGHTLINE, &["demo", "vehicles"], &settings(&away), &log);
    wait_for(&mut demo, "trying again").await;
    assert!(demo.stop(), "it ends while the broker is away\n{}", demo.output());

    let arguments = ["demo", "vehicles", "--rate", "100", "--count", "20"];
    let mut demo = Process::start(SIGHTLINE, &arguments, &settings(&brokers), &log);
    assert!(demo.wait_success(), "{}", demo.output());
    assert!(demo.output().contains(&format!("topic t{run}.intellisite.detections of kafka")), "{}", demo.output());
    let bus = KafkaBus::connect(config.clone(), &topics).await.unwrap();
    let mut reader = bus.reader(TopicRole::Results, Start::Earliest).await.unwrap();
    for _ in 0..20 {
        let item = tokio::time::timeout(TIMEOUT, reader.next()).await.expect("a message").unwrap();
        let ReaderItem::Delivery(delivery) = item else { panic!("{item:?}") };
        let message = delivery.message;
        assert!(message.key.is_none() && message.headers.iter().next().is_none());
        let vehicle: Value = serde_json::from_slice(&message.value).unwrap();
        assert_eq!(vehicle.as_object().unwrap().keys().collect::<Vec<_>>(), ["Category", "Make", "Model", "Year"]);
        assert!(vehicle["Year"].is_u64() && vehicle["Make"].is_string(), "{vehicle}");
    }
    bus.close().await.unwrap();
    admin::delete(&config, &topics).await.unwrap();
}
