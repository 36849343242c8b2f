//! What one user may have in memory: request bodies and pages.

use reqwest::{Method, StatusCode};
use serde_json::json;
use testing::eventually;

use crate::test_service::TestService;

/// The first bytes of a PNG image.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

#[tokio::test]
async fn a_page_of_long_subjects_ends_early_and_the_next_has_the_rest() {
    let service = TestService::start(None).await;
    let mut made = Vec::new();
    for number in 0..300 {
        let new = json!({"external_id": format!("{number}"), "metadata": {"note": "x".repeat(4_000)}});
        let (status, subject) = service.json("a", Method::POST, "/v1/faces/subjects", new).await;
        assert_eq!(status, StatusCode::CREATED, "{subject}");
        made.push(subject["id"].clone());
    }
    made.reverse();
    let (mut listed, mut pages, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let (status, page) = service.get("a", &format!("/v1/faces/subjects?limit=1000{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let length = page.to_string().len();
        assert!(length < (1 << 20) + 1_000, "{length} bytes");
        let items = page["items"].as_array().unwrap();
        pages.push(items.len());
        listed.extend(items.iter().map(|subject| subject["id"].clone()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(listed == made, "each subject once, the newest first: {pages:?}");
}

#[tokio::test]
async fn slow_bodies_of_one_user_leave_room_for_others() {
    const LARGEST: usize = 8 << 20;
    let service = TestService::start(None).await;
    let paths = ["/v1/faces/search", "/v1/faces/verify", "/v1/users/me/photo"];
    let mut slow = Vec::new();
    for path in paths.into_iter().cycle().take(9) {
        slow.push(service.begin_body("a", path, LARGEST, PNG).await);
    }
    // More than the 16 KiB that are left of the share.
    let large = || {
        let mut image = PNG.to_vec();
        image.resize(100_000, 0);
        image
    };
    let code = async |tenant: &'static str| service.refused(tenant, Method::POST, paths[0], large()).await.1;
    eventually("the slow bodies have the share of their user", async || code("a").await == "share_in_use").await;

    for path in paths {
        let (_, code) = service.refused("b", Method::POST, path, large()).await;
        assert!(["no_face_model", "invalid", "uploads_off"].contains(&code.as_str()), "{path}: {code}");
    }
    let (status, problem) = service.send("a", Method::POST, paths[0], large()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("same user") && detail.contains("fewer"), "{detail}");

    drop(slow);
    eventually("their bytes are free", async || code("a").await == "no_face_model").await;
}
