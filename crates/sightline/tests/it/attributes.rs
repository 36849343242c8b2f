//! Attributes of a detection, from the client that sends them to the lists, counts and alerts.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::delivery::TestClient;
use crate::processes::{TIMEOUT, TestServer};

impl TestClient {
    async fn post(&self, path: &str, body: &Value) {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(body);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// Sends a detection until an alert is raised, since a new rule is active after a moment. Returns how often it was sent.
    async fn send_until_alerted(&self, detection: &Value) -> u64 {
        let deadline = Instant::now() + TIMEOUT;
        for sent in 1.. {
            self.post("/v1/detections", detection).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            if self.json("/v1/alerts/history").await["items"].get(0).is_some() {
                return sent;
            }
            assert!(Instant::now() < deadline, "no alert is raised");
        }
        unreachable!()
    }

    async fn wait_for_response(&self, path: &str, wanted: &Value) {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let response = self.json(path).await;
            if response == *wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{path} answers {response}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_reach_lists_counts_and_alerts() {
    let mut up = TestServer::start(&[("SIGHTLINE_RULE_SUSPICIOUS_VEHICLE", "off".to_owned())]).await;
    let client = TestClient::new(&up.url, &up.token);
    let condition = r#"attributes.colour == "red" && make == "Audi""#;
    client.post("/v1/rules", &json!({"name": "red Audis", "condition": condition})).await;
    let car = json!({
        "label": "car", "make": "Audi", "model": "Q3", "category": "SUV", "year": 2020,
        "attributes": {"colour": "red", "doors": 4, "parked": true}
    });
    let sent = client.send_until_alerted(&car).await;

    client.wait_for_response("/stats", &json!({"Audi": sent})).await;
    client
        .wait_for_response(
            "/v1/stats?group_by=make",
            &json!({"items": [{"key": "Audi", "count": sent}], "more": false}),
        )
        .await;
    for path in ["/v1/alerts/history", "/v1/detections?make=Audi"] {
        let list = client.json(path).await;
        for field in ["make", "model", "category", "year", "attributes"] {
            assert_eq!(list["items"][0][field], car[field], "{path}: {list}");
        }
    }
    let older = client.json("/detections").await;
    for field in ["make", "model", "category", "year"] {
        assert_eq!(older[0][field], car[field], "{older}");
    }
    assert_eq!(older[0].get("attributes"), None, "older clients know four fields");
    assert!(up.process.stop(), "{}", up.process.output());
}
