//! What was seen, asked for.

use contracts::{Event, FrameId, Outcome, ResultEvent, TopicRole};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::site::{OTHER, Site, face, jpeg, problem, result_of};

/// A result of the frame with this number: captured that many seconds after a fixed moment.
fn numbered(number: i64) -> ResultEvent {
    let id = FrameId::from_position("test", 0, number);
    let mut result = result_of(id, vec![face(0.5), face(0.9)]);
    result.data.captured_at = Timestamp::from_second(1_767_225_600 + number).unwrap();
    result.data.stream = Some(if number % 2 == 0 { "even" } else { "odd" }.parse().unwrap());
    result
}

fn car(number: i64, make: &str, category: &str) -> ResultEvent {
    let mut result = numbered(number);
    let vehicle = json!({"label": "car", "confidence": 0.7, "make": make, "category": category, "year": 2020});
    result.data.captured_at = Timestamp::now();
    result.data.outcome =
        Outcome::Ok { width: 0, height: 0, detections: vec![serde_json::from_value(vehicle).unwrap()], image: None };
    result
}

/// Every item of a list, page by page.
async fn all(site: &Site, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = site.get(&format!("{path}{separator}limit={limit}{cursor}")).await;
        let of_page = page["items"].as_array().unwrap().clone();
        assert!(of_page.len() <= limit);
        items.extend(of_page);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
        assert!(items.len() < 1000, "pages without end");
    }
}

#[tokio::test]
async fn pages_hold_every_frame_once_newest_first() {
    let site = Site::start().await;
    for number in 0..10 {
        site.index(numbered(number)).await;
    }
    for limit in [1, 3, 5, 10, 50] {
        let frames = all(&site, "/v1/frames", limit).await;
        let got: Vec<&str> = frames.iter().map(|frame| frame["frame_id"].as_str().unwrap()).collect();
        let expected: Vec<String> = (0..10).rev().map(|n| FrameId::from_position("test", 0, n).to_string()).collect();
        assert_eq!(got, expected, "limit {limit}");
    }
    assert_eq!(all(&site, "/v1/frames?stream=odd", 2).await.len(), 5);
    assert_eq!(all(&site, "/v1/detections", 3).await.len(), 20);
    assert_eq!(all(&site, "/v1/detections?min_confidence=0.8&stream=even", 3).await.len(), 5);
    assert_eq!(all(&site, "/v1/detections?from=2026-01-01T00:00:03Z&to=2026-01-01T00:00:05Z", 3).await.len(), 4);
    assert_eq!(all(&site, "/v1/detections?label=car", 3).await.len(), 0);
}

#[tokio::test]
async fn one_frame_and_one_detection_are_found_by_their_ids() {
    let site = Site::start().await;
    let result = numbered(7);
    let id = result.data.frame_id;
    let path = format!("/v1/frames/{id}");
    let response = site.request(Method::GET, &path).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "not_indexed"));

    site.index(result).await;
    let frame = site.get(&path).await;
    assert_eq!(frame["detections"].as_array().unwrap().len(), 2);
    assert_eq!(
        frame["results"],
        json!([{"detector": "face", "model": "yunet", "status": "ok", "count": 2,
        "processed_at": frame["results"][0]["processed_at"]}])
    );
    let detection = &frame["detections"][1];
    assert_eq!(detection["id"], format!("{id}-face-1"));
    assert_eq!(&site.get(&format!("/v1/detections/{id}-face-1")).await, detection);
    let missing = site.request(Method::GET, &format!("/v1/detections/{id}-face-2")).send().await.unwrap();
    assert_eq!(problem(missing).await.1, "not_found");
    // What is another tenant's is not there.
    let hidden = site.request_as(OTHER, Method::GET, &path).send().await.unwrap();
    assert_eq!(problem(hidden).await.1, "not_indexed");
}

