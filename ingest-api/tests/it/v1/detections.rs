//! `POST /v1/detections`.

use contracts::{Event, Outcome, ResultEvent, TopicRole};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::TestServer;

#[tokio::test]
async fn a_posted_detection_is_published_as_a_result() {
    let server = TestServer::start().await;
    let body = json!({"stream": "gate", "label": "car", "make": "Audi", "category": "SUV", "year": 2020,
        "box": {"x": 0, "y": 0, "width": 10, "height": 10}});
    let send = || server.request(Method::POST, "/v1/detections").header("idempotency-key", "k").json(&body).send();
    let response = send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(send().await.unwrap().json::<Value>().await.unwrap(), accepted);

    let event = ResultEvent::from_message(&server.message(TopicRole::Results, 0).await).unwrap();
    assert_eq!(accepted["frame_id"], event.data.frame_id.to_string());
    assert_eq!(accepted["id"], format!("{}-external-0", event.data.frame_id));
    let Outcome::Ok { detections, .. } = event.data.outcome else { panic!("a detection is no failure") };
    assert_eq!(detections[0].attributes.make(), Some("Audi"));
    assert!((detections[0].confidence - 1.0).abs() < f64::EPSILON);
    let again = ResultEvent::from_message(&server.message(TopicRole::Results, 1).await).unwrap();
    assert_eq!(again.id, event.id, "a repeat is the same result");
}
