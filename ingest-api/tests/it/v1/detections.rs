//! `POST /v1/detections`, and the filters of `GET /v1/detections` by attribute.

use contracts::{Event, Outcome, ResultEvent, TenantId, TopicRole, whole_microseconds};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{TestServer, attributes_result, json_of};

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
    for time in [event.data.captured_at, event.data.processed_at] {
        assert_eq!(whole_microseconds(time), time, "the stores keep no more");
    }
    let Outcome::Ok { detections, .. } = event.data.outcome else { panic!("a detection is no failure") };
    assert_eq!(detections[0].attributes.make(), Some("Audi"));
    assert!((detections[0].confidence - 1.0).abs() < f64::EPSILON);
    let again = ResultEvent::from_message(&server.message(TopicRole::Results, 1).await).unwrap();
    assert_eq!(again.id, event.id, "a repeat is the same result");
}

#[tokio::test]
async fn attributes_filter_texts_numbers_and_booleans() {
    let server = TestServer::start().await;
    let attributes = [
        json!({"colour": "red", "doors": 4, "make": "Audi", "year": 2020}),
        json!({"colour": "sky blue", "doors": "4", "parked": true, "plate": "B\u{0} 1"}),
        json!({"colour": "", "weight": 1.5, "parked": "true", "stolen": false}),
        json!({}),
    ];
    server.index(attributes_result(&TenantId::admin(), 1, &attributes)).await;
    let cases: [(&str, &[usize]); 18] = [
        ("attributes.colour=red", &[0]),
        ("attributes.colour=sky%20blue", &[1]),
        ("attributes.colour=re%00d", &[0]),
        ("attributes.plate=B%201", &[1]),
        ("attributes.colour=", &[2]),
        ("attributes.colour=Red", &[]),
        ("attributes.doors=4", &[0, 1]),
        ("attributes.doors=4.0", &[0]),
        ("attributes.doors=5", &[]),
        ("attributes.weight=1.5", &[2]),
        ("attributes.parked=true", &[1, 2]),
        ("attributes.parked=1", &[]),
        ("attributes.stolen=false", &[2]),
        ("attributes.missing=0", &[]),
        ("attributes.make=Audi&make=Audi", &[0]),
        ("attributes.year=2020", &[0]),
        ("attributes.doors=4&attributes.parked=true", &[1]),
        ("label=thing&attributes.doors=4&min_confidence=0.8", &[]),
    ];
    for (filters, expected) in cases {
        let items = server.all_items(&format!("/v1/detections?{filters}"), 1).await;
        let mut found: Vec<usize> = items
            .iter()
            .map(|item| item["id"].as_str().unwrap().rsplit('-').next().unwrap().parse().unwrap())
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{filters}");
    }
}

#[tokio::test]
async fn attribute_filters_show_only_the_callers_detections() {
    let server = TestServer::start().await;
    let ann = server.create_user("ann").await;
    server.create_user("bob").await;
    server.index(attributes_result(&ann.tenant, 1, &[json!({"colour": "red", "doors": 4, "parked": true})])).await;
    server.index(attributes_result(&TenantId::shared(), 2, &[json!({"colour": "red"})])).await;
    for (user, filter, expected) in [
        ("ann", "attributes.colour=red", 2),
        ("ann", "attributes.doors=4", 1),
        ("ann", "attributes.parked=true", 1),
        ("bob", "attributes.colour=red", 1),
        ("bob", "attributes.doors=4", 0),
        ("bob", "attributes.parked=true", 0),
    ] {
        let token = server.access_token(user).await;
        let page = server.get_as(&token, &format!("/v1/detections?{filter}")).await;
        let page = json_of(page, StatusCode::OK).await;
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{user} {filter}: {page}");
    }
}
