//! Detections and stats on the routes of older clients.

use reqwest::Method;
use serde_json::json;

use crate::support::{TestServer, car_result, faces_result, problem};

#[tokio::test]
async fn older_paths_keep_their_shapes() {
    let server = TestServer::start().await;
    for (number, make) in ["Audi", "BMW", "Audi"].into_iter().enumerate() {
        server.index(car_result(i64::try_from(number).unwrap(), make, "SUV")).await;
    }
    // The compatibility routes show vehicles only; `skip` counts vehicles only.
    server.index(faces_result(-7)).await;
    assert_eq!(server.get("/stats").await, json!({"Audi": 2, "BMW": 1}));
    let list = server.get("/detections").await;
    assert_eq!(list.as_array().unwrap().len(), 3);
    let item = &list[0];
    assert_eq!(item["make"], "Audi");
    let keys: Vec<&String> = item.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    let second = server.get("/detections?skip=1&limit=1").await;
    assert_eq!(second, json!([list[1]]));
    assert!(list[0]["created_at"].as_str() <= list[1]["created_at"].as_str());

    let without = TestServer::with_flags(&["--compat", "off"]).await;
    assert_eq!(problem(without.request(Method::GET, "/stats").send().await.unwrap()).await.1, "unknown_path");
}
