//! `GET /v1/stats`.

use serde_json::json;

use crate::support::{TestServer, car_result, numbered_result};

#[tokio::test]
async fn stats_count_detections_by_group() {
    let server = TestServer::start().await;
    for (number, make) in ["Audi", "Audi", "BMW"].into_iter().enumerate() {
        server.index(car_result(i64::try_from(number).unwrap(), make, "SUV")).await;
    }
    server.index(numbered_result(50)).await;
    assert_eq!(
        server.get("/v1/stats").await,
        json!({"items": [{"key": "Audi", "count": 2}, {"key": "BMW", "count": 1}]})
    );
    let labels = server.get("/v1/stats?group_by=label&from=2020-01-01T00:00:00Z").await;
    assert_eq!(labels, json!({"items": [{"key": "car", "count": 3}, {"key": "face", "count": 2}]}));
    assert_eq!(server.all_items("/v1/detections?category=suv&make=Audi", 10).await.len(), 2);
}