#[tokio::test]
async fn the_image_is_there_while_it_is_kept() {
    let site = Site::start().await;
    let (key, image) = ("frames/2026-01-02/a/b", jpeg(64, 48, 2000));
    let mut result = numbered(1);
    let path = format!("/v1/frames/{}/image", result.data.frame_id);
    if let Outcome::Ok { image, .. } = &mut result.data.outcome {
        *image = Some(key.to_owned());
    }
    site.index(result).await;
    assert_eq!(problem(site.request(Method::GET, &path).send().await.unwrap()).await.1, "not_found");
    site.deps.blobs.put(key, image.clone().into()).await.unwrap();
    let response = site.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.bytes().await.unwrap(), image);
    let frames = site.get("/v1/frames").await;
    assert_eq!(frames["items"][0]["image_url"], path);
}

#[tokio::test]
async fn detections_are_counted_by_group() {
    let site = Site::start().await;
    for (number, make) in ["Audi", "Audi", "BMW"].into_iter().enumerate() {
        site.index(car(i64::try_from(number).unwrap(), make, "SUV")).await;
    }
    site.index(numbered(50)).await;
    assert_eq!(
        site.get("/v1/stats").await,
        json!({"items": [{"key": "Audi", "count": 2}, {"key": "BMW", "count": 1}]})
    );
    let labels = site.get("/v1/stats?group_by=label&from=2020-01-01T00:00:00Z").await;
    assert_eq!(labels, json!({"items": [{"key": "car", "count": 3}, {"key": "face", "count": 2}]}));
    assert_eq!(all(&site, "/v1/detections?category=suv&make=Audi", 10).await.len(), 2);
}

#[tokio::test]
async fn older_clients_find_their_own_paths_and_shapes() {
    let site = Site::start().await;
    for (number, make) in ["Audi", "BMW", "Audi"].into_iter().enumerate() {
        site.index(car(i64::try_from(number).unwrap(), make, "SUV")).await;
    }
    // They know vehicles only, also where they count what to skip.
    site.index(numbered(-7)).await;
    assert_eq!(site.get("/stats").await, json!({"Audi": 2, "BMW": 1}));
    let list = site.get("/detections").await;
    assert_eq!(list.as_array().unwrap().len(), 3);
    let item = &list[0];
    assert_eq!(item["make"], "Audi");
    let keys: Vec<&String> = item.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    let second = site.get("/detections?skip=1&limit=1").await;
    assert_eq!(second, json!([list[1]]));
    assert!(list[0]["created_at"].as_str() <= list[1]["created_at"].as_str());

    let without = Site::with(&["--compat", "off"]).await;
    assert_eq!(problem(without.request(Method::GET, "/stats").send().await.unwrap()).await.1, "unknown_path");
}

#[tokio::test]
async fn a_detection_made_elsewhere_goes_through_the_pipeline() {
    let site = Site::start().await;
    let body = json!({"stream": "gate", "label": "car", "make": "Audi", "category": "SUV", "year": 2020,
        "box": {"x": 0, "y": 0, "width": 10, "height": 10}});
    let send = || site.request(Method::POST, "/v1/detections").header("idempotency-key", "k").json(&body).send();
    let response = send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(send().await.unwrap().json::<Value>().await.unwrap(), accepted);

    let event = ResultEvent::from_message(&site.message(TopicRole::Results, 0).await).unwrap();
    assert_eq!(accepted["frame_id"], event.data.frame_id.to_string());
    assert_eq!(accepted["id"], format!("{}-external-0", event.data.frame_id));
    let Outcome::Ok { detections, .. } = event.data.outcome else { panic!("a detection is no failure") };
    assert_eq!(detections[0].vehicle.make.as_deref(), Some("Audi"));
    assert!((detections[0].confidence - 1.0).abs() < f64::EPSILON);
    let again = ResultEvent::from_message(&site.message(TopicRole::Results, 1).await).unwrap();
    assert_eq!(again.id, event.id, "a repeat is the same result");
}
