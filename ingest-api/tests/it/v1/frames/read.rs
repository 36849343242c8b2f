//! Reading frames, detections and images.

use contracts::{BlobKey, BlobKind, FrameId, Outcome};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{ADMIN, OTHER, TestServer, face, faces_result, jpeg, problem};

#[tokio::test]
async fn pages_contain_every_item_once_newest_first() {
    let server = TestServer::start().await;
    for number in 0..10 {
        server.index(faces_result(number)).await;
    }
    for limit in [1, 3, 5, 10, 50] {
        let frames = server.all_items("/v1/frames", limit).await;
        let got: Vec<&str> = frames.iter().map(|frame| frame["frame_id"].as_str().unwrap()).collect();
        let expected: Vec<String> = (0..10).rev().map(|n| FrameId::from_position("test", 0, n).to_string()).collect();
        assert_eq!(got, expected, "limit {limit}");
    }
    assert_eq!(server.all_items("/v1/frames?stream=odd", 2).await.len(), 5);
    assert_eq!(server.all_items("/v1/detections", 3).await.len(), 20);
    assert_eq!(server.all_items("/v1/detections?min_confidence=0.8&stream=even", 3).await.len(), 5);
    assert_eq!(server.all_items("/v1/detections?from=2026-01-01T00:00:03Z&to=2026-01-01T00:00:05Z", 3).await.len(), 4);
    assert_eq!(server.all_items("/v1/detections?label=car", 3).await.len(), 0);
}

#[tokio::test]
async fn a_page_of_long_frames_ends_early_and_the_next_has_the_rest() {
    let server = TestServer::start().await;
    for number in 0..60 {
        let mut result = faces_result(number);
        let detections = vec![face(0.9); 100];
        result.data.outcome = Outcome::Ok { width: 640, height: 480, detections, image: None };
        server.index(result).await;
    }
    let first = server.get("/v1/frames?limit=1000").await;
    let (length, frames) = (first.to_string().len(), first["items"].as_array().unwrap().len());
    assert!(length < (1 << 20) + 1_000 && (1..60).contains(&frames), "{frames} frames, {length} bytes");
    let all = server.all_items("/v1/frames", 900).await;
    let got: Vec<&str> = all.iter().map(|frame| frame["frame_id"].as_str().unwrap()).collect();
    let expected: Vec<String> = (0..60).rev().map(|n| FrameId::from_position("test", 0, n).to_string()).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_frame_and_a_detection_are_found_by_id() {
    let server = TestServer::start().await;
    let result = faces_result(7);
    let id = result.data.frame_id;
    let path = format!("/v1/frames/{id}");
    let response = server.get_as(ADMIN, &path).await;
    assert!(response.headers().contains_key("retry-after"));
    let (status, code, _) = problem(response).await;
    assert_eq!((status, code.as_str()), (StatusCode::NOT_FOUND, "not_indexed"));

    server.index(result).await;
    let frame = server.get(&path).await;
    assert_eq!(frame["detections"].as_array().unwrap().len(), 2);
    assert_eq!(
        frame["results"],
        json!([{"detector": "face", "model": "yunet", "status": "ok", "count": 2,
        "processed_at": frame["results"][0]["processed_at"]}])
    );
    let detection = &frame["detections"][1];
    assert_eq!(detection["id"], format!("{id}-face-1"));
    assert_eq!(&server.get(&format!("/v1/detections/{id}-face-1")).await, detection);
    let missing = server.get_as(ADMIN, &format!("/v1/detections/{id}-face-2")).await;
    assert_eq!(problem(missing).await.1, "not_found");
    // A frame of another tenant looks like an unknown one.
    let hidden = server.get_as(OTHER, &path).await;
    assert_eq!(problem(hidden).await.1, "not_indexed");
}

#[tokio::test]
async fn a_kept_image_is_served() {
    let server = TestServer::start().await;
    let image = jpeg(64, 48, 2000);
    let mut result = faces_result(1);
    let key = BlobKey::new(BlobKind::Frames, jiff::Timestamp::now(), &result.tenant, result.data.frame_id);
    let path = format!("/v1/frames/{}/image", result.data.frame_id);
    if let Outcome::Ok { image, .. } = &mut result.data.outcome {
        *image = Some(key.clone());
    }
    server.index(result).await;
    assert_eq!(problem(server.get_as(ADMIN, &path).await).await.1, "not_found");
    server.deps.blobs.put(&key, image.clone().into()).await.unwrap();
    let response = server.get_as(ADMIN, &path).await;
    assert_eq!(response.headers()["content-type"], "image/jpeg");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.bytes().await.unwrap(), image);
    let frames = server.get("/v1/frames").await;
    assert_eq!(frames["items"][0]["image_url"], path);
}

#[tokio::test]
async fn a_result_cannot_name_the_image_of_another_frame() {
    let server = TestServer::start().await;
    let (mut result, other) = (faces_result(1), faces_result(2));
    let key = BlobKey::new(BlobKind::Frames, jiff::Timestamp::now(), &other.tenant, other.data.frame_id);
    let path = format!("/v1/frames/{}/image", result.data.frame_id);
    if let Outcome::Ok { image, .. } = &mut result.data.outcome {
        *image = Some(key.clone());
    }
    server.index(result).await;
    server.deps.blobs.put(&key, jpeg(64, 48, 2000).into()).await.unwrap();
    assert_eq!(problem(server.get_as(ADMIN, &path).await).await.1, "not_found");
}
