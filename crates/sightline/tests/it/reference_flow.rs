//! The data flow of the reference systems: plain vehicle JSON of an external producer in, their routes and response bodies out.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use contracts::TopicRole;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use platform::sse::SseParser;

use crate::delivery::TestClient;
use crate::nothing_lost::TestServices;
use crate::processes::TIMEOUT;

const MESSAGES: usize = 1000;
const MAKES: [(&str, &str, &str); 4] =
    [("Audi", "Q3", "SUV"), ("Toyota", "Corolla", "Sedan"), ("Ford", "F-150", "Pickup"), ("Kia", "Sportage", "suv")];

/// Messages of the reference system's producer, in its two forms.
fn messages() -> Vec<Value> {
    let message = |number: usize| {
        let (make, model, category) = MAKES[number % MAKES.len()];
        let year = 2000 + number % 24;
        if number.is_multiple_of(2) {
            return json!({"Year": year, "Make": make, "Model": model, "Category": category});
        }
        let second = number % 60;
        let created_at = format!("2024-05-01T12:00:{second:02}.000001");
        json!({"year": year, "make": make, "model": model, "category": category, "created_at": created_at})
    };
    (0..MESSAGES).map(message).collect()
}

fn produce(brokers: &str, topic: &str, messages: &[Value]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-producer");
    let mut producer = Command::new(script).args([brokers, topic]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = producer.stdin.take().unwrap();
    for message in messages {
        writeln!(input, "{message}").unwrap();
    }
    drop(input);
    assert!(producer.wait().unwrap().success(), "the external producer failed");
}

/// Counts alerts on the older clients' stream until `wanted` have arrived, and a little longer.
async fn count_alerts(response: reqwest::Response, wanted: usize) -> usize {
    let (mut parser, mut bytes, mut count) = (SseParser::default(), response.bytes_stream(), 0);
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let left = if count < wanted { deadline - Instant::now() } else { Duration::from_secs(2) };
        let Ok(Some(Ok(piece))) = tokio::time::timeout(left, bytes.next()).await else { return count };
        for event in parser.feed(&piece).into_iter().filter(|event| event.event == "new_alert") {
            let vehicle: Value = serde_json::from_str(&event.data).unwrap();
            assert!(vehicle["category"].as_str().unwrap().eq_ignore_ascii_case("SUV"), "{vehicle}");
            assert!(vehicle["make"].is_string() && vehicle["year"].is_number(), "{vehicle}");
            count += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs kafka, mongodb, postgres and redis"]
async fn a_foreign_producers_vehicles_are_counted_and_raise_alerts() {
    let (services, namespace) = TestServices::start().await;
    let client = TestClient::new(&services.url, &namespace.token);
    let stream = reqwest::Client::new().get(format!("{}/alerts", client.url)).bearer_auth(&client.token).send();
    let stream = stream.await.unwrap().error_for_status().unwrap();

    let messages = messages();
    let topic = &namespace.topics.get(TopicRole::Results).name;
    let (brokers, sent, topic) = (namespace.brokers().to_owned(), messages.clone(), topic.clone());
    tokio::task::spawn_blocking(move || produce(&brokers, &topic, &sent)).await.unwrap();

    let suvs = messages.iter().filter(|message| message.to_string().to_lowercase().contains("\"suv\"")).count();
    assert_eq!(suvs, MESSAGES / 2);
    assert_eq!(count_alerts(stream, suvs).await, suvs);

    let expected: Value = MAKES.iter().map(|(make, ..)| ((*make).to_owned(), json!(MESSAGES / MAKES.len()))).collect();
    assert_eq!(client.json("/stats").await, expected);

    let mut paged = Vec::new();
    while let Value::Array(page) = client.json(&format!("/detections?skip={}&limit=300", paged.len())).await {
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    let ids: std::collections::BTreeSet<String> = paged.iter().map(|item| item["id"].to_string()).collect();
    assert_eq!((paged.len(), ids.len()), (MESSAGES, MESSAGES));
    // Compared as times, because trailing zeros are not written and 0.43 s sorts after 0.431 s as text.
    let dates: Vec<Timestamp> =
        paged.iter().map(|item| item["created_at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(dates.is_sorted(), "the oldest come first");
}
