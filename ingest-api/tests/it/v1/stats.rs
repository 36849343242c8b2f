//! `GET /v1/stats`.

use contracts::TenantId;
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{TestServer, attributes_result, car_result, faces_result, json_of};

#[tokio::test]
async fn stats_count_detections_by_group() {
    let server = TestServer::start().await;
    for (number, make) in ["Audi", "Audi", "BMW"].into_iter().enumerate() {
        server.index(car_result(i64::try_from(number).unwrap(), make, "SUV")).await;
    }
    server.index(faces_result(50)).await;
    assert_eq!(
        server.get("/v1/stats").await,
        json!({"items": [{"key": "Audi", "count": 2}, {"key": "BMW", "count": 1}], "more": false})
    );
    let labels = server.get("/v1/stats?group_by=label&from=2020-01-01T00:00:00Z").await;
    assert_eq!(labels, json!({"items": [{"key": "car", "count": 3}, {"key": "face", "count": 2}], "more": false}));
    let of_cars = server.get("/v1/stats?group_by=label&label=car&from=2020-01-01T00:00:00Z").await;
    assert_eq!(of_cars["items"], json!([{"key": "car", "count": 3}]));
    let even = server.get("/v1/stats?stream=even").await;
    assert_eq!(even["items"], json!([{"key": "Audi", "count": 1}, {"key": "BMW", "count": 1}]));
    assert_eq!(server.get("/v1/stats?stream=elsewhere").await["items"], json!([]));
    assert_eq!(server.all_items("/v1/detections?category=suv&make=Audi", 10).await.len(), 2);
}

/// Keys of groups with their counts.
type Groups = [(&'static str, u64)];

#[tokio::test]
async fn stats_group_by_attributes_of_the_caller() {
    let server = TestServer::start().await;
    let (ann, bob) = (server.create_user("ann").await, server.create_user("bob").await);
    let attributes = [
        json!({"colour": "red", "doors": 4, "parked": true, "make": "Audi"}),
        json!({"colour": "red", "doors": 4, "parked": false, "year": 2020}),
        json!({"colour": "blue", "doors": 1.5, "parked": true}),
        json!({}),
    ];
    server.index(attributes_result(&ann.tenant, 1, &attributes)).await;
    server.index(attributes_result(&bob.tenant, 2, &[json!({"colour": "green"})])).await;
    server.index(attributes_result(&TenantId::shared(), 3, &[json!({"colour": "blue"})])).await;
    let (ann, bob) = (server.access_token("ann").await, server.access_token("bob").await);
    let cases: [(&str, &str, &Groups); 8] = [
        (&ann, "colour", &[("blue", 2), ("red", 2)]),
        (&ann, "doors", &[("4", 2), ("1.5", 1)]),
        (&ann, "parked", &[("true", 2), ("false", 1)]),
        (&ann, "make", &[("Audi", 1)]),
        (&ann, "year", &[("2020", 1)]),
        (&ann, "missing", &[]),
        (&bob, "colour", &[("blue", 1), ("green", 1)]),
        (&bob, "doors", &[]),
    ];
    for (token, name, expected) in cases {
        let stats = server.get_as(token, &format!("/v1/stats?group_by=attributes.{name}")).await;
        let groups = json_of(stats, StatusCode::OK).await;
        let groups: Vec<(&str, u64)> = groups["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| (group["key"].as_str().unwrap(), group["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(groups, expected, "{name}");
    }
}
